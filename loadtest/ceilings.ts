/**
 * `npm run bench -- --ceilings`: what the stores alone can do with our script and our rows, beside what this service makes of
 * them. Bulk of a thousand items with the writer keeping up stands beside redis-benchmark with the same call; the ledger
 * writer draining a journal, the API stopped, beside COPY of the rows that it wrote. One after the other, and again.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pg from 'pg';
import { memberId } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { ratios, spreadText } from './apart-figures.ts';
import { type CapturedCall, captureCall } from './ceilings/captured-call.ts';
import { copyRaw, reachOf, turnsBetween, writtenRows } from './ceilings/raw-copy.ts';
import {
  benchmarkProgram,
  measureScript,
  type Program,
  type ScriptTarget,
  type Way,
} from './ceilings/script-calls.ts';
import type { Surroundings } from './contestant.ts';
import { sendAll } from './driver.ts';
import { drained, type Lag } from './lag.ts';
import { machine } from './machine.ts';
import { type Mark, markOf } from './marks.ts';
import { type BulkOrder, itemsPerCall, sendBulk } from './paced-bulk.ts';
import { requestsOf } from './places.ts';
import { marksText, table } from './report.ts';
import { accrual, bulkOf, memberName } from './requests.ts';
import { type Installation, shardCount } from './setup/installation.ts';
import { populate } from './setup/members.ts';
import { openStand } from './setup/stand.ts';

const pacedCalls = 120;
const journalCalls = 100;
const pollMs = 20;
const drainMsMax = 120_000;

interface Scene {
  readonly around: Surroundings;
  readonly installation: Installation;
  readonly redis: Redis;
  readonly client: pg.Client;
  readonly lag: Lag;
  readonly bulk: Omit<BulkOrder, 'calls' | 'lag'>;
}

interface WriterRound {
  readonly recordsPerSecond: number;
  readonly rowsPerSecond: number;
  readonly rawRowsPerSecond: number;
  readonly records: number;
  readonly turns: number;
}

interface CeilingRound extends WriterRound {
  readonly bulkPerSecond: number;
  readonly bulkLagSeconds: number;
  /** Items a second of each way to call the script. */
  readonly scriptPerSecond: readonly number[];
}

/** Sees a bulk call and a single one of the same shard on their way to Redis. */
async function capture({
  installation,
  redis,
  bulk,
}: Scene): Promise<{ bulk: CapturedCall; single: CapturedCall }> {
  const { port } = installation;
  const { adminUrl } = installation.redis;
  const send = async (request: () => Buffer) => {
    const [reply] = await sendAll({ port, connections: 1, request }, 1);
    if (reply!.status >= 300) throw new Error(`a call to be seen was answered with ${reply!.status}`);
  };
  const many = await captureCall(redis, adminUrl, shardCount, () => send(bulk.request));
  const member = memberId(many.records[0]!.member);
  const single = requestsOf(accrual.replace('{{member}}', member), memberName);
  return { bulk: many, single: await captureCall(redis, adminUrl, shardCount, () => send(single)) };
}

async function targetOf({ client, redis }: Scene, call: CapturedCall): Promise<ScriptTarget> {
  const record = call.records[0]!;
  const shard = record.member % shardCount;
  const { rows } = await client.query<{ cold_below: number }>(
    'select cold_below from epoch where shard = $1 and epoch = $2',
    [shard, record.epoch],
  );
  const member = await redis.dumpBuffer(keys.member(shard, record.member));
  const epoch = { shard, epoch: record.epoch, coldBelow: rows[0]!.cold_below, replicationId: '' };
  return { epoch, member: member! };
}

/** One by one, pipelined (the better of two depths), and with as many items in a call as a bulk of 1,000 brings. */
async function waysOf(scene: Scene): Promise<{ ways: Way[]; target: ScriptTarget }> {
  const { bulk, single } = await capture(scene);
  const ways = [
    { name: 'one by one, 50 clients', call: single, clients: 50, pipeline: 1 },
    { name: 'pipelined, -P 16', call: single, clients: 50, pipeline: 16 },
    { name: 'pipelined, -P 64', call: single, clients: 50, pipeline: 64 },
    { name: `${bulk.records.length} items a call, -P 2`, call: bulk, clients: 8, pipeline: 2 },
  ];
  return { ways, target: await targetOf(scene, single) };
}

/** Waits until the first turn has committed, and from there until the last. */
async function watchDrain(lag: Lag): Promise<{ records: number; seconds: number }> {
  const { records: whole } = await lag.read();
  let records = whole;
  let startedMs = performance.now();
  for (const endMs = startedMs + drainMsMax; performance.now() < endMs; await delay(pollMs)) {
    const left = (await lag.read()).records;
    const now = performance.now();
    if (left === 0) return { records, seconds: (now - startedMs) / 1_000 };
    if (records === whole) [records, startedMs] = [left, now];
  }
  throw new Error(`the writer did not drain the journal within ${drainMsMax / 1_000} s`);
}

/** Fills the journal while no writer runs, lets one drain it while no API runs, and copies the same rows. */
async function measureWriter(scene: Scene, between: () => Promise<void>): Promise<WriterRound> {
  const { installation, client, lag, bulk } = scene;
  const { api } = installation;
  const stopWriter = () => installation.writers.at(-1)!.stop();
  await stopWriter();
  const from = await reachOf(client);
  await sendBulk({ ...bulk, calls: journalCalls });
  // A process that stands still asks for nothing and is itself again at once.
  process.kill(api.pid, 'SIGSTOP');
  try {
    await between();
    const draining = watchDrain(lag);
    draining.catch(() => undefined);
    await installation.startWriter();
    const drain = await draining;
    await stopWriter();
    const to = await reachOf(client);
    const turns = await turnsBetween(client, from, to);
    const written = await writtenRows(client, from, to, turns);
    const records = [...to].reduce((sum, [shard, { seq }]) => sum + seq - from.get(shard)!.seq, 0);
    const recordsPerSecond = drain.records / drain.seconds;
    const rowsPerSecond = (recordsPerSecond * written.rows) / records;
    const rawRowsPerSecond = await copyRaw(installation.postgres.url, written);
    return { recordsPerSecond, rowsPerSecond, rawRowsPerSecond, records, turns };
  } finally {
    process.kill(api.pid, 'SIGCONT');
    await installation.startWriter();
    await drained(lag);
  }
}

async function runRound(
  scene: Scene,
  program: Program | undefined,
  { ways, target }: { ways: readonly Way[]; target: ScriptTarget },
  round: number,
): Promise<CeilingRound> {
  const { around, bulk, lag } = scene;
  // The first calls of a process that has just been woken are not those that are counted.
  await sendBulk({ ...bulk, calls: 20, lag });
  const paced = await sendBulk({ ...bulk, calls: pacedCalls, lag });
  let scriptPerSecond: readonly number[] = [];
  const writer = await measureWriter(scene, async () => {
    if (program) scriptPerSecond = await measureScript(around, program, target, ways, round);
  });
  return {
    ...writer,
    bulkPerSecond: paced.items / paced.seconds,
    bulkLagSeconds: paced.lagSecondsLargest,
    scriptPerSecond,
  };
}

function marksOf(rounds: readonly CeilingRound[]): Mark[] {
  const of = (figure: (round: CeilingRound) => number) => rounds.map(figure);
  const marks = [
    markOf(
      'rows a second, ledger writer / raw COPY of the same rows',
      ratios(
        of((r) => r.rowsPerSecond),
        of((r) => r.rawRowsPerSecond),
      ),
      { atLeast: 0.5, aim: 0.7 },
    ),
  ];
  if (rounds.every(({ scriptPerSecond }) => scriptPerSecond.length > 0)) {
    const pipelined = of(({ scriptPerSecond }) => Math.max(scriptPerSecond[1]!, scriptPerSecond[2]!));
    marks.unshift(
      markOf(
        'items a second, bulk of 1,000 with the writer keeping up / pipelined redis-benchmark',
        ratios(
          of((r) => r.bulkPerSecond),
          pipelined,
        ),
        { atLeast: 0.2, aim: 0.3 },
      ),
    );
  }
  return marks;
}

function reportOf(rounds: readonly CeilingRound[], ways: readonly Way[]): string {
  const of = (figure: (round: CeilingRound) => number) => spreadText(rounds.map(figure));
  const first = rounds[0]!;
  const scripts = first.scriptPerSecond.map((_, way) => [
    `redis-benchmark, ${ways[way]!.name}`,
    of(({ scriptPerSecond }) => scriptPerSecond[way]!),
    'items',
  ]);
  const perTurn = Math.round(first.records / first.turns);
  return table([
    ['measure', 'a second', 'of'],
    [`this service, bulk of ${itemsPerCall}, the books within a second`, of((r) => r.bulkPerSecond), 'items'],
    ...scripts,
    [`ledger writer, ${perTurn} records a turn`, of((r) => r.recordsPerSecond), 'records'],
    ['the same', of((r) => r.rowsPerSecond), 'rows'],
    ['raw COPY of the same rows', of((r) => r.rawRowsPerSecond), 'rows'],
  ]);
}

async function openScene(around: Surroundings, stack: AsyncDisposableStack): Promise<Scene> {
  const { installation, standing } = await openStand(around, join(around.folder, 'ceilings'));
  stack.defer(() => standing.stop());
  const { port, lag } = standing;
  const redis = new Redis(installation.redis.adminUrl, { commandTimeout: 20_000 });
  redis.on('error', () => undefined);
  stack.defer(() => redis.disconnect());
  const client = new pg.Client({ connectionString: installation.postgres.url, query_timeout: 60_000 });
  client.on('error', () => undefined);
  await client.connect();
  stack.defer(() => client.end());
  await populate(port, around.members);
  await drained(lag);
  const memberAt = () => memberName(Math.floor(Math.random() * around.members));
  const request = requestsOf(bulkOf(itemsPerCall), memberAt);
  const bulk = { port, abort: around.abort, request };
  return { around, installation, redis, client, lag, bulk };
}

/** Brings an installation up and measures it and its ceilings; answers the figures as data. */
export async function measureCeilings(around: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print } = around;
  const program = await benchmarkProgram(around);
  if (!program)
    print('redis-benchmark (package redis-tools) is not here: the ceilings of the script are left out.');
  print(`ceilings: enrolling ${around.members} members …`);
  const scene = await openScene(around, stack);
  const calls = await waysOf(scene);
  const rounds: CeilingRound[] = [];
  for (let round = 1; round <= roundCount; round += 1) {
    const figures = await runRound(scene, program, calls, round);
    rounds.push(figures);
    print(
      `round ${round} of ${roundCount}  bulk ${Math.round(figures.bulkPerSecond)} items/s, writer ${Math.round(figures.rowsPerSecond)} rows/s, COPY ${Math.round(figures.rawRowsPerSecond)} rows/s`,
    );
  }
  const marks = marksOf(rounds);
  print(`\n${reportOf(rounds, calls.ways)}\n\n${marksText(marks)}`);
  return {
    machine: machine(),
    members: around.members,
    ways: calls.ways.map(({ name }) => name),
    rounds,
    marks,
  };
}
