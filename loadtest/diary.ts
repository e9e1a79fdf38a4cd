/**
 * `npm run bench -- --diary`: how fast the follower reads the books into the diary. First books that are there, from the
 * beginning, in every round again; then beside receipts that come in by bulk as fast as they are booked.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { createPool } from '#src/platform/postgres.ts';
import { percentile, spreadText } from './apart-figures.ts';
import type { Surroundings } from './contestant.ts';
import { cpuSeconds, machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { growTo, sizeOf } from './setup/growth.ts';
import { openStand, type Stand } from './setup/stand.ts';

const entriesRead = 300_000;
const entriesMore = 200_000;
const sampleMs = 20;
const readMsMax = 600_000;

interface Progress {
  readonly read: number;
  readonly unread: number;
}

async function progressOf(pool: pg.Pool): Promise<Progress> {
  const { rows } = await pool.query<Progress>(
    `select coalesce(sum(case when d.epoch = p.epoch then d.seq else 0 end), 0)::float8 as read,
       coalesce(sum(p.seq - case when d.epoch = p.epoch then d.seq else 0 end), 0)::float8 as unread
     from position p left join diary_position d using (shard)`,
  );
  return rows[0]!;
}

/** As if nothing had been read. */
async function forget(pool: pg.Pool): Promise<void> {
  await pool.query(
    'truncate diary_day, diary_points, diary_order, diary_return, diary_moved, diary_position',
  );
}

interface Reading {
  readonly operations: number;
  readonly perSecond: number;
  /** CPU of each process, µs an operation. */
  readonly workerMicros: number;
  readonly postgresMicros: number;
}

/** Lets the worker read everything from the beginning, so that its start is over. */
async function untilRead(pool: pg.Pool, abort: AbortSignal): Promise<void> {
  await forget(pool);
  const deadline = performance.now() + readMsMax;
  while (performance.now() < deadline) {
    abort.throwIfAborted();
    const { read, unread } = await progressOf(pool);
    if (read > 0 && unread === 0) return;
    await delay(sampleMs);
  }
  throw new Error('the diary did not read the books within ten minutes');
}

/** Lets a worker read everything; its start is not counted. */
async function readAll(
  pool: pg.Pool,
  { installation, standing }: Stand,
  abort: AbortSignal,
): Promise<Reading> {
  const worker = installation.startTiers();
  const cpu = () => [cpuSeconds(worker.pid) ?? 0, cpuSeconds(standing.processes.postgres!) ?? 0] as const;
  const deadline = performance.now() + readMsMax;
  let begun: { at: number; read: number; cpu: readonly [number, number] } | undefined;
  try {
    while (performance.now() < deadline) {
      abort.throwIfAborted();
      const { read, unread } = await progressOf(pool);
      if (begun && unread === 0) {
        const operations = read - begun.read;
        const [own, postgres] = cpu();
        return {
          operations,
          perSecond: operations / ((performance.now() - begun.at) / 1_000),
          workerMicros: ((own - begun.cpu[0]) * 1e6) / operations,
          postgresMicros: ((postgres - begun.cpu[1]) * 1e6) / operations,
        };
      }
      if (!begun && read > 0) begun = { at: performance.now(), read, cpu: cpu() };
      await delay(sampleMs);
    }
    throw new Error('the diary did not read the books within ten minutes');
  } finally {
    await worker.stop();
  }
}

interface Beside {
  readonly bookedPerSecond: number;
  readonly unreadMax: number;
  readonly lagP99Ms: number;
  readonly lagMaxMs: number;
}

/** For how long the oldest operation that is not read has been booked, sampled until `isOver`. */
async function lagsOf(pool: pg.Pool, isOver: () => boolean): Promise<{ lags: number[]; unreadMax: number }> {
  const lags: number[] = [];
  /** When the books were first seen to hold so many. */
  const booked: { at: number; operations: number }[] = [];
  let unreadMax = 0;
  while (!isOver()) {
    const { read, unread } = await progressOf(pool);
    const at = performance.now();
    if ((booked.at(-1)?.operations ?? 0) < read + unread) booked.push({ at, operations: read + unread });
    while (booked.length > 0 && booked[0]!.operations <= read) booked.shift();
    lags.push(booked.length > 0 ? at - booked[0]!.at : 0);
    unreadMax = Math.max(unreadMax, unread);
    await delay(sampleMs);
  }
  return { lags, unreadMax };
}

/** Receipts as fast as they can be booked, with a worker that reads them. */
async function readBeside(pool: pg.Pool, stand: Stand, around: Surroundings): Promise<Beside> {
  const worker = stand.installation.startTiers();
  let isOver = false;
  try {
    await untilRead(pool, around.abort);
    const watching = lagsOf(pool, () => isOver);
    const { members, entries } = await sizeOf(stand);
    const size = { members, entries: entries + entriesMore };
    const bookedPerSecond = await growTo(stand, size, around.abort, () => {}).finally(() => {
      isOver = true;
    });
    const { lags, unreadMax } = await watching;
    return {
      bookedPerSecond,
      unreadMax,
      lagP99Ms: percentile(lags, 0.99),
      lagMaxMs: percentile(lags, 1),
    };
  } finally {
    isOver = true;
    await worker.stop();
  }
}

/** Brings this service up and lets it read what is booked; answers the figures as data. */
export async function measureDiary(around: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print } = around;
  const stand = await openStand(around, join(around.folder, 'diary'));
  stack.defer(() => stand.standing.stop());
  const pool = createPool(stand.installation.postgres.url, 2);
  stack.defer(() => pool.end());
  print(`diary: ${around.members} members, ${entriesRead / 2} receipts …`);
  await growTo(stand, { members: around.members, entries: entriesRead }, around.abort, print);
  const rounds: Reading[] = [];
  for (let round = 1; round <= roundCount; round += 1) {
    await forget(pool);
    const reading = await readAll(pool, stand, around.abort);
    rounds.push(reading);
    print(`round ${round} of ${roundCount}  ${Math.round(reading.perSecond)} operations/s`);
  }
  const beside = await readBeside(pool, stand, around);
  const row = (name: string, of: (reading: Reading) => number, digits = 0) => [
    name,
    spreadText(rounds.map(of), digits),
  ];
  const marks = [
    markOf(
      'operations a second that the diary reads',
      rounds.map(({ perSecond }) => perSecond),
      { atLeast: 10_000, aim: 20_000 },
    ),
  ];
  const text = table([
    ['reading the books into the diary', ''],
    row('operations a second', ({ perSecond }) => perSecond),
    row('CPU of the worker, µs an operation', ({ workerMicros }) => workerMicros, 1),
    row('CPU of PostgreSQL, µs an operation', ({ postgresMicros }) => postgresMicros, 1),
    ['receipts booked a second beside it', spreadText([beside.bookedPerSecond])],
    ['most operations booked and not read', spreadText([beside.unreadMax])],
    ['behind the books, p99 ms', spreadText([beside.lagP99Ms])],
    ['behind the books, at most, ms', spreadText([beside.lagMaxMs])],
  ]);
  print(`\n${text}\n\n${marksText(marks)}`);
  return { machine: machine(), members: around.members, rounds, beside, marks };
}
