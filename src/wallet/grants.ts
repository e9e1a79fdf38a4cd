/**
 * What PostgreSQL grants of a budget to a shard: leases (`scripts/limits.lua`). One database transaction a grant, ordered by
 * the lock of the budget's row.
 *
 * Invariant: what operations gave, less what came back, and what open leases still hold, is together at most the budget. A
 * grant sees both in one snapshot, and the ledger writer moves points from a lease to what was given in one database
 * transaction, so that no point is missed between the two.
 */
import type pg from 'pg';
import { inTransaction } from '#src/platform/postgres.ts';

/** Where a budget stands on its way through the day. */
export interface Pace {
  /** Days since 1970-01-01, of the program's zone. */
  readonly day: number;
  readonly elapsedMs: number;
  readonly dayMs: number;
  /** Through the last day of what the budget pays for, today included. */
  readonly daysLeft: number;
}

export interface BudgetTerms {
  readonly pointsMax: number;
  /** Of a budget that is spread over the day. */
  readonly pace?: Pace | undefined;
}

export interface GrantRequest {
  readonly program: number;
  readonly budget: number;
  readonly shard: number;
  readonly epoch: number;
  /** The highest lease that the shard was seen to have. */
  readonly highest: number;
  /** What is wanted; `least` of it is of use. */
  readonly points: number;
  readonly least: number;
}

export type Grant =
  | { readonly status: 'granted'; readonly lease: number; readonly points: number }
  /** Less is left than is of use; these leases still hold points. */
  | {
      readonly status: 'full';
      readonly rest: number;
      readonly isPaced: boolean;
      readonly holding: readonly Holding[];
    }
  /** The shard is in another epoch. */
  | { readonly status: 'outdated' };

/** A shard that holds points of a budget in an epoch, by its leases up to a number. */
export type Holding = readonly [shard: number, epoch: number, highest: number];

/** A shard is granted an eighth of its equal share of what is left, so what idle shards keep from others stays small. */
const partsPerShare = 8;

const standingQuery = `
  select (select epoch from position where shard = $3) as epoch,
    (select coalesce(sum(consumed - given_back), 0)::bigint from budget_shard where program = $1 and budget = $2)
      + (select coalesce(sum(greatest(granted - consumed, 0)), 0)::bigint from budget_lease
         where program = $1 and budget = $2 and closed_at is null) as taken,
    (select coalesce(max(lease), 0) from budget_lease where program = $1 and budget = $2 and shard = $3 and epoch = $4) as last,
    (select json_build_array(lease, granted) from budget_lease
     where program = $1 and budget = $2 and shard = $3 and epoch = $4 and lease > $5 and closed_at is null order by lease limit 1) as waiting,
    (select coalesce(json_agg(json_build_array(shard, epoch, highest)), '[]') from (
       select shard, epoch, max(lease) as highest from budget_lease
       where program = $1 and budget = $2 and closed_at is null and granted > consumed group by 1, 2) h) as holding`;

interface Standing {
  readonly epoch: number;
  readonly taken: number;
  readonly last: number;
  readonly waiting: readonly [lease: number, points: number] | null;
  readonly holding: readonly Holding[];
}

/** PURE. What may be taken in all by now where the budget is spread over the day. */
export function pacedMax(
  { elapsedMs, dayMs, daysLeft }: Omit<Pace, 'day'>,
  pointsMax: number,
  atBeginning: number,
): number {
  const left = BigInt(Math.max(0, pointsMax - atBeginning));
  const share = (left * BigInt(Math.min(dayMs, Math.max(0, elapsedMs)))) / (BigInt(dayMs) * BigInt(daysLeft));
  return atBeginning + Number(share);
}

/** PURE. How much is granted of what is left. */
export function grantedOf(rest: number, points: number, shardCount: number): number {
  return Math.min(rest, Math.max(points, Math.floor(rest / (partsPerShare * shardCount))));
}

async function begunDay(
  tx: pg.ClientBase,
  { program, budget }: GrantRequest,
  pace: Pace,
  taken: number,
): Promise<{ day: number; taken: number }> {
  // Processes whose clocks differ by a second at midnight: the day that has begun goes on.
  const { rows } = await tx.query<{ day: number; taken: number }>(
    `update budget set day = greatest(day, $3), day_taken = case when day < $3 then $4 else day_taken end
     where program = $1 and budget = $2 returning day, day_taken as taken`,
    [program, budget, pace.day, taken],
  );
  return rows[0]!;
}

async function restOf(
  tx: pg.ClientBase,
  request: GrantRequest,
  { pointsMax, pace }: BudgetTerms,
  taken: number,
): Promise<{ rest: number; isPaced: boolean }> {
  const rest = Math.max(0, pointsMax - taken);
  if (!pace) return { rest, isPaced: false };
  const begun = await begunDay(tx, request, pace, taken);
  const elapsedMs = begun.day > pace.day ? 0 : pace.elapsedMs;
  const paced = Math.max(0, pacedMax({ ...pace, elapsedMs }, pointsMax, begun.taken) - taken);
  return { rest: Math.min(rest, paced), isPaced: paced < rest };
}

/**
 * Grants a lease. While one that was granted is not in Redis yet, it is answered again: whoever was to put it there may have
 * died, and putting it there twice does nothing.
 */
export async function grantLease(
  pool: pg.Pool,
  request: GrantRequest,
  terms: BudgetTerms,
  shardCount: number,
): Promise<Grant> {
  const { program, budget, shard, epoch, highest, points, least } = request;
  await pool.query('insert into budget (program, budget) values ($1, $2) on conflict do nothing', [
    program,
    budget,
  ]);
  return inTransaction(pool, async (tx): Promise<Grant> => {
    await tx.query('select from budget where program = $1 and budget = $2 for update', [program, budget]);
    // What is used up says nothing any more, and nobody writes its row again.
    await tx.query(
      `update budget_lease set closed_at = now()
       where program = $1 and budget = $2 and shard = $3 and closed_at is null and consumed >= granted`,
      [program, budget, shard],
    );
    // After the lock, so that it sees what the grant before has done, and an epoch that was opened before.
    const { rows } = await tx.query<Standing>(standingQuery, [program, budget, shard, epoch, highest]);
    const standing = rows[0]!;
    if (standing.epoch !== epoch) return { status: 'outdated' };
    if (standing.waiting)
      return { status: 'granted', lease: standing.waiting[0], points: standing.waiting[1] };
    const { rest, isPaced } = await restOf(tx, request, terms, standing.taken);
    if (rest < least) return { status: 'full', rest, isPaced, holding: standing.holding };
    const lease = standing.last + 1;
    const granted = grantedOf(rest, points, shardCount);
    await tx.query(
      'insert into budget_lease (program, budget, shard, epoch, lease, granted) values ($1, $2, $3, $4, $5, $6)',
      [program, budget, shard, epoch, lease, granted],
    );
    return { status: 'granted', lease, points: granted };
  });
}

/** Closes the leases of a shard up to a number, once no record can take anything from them that the books do not have. */
export async function closeRecalled(
  pool: pg.Pool,
  { program, budget }: Pick<GrantRequest, 'program' | 'budget'>,
  { shard, epoch, highest }: Pick<GrantRequest, 'shard' | 'epoch' | 'highest'>,
): Promise<void> {
  await pool.query(
    `update budget_lease set closed_at = now()
     where program = $1 and budget = $2 and shard = $3 and epoch = $4 and lease <= $5 and closed_at is null`,
    [program, budget, shard, epoch, highest],
  );
}

/** A budget in the books. */
export interface BudgetStanding {
  readonly budget: number;
  /** What operations gave, and what came back of it. */
  readonly consumed: number;
  readonly givenBack: number;
  /** What open leases still hold. */
  readonly held: number;
  /** The last day on which a budget that is spread over days was asked, and what was taken when it began. */
  readonly day: number;
  readonly dayTaken: number;
}

/** How all budgets of a program stand that were ever asked. */
export async function budgetStandings(pool: pg.Pool, program: number): Promise<BudgetStanding[]> {
  const { rows } = await pool.query<BudgetStanding>(
    `select b.budget, b.day, b.day_taken as "dayTaken", s.consumed, s.given_back as "givenBack", l.held
     from budget b
     cross join lateral (select coalesce(sum(consumed), 0)::bigint as consumed, coalesce(sum(given_back), 0)::bigint as given_back
       from budget_shard where program = b.program and budget = b.budget) s
     cross join lateral (select coalesce(sum(greatest(granted - consumed, 0)), 0)::bigint as held
       from budget_lease where program = b.program and budget = b.budget and closed_at is null) l
     where b.program = $1`,
    [program],
  );
  return rows;
}
