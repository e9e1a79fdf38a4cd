/**
 * `npm run bench -- --gives`: how fast a worker gives points to all members, counted in the ledger, and what the tills notice.
 * First on a quiet machine, to members who are in Redis and, once that has lost everything, to members who are not. Then
 * beside accruals at a quarter of what the API can, open loop: the p99 of the same seconds with and without the worker.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type pg from 'pg';
import { programFileSchema } from '#src/earning/file/schema.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { demoFile } from '#src/earning/samples/demo.ts';
import { applyVersion } from '#src/earning/versions.ts';
import { createPool } from '#src/platform/postgres.ts';
import { ratios, spreadText } from './apart-figures.ts';
import type { Surroundings } from './contestant.ts';
import { drained, type Lag } from './lag.ts';
import { cpuSeconds, machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { memberName } from './requests.ts';
import { until } from './setup/installation.ts';
import { populate } from './setup/members.ts';
import { openStand } from './setup/stand.ts';
import { quarterOfCapacity, type Tills, tills, warmupMs, windowMs } from './tills.ts';

const runMsMax = 600_000;
const gift = {
  name: 'bench-gift',
  currency: 'points',
  during: { repeat: 'FREQ=DAILY' },
  give: { points: 10 },
};

interface Scene {
  readonly pool: pg.Pool;
  readonly port: number;
  readonly lag: Lag;
  readonly program: number;
  readonly around: Surroundings;
  /** Process numbers by what the process is. */
  readonly processes: Readonly<Record<string, number>>;
}

/** The sample program with a promotion that gives. */
async function applyGift(pool: pg.Pool): Promise<number> {
  const program = (await loadPrograms(pool)).all()[0]!;
  const file = programFileSchema.parse({ ...demoFile, promotions: [gift] });
  const applied = await applyVersion(pool, program, { file, source: JSON.stringify(file), actor: 'bench' });
  if (applied.status === 'refused') throw new Error('the promotion of the benchmark was refused');
  return program.number;
}

let days = 0;

/** Makes an occurrence of a day that nobody was given anything for; the worker finds it with its next tick. */
async function plan({ pool, program }: Scene): Promise<number> {
  days += 1;
  const { rows } = await pool.query<{ run: number }>(
    `insert into give_run (program, promotion, occurrence, version, due_at, points, currency)
     select $1, $2, current_date - $3::int, max(version), (extract(epoch from now()) * 1000)::bigint, 10, 'points'
     from program_version where program = $1 returning run`,
    [program, gift.name, days],
  );
  return rows[0]!.run;
}

interface Given {
  readonly members: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** CPU of each process, µs an award: that of a run on a quiet machine, whatever else runs on this one. */
  readonly cpuMicros: Readonly<Record<string, number>>;
}

function cpuOf({ processes }: Scene): Record<string, number> {
  return Object.fromEntries(Object.entries(processes).map(([name, pid]) => [name, cpuSeconds(pid) ?? 0]));
}

/** Waits until a run is done, which it is when the ledger has all of it. */
async function given(scene: Scene, run: number): Promise<Given> {
  const { pool, around } = scene;
  const deadline = performance.now() + runMsMax;
  const cpuBefore = cpuOf(scene);
  while (performance.now() < deadline) {
    around.abort.throwIfAborted();
    const { rows } = await pool.query<{ members: number; given: number; seconds: number | null }>(
      `select sum(member_count)::int as members, sum(given)::int as given,
         extract(epoch from r.ended_at - r.selected_at)::float8 as seconds
       from give_run r join give_chunk c using (run) where run = $1 group by r.run`,
      [run],
    );
    const [row] = rows;
    if (row && row.seconds !== null) {
      if (row.given !== row.members)
        throw new Error(`only ${row.given} of ${row.members} members were given points`);
      const after = Object.entries(cpuOf(scene));
      const cpuMicros = Object.fromEntries(
        after.map(([name, cpu]) => [name, ((cpu - cpuBefore[name]!) * 1e6) / row.given]),
      );
      return { members: row.given, seconds: row.seconds, perSecond: row.given / row.seconds, cpuMicros };
    }
    await delay(50);
  }
  throw new Error('the run is not done after ten minutes');
}

/** Whether the API's movements go on, after Redis has lost everything. */
async function servedAgain({ port, around }: Scene): Promise<void> {
  const url = `http://127.0.0.1:${port}/v1/members/${memberName(0)}/balances`;
  const wanted = async () => {
    const answer = await fetch(url, {
      headers: { authorization: 'Bearer demo-pos' },
      signal: AbortSignal.timeout(5_000),
    });
    return answer.ok;
  };
  await until(`http://127.0.0.1:${port}/readyz`, () => undefined, around.abort, wanted);
}

interface Round {
  readonly hot: Given;
  readonly before: Tills;
  readonly during: Tills;
  readonly beside: Given;
}

async function measureRound(scene: Scene, ratePerSecond: number): Promise<Round> {
  const hot = await given(scene, await plan(scene));
  await drained(scene.lag);
  const { abort } = scene.around;
  const before = await tills(scene, ratePerSecond, delay(warmupMs + windowMs, undefined, { signal: abort }));
  await drained(scene.lag);
  // As many runs as fill the window, one after the other; the last one is what is measured of the worker.
  const giving = async () => {
    const endMs = performance.now() + warmupMs + windowMs;
    let last: Given | undefined;
    while (performance.now() < endMs) last = await given(scene, await plan(scene));
    return last!;
  };
  const beside = giving();
  const during = await tills(scene, ratePerSecond, beside);
  await drained(scene.lag);
  return { hot, before, during, beside: await beside };
}

function reportOf(rounds: readonly Round[], cold: Given): string {
  const row = (name: string, of: (round: Round) => number, digits = 0) => [
    name,
    spreadText(rounds.map(of), digits),
  ];
  return table([
    ['giving points to members', ''],
    row('members in Redis, awards a second', ({ hot }) => hot.perSecond),
    ['members not in Redis, awards a second', spreadText([cold.perSecond])],
    ...Object.keys(cold.cpuMicros).map((name) =>
      row(`CPU of ${name}, µs an award`, ({ hot }) => hot.cpuMicros[name] ?? 0, 1),
    ),
    ...Object.entries(cold.cpuMicros).map(([name, micros]) => [
      `CPU of ${name}, members not in Redis`,
      spreadText([micros], 1),
    ]),
    row('beside accruals at 25 %, awards a second', ({ beside }) => beside.perSecond),
    row('accruals at 25 % alone, p99 ms', ({ before }) => before.p99Ms, 2),
    row('accruals at 25 % beside the worker, p99 ms', ({ during }) => during.p99Ms, 2),
    row('driver late beside the worker, p99 ms', ({ during }) => during.lateP99Ms, 2),
    row('not 201', ({ before, during }) => before.refused + during.refused),
  ]);
}

/** Brings this service up and lets a worker give; answers the figures as data. */
export async function measureGives(around: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print } = around;
  const { installation, standing } = await openStand(around, join(around.folder, 'gives'));
  stack.defer(() => standing.stop());
  const { port, postgres, redis: server } = installation;
  const pool = createPool(postgres.url, 4);
  stack.defer(() => pool.end());
  print(`gives: enrolling ${around.members} members …`);
  await populate(port, around.members);
  const program = await applyGift(pool);
  const worker = installation.startPromotions();
  const processes = { ...standing.processes, worker: worker.pid };
  const scene: Scene = { pool, port, lag: standing.lag, program, around, processes };
  const ratePerSecond = await quarterOfCapacity(scene);
  await drained(standing.lag);
  const rounds: Round[] = [];
  for (let round = 1; round <= roundCount; round += 1) {
    const measured = await measureRound(scene, ratePerSecond);
    rounds.push(measured);
    print(
      `round ${round} of ${roundCount}  ${Math.round(measured.hot.perSecond)} awards/s, p99 ${measured.before.p99Ms.toFixed(2)} and ${measured.during.p99Ms.toFixed(2)} ms`,
    );
  }
  const redis = new Redis(server.adminUrl, { commandTimeout: 20_000 });
  stack.defer(() => redis.disconnect());
  await redis.flushall();
  await servedAgain(scene);
  const cold = await given(scene, await plan(scene));
  const marks = [
    markOf(
      'awards a second to the ledger, members in Redis',
      rounds.map(({ hot }) => hot.perSecond),
      {
        atLeast: 20_000,
        aim: 25_000,
      },
    ),
    markOf(
      'p99 of accruals at 25 % of capacity, beside the worker / alone',
      ratios(
        rounds.map(({ during }) => during.p99Ms),
        rounds.map(({ before }) => before.p99Ms),
      ),
      { atMost: 2, aim: 1.5 },
    ),
  ];
  print(`\n${reportOf(rounds, cold)}\n\n${marksText(marks)}`);
  return { machine: machine(), members: around.members, ratePerSecond, rounds, cold, marks };
}
