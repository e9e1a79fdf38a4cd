/**
 * Reviews of many members at once: what they need of the diary is asked for all of them together, what follows from it is
 * decided by the pure rules of `ladder/`. Nothing is written here, so a preview and the run that follows it are the same
 * code on the same rows.
 *
 * A member whose standing was due before today is looked at on that day first, and on the next one that is due, until today:
 * what a night would have found is found the same way some nights later, with the same dates. Warnings are of today alone.
 */

import { sumsOf } from '#src/diary/reading.ts';
import type { Program } from '#src/earning/program.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { dayOf, startOfDay } from './days.ts';
import { asksOf } from './ladder/asks.ts';
import { movedMember, tierMoves } from './ladder/moves.ts';
import { review } from './ladder/review.ts';
import {
  type Day,
  type Ladder,
  type LadderAsk,
  type LadderMember,
  type Review,
  type Standing,
  type Step,
  sumsBy,
  type Warning,
} from './ladder/types.ts';
import { type LadderSet, ladderOfVersion } from './ladders.ts';
import { prospectsAmong } from './prospects.ts';
import type { Db, LadderState, Person, StoredStanding } from './store.ts';
import { stepView } from './views.ts';

/** One thing that happened to a standing: its tier moved, or what it rests on did. */
export interface Move {
  readonly from: string;
  readonly to: string;
  readonly since: Day;
  readonly until: Day | undefined;
  readonly origin: string;
  readonly reason: {
    readonly day: Day;
    readonly how?: string | undefined;
    readonly grant?: string | undefined;
    readonly steps: readonly Record<string, unknown>[];
  };
  readonly effectiveAt: EpochMs;
}

/** What has to be stored of a member on a ladder, and said. */
export interface Reviewed {
  readonly member: MemberNumber;
  readonly ladder: string;
  readonly before: StoredStanding | undefined;
  readonly tier: string;
  readonly state: LadderState;
  readonly dueDay: Day | undefined;
  readonly moves: readonly Move[];
  readonly warnings: readonly Warning[];
}

/** Something that was done, by its day and, where it is known, its time. */
export interface Touch {
  readonly day: Day;
  readonly doneAt: EpochMs | undefined;
}

/** By what members are looked at, and when. */
export interface Reviewing {
  readonly program: Pick<Program, 'number' | 'timeZone' | 'currencyByNumber' | 'versions'>;
  readonly ladders: LadderSet;
  readonly now: EpochMs;
  /** What made somebody look, by member: a till's clock may have begun a day that this one has not. */
  readonly touches?: ReadonlyMap<MemberNumber, readonly Touch[]>;
  /** Hears of a member that cannot be looked at, and the others are; absent: that is thrown. */
  readonly failed?: (member: MemberNumber, ladder: string, error: unknown) => void;
  /** What somebody changes by hand before it is looked at. */
  readonly edit?: (ladder: string, state: LadderState, member: MemberNumber) => LadderState;
}

/** One member on one ladder while it is looked at. */
interface Climb {
  readonly member: MemberNumber;
  readonly ladder: Ladder;
  readonly before: StoredStanding | undefined;
  readonly moves: Move[];
  readonly warnings: Warning[];
  /** The last day that it is looked at on. */
  readonly today: Day;
  /** When the latest of what made somebody look was done on that day; undefined where nothing was. */
  readonly doneAt: EpochMs | undefined;
  state: LadderState;
  known: LadderMember;
  tier: string;
  day: Day;
  dueDay: Day | undefined;
  isChanged: boolean;
  hasFailed: boolean;
  /** Somebody has edited what is stored, or another version of the ladder has come. */
  readonly isByHand: boolean;
}

/** Days on which one member is looked at in one go; what is left then is for the next one. */
const daysMax = 200;

/** What the rules of ladders are given of a member. */
export function knownOf(person: Person, state: LadderState, timeZone: string): LadderMember {
  const { earned, grants, protectedThroughDay } = state;
  return {
    joinedDay: dayOf(person.joinedAt, timeZone),
    earned,
    grants,
    ...(protectedThroughDay === undefined
      ? {}
      : { protectedThroughDay: protectedThroughDay ?? Number.POSITIVE_INFINITY }),
  };
}

const nothingStored: LadderState = { grants: [] };

/** What is stored of a member as the ladder of now knows it: its tiers may have other names, or be gone. */
function movedTo(
  { program, ladders }: Reviewing,
  ladder: Ladder,
  person: Person,
  before: StoredStanding | undefined,
): { readonly state: LadderState; readonly tier: string } {
  const base = ladder.tiers[0]!.name;
  if (!before) return { state: nothingStored, tier: base };
  const { state, tier, version } = before;
  const old = version === ladders.version ? undefined : ladderOfVersion(program, version, ladder.name);
  if (!old) return { state, tier };
  const { earned, grants } = movedMember(old, ladder, knownOf(person, state, program.timeZone));
  const renamed = tierMoves(old, ladder).find(({ from, why }) => from === tier && why === 'renamed');
  return { state: { ...state, earned, grants }, tier: renamed?.to ?? tier };
}

/**
 * Today, or a later day where something was done then, and when the latest of it was. Nothing is booked that lies minutes ahead;
 * only a process that has not heard yet of where a test clock was put meets more.
 */
function lastLook(
  { program, now, touches }: Reviewing,
  member: MemberNumber,
): Pick<Climb, 'today' | 'doneAt'> {
  const present = dayOf(now, program.timeZone);
  const own = touches?.get(member) ?? [];
  const today = Math.max(present, ...own.map(({ day }) => day));
  const times = own.flatMap(({ day, doneAt }) => (day === today && doneAt !== undefined ? [doneAt] : []));
  return { today, doneAt: times.length === 0 ? undefined : Math.max(...times) };
}

function climbOf(
  reviewing: Reviewing,
  ladder: Ladder,
  person: Person,
  before: StoredStanding | undefined,
): Climb {
  const { program, ladders, edit } = reviewing;
  const { today, doneAt } = lastLook(reviewing, person.member);
  const { state: stored, tier } = movedTo(reviewing, ladder, person, before);
  const state = edit?.(ladder.name, stored, person.member) ?? stored;
  const isByHand = state !== stored || (before !== undefined && before.version !== ladders.version);
  return {
    member: person.member,
    ladder,
    before,
    moves: [],
    warnings: [],
    today,
    doneAt,
    state,
    known: knownOf(person, state, program.timeZone),
    tier,
    day: Math.min(today, before?.dueDay ?? today),
    dueDay: before?.dueDay,
    isChanged: isByHand,
    hasFailed: false,
    isByHand,
  };
}

/** Steps that a receipt, a person or a new version brings, at any time of a day; all others come with the day. */
const sudden: ReadonlySet<Step['what']> = new Set([
  'promoted',
  'taken_back',
  'held_though_taken_back',
  'qualified_again',
  'late_receipt',
  'challenge_met',
]);

function isUpFrom({ ladder, tier }: Climb, { level }: Standing): boolean {
  return level > ladder.tiers.findIndex(({ name }) => name === tier);
}

/**
 * From when receipts are judged by a change. What a late receipt brings is in effect from the day to which it is counted; what
 * one of today brings from the moment after it, by its till's clock, so that the next one of a till that is minutes slow has it
 * too; what else comes suddenly from now, and everything else from the beginning of its day.
 */
function effectiveAt(
  { program: { timeZone }, now }: Reviewing,
  climb: Climb,
  standing: Standing,
  steps: readonly Step[],
): EpochMs {
  const { sinceDay } = standing;
  const { day, today, doneAt } = climb;
  const isUp = isUpFrom(climb, standing);
  if (isUp && sinceDay < day) return startOfDay(sinceDay, timeZone);
  // Without a step a grant began or ended, or another version of the ladder moves somebody: only an end comes with the day.
  const isSudden = steps.length === 0 ? isUp || climb.isByHand : steps.some(({ what }) => sudden.has(what));
  const beginning = startOfDay(day, timeZone);
  if (!isSudden || day !== today) return beginning;
  return Math.max(beginning, isUp && doneAt !== undefined ? Math.min(now, doneAt + 1) : now);
}

function take(reviewing: Reviewing, climb: Climb, found: Review): void {
  const { earned, grants, standing, steps, warnings, nextDay } = found;
  const { known } = climb;
  if (standing.tier !== climb.tier || steps.length > 0) {
    climb.moves.push({
      from: climb.tier,
      to: standing.tier,
      // Who falls back to what was there all the time has it again from this day on.
      since: isUpFrom(climb, standing) ? standing.sinceDay : Math.max(standing.sinceDay, climb.day),
      until: standing.untilDay,
      origin: standing.origin,
      reason: {
        day: climb.day,
        how: standing.how,
        grant: standing.grant,
        steps: steps.map((step) => stepView(reviewing.program, step)),
      },
      effectiveAt: effectiveAt(reviewing, climb, standing, steps),
    });
  }
  if (earned !== known.earned || grants !== known.grants) {
    climb.isChanged = true;
    climb.state = { ...climb.state, earned, grants };
    climb.known = { ...known, earned, grants };
  }
  // Of a day that is made up for they would come too late, and today's says what is still missing.
  if (climb.day === climb.today) climb.warnings.push(...warnings);
  climb.tier = standing.tier;
  climb.dueDay = nextDay;
}

/** Runs what the rules of ladders say for one member; where they cannot, the member stays as it is. */
function guarded<Answer>(reviewing: Reviewing, climb: Climb, run: () => Answer): Answer | undefined {
  if (!reviewing.failed) return run();
  try {
    return run();
  } catch (error) {
    climb.hasFailed = true;
    reviewing.failed(climb.member, climb.ladder.name, error);
    return undefined;
  }
}

/** Looks at everybody once, on the day of each. */
async function lookAt(db: Db, reviewing: Reviewing, climbs: readonly Climb[]): Promise<void> {
  const asked: (readonly LadderAsk[])[] = climbs.map(
    (climb) => guarded(reviewing, climb, () => asksOf(climb.ladder, climb.known, climb.day)) ?? [],
  );
  const asks = climbs.flatMap(({ member }, i) => asked[i]!.map((ask) => ({ ...ask, member })));
  const sums = asks.length === 0 ? [] : await sumsOf(db, asks);
  let from = 0;
  for (const [i, climb] of climbs.entries()) {
    const own = asked[i]!;
    const ownSums = sumsBy(own, sums.slice(from, from + own.length));
    from += own.length;
    if (climb.hasFailed) continue;
    guarded(reviewing, climb, () =>
      take(reviewing, climb, review(climb.ladder, climb.known, climb.day, ownSums)),
    );
  }
}

/** Whoever has only what everybody has needs no row. */
function isBare({ state, before, moves, ladder, tier }: Climb): boolean {
  if (before || moves.length > 0 || state.grants.length > 0) return false;
  const { earned } = state;
  if (!earned) return true;
  const { tier: _tier, sinceDay: _since, how, ...more } = earned;
  return tier === ladder.tiers[0]!.name && how === 'start' && Object.keys(more).length === 0;
}

function reviewedOf({ member, ladder, before, tier, state, dueDay, moves, warnings }: Climb): Reviewed {
  return { member, ladder: ladder.name, before, tier, state, dueDay, moves, warnings };
}

function groupByMember(stored: readonly StoredStanding[]): Map<MemberNumber, StoredStanding[]> {
  return Map.groupBy(stored, ({ member }) => member);
}

/**
 * Looks at people on all ladders. Answers those of whom something is to be stored or said: a second look finds nothing.
 * `stored` are their standings as they are now.
 */
export async function reviewPeople(
  db: Db,
  reviewing: Reviewing,
  people: readonly Person[],
  stored: readonly StoredStanding[],
): Promise<Reviewed[]> {
  const byMember = groupByMember(stored);
  const climbs = people.flatMap((person) =>
    reviewing.ladders.ladders.map((ladder) => {
      const before = byMember.get(person.member)?.find((each) => each.ladder === ladder.name);
      return climbOf(reviewing, ladder, person, before);
    }),
  );
  // Who has no row and was given nothing by hand can only come up.
  const beginning = climbs.filter(({ before, isByHand }) => !before && !isByHand);
  const isProspect = await prospectsAmong(db, beginning);
  const looked = climbs.filter((climb) => climb.before || climb.isByHand || isProspect(climb));
  let open = looked;
  for (let round = 0; open.length > 0 && round < daysMax; round += 1) {
    await lookAt(db, reviewing, open);
    open = open.filter((climb) => {
      const { day, dueDay, today, hasFailed } = climb;
      if (hasFailed) return false;
      if (day === today) return dueDay !== undefined && dueDay <= today;
      climb.day = Math.min(today, Math.max(day, dueDay ?? today));
      return true;
    });
  }
  return looked
    .filter((climb) => !climb.hasFailed && !isBare(climb))
    .filter(
      (climb) =>
        climb.isChanged ||
        climb.moves.length > 0 ||
        climb.warnings.length > 0 ||
        climb.dueDay !== climb.before?.dueDay,
    )
    .map(reviewedOf);
}
