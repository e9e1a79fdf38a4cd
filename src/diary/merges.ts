/**
 * Merged members: their days become the survivor's, sums and all.
 *
 * A shard's follower moves a member's days when it reads that the member was merged, and notes where they went. What is read
 * later of that member (a return of an old purchase, which comes from the survivor's shard) goes there too. Two followers may
 * work on one member then: the one that moves the days away and the one that adds to them. Both hold the member's lock, so
 * that nothing is left behind. Whoever is merged again is followed to the end of the chain.
 */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';

export interface Merge {
  readonly source: MemberNumber;
  readonly into: MemberNumber;
}

/** Locks of this file among those of the database. */
const lockSpace = 7_310;
const chainMax = 1_000;
const lockRoundsMax = 20;

type Moved = ReadonlyMap<MemberNumber, MemberNumber>;

/** Where the days of members went, over whole chains. */
async function readMoved(tx: pg.ClientBase, members: Iterable<MemberNumber>): Promise<Moved> {
  const moved = new Map<MemberNumber, MemberNumber>();
  let asked = [...members];
  for (let i = 0; asked.length > 0 && i < chainMax; i += 1) {
    const { rows } = await tx.query<{ member: MemberNumber; into_member: MemberNumber }>({
      name: 'diary-moved',
      text: 'select member, into_member from diary_moved where member = any($1::bigint[])',
      values: [`{${asked.join(',')}}`],
    });
    for (const { member, into_member: into } of rows) moved.set(member, into);
    asked = rows.map((row) => row.into_member).filter((into) => !moved.has(into));
  }
  return moved;
}

function endOf(moved: Moved, member: MemberNumber): MemberNumber {
  let end = member;
  for (let i = 0; moved.has(end) && i < chainMax; i += 1) end = moved.get(end)!;
  return end;
}

export type SurvivorOf = (member: MemberNumber) => MemberNumber;

/**
 * Notes merges, and answers whose days are whose. `foreign` are members of other shards to whose days something is added.
 */
export async function survivors(
  tx: pg.ClientBase,
  members: Iterable<MemberNumber>,
  foreign: Iterable<MemberNumber>,
  merges: readonly Merge[],
): Promise<SurvivorOf> {
  const all = new Set([...members, ...foreign, ...merges.flatMap(({ source, into }) => [source, into])]);
  const exposed = new Set([...foreign, ...merges.map(({ source }) => source)]);
  const locked = new Set<MemberNumber>();
  if (merges.length > 0) {
    await tx.query(
      'insert into diary_moved (member, into_member) select * from unnest($1::bigint[], $2::bigint[]) on conflict do nothing',
      [merges.map(({ source }) => source), merges.map(({ into }) => into)],
    );
  }
  for (let round = 0; round < lockRoundsMax; round += 1) {
    const moved = await readMoved(tx, all);
    // Days that go to somebody else than whose shard is read must arrive before those are moved on.
    for (const member of all) if (moved.has(member)) exposed.add(endOf(moved, member));
    const open = [...exposed].filter((member) => !locked.has(member)).sort((a, b) => a - b);
    if (open.length === 0) return (member) => endOf(moved, member);
    await tx.query(
      'select pg_advisory_xact_lock($1, (member % 2147483647)::int) from unnest($2::bigint[]) member',
      [lockSpace, open],
    );
    for (const member of open) locked.add(member);
  }
  throw new Error('members were merged faster than they could be locked');
}

const moveDays = `
  with gone as (delete from diary_day d using unnest($1::bigint[], $2::bigint[]) m (source, into_member) where d.member = m.source
      returning m.into_member, d.day, d.visits, d.spend, d.flights, d.distance)
  insert into diary_day (member, day, visits, spend, flights, distance)
  select into_member, day, sum(visits), sum(spend), sum(flights), sum(distance) from gone group by 1, 2 order by 1, 2
  on conflict (member, day) do update set visits = diary_day.visits + excluded.visits, spend = diary_day.spend + excluded.spend,
    flights = diary_day.flights + excluded.flights, distance = diary_day.distance + excluded.distance
  returning member, day`;

const movePoints = `
  with gone as (delete from diary_points d using unnest($1::bigint[], $2::bigint[]) m (source, into_member) where d.member = m.source
      returning m.into_member, d.currency, d.day, d.earned)
  insert into diary_points (member, currency, day, earned)
  select into_member, currency, day, sum(earned) from gone group by 1, 2, 3 order by 1, 2, 3
  on conflict (member, currency, day) do update set earned = diary_points.earned + excluded.earned
  returning member, day`;

/** Moves the days of merged members; answers the survivors' days that changed. */
export async function moveMerged(
  tx: pg.ClientBase,
  merges: readonly Merge[],
  survivorOf: SurvivorOf,
): Promise<{ member: MemberNumber; day: number }[]> {
  const sources = [...new Set(merges.map(({ source }) => source))].filter(
    (each) => survivorOf(each) !== each,
  );
  if (sources.length === 0) return [];
  const values = [sources, sources.map(survivorOf)];
  const days = await tx.query<{ member: MemberNumber; day: number }>(moveDays, values);
  const points = await tx.query<{ member: MemberNumber; day: number }>(movePoints, values);
  return [...days.rows, ...points.rows];
}
