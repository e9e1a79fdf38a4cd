/**
 * `npm run bench -- --recovery`: how long what happens at night takes. Each figure is of this machine with everything on its
 * two cores; the p99 is compared with that of the seconds before, in the same run.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pg from 'pg';
import { parseMemberId, shardOfMember } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { percentile } from './apart-figures.ts';
import type { NodeProcess, Surroundings } from './contestant.ts';
import { type Drive, type Reply, sendAll, sendAtRate } from './driver.ts';
import { drained } from './lag.ts';
import { runLoad } from './load.ts';
import { accrual, balances, memberName, only } from './requests.ts';
import { type Installation, shardCount } from './setup/installation.ts';
import { populate } from './setup/members.ts';
import { openStand } from './setup/stand.ts';
import { filling } from './wire.ts';

const takeovers = 3;
const shardsLost = 5;
const connections = 128;
const calmMs = 4_000;

interface Scene {
  readonly installation: Installation;
  readonly redis: Redis;
  readonly pool: pg.Pool;
  readonly around: Surroundings;
  /** One member of each shard, by shard. */
  readonly named: readonly string[];
}

/** Makes the bytes of a request for a member. */
function bytesFor(request: string): (member: string) => Buffer {
  let member = memberName(0);
  const next = filling(request, {
    member: () => member,
    reference: () => crypto.randomUUID(),
    order: () => crypto.randomUUID(),
    now: () => new Date().toISOString(),
  });
  return (of) => {
    member = of;
    return next();
  };
}

function driveOf({ installation }: Pick<Scene, 'installation'>, request: string, members: number): Drive {
  const bytesOf = bytesFor(request);
  return {
    port: installation.port,
    connections,
    request: (index) => bytesOf(memberName(index % members)),
  };
}

/** The shard of each member by its index. */
async function shardsOf(port: number, members: number): Promise<number[]> {
  const shards: number[] = [];
  for (let index = 0; index < members; index += 1) {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/members/${memberName(index)}/balances`, {
      headers: { authorization: 'Bearer demo-pos' },
      signal: AbortSignal.timeout(10_000),
    });
    const { member } = (await answer.json()) as { member: string };
    shards.push(shardOfMember(parseMemberId(member)!, shardCount));
  }
  return shards;
}

/** Seconds until a request for a member is served, asked again every 10 ms. Throws after a minute. */
async function untilServed({ installation }: Scene, member: string, request: string): Promise<number> {
  const startedMs = performance.now();
  const bytesOf = bytesFor(request);
  const drive: Drive = { port: installation.port, connections: 1, request: () => bytesOf(member) };
  while (performance.now() - startedMs < 60_000) {
    const [reply] = await sendAll(drive, 1);
    if (reply!.status >= 200 && reply!.status < 300) return (performance.now() - startedMs) / 1_000;
    await delay(10);
  }
  throw new Error(`${member} is not served after a minute`);
}

async function allServed(scene: Scene, request: string): Promise<number[]> {
  return Promise.all(scene.named.map((member) => untilServed(scene, member, request)));
}

/** Waits until both writers hold half of the shards, so that either one's end is felt. */
async function balanced({ pool }: Scene): Promise<void> {
  for (let waitedMs = 0; waitedMs < 30_000; waitedMs += 50) {
    const { rows } = await pool.query<{ held: number }>(
      `select count(*)::int as held from lease where heartbeat_at > clock_timestamp() - interval '1 second' group by owner`,
    );
    if (rows.length === 2 && rows.every(({ held }) => held === shardCount / 2)) return;
    await delay(50);
  }
  throw new Error('the writers do not share the shards');
}

/** Seconds until the books go on in every shard after a writer was killed or stopped. */
async function takeover(scene: Scene, signal: 'SIGKILL' | 'SIGSTOP'): Promise<number> {
  const { installation } = scene;
  await balanced(scene);
  const victim = installation.writers.findLast((writer: NodeProcess) => !writer.hasExited())!;
  process.kill(victim.pid, signal);
  const startedMs = performance.now();
  await booked(scene);
  const seconds = (performance.now() - startedMs) / 1_000;
  if (signal === 'SIGSTOP') process.kill(victim.pid, 'SIGCONT');
  else await installation.startWriter();
  return seconds;
}

/** One accrual in every shard, each in the books when its answer comes. */
async function booked({ installation, named }: Scene): Promise<void> {
  await Promise.all(
    named.map(async (member) => {
      const answer = await fetch(`http://127.0.0.1:${installation.port}/v1/accruals`, {
        method: 'POST',
        headers: {
          authorization: 'Bearer demo-pos',
          'content-type': 'application/json',
          prefer: 'wait=10',
        },
        body: JSON.stringify({
          member,
          reference: crypto.randomUUID(),
          durability: 'ledger',
          occurredAt: new Date().toISOString(),
          purchase: { currency: 'EUR', lines: [{ line: 1, amount: 100 }] },
        }),
        signal: AbortSignal.timeout(20_000),
      });
      if (answer.status !== 201)
        throw new Error(`not in the books after ten seconds: ${await answer.text()}`);
      await answer.arrayBuffer();
    }),
  );
}

interface OneShardLost {
  readonly ratePerSecond: number;
  readonly before: readonly Reply[];
  readonly during: readonly Reply[];
  readonly refused: number;
  readonly seconds: readonly number[];
}

/** Shards lose their journals one after the other, under accruals at a quarter of what the API can. */
async function loseShards(scene: Scene): Promise<OneShardLost> {
  const { installation, around, redis, named } = scene;
  const { port } = installation;
  const members = 3_200;
  const times = { warmupMs: 2_000, measureMs: 4_000 };
  const settings = { port, connections, members, ...times, traffic: only(accrual) };
  const { requests, seconds: took } = await runLoad(settings, around).measured;
  const ratePerSecond = requests / took / 4;
  const windows: { shard: number; fromMs: number; toMs: number }[] = [];
  const calm: { fromMs: number; toMs: number }[] = [];
  const seconds: number[] = [];
  const lose = async () => {
    await delay(calmMs);
    for (let shard = 0; shard < shardsLost; shard += 1) {
      const calmFromMs = performance.now();
      await delay(calmMs);
      const fromMs = performance.now();
      calm.push({ fromMs: calmFromMs, toMs: fromMs });
      await redis.del(keys.journal(shard));
      seconds.push(await untilServed(scene, named[shard]!, accrual));
      windows.push({ shard, fromMs, toMs: performance.now() });
    }
  };
  const shards = await shardsOf(port, members);
  const replies = await sendAtRate(driveOf(scene, accrual, members), ratePerSecond, lose());
  const inside = (dueMs: number, { fromMs, toMs }: { fromMs: number; toMs: number }) =>
    fromMs <= dueMs && dueMs < toMs;
  const during = replies.filter(({ dueMs, index }) =>
    windows.some((window) => inside(dueMs, window) && shards[index % members] !== window.shard),
  );
  return {
    ratePerSecond,
    before: replies.filter(({ dueMs }) => calm.some((window) => inside(dueMs, window))),
    during,
    refused: during.filter(({ status }) => status !== 201).length,
    seconds,
  };
}

interface Everything {
  readonly firstSeconds: readonly number[];
  readonly warmSeconds: number;
}

/** Everything in Redis is lost, or only its scripts; then every member is asked for once. */
async function loseEverything(scene: Scene, what: 'flushall' | 'scripts'): Promise<Everything> {
  const { redis, around } = scene;
  if (what === 'flushall') await redis.flushall();
  else await redis.script('FLUSH');
  const startedMs = performance.now();
  const firstSeconds = await allServed(scene, balances);
  const replies = await sendAll(driveOf(scene, balances, around.members), around.members);
  const wrong = replies.find(({ status }) => status !== 200);
  if (wrong) throw new Error(`a member is not served after the recovery: ${wrong.status}`);
  return { firstSeconds, warmSeconds: (performance.now() - startedMs) / 1_000 };
}

/** The latency below which 99 % of the replies stayed. */
function p99MsOf(replies: readonly Reply[]): number {
  return percentile(
    replies.map(({ tookMs }) => tookMs),
    0.99,
  );
}

interface ColdLoads {
  readonly offeredPerSecond: number;
  readonly servedPerSecond: number;
  readonly loadsPerSecond: number;
  readonly refused: number;
  readonly p99Ms: number;
  readonly fullShareMax: number;
}

/** How many members the API has brought into Redis so far. */
async function loads({ installation }: Scene): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${installation.port}/metrics`, {
    signal: AbortSignal.timeout(10_000),
  });
  return Number(/^loyalty_members_loaded_total (\d+)/m.exec(await answer.text())?.[1] ?? Number.NaN);
}

/** Redis is as full as it may be, and members are asked for that are not in it. */
async function loadIntoFull(scene: Scene): Promise<ColdLoads> {
  const { redis, around } = scene;
  const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))![1]);
  const limit = Math.round((await used()) * 1.02);
  await redis.config('SET', 'maxmemory', limit);
  const before = await loads(scene);
  const shares: number[] = [];
  const offeredPerSecond = 10_000;
  const seconds = 20;
  const watch = async () => {
    for (let second = 0; second < seconds; second += 1) {
      await delay(1_000);
      shares.push((await used()) / limit);
    }
  };
  const drive = { ...driveOf(scene, balances, around.members), connections: 512 };
  const replies = await sendAtRate(drive, offeredPerSecond, watch());
  const served = replies.filter(({ status }) => status === 200);
  return {
    offeredPerSecond,
    servedPerSecond: served.length / seconds,
    loadsPerSecond: ((await loads(scene)) - before) / seconds,
    refused: replies.length - served.length,
    p99Ms: p99MsOf(served),
    fullShareMax: Math.max(...shares),
  };
}

const figure = (value: number, digits = 2) => value.toFixed(digits);
const each = (values: readonly number[]) =>
  `${values.map((value) => figure(value)).join(', ')} s; longest ${figure(Math.max(...values))} s`;

async function measure(scene: Scene): Promise<void> {
  const { around, installation } = scene;
  const { print, members } = around;
  const million = (seconds: number) => Math.round((seconds / members) * 1_000_000);
  const killed: number[] = [];
  const stopped: number[] = [];
  for (let time = 0; time < takeovers; time += 1) {
    killed.push(await takeover(scene, 'SIGKILL'));
    stopped.push(await takeover(scene, 'SIGSTOP'));
  }
  print(`takeover after a killed writer: ${each(killed)}`);
  print(`takeover after a stopped writer: ${each(stopped)}`);
  const lost = await loseShards(scene);
  const [before, during] = [p99MsOf(lost.before), p99MsOf(lost.during)];
  print(
    `one shard lost, at ${Math.round(lost.ratePerSecond)} accruals/s: its first request after ${each(lost.seconds)}`,
  );
  print(
    `p99 of the other shards meanwhile: ${figure(during, 1)} ms, before ${figure(before, 1)} ms: ${figure(during / before)} times; ${lost.refused} of ${lost.during.length} refused`,
  );
  const warm = await loseEverything(scene, 'scripts');
  print(`scripts lost, ${members} members: first requests of the shards after ${each(warm.firstSeconds)}`);
  const cold = await loseEverything(scene, 'flushall');
  print(`Redis lost, ${members} members: first requests of the shards after ${each(cold.firstSeconds)}`);
  print(
    `all members back after ${figure(cold.warmSeconds)} s: ${million(cold.warmSeconds)} s per million members`,
  );
  installation.startUpkeep();
  const full = await loadIntoFull(scene);
  print(
    `${full.offeredPerSecond} requests/s for cold members on a full Redis: ${Math.round(full.servedPerSecond)} served and ${Math.round(full.loadsPerSecond)} members loaded a second, p99 ${figure(full.p99Ms, 0)} ms, ${full.refused} refused, memory at most ${figure(full.fullShareMax * 100, 0)} % of its limit`,
  );
}

/** Brings an installation with two writers up and measures it. */
export async function measureRecovery(around: Surroundings): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { installation, standing } = await openStand(around, join(around.folder, 'recovery'));
  stack.defer(() => standing.stop());
  await installation.startWriter();
  const redis = new Redis(installation.redis.adminUrl, { commandTimeout: 20_000 });
  redis.on('error', () => undefined);
  stack.defer(() => redis.disconnect());
  const pool = new pg.Pool({ connectionString: installation.postgres.url, max: 1, query_timeout: 20_000 });
  pool.on('error', () => undefined);
  stack.defer(() => pool.end());
  around.print(`recovery: enrolling ${around.members} members …`);
  await populate(installation.port, around.members);
  await drained(standing.lag);
  const shards = await shardsOf(installation.port, 10 * shardCount);
  const named = Array.from({ length: shardCount }, (_, shard) => memberName(shards.indexOf(shard)));
  await measure({ installation, redis, pool, around, named });
}
