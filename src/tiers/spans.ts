/**
 * PURE. The tiers of a member at an instant, as they were known at some point of its journal.
 *
 * Two times matter. A change is in effect from an instant on, and receipts are judged by when they occurred: one that comes
 * late is judged by the tier of its time. And a change is known from a record of the member's journal on: what was decided
 * before that record was decided without it, and is explained and taken back without it.
 */
import type { EpochMs, Position } from '#src/values.ts';

/** A change of tier, and the record that made it known. */
export interface KnownChange extends Pick<Position, 'epoch' | 'seq'> {
  readonly ladder: string;
  readonly tier: string;
  /** Counts the changes on the ladder. */
  readonly number: number;
  readonly effectiveAt: EpochMs;
}

/** As much of a ladder as says who stands where; the first of its tiers is everybody's. */
export interface Steps {
  readonly name: string;
  readonly tiers: readonly { readonly name: string; readonly was?: readonly string[] | undefined }[];
}

function isKnownBefore({ epoch, seq }: KnownChange, position: Pick<Position, 'epoch' | 'seq'>): boolean {
  return epoch < position.epoch || (epoch === position.epoch && seq < position.seq);
}

/** What a tier is called on a ladder that may have renamed it since. */
export function nameOn({ tiers }: Pick<Steps, 'tiers'>, tier: string): string {
  if (tiers.some(({ name }) => name === tier)) return tier;
  return tiers.find(({ was }) => was?.includes(tier))?.name ?? tier;
}

/** The tier on one ladder; the latest change that is in effect then decides. */
export function tierAt(
  { name, tiers }: Steps,
  changes: readonly KnownChange[],
  at: EpochMs,
  known?: Pick<Position, 'epoch' | 'seq'>,
): string | undefined {
  let last: KnownChange | undefined;
  for (const change of changes) {
    if (change.ladder !== name || change.effectiveAt > at) continue;
    if (known && !isKnownBefore(change, known)) continue;
    if (!last || change.number > last.number) last = change;
  }
  return last ? nameOn({ tiers }, last.tier) : tiers[0]?.name;
}

/** The tiers on all ladders, in their order. */
export function tiersAt(
  ladders: readonly Steps[],
  changes: readonly KnownChange[],
  at: EpochMs,
  known?: Pick<Position, 'epoch' | 'seq'>,
): string[] {
  return ladders.flatMap((ladder) => tierAt(ladder, changes, at, known) ?? []);
}
