/**
 * What was given to members who were merged: their grants, and protection, go on with the survivor. What they earned needs no
 * care: their days are the survivor's by then, and its review counts them.
 *
 * Taken out of one standing and put into the other in one database transaction, whenever the survivor is looked at next: when
 * the merge moves days, at the latest with the recalculation of the night.
 */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import { mergeHopsMax } from '#src/wallet/lookup.ts';
import { withInherited } from './granted.ts';
import type { Reviewing } from './reviewing.ts';
import type { Db, LadderState } from './store.ts';

interface Inheritance {
  readonly survivor: MemberNumber;
  readonly member: MemberNumber;
  readonly ladder: string;
  readonly standing: LadderState;
}

const inheritancesQuery = `
  with recursive family as (
    select g.merged_into as survivor, g.number, 1 as hop from member g
      where g.merged_into = any($1::bigint[]) and g.status = 'merged'
    union all
    select f.survivor, g.number, f.hop + 1 from family f join member g on g.merged_into = f.number
      where g.status = 'merged' and f.hop < ${mergeHopsMax}
  )
  select f.survivor, s.member, s.ladder, s.standing from family f join tier_standing s on s.member = f.number
  order by s.member, s.ladder`;

/** What merged members were given and their survivors have not taken over. */
export async function readInheritances(
  db: Db,
  survivors: readonly MemberNumber[],
  { lock }: { readonly lock: boolean },
): Promise<Inheritance[]> {
  const { rows } = await db.query<Inheritance>({
    name: lock ? 'tier-inheritances-locked' : 'tier-inheritances',
    text: lock ? `${inheritancesQuery} for update of s` : inheritancesQuery,
    values: [survivors],
  });
  return rows;
}

/** Takes what merged members were given out of their standings. */
export async function takeInheritances(
  tx: pg.ClientBase,
  survivors: readonly MemberNumber[],
): Promise<Inheritance[]> {
  const rows = await readInheritances(tx, survivors, { lock: true });
  if (rows.length === 0) return rows;
  await tx.query(
    `delete from tier_standing s using unnest($1::bigint[], $2::text[]) g (member, ladder)
     where s.member = g.member and s.ladder = g.ladder`,
    [rows.map(({ member }) => member), rows.map(({ ladder }) => ladder)],
  );
  return rows;
}

function inherit(state: LadderState, { standing }: Inheritance): LadderState {
  const { grants, protectedThroughDay: given } = standing;
  const { protectedThroughDay: own } = state;
  const isLonger =
    given !== undefined && (own === undefined || (own !== null && (given === null || given > own)));
  const all = withInherited(state, grants);
  return isLonger ? { ...all, protectedThroughDay: given } : all;
}

/** Reviews of survivors begin with what they inherit. */
export function withInheritances(reviewing: Reviewing, inheritances: readonly Inheritance[]): Reviewing {
  if (inheritances.length === 0) return reviewing;
  const { edit } = reviewing;
  return {
    ...reviewing,
    edit(ladder, state, member) {
      const own = inheritances.filter((each) => each.survivor === member && each.ladder === ladder);
      const inherited = own.reduce(inherit, state);
      return edit?.(ladder, inherited, member) ?? inherited;
    },
  };
}
