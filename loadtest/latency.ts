/**
 * `npm run bench -- --latency`: how long an accrual takes at a constant rate, beside bare Express at the same rate. Latency
 * counts from the moment when a request was due (driver.ts), at 25, 50 and 75 % of what this machine's closed loop reaches.
 * The driver's own lateness is in every figure of both sides and stands beside them: where it is not small, the driver was
 * measured.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { percentile, ratios, spreadText } from './apart-figures.ts';
import { type Contestant, type Standing, type Surroundings, startListening } from './contestant.ts';
import { type Reply, sendAtRate } from './driver.ts';
import { drained } from './lag.ts';
import { machine } from './machine.ts';
import { markOf } from './marks.ts';
import { requestsOf } from './places.ts';
import { marksText, table } from './report.ts';
import { accrual, memberName } from './requests.ts';
import { underLoad } from './round.ts';
import { thisEngine } from './setup/engine.ts';

const shares = [0.25, 0.5, 0.75] as const;
const sides = ['service', 'express'] as const;
type Side = (typeof sides)[number];
/** More than the closed loop's: at a rate, requests under way are as many as the server leaves waiting. */
const connections = 512;
const warmupMs = 2_000;
const windowMs = 8_000;
/** Above this part of bare Express's own p99 the driver's lateness would decide the comparison. */
const lateShareMax = 0.5;

interface Window {
  readonly round: number;
  readonly side: Side;
  readonly share: number;
  readonly ratePerSecond: number;
  readonly requests: number;
  readonly refused: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** How late the driver itself was: a connection was free and the request was due. */
  readonly lateP50Ms: number;
  readonly lateP99Ms: number;
  readonly driverCores: number;
}

interface Sides {
  readonly service: Standing;
  readonly express: Pick<Standing, 'port' | 'stop'>;
}

function windowOf(side: Side, share: number, ratePerSecond: number, replies: readonly Reply[]) {
  const took = replies.map(({ tookMs }) => tookMs);
  const late = replies.map(({ lateMs }) => lateMs);
  return {
    side,
    share,
    ratePerSecond,
    requests: replies.length,
    refused: replies.filter(({ status }) => status !== 201).length,
    p50Ms: percentile(took, 0.5),
    p99Ms: percentile(took, 0.99),
    p999Ms: percentile(took, 0.999),
    lateP50Ms: percentile(late, 0.5),
    lateP99Ms: percentile(late, 0.99),
  };
}

async function measureWindow(
  around: Surroundings,
  { service, express }: Sides,
  side: Side,
  share: number,
  ratePerSecond: number,
): Promise<Omit<Window, 'round'>> {
  const port = side === 'service' ? service.port : express.port;
  const memberAt = () => memberName(Math.floor(Math.random() * around.members));
  const drive = { port, connections, request: requestsOf(accrual, memberAt) };
  const startedMs = performance.now();
  const cpuBefore = process.cpuUsage();
  const over = delay(warmupMs + windowMs, undefined, { signal: around.abort });
  const replies = await sendAtRate(drive, ratePerSecond, over);
  const cpu = process.cpuUsage(cpuBefore);
  const driverCores = (cpu.user + cpu.system) / 1_000 / (performance.now() - startedMs);
  // The writer's work on the last records belongs to this side.
  if (side === 'service' && service.lag) await drained(service.lag);
  const counted = replies.filter(({ dueMs }) => dueMs >= startedMs + warmupMs);
  return { ...windowOf(side, share, ratePerSecond, counted), driverCores };
}

/** What the service answers to one accrual: bare Express sends the same bytes back. */
async function replyBody(port: number): Promise<object> {
  const text = requestsOf(accrual, memberName)().toString('latin1');
  const answer = await fetch(`http://127.0.0.1:${port}/v1/accruals`, {
    method: 'POST',
    headers: { authorization: 'Bearer demo-pos', 'content-type': 'application/json' },
    body: text.slice(text.indexOf('\r\n\r\n') + 4),
    signal: AbortSignal.timeout(10_000),
  });
  if (answer.status !== 201) throw new Error(`an accrual was answered with ${answer.status}`);
  return (await answer.json()) as object;
}

function reportOf(windows: readonly Window[]): string {
  const rows = shares.flatMap((share) =>
    sides.map((side) => {
      const own = windows.filter((window) => window.side === side && window.share === share);
      const of = (figure: (window: Window) => number, digits = 2) => spreadText(own.map(figure), digits);
      return [
        `${side === 'service' ? 'this service' : 'bare Express'} at ${share * 100} %`,
        of((window) => window.ratePerSecond, 0),
        of((window) => window.p50Ms),
        of((window) => window.p99Ms),
        of((window) => window.p999Ms),
        String(own.reduce((sum, window) => sum + window.refused, 0)),
        of((window) => window.lateP50Ms),
        of((window) => window.lateP99Ms),
        of((window) => window.driverCores),
      ];
    }),
  );
  const heads = ['open loop', 'a second', 'p50 ms', 'p99 ms', 'p99.9 ms', 'not 201'];
  return table([[...heads, 'driver late p50', 'late p99', 'driver cores'], ...rows]);
}

function faultsOf(windows: readonly Window[]): string[] {
  return windows.flatMap(({ round, side, share, refused, lateP99Ms, driverCores }) => {
    const at = `round ${round}, ${side} at ${share * 100} %`;
    const bare = windows.filter((other) => other.side === 'express' && other.share === share);
    const bareP99Ms = Math.min(...bare.map(({ p99Ms }) => p99Ms));
    return [
      ...(refused > 0 ? [`${at}: ${refused} replies were not 201`] : []),
      ...(lateP99Ms > lateShareMax * bareP99Ms
        ? [`${at}: the driver was ${lateP99Ms.toFixed(1)} ms late (p99) and may be what was measured`]
        : []),
      ...(driverCores > 0.9 ? [`${at}: the driver used ${driverCores.toFixed(2)} of a core`] : []),
    ];
  });
}

function marksOf(windows: readonly Window[]) {
  const p99 = (side: Side) =>
    windows.filter((window) => window.side === side && window.share === 0.5).map(({ p99Ms }) => p99Ms);
  const measure = 'p99 at 50 % of capacity, open loop, this service / bare Express';
  return [markOf(measure, ratios(p99('service'), p99('express')), { atMost: 4, aim: 2 })];
}

/** Accruals a second of the closed loop, which the rates are shares of. */
async function capacityOf(standing: Standing, contestant: Contestant, around: Surroundings): Promise<number> {
  const settings = { warmupMs: 4_000, measureMs: 5_000 };
  const { perSecond, refused } = await underLoad(contestant, standing, settings, around);
  if (refused > 0) throw new Error(`${refused} replies of the closed loop were not 2xx`);
  return perSecond;
}

/** Brings this service and a bare Express up and measures them in turn; answers the figures as data. */
export async function measureLatency(around: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print } = around;
  const stage = thisEngine(around);
  print(`latency: enrolling ${around.members} members …`);
  const service = await stage.start();
  stack.defer(() => service.stop());
  const reply = await replyBody(service.port);
  const express = await startListening('loadtest/contestants/express-reply.ts', { reply }, around);
  stack.defer(() => express.stop());
  const capacity = await capacityOf(service, stage.contestants[0]!, around);
  print(`capacity: ${Math.round(capacity)} accruals/s, closed loop of ${stage.contestants[0]!.connections}`);
  const windows: Window[] = [];
  for (let round = 1; round <= roundCount; round += 1) {
    for (const share of shares) {
      for (const side of sides) {
        const window = await measureWindow(around, { service, express }, side, share, capacity * share);
        windows.push({ round, ...window });
        print(
          `round ${round} of ${roundCount}  ${side} at ${share * 100} %  p99 ${window.p99Ms.toFixed(2)} ms`,
        );
      }
    }
  }
  const [marks, faults] = [marksOf(windows), faultsOf(windows)];
  print(`\n${reportOf(windows)}\n\n${marksText(marks)}`);
  for (const fault of faults) print(`Fault: ${fault}`);
  return { machine: machine(), members: around.members, capacity, windows, marks, faults };
}
