/**
 * `npm run bench -- --tiers`: a million members looked at for their tiers, and how soon a promotion counts. Some thousand members
 * shop through the API, the others are rows of SQL with five days of purchases each. Rounds of the same seconds: tills alone at a
 * quarter of what the API can, then beside a recalculation of all members. Meanwhile members buy what brings them up, one after
 * the other, and ask until a quote is judged by the new tier.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { unread } from '#src/diary/unread.ts';
import { programFileSchema } from '#src/earning/file/schema.ts';
import type { Program } from '#src/earning/program.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { demoFile } from '#src/earning/samples/demo.ts';
import { createPool } from '#src/platform/postgres.ts';
import { beginRun, type Run, readRuns } from '#src/tiers/recalculating.ts';
import { percentile, ratios, spreadText } from './apart-figures.ts';
import type { Surroundings } from './contestant.ts';
import { drained, type Lag } from './lag.ts';
import { cpuSeconds, machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { memberName } from './requests.ts';
import { populate } from './setup/members.ts';
import { openStand } from './setup/stand.ts';
import { openVersions } from './setup/versions.ts';
import { quarterOfCapacity, type Tills, tills, warmupMs, windowMs } from './tills.ts';

/** Members that shop; all others are rows alone, whom the API never meets. */
const shoppers = 10_000;
const daysEach = 5;
const membersPerInsert = 50_000;
const runMsMax = 600_000;
const promotedMsMax = 30_000;
const readMsMax = 120_000;
/** Beyond what the tills' receipts and those of the rows come to in a year. */
const goldSpend = 50_000_000;

const file = programFileSchema.parse({
  ...demoFile,
  rules: [
    ...(demoFile.rules ?? []),
    { name: 'gold', currency: 'points', tiers: ['gold'], earn: { by: 'fixed', points: 1 } },
  ],
  ladders: [
    {
      name: 'club',
      tiers: [
        { name: 'white' },
        { name: 'silver', reach: { any: [{ measure: 'spend', atLeast: 40_000 }] } },
        { name: 'gold', reach: { any: [{ measure: 'spend', atLeast: goldSpend }] } },
      ],
      period: { kind: 'calendar_year' },
      validity: { kind: 'end_of_next_period' },
      down: 'one_step',
    },
  ],
});

interface Scene {
  readonly pool: pg.Pool;
  readonly port: number;
  readonly lag: Lag;
  readonly program: Program;
  readonly around: Surroundings;
  readonly processes: Readonly<Record<string, number>>;
}

/** Members with five days of purchases of this year; a tenth of them are silver by it. */
async function fillRows(pool: pg.Pool, program: number, members: number): Promise<void> {
  for (let done = 0; done < members; done += membersPerInsert) {
    await pool.query(
      `with made as (insert into member (program, joined_at) select $1, now() - interval '400 days' from generate_series(1, $2::int) returning number)
       insert into diary_day (member, day, visits, spend)
       select number, current_date - date '1970-01-01' - i, 1, case when number % 10 = 0 then 9000 else 2000 end
       from made cross join generate_series(0, $3::int - 1) i`,
      [program, Math.min(membersPerInsert, members - done), daysEach],
    );
  }
  await pool.query('vacuum (analyze) diary_day');
  await pool.query('vacuum (analyze) member');
}

/** Waits until the newest run is through. */
async function runDone({ pool, program, around }: Scene): Promise<Run & { readonly seconds: number }> {
  const deadline = performance.now() + runMsMax;
  while (performance.now() < deadline) {
    around.abort.throwIfAborted();
    const [run] = await readRuns(pool, program.number, 1);
    if (run?.status === 'done' && run.endedAt)
      return { ...run, seconds: (run.endedAt.getTime() - run.startedAt.getTime()) / 1_000 };
    await delay(100);
  }
  throw new Error('a recalculation is not done after ten minutes');
}

async function post(port: number, path: string, body: object): Promise<Record<string, unknown>> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { authorization: 'Bearer demo-pos', 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(promotedMsMax),
  });
  if (!answer.ok) throw new Error(`${path} was answered with ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as Record<string, unknown>;
}

/** Milliseconds from the reply to the receipt that brings a member up until a receipt of its is judged by the new tier. */
async function promoted({ port }: Scene, member: string): Promise<number> {
  const purchase = (amount: number) => ({ currency: 'EUR', lines: [{ line: 1, amount }] });
  const occurredAt = new Date().toISOString();
  const receipt = { member, reference: `gold/${member}`, occurredAt, purchase: purchase(goldSpend) };
  await post(port, '/v1/accruals', receipt);
  const fromMs = performance.now();
  while (performance.now() - fromMs < promotedMsMax) {
    const now = new Date().toISOString();
    const { awards } = await post(port, '/v1/accruals/quote', {
      member,
      occurredAt: now,
      purchase: purchase(100),
    });
    if ((awards as { rule: string }[]).some(({ rule }) => rule === 'gold')) return performance.now() - fromMs;
    await delay(5);
  }
  throw new Error(`${member} is not gold after ${promotedMsMax / 1_000} s`);
}

/** The books are written, and the diary has read them. */
async function allRead({ pool, lag, around }: Scene): Promise<void> {
  await drained(lag);
  const deadline = performance.now() + readMsMax;
  while (await unread.hasUnread(pool)) {
    around.abort.throwIfAborted();
    if (performance.now() > deadline) throw new Error('the diary does not come to the end of the books');
    await delay(50);
  }
}

interface Round {
  readonly before: Tills;
  readonly during: Tills;
  readonly run: { readonly members: number; readonly seconds: number };
  readonly promotedMs: readonly number[];
  readonly cpu: Readonly<Record<string, number>>;
}

/** Members are promoted one after the other, each once. */
async function promoteUntil(scene: Scene, next: () => string, over: Promise<unknown>): Promise<number[]> {
  let isOver = false;
  const end = () => {
    isOver = true;
  };
  over.then(end, end);
  const took: number[] = [];
  while (!isOver) took.push(await promoted(scene, next()));
  return took;
}

async function measureRound(scene: Scene, ratePerSecond: number, next: () => string): Promise<Round> {
  const { pool, program, processes, around } = scene;
  const window = () => delay(warmupMs + windowMs, undefined, { signal: around.abort });
  const before = await tills(scene, ratePerSecond, window());
  await allRead(scene);
  const cpuBefore = Object.entries(processes).map(([name, pid]) => [name, cpuSeconds(pid) ?? 0] as const);
  const running = (async () => {
    await delay(warmupMs, undefined, { signal: around.abort });
    await beginRun(pool, program, 'demand');
    return runDone(scene);
  })();
  // Where the tills or a promotion fail first, that is what a person wants to read.
  running.catch(() => undefined);
  const [during, run, promotedMs] = await Promise.all([
    tills(scene, ratePerSecond, running),
    running,
    promoteUntil(scene, next, running),
  ]);
  const cpu = Object.fromEntries(
    cpuBefore.map(([name, cpuAt]) => [name, (cpuSeconds(processes[name]!) ?? 0) - cpuAt]),
  );
  await allRead(scene);
  return { before, during, run, promotedMs, cpu };
}

function reportOf(rounds: readonly Round[], first: { members: number; seconds: number }): string {
  const row = (name: string, of: (round: Round) => number, digits = 0) => [
    name,
    spreadText(rounds.map(of), digits),
  ];
  return table([
    ['tiers of all members', ''],
    ['members with anything to look at', first.members.toLocaleString('en')],
    ['the first time, a tenth moves, seconds', first.seconds.toFixed(1)],
    row('again, beside accruals at 25 %, seconds', ({ run }) => run.seconds, 1),
    ...Object.keys(rounds[0]!.cpu).map((name) =>
      row(`CPU seconds of ${name} meanwhile, accruals included`, ({ cpu }) => cpu[name]!, 1),
    ),
    row('accruals at 25 % alone, p99 ms', ({ before }) => before.p99Ms, 1),
    row('accruals at 25 % beside it, p99 ms', ({ during }) => during.p99Ms, 1),
    row('not 201', ({ before, during }) => before.refused + during.refused),
    row('members brought up meanwhile', ({ promotedMs }) => promotedMs.length),
    row('judged by the new tier after, p50 ms', ({ promotedMs }) => percentile(promotedMs, 0.5)),
    row('judged by the new tier after, p99 ms', ({ promotedMs }) => percentile(promotedMs, 0.99)),
  ]);
}

/** Brings this service up and lets all members be looked at; answers the figures as data. */
export async function measureTiers(everybody: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const around = { ...everybody, members: shoppers };
  const { print } = around;
  const { installation, standing } = await openStand(around, join(around.folder, 'tiers'));
  stack.defer(() => standing.stop());
  const { port, postgres } = installation;
  const pool = createPool(postgres.url, 4);
  stack.defer(() => pool.end());
  await populate(port, around.members);
  const number = (await loadPrograms(pool)).all()[0]!.number;
  print(`tiers: ${everybody.members.toLocaleString('en')} members, ${daysEach} days each …`);
  await fillRows(pool, number, everybody.members - shoppers);
  const versions = stack.use(openVersions(postgres.url, around.abort));
  await versions.apply(file);
  const worker = installation.startTiers();
  const program = (await loadPrograms(pool)).get(number)!;
  const processes = { ...standing.processes, tiers: worker.pid };
  const scene: Scene = { pool, port, lag: standing.lag, program, around, processes };
  const first = await runDone(scene);
  print(`all members for the first time: ${first.seconds.toFixed(1)} s, ${first.changes} changes`);
  const ratePerSecond = await quarterOfCapacity(scene);
  await allRead(scene);
  let turn = 0;
  const next = () => {
    turn += 1;
    return memberName(turn % around.members);
  };
  const rounds: Round[] = [];
  for (let round = 1; round <= roundCount; round += 1) {
    const measured = await measureRound(scene, ratePerSecond, next);
    rounds.push(measured);
    const { run, before, during } = measured;
    print(
      `round ${round} of ${roundCount}  ${run.seconds.toFixed(1)} s, p99 ${before.p99Ms.toFixed(1)} and ${during.p99Ms.toFixed(1)} ms`,
    );
  }
  const marks = [
    markOf('seconds to look at all members', [first.seconds, ...rounds.map(({ run }) => run.seconds)], {
      atMost: 60,
      aim: 30,
    }),
    markOf(
      'p99 of accruals at 25 % of capacity, beside it / alone',
      ratios(
        rounds.map(({ during }) => during.p99Ms),
        rounds.map(({ before }) => before.p99Ms),
      ),
      { atMost: 2, aim: 1.5 },
    ),
    markOf(
      'ms until a promotion counts, p99',
      rounds.map(({ promotedMs }) => percentile(promotedMs, 0.99)),
      { atMost: 1_000, aim: 500 },
    ),
  ];
  print(`\n${reportOf(rounds, first)}\n\n${marksText(marks)}`);
  return { machine: machine(), ratePerSecond, first: first.seconds, rounds, marks };
}
