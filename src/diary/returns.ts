/**
 * What returns leave of accruals, kept for those of which something came back. The rows are locked while they change: the
 * returns of a merged member come from the survivor's shard, which another process may read.
 */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import {
  type Back,
  type Change,
  type Deed,
  type Left,
  leftAfter,
  type PointsByCurrency,
  wholeOf,
} from './deeds.ts';

/** One return of one accrual. */
export interface Return {
  readonly deed: Deed;
  /** Who brought it back: the member who bought, or the survivor. */
  readonly by: MemberNumber;
  readonly back: Back;
}

interface StateRow {
  readonly accrual: string;
  readonly spend_left: number;
  readonly is_gone: boolean;
  readonly taken: PointsByCurrency;
}

/** Notes accruals as whole where nothing is noted of them. */
export async function noteWhole(tx: pg.ClientBase, deeds: readonly Deed[]): Promise<void> {
  const whole = new Map(deeds.map((deed) => [deed.accrual.operation, wholeOf(deed)]));
  if (whole.size === 0) return;
  const operations = [...whole.keys()].sort();
  await tx.query(
    `insert into diary_return (accrual, spend_left) select * from unnest($1::uuid[], $2::bigint[]) on conflict do nothing`,
    [operations, operations.map((operation) => whole.get(operation)!.spend)],
  );
}

async function lockStates(tx: pg.ClientBase, accruals: readonly string[]): Promise<Map<string, Left>> {
  const { rows } = await tx.query<StateRow>(
    `select replace(accrual::text, '-', '') as accrual, spend_left, is_gone, taken from diary_return where accrual = any($1::uuid[]) order by diary_return.accrual for update`,
    [accruals],
  );
  return new Map(
    rows.map(({ accrual, spend_left: spend, is_gone: isGone, taken }) => [accrual, { spend, isGone, taken }]),
  );
}

async function writeStates(tx: pg.ClientBase, states: ReadonlyMap<string, Left>): Promise<void> {
  const rows = [...states];
  await tx.query(
    `update diary_return r set spend_left = n.spend_left, is_gone = n.is_gone, taken = n.taken
     from unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::json[]) n (accrual, spend_left, is_gone, taken) where r.accrual = n.accrual`,
    [
      rows.map(([accrual]) => accrual),
      rows.map(([, { spend }]) => spend),
      rows.map(([, { isGone }]) => isGone),
      rows.map(([, { taken }]) => JSON.stringify(taken)),
    ],
  );
}

/**
 * Applies returns in their order and hands on how each changes its accrual's day. Accruals of `notCounted` count nothing
 * until they are noted, and neither do their returns.
 */
export async function applyReturns(
  tx: pg.ClientBase,
  returns: readonly Return[],
  notCounted: ReadonlySet<string>,
  changed: (deed: Deed, change: Change) => void,
): Promise<void> {
  if (returns.length === 0) return;
  await noteWhole(
    tx,
    returns.flatMap(({ deed }) => (notCounted.has(deed.accrual.operation) ? [] : [deed])),
  );
  const accruals = [...new Set(returns.map(({ deed }) => deed.accrual.operation))];
  const states = await lockStates(tx, accruals);
  for (const { deed, back } of returns) {
    const before = states.get(deed.accrual.operation);
    if (!before) continue;
    const { left, change } = leftAfter(deed, before, back);
    states.set(deed.accrual.operation, left);
    changed(deed, change);
  }
  await writeStates(tx, states);
}
