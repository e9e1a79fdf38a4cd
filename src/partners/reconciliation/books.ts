/**
 * What our own side knows of movements with a partner: its calls on us out of the clearing entries, which are read out of the books,
 * and our calls on it out of the exchanges, whose rows say what became of each call, also of those that never moved a point here.
 *
 * What was refused there and then is in nobody's books and in no row of ours; what was voided moves nothing. Both are no movements.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { hexOf, type Queryable } from '#src/platform/postgres.ts';
import type { Movement, Period } from './movement.ts';

/** By which time a movement is of a period: when it happened, which both sides know alike, or when it was booked here. */
export type PeriodBy = 'occurred' | 'booked';

/** Whose movements are meant. */
export interface Pair {
  readonly program: Program;
  /** Its number. */
  readonly partner: number;
}

/** A condition of SQL on the rows that either side comes from; the values begin with the three of `valuesOf`. */
interface Conditions {
  readonly inbound: string;
  readonly outbound: string;
}

const inbound = (condition: string) => `
  select 'them' as made_by, e.kind, e.reference, abs(e.points) as points, c.code as currency,
    floor(extract(epoch from e.occurred_at))::bigint as occurred_at, 'succeeded' as status, e.booked_at
  from clearing_entry e join unnest($2::int[], $3::text[]) as c(number, code) on c.number = e.currency
  where e.partner = $1 and e.account = 'partner' and e.kind in ('accrual', 'redemption', 'reversal') and ${condition}`;

/**
 * An exchange is a movement there, and a second one where it was taken back. What the first has moved is known by its own answer, or by
 * how many points the second gave back: none where the first never arrived. Each is booked when it is sent for the first time: from then on
 * it may stand in the books there.
 */
const outbound = (condition: string) => `
  select 'us' as made_by, m.kind, 'exc_' || ${hexOf('e.exchange')} || m.suffix as reference, m.points,
    e.partner_currency as currency, e.occurred_at / 1000 as occurred_at, m.status, m.booked_at
  from exchange e
  cross join lateral (select case when e.state in ('releasing', 'refused', 'reversed') then e.taken_back_points end as points) u
  cross join lateral (
    select case e.direction when 'out' then 'accrual' else 'redemption' end as kind, '' as suffix, e.partner_points as points,
      case when e.state in ('capturing', 'crediting', 'completed') or e.partner_operation is not null or u.points > 0 then 'succeeded'
        when e.state in ('releasing', 'refused', 'reversed') then 'failed'
        else 'pending' end as status, e.first_sent_at as booked_at
    union all
    select 'reversal', '/undo', coalesce(u.points, e.partner_points), case when u.points is null then 'pending' else 'succeeded' end,
      e.undo_sent_at
    where u.points > 0 or (e.state = 'undoing' and e.partner_operation is not null)
  ) m
  where e.partner = $1 and e.sent_at is not null and ${condition}`;

function sourceOf(conditions: Conditions): string {
  return `${inbound(conditions.inbound)} union all ${outbound(conditions.outbound)}`;
}

function valuesOf({ program, partner }: Pair): unknown[] {
  const currencies = [...program.currencyByNumber.values()];
  return [partner, currencies.map(({ number }) => number), currencies.map(({ code }) => code)];
}

const within = (column: string) =>
  `${column} >= to_timestamp($4::bigint) and ${column} < to_timestamp($5::bigint)`;

const inPeriod: Readonly<Record<PeriodBy, Conditions>> = {
  occurred: {
    inbound: within('e.occurred_at'),
    outbound: 'e.occurred_at >= $4::bigint * 1000 and e.occurred_at < $5::bigint * 1000',
  },
  booked: {
    inbound: within('e.booked_at'),
    // An index finds the exchange by either of its sends.
    outbound: `${within('m.booked_at')} and (${within('e.first_sent_at')} or ${within('e.undo_sent_at')})`,
  },
};

/** A source of rows to select from: text and values. */
export interface Source {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Our movements of a period, as `made_by, kind, reference, points, currency, occurred_at, status, booked_at`. */
export function movementsIn(pair: Pair, { from, until }: Period, by: PeriodBy): Source {
  return { text: sourceOf(inPeriod[by]), values: [...valuesOf(pair), from, until] };
}

/**
 * Those that happened in a period, as the hash tree has them, and that may be in buckets by their names in hex; `$6` are these. What a partner
 * asks for is found by an index on its calls; of exchanges, and of what we ask a partner for once a day, all of the period are given.
 */
export function movementsNear(pair: Pair, period: Period, asks: boolean, buckets: readonly string[]): Source {
  const { inbound: happened, outbound } = inPeriod.occurred;
  const isIn = asks
    ? '$6::bytea[] is not null'
    : `movement_bucket('caller', e.kind, e.reference) = any($6::bytea[])`;
  const values = [...valuesOf(pair), period.from, period.until, buckets.map((name) => `\\x${name}`)];
  return { text: sourceOf({ inbound: `${happened} and ${isIn}`, outbound }), values };
}

/** Our movements of any time that have a reference of the query `references`. */
export function movementsNamed(pair: Pair, references: string): Source {
  const exchanges = `select substr(r.reference, 5, 32)::uuid from (${references}) r where r.reference ~ '^exc_[0-9a-f]{32}(/undo)?$'`;
  const conditions = { inbound: `e.reference in (${references})`, outbound: `e.exchange in (${exchanges})` };
  return { text: sourceOf(conditions), values: valuesOf(pair) };
}

interface MovementRow extends Omit<Movement, 'madeBy' | 'occurredAt'> {
  readonly made_by: Movement['madeBy'];
  readonly occurred_at: number;
}

const pageRows = 5_000;

/** Our movements of a period, a page at a time; the connection is in a database transaction. */
export async function* ownMovements(
  tx: pg.ClientBase,
  pair: Pair,
  period: Period,
  by: PeriodBy,
): AsyncGenerator<readonly Movement[]> {
  const { text, values } = movementsIn(pair, period, by);
  await tx.query(
    `declare movements no scroll cursor for
     select made_by, kind, reference, points, currency, occurred_at, status from (${text}) m`,
    [...values],
  );
  let page: readonly MovementRow[];
  do {
    ({ rows: page } = await tx.query<MovementRow>(`fetch ${pageRows} from movements`));
    yield page.map(({ made_by: madeBy, occurred_at: occurredAt, ...rest }) => ({
      madeBy,
      occurredAt,
      ...rest,
    }));
  } while (page.length === pageRows);
  await tx.query('close movements');
}

/** The second in which our first movement with a partner was booked, whatever became of it; null where there is none. */
export async function firstBooked(db: Queryable, { partner }: Pair): Promise<number | null> {
  const { rows } = await db.query<{ at: number | null }>(
    `select floor(extract(epoch from least(
       (select min(booked_at) from clearing_entry where partner = $1 and account = 'partner'),
       (select min(first_sent_at) from exchange where partner = $1 and first_sent_at is not null))))::bigint as at`,
    [partner],
  );
  return rows[0]!.at;
}

const pollMs = 50;

/** Waits until a query finds nothing. False where that takes longer. */
async function goneBy(
  db: Queryable,
  deadline: number,
  text: string,
  values: readonly unknown[],
): Promise<boolean> {
  for (;;) {
    const { rowCount } = await db.query(text, [...values]);
    if (rowCount === 0) return true;
    if (performance.now() > deadline) return false;
    await delay(pollMs);
  }
}

/** The name of connections that compare, by which PostgreSQL knows them: they book nothing, however long they take. */
export const comparingName = 'reconciliation';

// What is booked has the time at which its database transaction began.
const stillBooking = `select from pg_stat_activity
  where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid() and backend_xid is not null
    and application_name <> '${comparingName}' and xact_start < to_timestamp($1::bigint) limit 1`;

/**
 * Waits until all that the books have by now has been cleared, so that no movement is missed for being young; of a period that is
 * over, until nothing can be booked in it any more. False where that takes longer: nothing may be said of what is missing then.
 */
export async function cleared(db: Queryable, waitMs: number, until?: number): Promise<boolean> {
  const deadline = performance.now() + waitMs;
  if (until !== undefined && !(await goneBy(db, deadline, stillBooking, [until]))) return false;
  const { rows: marks } = await db.query<{ shard: number; epoch: number; seq: number }>(
    'select shard, epoch, seq from position',
  );
  const values = [
    marks.map(({ shard }) => shard),
    marks.map(({ epoch }) => epoch),
    marks.map(({ seq }) => seq),
  ];
  return goneBy(
    db,
    deadline,
    `select 1 from unnest($1::int[], $2::int[], $3::bigint[]) as m(shard, epoch, seq)
     left join clearing_position c on c.shard = m.shard
     where c.shard is null or (c.epoch, c.seq) < (m.epoch, m.seq) limit 1`,
    values,
  );
}
