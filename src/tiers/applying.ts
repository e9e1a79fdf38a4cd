/**
 * Reviews that are stored: standings, their changes and warnings, in the caller's database transaction.
 *
 * The standings of the members are locked before anything of the diary is read, so of two who look at the same member at
 * once the second sees what the first has done, and the diary as the first saw it or newer. A first standing has no row to
 * lock: there the second one's insert finds the first one's row and looks again.
 */
import type pg from 'pg';
import { type NewEvent, writeEvents } from '#src/ledger/events.ts';
import type { MemberNumber } from '#src/values.ts';
import { dateText } from './days.ts';
import { takeInheritances, withInheritances } from './inheriting.ts';
import type { Warning } from './ladder/types.ts';
import { type Reviewed, type Reviewing, reviewPeople } from './reviewing.ts';
import { type Person, readPeople, readStandings, writeReviews } from './store.ts';
import { goalView } from './views.ts';

export interface Applied {
  readonly reviews: readonly Reviewed[];
  readonly warnings: number;
}

const attemptsMax = 5;

function warningEvent(
  { program, now: at }: Reviewing,
  { member, ladder, tier }: Reviewed,
  { daysBefore, lastDay, keep }: Warning,
): NewEvent {
  const goals = keep.goals.map((goal) => goalView(program, goal));
  return {
    member,
    at,
    key: `${member}.${ladder}.${tier}.${lastDay}.${daysBefore}`,
    content: { ladder, tier, lastDay: dateText(lastDay), days: daysBefore, keep: { tier: keep.tier, goals } },
  };
}

async function warn(tx: pg.PoolClient, reviewing: Reviewing, reviews: readonly Reviewed[]): Promise<number> {
  const events = reviews.flatMap((review) =>
    review.warnings.map((warning) => warningEvent(reviewing, review, warning)),
  );
  return events.length === 0 ? 0 : writeEvents(tx, reviewing.program, 'tier.warning', events);
}

/** Trials by when what they ask for was reached, or that it is not any more; the lock-out of a later match asks for it. */
async function noteTrials(tx: pg.PoolClient, reviews: readonly Reviewed[]): Promise<void> {
  const trials = reviews.flatMap(({ before, state }) => {
    const met = new Map(before?.state.grants.map(({ id, challenge }) => [id, challenge?.metOnDay]));
    return state.grants.filter(({ id, challenge }) => challenge && challenge.metOnDay !== met.get(id));
  });
  if (trials.length === 0) return;
  await tx.query(
    `update tier_match m set met_on = t.met_on from unnest($1::uuid[], $2::int[]) t (match, met_on) where m.match = t.match`,
    [trials.map(({ id }) => id), trials.map(({ challenge }) => challenge?.metOnDay ?? null)],
  );
}

/** Looks at people and stores what is found. */
export async function applyReviews(
  tx: pg.PoolClient,
  reviewing: Reviewing,
  people: readonly Person[],
  run?: number,
): Promise<Applied> {
  const { program, ladders, now } = reviewing;
  const stamp = { program: program.number, version: ladders.version, now, run };
  const reviews: Reviewed[] = [];
  let [open, warnings] = [people, 0];
  for (let attempt = 0; open.length > 0; attempt += 1) {
    if (attempt === attemptsMax) throw new Error('standings are made as fast as they can be looked at');
    const members = open.map(({ member }) => member);
    const inherited = await takeInheritances(tx, members);
    const stored = await readStandings(tx, members, { lock: true });
    const found = await reviewPeople(tx, withInheritances(reviewing, inherited), open, stored);
    const missed = await writeReviews(tx, found, stamp);
    const again = new Set(missed.map(({ member }) => member));
    const written = found.filter((review) => !missed.includes(review));
    await noteTrials(tx, written);
    reviews.push(...written);
    warnings += await warn(tx, reviewing, found);
    open = open.filter(({ member }) => again.has(member));
  }
  return { reviews, warnings };
}

/** The same for members by number. */
export async function applyToMembers(
  tx: pg.PoolClient,
  reviewing: Reviewing,
  members: readonly MemberNumber[],
): Promise<Applied> {
  return applyReviews(tx, reviewing, await readPeople(tx, reviewing.program.number, members));
}
