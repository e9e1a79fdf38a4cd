/**
 * The most that a Redis with our settings can do with our accrual script: redis-benchmark sends the captured call to a Redis
 * of its own, with members that are copies of one of the service's. Nobody parses a request, looks a reference up, judges a
 * receipt or drains the journal. Calls count by the records that they left in the journal.
 */
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { run } from '#src/platform/local/processes.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { redisProgram } from '#src/platform/local/redis-programs.ts';
import { loadScripts, type ShardEpoch, scriptsOf } from '#src/wallet/scripts.ts';
import type { Surroundings } from '../contestant.ts';
import { type CapturedCall, withRandomPlaces } from './captured-call.ts';

const copiedMembers = 10_000;
const firstCalls = 20_000;
/** A call's clock is written into it, and the script refuses one that is more than five seconds off. */
const runMs = 3_000;
const programMsMax = 60_000;
const attemptsMax = 3;

export interface Way {
  readonly name: string;
  readonly call: CapturedCall;
  readonly clients: number;
  readonly pipeline: number;
}

export interface Program {
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
}

/** redis-benchmark stands beside the server: on the PATH or in the unpacked package. Undefined where it is missing. */
export async function benchmarkProgram({
  cacheDir,
  abort,
  print,
}: Surroundings): Promise<Program | undefined> {
  const server = await redisProgram(cacheDir, print, abort);
  const program = { file: server.file.replace(/-server$/, '-benchmark'), env: server.env };
  const { code } = await run({ ...program, args: ['--version'] }, 10_000);
  return code === 0 ? program : undefined;
}

export interface ScriptTarget {
  readonly epoch: ShardEpoch;
  /** What DUMP says of a member that the service has brought into Redis. */
  readonly member: Buffer;
}

/** A Redis with the scripts of the shard and epoch in which the call was captured. */
async function prepare(redis: Redis, target: ScriptTarget, call: CapturedCall): Promise<string> {
  const replicationId = /master_replid:(\w+)/.exec(await redis.info('replication'))![1]!;
  const epoch = { ...target.epoch, replicationId };
  await loadScripts(redis, epoch);
  await redis.xadd(
    call.journal,
    `${epoch.epoch}-0`,
    'kind',
    'opened',
    'previousEpoch',
    '0',
    'previousLastSeq',
    '0',
  );
  const prefix = call.journal.replace(/journal$/, 'm:');
  for (let from = 0; from < copiedMembers; from += 1_000) {
    const pipeline = redis.pipeline();
    for (let number = from; number < from + 1_000; number += 1)
      pipeline.restore(`${prefix}${String(number).padStart(12, '0')}`, 0, target.member);
    const failed = (await pipeline.exec())?.find(([error]) => error)?.[0];
    if (failed) throw failed;
  }
  return scriptsOf(epoch).accrue.sha;
}

interface Stand {
  readonly redis: Redis;
  readonly program: Program;
  readonly port: number;
  readonly password: string;
  readonly sha: string;
}

let runs = 0;

/** Runs so many calls; answers the records that they left a second, and their share of what was sent. */
async function runCalls(
  { redis, program, port, password, sha }: Stand,
  { call, clients, pipeline }: Way,
  calls: number,
): Promise<{ perSecond: number; share: number }> {
  runs += 1;
  const items = call.records.length;
  // The clock of the calls lies in the middle of the run.
  const args = withRandomPlaces(call, runs.toString(16), Date.now() + runMs / 2);
  const before = await redis.xlen(call.journal);
  const { code, stdout, stderr } = await run(
    {
      ...program,
      args: [
        ...['-h', '127.0.0.1', '-p', String(port), '-a', password, '--csv'],
        ...['-c', String(clients), '-P', String(pipeline), '-n', String(calls), '-r', String(copiedMembers)],
        ...['EVALSHA', sha, '1', call.journal, ...args],
      ],
    },
    programMsMax,
  );
  // The last line is the title, which holds the whole call, and seven numbers.
  const rate = /,"([\d.]+)"(?:,"[\d.]+"){6}\s*$/.exec(stdout)?.[1];
  if (code !== 0 || rate === undefined)
    throw new Error(`redis-benchmark failed (${code}): ${stderr.slice(0, 500)}`);
  const records = (await redis.xlen(call.journal)) - before;
  await redis.xtrim(call.journal, 'MAXLEN', 1);
  const share = records / (calls * items);
  return { perSecond: Number(rate) * items * share, share };
}

/** Items a second of one way, after a short run that says how many calls fill the time. */
async function measureWay(stand: Stand, way: Way): Promise<number> {
  const items = way.call.records.length;
  let calls = Math.max(500, Math.round(firstCalls / items));
  const first = await runCalls(stand, way, calls);
  calls = Math.round(((first.perSecond / items) * runMs) / 1_000);
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const { perSecond, share } = await runCalls(stand, way, calls);
    if (share > 0.99) return perSecond;
    calls = Math.round(calls / 2);
  }
  throw new Error(`redis-benchmark, ${way.name}: more than one call in a hundred was refused`);
}

/** Brings a Redis up and runs every way once; items a second in their order. */
export async function measureScript(
  around: Surroundings,
  program: Program,
  target: ScriptTarget,
  ways: readonly Way[],
  round: number,
): Promise<number[]> {
  await using stack = new AsyncDisposableStack();
  const dataDir = join(around.folder, `script-${round}`);
  const server = await startLocalRedis({
    dataDir,
    cacheDir: around.cacheDir,
    abort: around.abort,
    maxmemoryMb: 4_096,
  });
  stack.defer(() => server.stop());
  const redis = new Redis(server.adminUrl, { commandTimeout: 20_000 });
  redis.on('error', () => undefined);
  stack.defer(() => redis.disconnect());
  const perSecond: number[] = [];
  const sha = await prepare(redis, target, ways[0]!.call);
  const stand = { redis, program, port: server.port, password: new URL(server.adminUrl).password, sha };
  for (const way of ways) {
    around.abort.throwIfAborted();
    perSecond.push(await measureWay(stand, way));
  }
  return perSecond;
}
