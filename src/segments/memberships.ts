/** Who is in which segment, from a run on and until another: what is different alone is written, so the rows are the history. */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import type { Range } from './statistics.ts';

export interface Membership {
  readonly member: MemberNumber;
  readonly segment: string;
}

export interface Changes {
  readonly entered: readonly Membership[];
  readonly gone: readonly Membership[];
}

const keyOf = ({ member, segment }: Membership) => `${member} ${segment}`;

/** What has to be written so that those who are in a segment become those who should be. */
export function changesOf(before: readonly Membership[], after: readonly Membership[]): Changes {
  const [old, next] = [new Set(before.map(keyOf)), new Set(after.map(keyOf))];
  return {
    entered: after.filter((each) => !old.has(keyOf(each))),
    gone: before.filter((each) => !next.has(keyOf(each))),
  };
}

/** Who of a range of a program's members is in a segment. */
export async function openMemberships(
  tx: pg.ClientBase,
  program: number,
  { after, last }: Range,
): Promise<Membership[]> {
  const { rows } = await tx.query<Membership>({
    name: 'open-segments',
    text: `select s.member, s.segment from member m join member_segment s on s.member = m.number and s.until_run is null
      where m.program = $1 and m.number > $2 and m.number <= $3`,
    values: [program, after, last],
  });
  return rows;
}

const namesOf = (memberships: readonly Membership[]) => [
  memberships.map(({ member }) => member),
  memberships.map(({ segment }) => segment),
];

/** Writes what is different from a run on. */
export async function writeChanges(
  tx: pg.ClientBase,
  run: number,
  { entered, gone }: Changes,
): Promise<void> {
  if (gone.length > 0)
    await tx.query({
      name: 'leave-segments',
      text: `update member_segment s set until_run = $1 from unnest($2::bigint[], $3::text[]) as g(member, segment)
        where s.member = g.member and s.segment = g.segment and s.until_run is null`,
      values: [run, ...namesOf(gone)],
    });
  if (entered.length > 0)
    await tx.query({
      name: 'enter-segments',
      text: `insert into member_segment (member, segment, from_run) select *, $1::bigint from unnest($2::bigint[], $3::text[])`,
      values: [run, ...namesOf(entered)],
    });
}
