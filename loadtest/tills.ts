/** Accruals of tills at a quarter of what the API can, open loop: what they notice of work that goes on beside them. */
import { percentile } from './apart-figures.ts';
import type { Surroundings } from './contestant.ts';
import { type Reply, sendAtRate } from './driver.ts';
import { runLoad } from './load.ts';
import { requestsOf } from './places.ts';
import { accrual, memberName, only } from './requests.ts';

const share = 0.25;
export const windowMs = 8_000;
export const warmupMs = 2_000;

/** Where the tills are. */
export interface Shop {
  readonly port: number;
  readonly around: Surroundings;
}

/** Accruals a second: a quarter of what a closed loop gets through. */
export async function quarterOfCapacity({ port, around }: Shop): Promise<number> {
  const times = { warmupMs: 3_000, measureMs: 5_000 };
  const settings = { port, connections: 128, members: around.members, ...times, traffic: only(accrual) };
  const { requests, seconds } = await runLoad(settings, around).measured;
  return (requests / seconds) * share;
}

export interface Tills {
  readonly requests: number;
  readonly refused: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lateP99Ms: number;
}

/** Accruals at a rate for the window; what came before `fromMs` is not counted. */
export async function tills(
  { port, around }: Shop,
  ratePerSecond: number,
  over: Promise<unknown>,
): Promise<Tills> {
  const startedMs = performance.now();
  const memberAt = () => memberName(Math.floor(Math.random() * around.members));
  const drive = { port, connections: 512, request: requestsOf(accrual, memberAt) };
  const replies = await sendAtRate(
    drive,
    ratePerSecond,
    over.then(() => undefined),
  );
  const counted = replies.filter(({ dueMs }) => dueMs >= startedMs + warmupMs);
  const of = (value: (reply: Reply) => number, at: number) => percentile(counted.map(value), at);
  return {
    requests: counted.length,
    refused: counted.filter(({ status }) => status !== 201).length,
    p50Ms: of(({ tookMs }) => tookMs, 0.5),
    p99Ms: of(({ tookMs }) => tookMs, 0.99),
    lateP99Ms: of(({ lateMs }) => lateMs, 0.99),
  };
}
