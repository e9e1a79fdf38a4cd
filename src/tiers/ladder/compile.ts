/** PURE. Ladders as reviews use them, from a version's definition: currencies by number, conditions as lists of lists. */
import type { Definition } from '#src/earning/file/definition.ts';
import type {
  Alliance,
  FileGoal,
  FileLadder,
  Match,
  TierCondition,
} from '#src/earning/file/ladder-schema.ts';
import { dayNumberOfDate } from '#src/earning/rules/calendar.ts';
import type { Condition, Day, Goal, Ladder } from './types.ts';

type Numbered = Pick<Definition, 'ladders' | 'numbers'>;

function goalOf(goal: FileGoal, { numbers }: Numbered): Goal {
  const { measure, atLeast } = goal;
  if (measure !== 'points') return { measure, atLeast };
  const points = Object.hasOwn(numbers.currencies, goal.currency)
    ? numbers.currencies[goal.currency]
    : undefined;
  if (points === undefined) throw new Error(`the version has no number for ${goal.currency}`);
  return { measure: { points }, atLeast };
}

/** A condition of the file, also one of a match. */
export function conditionOf(condition: TierCondition | undefined, definition: Numbered): Condition {
  if (!condition) return [];
  const lists =
    'all' in condition ? [condition.all] : condition.any.map((each) => ('all' in each ? each.all : [each]));
  return lists.map((goals) => goals.map((goal) => goalOf(goal, definition)));
}

function compiled(ladder: FileLadder, definition: Numbered): Ladder {
  const { name, period, validity, down, atPeriodEnd, grace, whenTakenBack, warnDays = [] } = ladder;
  return {
    ...{ name, period, validity, down, atPeriodEnd, grace, whenTakenBack },
    atPromotion: ladder.atPromotion ?? (period.kind === 'since_promotion' ? 'reset' : 'keep'),
    warnDays: warnDays.toSorted((a, b) => b - a),
    tiers: ladder.tiers.map((tier) => {
      const reach = conditionOf(tier.reach, definition);
      const keep = tier.keep ? conditionOf(tier.keep, definition) : reach;
      return { name: tier.name, was: tier.was ?? [], reach, keep, isProtected: tier.protected };
    }),
  };
}

/** A version's definition never changes, so each is compiled once. */
const known = new WeakMap<object, readonly Ladder[]>();

/** All ladders of a version, in the order of the file: the first is what rules mean by a member's tier. */
export function laddersOf(definition: Numbered): readonly Ladder[] {
  const before = known.get(definition);
  if (before) return before;
  const ladders = definition.ladders.map((ladder) => compiled(ladder, definition));
  known.set(definition, ladders);
  return ladders;
}

/** The ladder of a name; the first where none is named. */
export function ladderOf(definition: Numbered, name?: string): Ladder | undefined {
  const ladders = laddersOf(definition);
  return name === undefined ? ladders[0] : ladders.find((ladder) => ladder.name === name);
}

interface Dated {
  readonly from?: string | undefined;
  readonly through?: string | undefined;
}

function holdsOn({ from, through }: Dated, day: Day): boolean {
  return (
    (from === undefined || dayNumberOfDate(from) <= day) &&
    (through === undefined || day <= dayNumberOfDate(through))
  );
}

/** The matches of a ladder that are offered on a day. */
export function matchesOn(definition: Numbered, ladder: string, day: Day): readonly Match[] {
  const { matches = [] } = definition.ladders.find(({ name }) => name === ladder) ?? {};
  return matches.filter((match) => holdsOn(match, day));
}

/** What a tier is in alliances on a day: alliance → its tier. Tiers that are not named are none. */
export function allianceTiersOn(
  definition: Numbered,
  ladder: string,
  tier: string,
  day: Day,
): ReadonlyMap<string, string> {
  const { alliances = [] } = definition.ladders.find(({ name }) => name === ladder) ?? {};
  const found = new Map<string, string>();
  for (const each of alliances.filter((alliance: Alliance) => holdsOn(alliance, day))) {
    const equal = each.tiers.find((one) => one.tier === tier);
    if (equal) found.set(each.alliance, equal.equals);
  }
  return found;
}
