/** PURE. The grants of a member on a ladder. */
import type { Grant } from './ladder/types.ts';
import type { LadderState } from './store.ts';

const grantsMax = 50;

/** A grant more; a member keeps fifty at most. */
export function withGrant(state: LadderState, grant: Grant): LadderState {
  if (state.grants.some(({ id }) => id === grant.id)) return state;
  // What ended longest ago makes room: it is in the history.
  const grants = state.grants.length < grantsMax ? state.grants : state.grants.slice(1);
  return { ...state, grants: [...grants, grant] };
}
