/**
 * `npm run bench -- --grow`: the same load on small books and on large ones. One installation grows from stage to stage; at
 * each, the same thousand members are loaded there and in a fresh installation of ten thousand entries, by turns, while both
 * stand. What differs is the size of the books, not who is loaded. Beside it the large one is loaded all over its members, which
 * measures how many people a process can remember. In the end every member is brought back into an empty Redis.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ratios, spreadText } from './apart-figures.ts';
import { type BytesFigures, bytesMark, bytesOfInstallation, bytesText, cpuText } from './bytes.ts';
import type { Surroundings } from './contestant.ts';
import { sendAll } from './driver.ts';
import { machine } from './machine.ts';
import { type Mark, markOf, spread } from './marks.ts';
import { requestsOf } from './places.ts';
import { marksText, table } from './report.ts';
import { accrual, accrualByReceipt, balances, memberName } from './requests.ts';
import { underLoad } from './round.ts';
import { removeFolder } from './run-folder.ts';
import { entriesPerAccrual, growTo, type Size, sizeOf } from './setup/growth.ts';
import { accruals, openStand, type Stand } from './setup/stand.ts';
import { withRedis } from './setup/with-redis.ts';

const small: Size = { members: 1_000, entries: 10_000 };
const entriesPerMember = 10;
const window = { warmupMs: 4_000, measureMs: 5_000 };
const loads = [
  { name: 'UUIDv7', request: accrual },
  { name: 'natural', request: accrualByReceipt },
] as const;
const coldChunk = 50_000;
const coldConnections = 128;
const recoveredMsMax = 60_000;

interface StageRound {
  /** By kind of reference: accruals a second of the small and of the large installation. */
  readonly perSecond: Readonly<Record<string, { readonly small: number; readonly large: number }>>;
  readonly p99Ms: Readonly<Record<string, { readonly small: number; readonly large: number }>>;
  /** Of the large one, loaded all over its members. */
  readonly spreadPerSecond: number;
  readonly cpuPerMillion: Readonly<Record<string, number>>;
}

interface StageFigures extends Size {
  /** Receipts a second while it grew, the writer keeping up; 0 where it did not grow. */
  readonly grownPerSecond: number;
  readonly rounds: readonly StageRound[];
  readonly bytes: BytesFigures;
}

/** Stages up to the largest: 1 and 10 million entries, with a tenth as many members. */
export function stagesUpTo(entries: number): Size[] {
  return [entries / 10, entries].map((each) => ({
    entries: each,
    members: Math.max(small.members, Math.round(each / entriesPerMember / 1_000) * 1_000),
  }));
}

async function load(around: Surroundings, stand: Stand, name: string, request: string, members: number) {
  const round = await underLoad(accruals(name, request, members), stand.standing, window, around);
  if (round.refused > 0) throw new Error(`${round.refused} replies were not 2xx:\n${round.firstRefusal}`);
  return round;
}

/** In every second round the large one goes first. */
async function runRound(
  around: Surroundings,
  large: Stand,
  { members }: Size,
  number: number,
): Promise<StageRound> {
  const dataDir = join(around.folder, 'small');
  const fresh = await openStand(around, dataDir);
  try {
    await growTo(fresh, small, around.abort, around.print);
    const perSecond: Record<string, { small: number; large: number }> = {};
    const p99Ms: Record<string, { small: number; large: number }> = {};
    let cpuPerMillion: Readonly<Record<string, number>> = {};
    for (const { name, request } of loads) {
      const loadOf = (stand: Stand) => load(around, stand, name, request, small.members);
      const early = number % 2 === 0 ? await loadOf(large) : undefined;
      const beside = await loadOf(fresh);
      const own = early ?? (await loadOf(large));
      perSecond[name] = { small: beside.perSecond, large: own.perSecond };
      p99Ms[name] = { small: beside.p99Ms, large: own.p99Ms };
      cpuPerMillion = own.cpuPerMillion;
    }
    const all = await load(around, large, 'all members', accrual, members);
    return { perSecond, p99Ms, spreadPerSecond: all.perSecond, cpuPerMillion };
  } finally {
    await fresh.standing.stop();
    await removeFolder(dataDir);
  }
}

function marksOf({ entries, rounds }: Pick<StageFigures, 'entries' | 'rounds'>): Mark[] {
  return loads.map(({ name }) => {
    const of = (side: 'small' | 'large') => rounds.map(({ perSecond }) => perSecond[name]![side]);
    const measure = `accruals a second, ${name} references, ${entries.toLocaleString('en')} entries / ${small.entries.toLocaleString('en')}`;
    return markOf(measure, ratios(of('large'), of('small')), { atLeast: 0.95, aim: 1 });
  });
}

function stageText({ entries, members, grownPerSecond, rounds, bytes }: StageFigures): string {
  const largeName = `${entries.toLocaleString('en')} entries`;
  const rows = loads.map(({ name }) => [
    `${small.members} members, ${name} references`,
    spreadText(rounds.map(({ perSecond }) => perSecond[name]!.small)),
    spreadText(rounds.map(({ perSecond }) => perSecond[name]!.large)),
    spreadText(
      rounds.map(({ p99Ms }) => p99Ms[name]!.small),
      1,
    ),
    spreadText(
      rounds.map(({ p99Ms }) => p99Ms[name]!.large),
      1,
    ),
  ]);
  const all = [`${members.toLocaleString('en')} members, UUIDv7 references`, '-'];
  all.push(spreadText(rounds.map(({ spreadPerSecond }) => spreadPerSecond)), '-', '-');
  const heads = ['accruals a second', `${small.entries.toLocaleString('en')} entries`, largeName];
  return [
    `${largeName}, ${members.toLocaleString('en')} members: grown by ${Math.round(grownPerSecond)} receipts a second through bulk, with the writer`,
    table([[...heads, 'p99 ms', `p99 ms, ${largeName}`], ...rows, all]),
    '',
    bytesText(bytes),
    '',
    cpuText(medianOf(rounds.map(({ cpuPerMillion }) => cpuPerMillion))),
    '',
  ].join('\n');
}

function medianOf(rounds: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [name, spread(rounds.map((each) => each[name] ?? 0)).median]),
  );
}

interface ColdLoad {
  readonly members: number;
  /** From the loss until the first thousand members are served again. */
  readonly recoveredSeconds: number;
  readonly loadedSeconds: number;
}

/** Empties Redis and asks for every member once. */
async function loadCold(around: Surroundings, { installation }: Stand, members: number): Promise<ColdLoad> {
  await withRedis(installation.redis.adminUrl, (redis) => redis.flushall(), 60_000);
  const ask = async (from: number, count: number) => {
    const request = requestsOf(balances, (index) => memberName(from + index));
    const drive = { port: installation.port, connections: coldConnections, request };
    return (await sendAll(drive, count)).filter(({ status }) => status !== 200).length;
  };
  const lostMs = performance.now();
  while ((await ask(0, small.members)) > 0) {
    around.abort.throwIfAborted();
    if (performance.now() - lostMs > recoveredMsMax) throw new Error('the shards did not come back');
    await delay(50);
  }
  const recoveredSeconds = (performance.now() - lostMs) / 1_000;
  const startedMs = performance.now();
  for (let from = 0; from < members; from += coldChunk) {
    around.abort.throwIfAborted();
    const refused = await ask(from, Math.min(coldChunk, members - from));
    if (refused > 0) throw new Error(`${refused} members could not be loaded`);
  }
  return { members, recoveredSeconds, loadedSeconds: (performance.now() - startedMs) / 1_000 };
}

async function runStage(
  around: Surroundings,
  large: Stand,
  size: Size,
  roundCount: number,
): Promise<StageFigures> {
  const { print } = around;
  print(
    `growing to ${size.entries.toLocaleString('en')} entries, ${size.members.toLocaleString('en')} members …`,
  );
  const grownPerSecond = await growTo(large, size, around.abort, print);
  const grown = await sizeOf(large);
  const rounds: StageRound[] = [];
  for (let round = 1; round <= roundCount; round += 1) {
    const figures = await runRound(around, large, size, round);
    rounds.push(figures);
    const said = loads.map(({ name }) => {
      const { small: beside, large: own } = figures.perSecond[name]!;
      return `${name} ${Math.round(own)} beside ${Math.round(beside)}`;
    });
    print(`round ${round} of ${roundCount}  ${said.join(', ')} accruals/s`);
  }
  const stage = {
    ...grown,
    grownPerSecond,
    rounds,
    bytes: await bytesOfInstallation(large.installation),
  };
  print(`\n${stageText(stage)}\n${marksText(marksOf(stage))}\n`);
  return stage;
}

/** Grows an installation to so many entries; answers the figures as data. */
export async function measureGrowth(
  around: Surroundings,
  entries: number,
  roundCount: number,
): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print } = around;
  const large = await openStand(around, join(around.folder, 'large'));
  stack.defer(() => large.standing.stop());
  const stages: StageFigures[] = [];
  const sizes = stagesUpTo(entries);
  for (const size of sizes) stages.push(await runStage(around, large, size, roundCount));
  const { members } = sizes.at(-1)!;
  const cold = await loadCold(around, large, members);
  const million = (cold.loadedSeconds / members) * 1e6;
  print(
    `Redis lost: ${cold.recoveredSeconds.toFixed(1)} s until the first are served; ${members.toLocaleString('en')} cold members loaded in ${cold.loadedSeconds.toFixed(1)} s, ${million.toFixed(0)} s a million`,
  );
  const last = stages.at(-1)!;
  const marks = [...marksOf(last), bytesMark(last.bytes)];
  print(`\n${marksText(marks)}`);
  return { machine: machine(), small, entriesPerAccrual, stages, cold, marks };
}
