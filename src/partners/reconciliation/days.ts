/**
 * A day's hash tree out of our books, and the movements of some of its buckets. Reading a day of a million movements takes some
 * seconds, so what was just read is kept for whoever goes on comparing by its digest; the days that are read at once are few.
 */
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import { lateDaysMax } from '#src/partners/protocol/days.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { cleared, movementsIn, movementsNear, ownMovements, type Pair, type Source } from './books.ts';
import { dayPeriod, type Maker, type Movement, moves, type Period } from './movement.ts';
import { createTree, type Tree, treeSide } from './tree.ts';

const keptMs = 60_000;
const keptMax = 8;
const readingMax = 2;
const clearingMsMax = 5_000;

export interface Day {
  readonly pair: Pair;
  /** ISO, of UTC. */
  readonly day: string;
  /** Whether we ask the partner, or are asked. */
  readonly asks: boolean;
}

export interface Days {
  /** The tree as the books have it now, or the one of the digest where that was just read. */
  treeOf(wanted: Day, digest?: string): Promise<Tree>;
}

/** Throws `validation_failed` where the text is no day of a calendar. */
export function periodOf(day: string): Period {
  const period = dayPeriod(day);
  if (!period) throw new Problem('validation_failed', 'There is no such day.', { errors: [] });
  return period;
}

async function readTree(pool: pg.Pool, { pair, day, asks }: Day): Promise<Tree> {
  const period = periodOf(day);
  if (!(await cleared(pool, clearingMsMax)))
    throw new Problem('not_ready', 'The books have more than was cleared.');
  const builder = createTree();
  await inTransaction(pool, async (tx) => {
    for await (const page of ownMovements(tx, pair, period, 'occurred')) {
      for (const movement of page.filter(moves)) builder.add(treeSide(movement.madeBy, asks), movement);
    }
  });
  return builder.tree();
}

export function createDays(pool: pg.Pool): Days {
  const kept = new Map<string, { readonly at: number; readonly tree: Tree }>();
  let reading = 0;

  function keep(name: string, tree: Tree): void {
    const now = performance.now();
    for (const [other, { at }] of kept) if (now - at > keptMs || kept.size >= keptMax) kept.delete(other);
    kept.set(name, { at: now, tree });
  }

  return {
    async treeOf(wanted, digest) {
      const name = `${wanted.pair.partner} ${wanted.day} ${wanted.asks}`;
      const known = kept.get(name);
      if (known && known.tree.digest === digest && performance.now() - known.at <= keptMs) return known.tree;
      if (reading >= readingMax) throw new Problem('not_ready', 'Other days are being read.');
      reading += 1;
      try {
        const tree = await readTree(pool, wanted);
        keep(name, tree);
        return tree;
      } finally {
        reading -= 1;
      }
    },
  };
}

/**
 * Days before a day on which movements happened that we have booked on it, newest first: late claims, and what was under way at midnight.
 * Their trees have changed since.
 */
export async function lateDays(db: Pick<pg.Pool, 'query'>, pair: Pair, day: string): Promise<string[]> {
  const period = periodOf(day);
  const { text, values } = movementsIn(pair, period, 'booked');
  const { rows } = await db.query<{ day: string }>(
    `select distinct to_char(to_timestamp(occurred_at) at time zone 'UTC', 'YYYY-MM-DD') as day from (${text}) m
     where occurred_at < $4::bigint and status <> 'failed' and points > 0 order by day desc limit ${lateDaysMax}`,
    [...values],
  );
  return rows.map((row) => row.day);
}

/** A movement with the hash of its key, by which a partner asks on. */
export interface Keyed {
  readonly key: string;
  readonly movement: Movement;
}

interface KeyedRow extends Omit<Movement, 'madeBy' | 'occurredAt'> {
  readonly made_by: Maker;
  readonly occurred_at: number;
  readonly key: string;
}

export interface BucketsAsk {
  readonly period: Period;
  /** Whether we ask the partner, or are asked. */
  readonly asks: boolean;
  readonly buckets: readonly string[];
  readonly after?: string | undefined;
  readonly limit: number;
}

/** Our movements in buckets, in the order of their keys, also those that moved nothing; the keys are those of `tree.ts`. */
export function bucketsQuery(pair: Pair, question: BucketsAsk): Source {
  const { text, values } = movementsNear(pair, question.period, question.asks, question.buckets);
  const [asks, after, limit] = [7, 8, 9].map((number) => `$${number}`);
  const side = `case when (m.made_by = 'us') = ${asks}::boolean then 'caller' else 'callee' end`;
  return {
    text: `select made_by, kind, reference, points, currency, occurred_at, status, encode(key, 'hex') as key
     from (select m.*, substr(sha256(convert_to(${side} || E'\\n' || m.kind || E'\\n' || m.reference || E'\\n', 'UTF8')), 1, 16) as key
       from (${text}) m) keyed
     where substr(key, 1, 2) = any($6::bytea[]) and key > ${after}::bytea order by key limit ${limit}::int`,
    values: [...values, question.asks, `\\x${question.after ?? ''}`, question.limit],
  };
}

/** What `bucketsQuery` finds. */
export async function movementsOfBuckets(
  db: Pick<pg.Pool, 'query'>,
  pair: Pair,
  question: BucketsAsk,
): Promise<Keyed[]> {
  const { text, values } = bucketsQuery(pair, question);
  const { rows } = await db.query<KeyedRow>(text, [...values]);
  return rows.map(({ made_by: madeBy, occurred_at: occurredAt, key, ...rest }) => ({
    key,
    movement: { madeBy, occurredAt, ...rest },
  }));
}
