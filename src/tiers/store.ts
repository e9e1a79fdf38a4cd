/** The rows of `tier_standing` and `tier_change`, read and written for many members at once. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import type { Day, Earned, Grant } from './ladder/types.ts';
import type { Reviewed } from './reviewing.ts';

export type Db = pg.Pool | pg.ClientBase;

/** What is kept of a member on a ladder from one review to the next. */
export interface LadderState {
  readonly earned?: Earned | undefined;
  readonly grants: readonly Grant[];
  /** Null: for ever. */
  readonly protectedThroughDay?: Day | null | undefined;
}

export interface StoredStanding {
  readonly member: MemberNumber;
  readonly ladder: string;
  readonly tier: string;
  readonly state: LadderState;
  readonly dueDay: Day | undefined;
  readonly number: number;
  readonly version: number;
}

interface StandingRow {
  readonly member: MemberNumber;
  readonly ladder: string;
  readonly tier: string;
  readonly standing: LadderState;
  readonly due_day: Day | null;
  readonly number: number;
  readonly version: number;
}

/** Who can stand on a ladder. */
export interface Person {
  readonly member: MemberNumber;
  readonly joinedAt: EpochMs;
}

/** Standings of members on all ladders that they ever stood on. With `lock` they are the caller's until the commit. */
export async function readStandings(
  db: Db,
  members: readonly MemberNumber[],
  { lock }: { readonly lock: boolean },
): Promise<StoredStanding[]> {
  const { rows } = await db.query<StandingRow>(
    `select member, ladder, tier, standing, due_day, number, version from tier_standing
     where member = any($1::bigint[]) ${lock ? 'order by member, ladder for update' : ''}`,
    [members],
  );
  return rows.map(({ standing, due_day: dueDay, ...row }) => ({
    ...row,
    state: standing,
    dueDay: dueDay ?? undefined,
  }));
}

/** Those of the members who are the program's and not closed or merged: others stay where they stood. */
export async function readPeople(
  db: Db,
  program: number,
  members: readonly MemberNumber[],
): Promise<Person[]> {
  const { rows } = await db.query<Person>(
    `select number as member, (extract(epoch from joined_at) * 1000)::bigint as "joinedAt" from member
     where program = $1 and number = any($2::bigint[]) and status in ('active', 'suspended') order by number`,
    [program, members],
  );
  return rows;
}

export interface Written {
  readonly program: number;
  readonly version: number;
  readonly now: EpochMs;
  readonly run?: number | undefined;
}

const standingColumns = 'member, ladder, program, tier, standing, due_day, number, version';

function standingValues(reviews: readonly Reviewed[], { program, version }: Written): unknown[] {
  return [
    reviews.map(({ member }) => member),
    reviews.map(({ ladder }) => ladder),
    program,
    reviews.map(({ tier }) => tier),
    reviews.map(({ state }) => JSON.stringify(state)),
    reviews.map(({ dueDay }) => dueDay ?? null),
    reviews.map(({ before, moves }) => (before?.number ?? 0) + moves.length),
    version,
  ];
}

const rowsGiven = `select member, ladder, $3::int, tier, standing::json, due_day, number, $8::int
  from unnest($1::bigint[], $2::text[], $4::text[], $5::text[], $6::int[], $7::int[])
    g (member, ladder, tier, standing, due_day, number)`;

const keyOf = ({ member, ladder }: Pick<StoredStanding, 'member' | 'ladder'>) => `${member}.${ladder}`;

/** Inserts standings; answers those that somebody else has made meanwhile. */
async function insertStandings(
  tx: pg.ClientBase,
  reviews: readonly Reviewed[],
  written: Written,
): Promise<Reviewed[]> {
  if (reviews.length === 0) return [];
  const { rows } = await tx.query<Pick<StoredStanding, 'member' | 'ladder'>>(
    `insert into tier_standing (${standingColumns}) ${rowsGiven} order by member, ladder
     on conflict (member, ladder) do nothing returning member, ladder`,
    standingValues(reviews, written),
  );
  const made = new Set(rows.map(keyOf));
  return reviews.filter((review) => !made.has(keyOf(review)));
}

async function updateStandings(
  tx: pg.ClientBase,
  reviews: readonly Reviewed[],
  written: Written,
): Promise<void> {
  if (reviews.length === 0) return;
  await tx.query(
    `update tier_standing s set tier = g.tier, standing = g.standing, due_day = g.due_day, number = g.number, version = g.version
     from (${rowsGiven}) g (member, ladder, program, tier, standing, due_day, number, version)
     where s.member = g.member and s.ladder = g.ladder`,
    standingValues(reviews, written),
  );
}

async function insertChanges(
  tx: pg.ClientBase,
  reviews: readonly Reviewed[],
  { program, now, run }: Written,
): Promise<void> {
  const changes = reviews.flatMap(({ member, ladder, before, moves }) =>
    moves.map((move, i) => ({ ...move, member, ladder, number: (before?.number ?? 0) + i + 1 })),
  );
  if (changes.length === 0) return;
  await tx.query(
    `insert into tier_change (change, program, member, ladder, number, from_tier, to_tier, since, until, origin, reason,
       effective_at, recorded_at, run, is_move, told_at)
     select change, $12::int, member, ladder, number, from_tier, to_tier, since, until, origin, reason::json, effective_at, $13::bigint,
       $14::bigint, from_tier <> to_tier, case when from_tier = to_tier then clock_timestamp() end
     from unnest($1::uuid[], $2::bigint[], $3::text[], $4::int[], $5::text[], $6::text[], $7::int[], $8::int[], $9::text[],
       $10::text[], $11::bigint[]) with ordinality
       c (change, member, ladder, number, from_tier, to_tier, since, until, origin, reason, effective_at, place)
     order by place`,
    [
      changes.map(() => randomUUID()),
      changes.map(({ member }) => member),
      changes.map(({ ladder }) => ladder),
      changes.map(({ number }) => number),
      changes.map(({ from }) => from),
      changes.map(({ to }) => to),
      changes.map(({ since }) => since),
      changes.map(({ until }) => until ?? null),
      changes.map(({ origin }) => origin),
      changes.map(({ reason }) => JSON.stringify(reason)),
      changes.map(({ effectiveAt }) => effectiveAt),
      program,
      now,
      run ?? null,
    ],
  );
}

/**
 * Writes what reviews found. The standings that are there were locked when they were read; one that somebody else made
 * meanwhile is not written, and answered: it has to be looked at again.
 */
export async function writeReviews(
  tx: pg.ClientBase,
  reviews: readonly Reviewed[],
  written: Written,
): Promise<Reviewed[]> {
  const [known, fresh] = [reviews.filter(({ before }) => before), reviews.filter(({ before }) => !before)];
  const missed = new Set(await insertStandings(tx, fresh, written));
  await updateStandings(tx, known, written);
  await insertChanges(
    tx,
    reviews.filter((review) => !missed.has(review)),
    written,
  );
  return [...missed];
}
