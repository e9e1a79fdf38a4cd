/**
 * The books of budgets: what operations gave from them and gave back, by shard, and what is left of the leases that they gave
 * from. All of it follows from journal records; leases are granted in `wallet/grants.ts`.
 */
import type pg from 'pg';
import type { BudgetRow } from '#src/journal.ts';
import type { Posting } from './postings.ts';
import type { Statements } from './statements.ts';

export interface BudgetDelta {
  readonly program: number;
  readonly budget: number;
  readonly shard: number;
  readonly epoch: number;
  /** 0 where points came back: they go to the budget and to no lease. */
  readonly lease: number;
  points: number;
}

/** PURE. What a batch gave from each lease, and what came back. */
export function budgetDeltas(shard: number, postings: readonly Posting[]): BudgetDelta[] {
  const deltas = new Map<string, BudgetDelta>();
  for (const { record, effect } of postings) {
    if (effect.budgets === undefined) continue;
    const { program, epoch } = record;
    for (const [budget, lease, points] of effect.budgets) {
      const key = `${program}.${budget}.${epoch}.${lease}`;
      const delta = deltas.get(key);
      if (delta) delta.points += points;
      else deltas.set(key, { program, budget, shard, epoch, lease, points });
    }
  }
  return [...deltas.values()].sort(
    (a, b) => a.program - b.program || a.budget - b.budget || a.epoch - b.epoch || a.lease - b.lease,
  );
}

/**
 * Nobody else writes a shard's sums. A lease that the books do not know (they were restored from before its grant), or one of
 * an epoch before the record's (it was booked again), holds nothing back, so what was given from it only counts as given.
 */
export function writeBudgets(tx: Statements, deltas: readonly BudgetDelta[]): void {
  if (deltas.length === 0) return;
  const list = (of: (delta: BudgetDelta) => number) => `{${deltas.map(of).join(',')}}`;
  const places = [list((d) => d.program), list((d) => d.budget), list((d) => d.shard)];
  tx.send(
    `merge into budget_shard b using (
       select program, budget, shard, sum(greatest(points, 0))::bigint as consumed, sum(greatest(-points, 0))::bigint as given_back
       from unnest($1::int[], $2::int[], $3::smallint[], $4::bigint[]) as n(program, budget, shard, points) group by 1, 2, 3
       order by 1, 2, 3) n
       on b.program = n.program and b.budget = n.budget and b.shard = n.shard
     when matched then update set consumed = b.consumed + n.consumed, given_back = b.given_back + n.given_back
     when not matched then insert (program, budget, shard, consumed, given_back)
       values (n.program, n.budget, n.shard, n.consumed, n.given_back)`,
    [...places, list((d) => d.points)],
    'budgets',
  );
  tx.send(
    `update budget_lease l set consumed = l.consumed + n.points
     from unnest($1::int[], $2::int[], $3::smallint[], $4::int[], $5::int[], $6::bigint[]) as n(program, budget, shard, epoch, lease, points)
     where l.program = n.program and l.budget = n.budget and l.shard = n.shard and l.epoch = n.epoch and l.lease = n.lease`,
    [...places, list((d) => d.epoch), list((d) => d.lease), list((d) => d.points)],
    'leases',
  );
}

/**
 * Closes what earlier epochs left open of a shard's leases: the books have every record that gave from them, so the rest goes
 * back to the budget. Recovery calls this when a new epoch's position and everything that it booked again is written.
 *
 * A grant that has begun may still be for the epoch before. It holds its budget's lock, so it is waited for; one that gets the
 * lock afterwards sees the new epoch and grants nothing.
 */
export async function closeLeases(connection: pg.ClientBase, shard: number, epoch: number): Promise<void> {
  await connection.query('begin');
  try {
    await connection.query('select from budget order by program, budget for update');
    await connection.query(
      'update budget_lease set closed_at = now() where shard = $1 and epoch < $2 and closed_at is null',
      [shard, epoch],
    );
    await connection.query('commit');
  } catch (error) {
    await connection.query('rollback').catch(() => {});
    throw error;
  }
}

/** PURE. What an operation gave from budgets, as the input of `undo.lua` that gives it back. */
export function budgetsBack(
  budgets: readonly BudgetRow[] = [],
): [budget: number, currency: number, points: number][] {
  return budgets.map(([budget, , points]) => [budget, 0, points]);
}

/** The condition that an operation's effect gave from a budget or gave back to one. */
export const touchesBudgets = (effect: string) => `strpos(${effect}::text, '"budgets":[[') > 0`;

/** What operations gave from budgets and gave back, with what was carried over from archived months. */
export const givenQuery = (operations: string, carried: string) => `
  select program, budget, shard, sum(consumed)::bigint as consumed, sum(given_back)::bigint as given_back from (
    select o.program, (r ->> 0)::int as budget, o.shard, greatest((r ->> 2)::numeric, 0) as consumed, greatest(-(r ->> 2)::numeric, 0) as given_back
      from (${operations} offset 0) o cross join json_array_elements(o.effect -> 'budgets') r
    union all select program, budget, shard, consumed, given_back from carried_budget c where ${carried}) given group by 1, 2, 3`;
