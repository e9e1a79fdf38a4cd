/** PURE. The grants of a member on a ladder. */
import type { Day, Grant } from './ladder/types.ts';
import type { LadderState } from './store.ts';

/** Grants that a member keeps; what ended is in the history as well. */
export const grantsMax = 50;

/** Those that hold or are still to come; of the others the newest ends, as far as there is room. */
function roomFor(grants: readonly Grant[], today: Day): readonly Grant[] {
  const isOver = ({ untilDay }: Grant) => untilDay !== undefined && untilDay < today;
  const ended = grants.filter(isOver).toSorted((a, b) => a.untilDay! - b.untilDay!);
  const gone = new Set(ended.slice(0, Math.max(0, grants.length - grantsMax + 1)));
  return grants.filter((grant) => !gone.has(grant));
}

/** A grant more; undefined where fifty hold already. What ended longest ago makes room. */
export function withGrant(state: LadderState, grant: Grant, today: Day): LadderState | undefined {
  const grants = roomFor(state.grants, today);
  return grants.length < grantsMax ? { ...state, grants: [...grants, grant] } : undefined;
}

/** What somebody else had, who is this member now: nothing of it is lost. */
export function withInherited(state: LadderState, grants: readonly Grant[]): LadderState {
  const known = new Set(state.grants.map(({ id }) => id));
  const others = grants.filter(({ id }) => !known.has(id));
  return others.length === 0 ? state : { ...state, grants: [...state.grants, ...others] };
}
