/**
 * `npm run bench -- --exchanges`: exchanges a second against the partner simulator, open loop at a stated rate, and what the tills
 * notice. Each round has three windows of the same length: exchanges alone, accruals alone at a quarter of what the API can,
 * and both together. An exchange counts when it is completed: held here, booked by the partner, captured here, all of it in
 * PostgreSQL. At the end the partner's books and ours are compared to the point.
 *
 * The CPU that each process uses for an exchange is taken from the first window: it is true also where a machine is not quiet.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { loadPrograms } from '#src/earning/registry.ts';
import { createPool } from '#src/platform/postgres.ts';
import type { MemberNumber } from '#src/values.ts';
import { percentile, ratios, spreadText } from './apart-figures.ts';
import type { Surroundings } from './contestant.ts';
import { sendAtRate } from './driver.ts';
import { drained, type Lag } from './lag.ts';
import { cpuSeconds, machine } from './machine.ts';
import { markOf } from './marks.ts';
import { requestsOf } from './places.ts';
import { marksText, table } from './report.ts';
import { exchange, memberName } from './requests.ts';
import { type Alliance, openAlliance } from './setup/alliance.ts';
import { populate } from './setup/members.ts';
import { openStand } from './setup/stand.ts';
import { quarterOfCapacity, type Tills, tills, warmupMs, windowMs } from './tills.ts';

/** Members who exchange; all accrue. */
const flyers = 5_000;
const openMsMax = 60_000;

interface Scene {
  readonly pool: pg.Pool;
  readonly port: number;
  readonly lag: Lag;
  readonly alliance: Alliance;
  readonly around: Surroundings;
  readonly ratePerSecond: number;
  readonly processes: Readonly<Record<string, number>>;
}

interface Exchanged {
  readonly sent: number;
  /** Completed with the reply; others were completed later or not at all. */
  readonly answered: number;
  readonly refused: number;
  readonly completedPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lateP99Ms: number;
  /** CPU of each process, µs a completed exchange. */
  readonly cpuMicros: Readonly<Record<string, number>>;
}

async function flyerNumbers(pool: pg.Pool): Promise<MemberNumber[]> {
  const { rows } = await pool.query<{ number: MemberNumber }>(
    'select number from member order by number limit $1',
    [flyers],
  );
  return rows.map(({ number }) => number);
}

async function completed(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `select count(*)::int as count from exchange where state = 'completed'`,
  );
  return rows[0]!.count;
}

/** Waits until no exchange is under way. */
async function settled({ pool, lag, around }: Scene): Promise<void> {
  const deadline = performance.now() + openMsMax;
  for (;;) {
    around.abort.throwIfAborted();
    const { rows } = await pool.query<{ state: string; count: number }>(
      `select state, count(*)::int as count from exchange where state not in ('quoted', 'completed', 'refused', 'reversed') group by state`,
    );
    if (rows.length === 0) break;
    if (performance.now() > deadline) throw new Error(`exchanges are still open: ${JSON.stringify(rows)}`);
    await delay(100);
  }
  await drained(lag);
}

function cpuOf({ processes }: Scene): Record<string, number> {
  return Object.fromEntries(Object.entries(processes).map(([name, pid]) => [name, cpuSeconds(pid) ?? 0]));
}

/** Exchanges at the rate for the window; what came before the warm-up's end is not counted. */
async function exchanges(scene: Scene): Promise<Exchanged> {
  const { pool, port, ratePerSecond, around } = scene;
  const startedMs = performance.now();
  const memberAt = () => memberName(Math.floor(Math.random() * flyers));
  const drive = { port, connections: 512, request: requestsOf(exchange, memberAt) };
  const signal = around.abort;
  const over = delay(warmupMs + windowMs, undefined, { signal });
  const counting = delay(warmupMs, undefined, { signal }).then(async () => {
    const before = { cpu: cpuOf(scene), completed: await completed(pool), atMs: performance.now() };
    await over;
    const seconds = (performance.now() - before.atMs) / 1_000;
    const count = (await completed(pool)) - before.completed;
    const after = Object.entries(cpuOf(scene));
    const cpuMicros = Object.fromEntries(
      after.map(([name, cpu]) => [name, ((cpu - before.cpu[name]!) * 1e6) / Math.max(1, count)]),
    );
    return { completedPerSecond: count / seconds, cpuMicros };
  });
  const replies = await sendAtRate(drive, ratePerSecond, over);
  const counted = replies.filter(({ dueMs }) => dueMs >= startedMs + warmupMs);
  const took = counted.map(({ tookMs }) => tookMs);
  return {
    ...(await counting),
    sent: counted.length,
    answered: counted.filter(({ status }) => status === 201).length,
    refused: counted.filter(({ status }) => status !== 201 && status !== 202).length,
    p50Ms: percentile(took, 0.5),
    p99Ms: percentile(took, 0.99),
    lateP99Ms: percentile(
      counted.map(({ lateMs }) => lateMs),
      0.99,
    ),
  };
}

interface Round {
  readonly alone: Exchanged;
  readonly before: Tills;
  readonly during: Tills;
  readonly beside: Exchanged;
}

async function measureRound(scene: Scene, accrualsPerSecond: number): Promise<Round> {
  const window = () => delay(warmupMs + windowMs, undefined, { signal: scene.around.abort });
  const alone = await exchanges(scene);
  await settled(scene);
  const before = await tills(scene, accrualsPerSecond, window());
  await drained(scene.lag);
  const [beside, during] = await Promise.all([exchanges(scene), tills(scene, accrualsPerSecond, window())]);
  await settled(scene);
  return { alone, before, during, beside };
}

/** Points that our books say went to the partner are those that the partner's books have; throws where they are not. */
async function compared({ pool, alliance }: Scene): Promise<number> {
  const { rows } = await pool.query<{ points: number }>(
    `select coalesce(sum(points), 0)::bigint as points from entry where account = 'partner' and party = $1`,
    [alliance.partner],
  );
  const [went, came] = [rows[0]!.points, await alliance.net()];
  if (went !== came * 2)
    throw new Error(`${went} points went, and ${came} miles came: half of them should have`);
  return went;
}

function reportOf(rounds: readonly Round[], accrualsPerSecond: number, ratePerSecond: number): string {
  const row = (name: string, of: (round: Round) => number, digits = 0) => [
    name,
    spreadText(rounds.map(of), digits),
  ];
  const processes = Object.keys(rounds[0]!.alone.cpuMicros);
  return table([
    [`exchanges at ${ratePerSecond} a second, accruals at ${Math.round(accrualsPerSecond)}`, ''],
    row('exchanges alone, completed a second', ({ alone }) => alone.completedPerSecond),
    row('exchanges alone, p50 ms', ({ alone }) => alone.p50Ms, 1),
    row('exchanges alone, p99 ms', ({ alone }) => alone.p99Ms, 1),
    ...processes.map((name) =>
      row(`CPU of ${name}, µs an exchange`, ({ alone }) => alone.cpuMicros[name] ?? 0),
    ),
    row('beside accruals, completed a second', ({ beside }) => beside.completedPerSecond),
    row('beside accruals, p50 ms', ({ beside }) => beside.p50Ms, 1),
    row('beside accruals, p99 ms', ({ beside }) => beside.p99Ms, 1),
    row(
      'answered before completed',
      ({ alone, beside }) => alone.sent - alone.answered + beside.sent - beside.answered,
    ),
    row('accruals alone, p50 ms', ({ before }) => before.p50Ms, 2),
    row('accruals alone, p99 ms', ({ before }) => before.p99Ms, 2),
    row('accruals beside exchanges, p50 ms', ({ during }) => during.p50Ms, 2),
    row('accruals beside exchanges, p99 ms', ({ during }) => during.p99Ms, 2),
    row('driver late beside exchanges, p99 ms', ({ during }) => during.lateP99Ms, 2),
    row(
      'refused',
      ({ alone, beside, before, during }) => alone.refused + beside.refused + before.refused + during.refused,
    ),
  ]);
}

function marksOf(rounds: readonly Round[]) {
  return [
    markOf(
      'exchanges completed a second, beside accruals at 25 %',
      rounds.map(({ beside }) => beside.completedPerSecond),
      // An open loop completes what is sent, give or take those under way at both ends of the window.
      { atLeast: 490, aim: 500 },
    ),
    markOf(
      'p99 of accruals at 25 % of capacity, beside exchanges / alone',
      ratios(
        rounds.map(({ during }) => during.p99Ms),
        rounds.map(({ before }) => before.p99Ms),
      ),
      { atMost: 2, aim: 1.5 },
    ),
  ];
}

/** Brings this service and a partner up and exchanges; answers the figures as data. */
export async function measureExchanges(
  around: Surroundings,
  { rounds: roundCount, rate }: { readonly rounds: number; readonly rate: number },
): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print } = around;
  const dataDir = join(around.folder, 'exchanges');
  const { installation, standing } = await openStand(around, dataDir);
  stack.defer(() => standing.stop());
  const { port, postgres } = installation;
  const pool = createPool(postgres.url, 8);
  stack.defer(() => pool.end());
  print(`exchanges: enrolling ${around.members} members, linking ${flyers} …`);
  await populate(port, around.members);
  const program = (await loadPrograms(pool)).all()[0]!;
  const members = await flyerNumbers(pool);
  const alliance = await openAlliance(around, stack, { pool, port, dataDir, program, members });
  const worker = installation.startAlliance();
  const processes = { ...standing.processes, alliance: worker.pid, simulator: alliance.simulator.pid };
  const shop = { port, around };
  const accrualsPerSecond = await quarterOfCapacity(shop);
  const scene: Scene = { ...shop, pool, lag: standing.lag, alliance, ratePerSecond: rate, processes };
  await drained(standing.lag);
  const rounds: Round[] = [];
  for (let round = 1; round <= roundCount; round += 1) {
    const measured = await measureRound(scene, accrualsPerSecond);
    rounds.push(measured);
    const { alone, before, during, beside } = measured;
    print(
      `round ${round} of ${roundCount}  ${Math.round(alone.completedPerSecond)} and ${Math.round(beside.completedPerSecond)} exchanges/s, p99 of accruals ${before.p99Ms.toFixed(2)} and ${during.p99Ms.toFixed(2)} ms`,
    );
  }
  const went = await compared(scene);
  const marks = marksOf(rounds);
  print(`\n${reportOf(rounds, accrualsPerSecond, rate)}\n`);
  print(`${went} points went to the partner, and its books have them.\n\n${marksText(marks)}`);
  return { machine: machine(), members: around.members, flyers, rate, accrualsPerSecond, rounds, marks };
}
