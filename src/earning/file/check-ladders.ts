/**
 * PURE. Ladders in a program file: whether their tiers rise and can be reached and kept, whether what has to end does, and
 * whether tiers that are named elsewhere are there.
 *
 * One condition implies another where each of its lists has all that a list of the other asks for, and as much of it. So tiers
 * rise where what reaches one always reaches the one below it, and never the other way round.
 */
import type { Expiry } from './basics-schema.ts';
import type { Path, Report } from './check.ts';
import { checkTierMatches } from './check-matches.ts';
import type { FileGoal, FileLadder, FileTier, TierCondition } from './ladder-schema.ts';
import type { ProgramFile } from './schema.ts';

/** A list of goals that have to be met together, and where it stands. */
interface Alternative {
  readonly goals: readonly FileGoal[];
  readonly path: Path;
}

function placedAlternatives(condition: TierCondition, path: Path): readonly Alternative[] {
  if ('all' in condition) return [{ goals: condition.all, path: [...path, 'all'] }];
  return condition.any.map((each, i) => {
    const place = [...path, 'any', i];
    return 'all' in each ? { goals: each.all, path: [...place, 'all'] } : { goals: [each], path: place };
  });
}

const measured = (goal: FileGoal) =>
  goal.measure === 'points' ? `points of ${goal.currency}` : goal.measure;

function worded(goals: readonly FileGoal[]): string {
  return goals.map((goal) => `${goal.atLeast} ${measured(goal).replace('_', ' ')}`).join(' and ');
}

/** Whether who has all of the first list has all of the second. */
function impliesAll(goals: readonly FileGoal[], others: readonly FileGoal[]): boolean {
  return others.every((other) =>
    goals.some((goal) => measured(goal) === measured(other) && goal.atLeast >= other.atLeast),
  );
}

/** The first list that may be met where the other condition is not. */
function unimplied(
  alternatives: readonly Alternative[],
  others: readonly Alternative[],
): Alternative | undefined {
  return alternatives.find(({ goals }) => !others.some((other) => impliesAll(goals, other.goals)));
}

interface Placed {
  readonly tier: FileTier;
  readonly path: Path;
  readonly reach: readonly Alternative[];
  readonly keep: readonly Alternative[];
}

function placedTiers({ tiers }: FileLadder, path: Path): readonly Placed[] {
  return tiers.map((tier, i) => {
    const at = [...path, 'tiers', i];
    const reach = tier.reach ? placedAlternatives(tier.reach, [...at, 'reach']) : [];
    const keep = tier.keep ? placedAlternatives(tier.keep, [...at, 'keep']) : reach;
    return { tier, path: at, reach, keep };
  });
}

function checkSources(tiers: readonly Placed[], { fault }: Report): void {
  for (const [level, { tier, path }] of tiers.entries()) {
    if (level === 0) {
      for (const field of ['reach', 'keep'] as const)
        if (tier[field]) fault([...path, field], 'everybody has the first tier: leave it out');
      if (tier.onlyGranted) fault([...path, 'onlyGranted'], 'everybody has the first tier: leave it out');
    } else if (tier.onlyGranted) {
      for (const field of ['reach', 'keep'] as const)
        if (tier[field]) fault([...path, field], 'the tier is only granted: leave it or onlyGranted out');
    } else if (!tier.reach) {
      fault(path, 'nothing reaches it: say reach, or onlyGranted: true');
    }
  }
}

function checkRising(tiers: readonly Placed[], { fault }: Report): void {
  const reachable = tiers.filter(({ reach }) => reach.length > 0);
  for (const [i, upper] of reachable.entries()) {
    const lower = reachable[i - 1];
    const { tier, path } = upper;
    if (lower) {
      const easier = unimplied(upper.reach, lower.reach);
      if (easier)
        fault(
          easier.path,
          `does not rise: ${worded(easier.goals)} reaches ${tier.name} and not ${lower.tier.name}`,
        );
      else if (!unimplied(lower.reach, upper.reach))
        fault([...path, 'reach'], `asks for no more than ${lower.tier.name}: nobody would stay there`);
      const keeps = unimplied(upper.keep, lower.keep);
      if (keeps && !easier)
        fault(
          keeps.path,
          `does not rise: ${worded(keeps.goals)} keeps ${tier.name} and not ${lower.tier.name}`,
        );
    }
    const harder = tier.keep && unimplied(upper.reach, upper.keep);
    if (harder)
      fault(
        [...path, 'keep'],
        `is harder than reach: ${worded(harder.goals)} reaches ${tier.name} and does not keep it`,
      );
  }
}

/** Months of the calendar that a period touches at most. */
function monthsMax({ period }: FileLadder): number {
  switch (period.kind) {
    case 'calendar_year':
      return 12;
    case 'anniversary':
      return 13;
    case 'rolling_months':
    case 'since_promotion':
      return period.months + 1;
    case 'lifetime':
      return Number.POSITIVE_INFINITY;
    default:
      return period satisfies never;
  }
}

function checkGoals(file: ProgramFile, ladder: FileLadder, tiers: readonly Placed[], report: Report): void {
  const { fault } = report;
  const codes = file.currencies.map(({ code }) => code);
  const given = new Set([...file.rules, ...file.promotions].map(({ currency }) => currency));
  for (const { tier, reach, keep } of tiers) {
    const lists = [...reach, ...(tier.keep ? keep : [])];
    for (const { goals, path } of lists) {
      for (const [i, goal] of goals.entries()) {
        const at = path.at(-1) === 'all' ? [...path, i] : path;
        if (goals.findIndex((other) => measured(other) === measured(goal)) !== i)
          fault(at, `${measured(goal)} stands twice here; the larger number is enough`);
        if (goal.measure === 'active_months' && goal.atLeast > monthsMax(ladder))
          fault([...at, 'atLeast'], `nothing reaches it: a period has at most ${monthsMax(ladder)} months`);
        if (goal.measure !== 'points') continue;
        if (!codes.includes(goal.currency))
          fault([...at, 'currency'], `${goal.currency} is not in currencies: there is ${codes.join(', ')}`);
        else if (!given.has(goal.currency))
          fault([...at, 'currency'], `nothing reaches it: no rule or promotion gives ${goal.currency}`);
      }
    }
  }
}

const endless: Readonly<Record<string, string>> = {
  rolling_months: 'months that end today never end',
  lifetime: 'a lifetime never ends',
};

function checkPeriod(ladder: FileLadder, path: Path, { fault }: Report): void {
  const { period, validity, atPromotion, atPeriodEnd } = ladder;
  const never = endless[period.kind];
  if (never !== undefined) {
    if (validity.kind === 'end_of_period' || validity.kind === 'end_of_next_period')
      fault([...path, 'validity', 'kind'], `${never}: say months or for_ever`);
    if (atPeriodEnd === 'roll_over')
      fault([...path, 'atPeriodEnd'], `${never}: there is nothing to roll over`);
  }
  if (period.kind === 'rolling_months' && atPromotion === 'roll_over')
    fault([...path, 'atPromotion'], 'what rolls over has to end with a period: say keep or reset');
  if (period.kind === 'since_promotion' && atPromotion === 'keep')
    fault([...path, 'atPromotion'], 'periods begin with a promotion: say reset or roll_over');
}

function checkUseless(ladder: FileLadder, path: Path, { fault, warn }: Report): void {
  const { period, validity, down, grace, warnDays } = ladder;
  const why =
    down === 'none' ? 'nobody goes down' : validity.kind === 'for_ever' ? 'tiers are for ever' : undefined;
  const keeps = ladder.tiers.findIndex(({ keep }) => keep);
  const warnKeep = (detail: string) => {
    if (keeps >= 0) warn([...path, 'tiers', keeps, 'keep'], `decides nothing: ${detail}`);
  };
  if (why !== undefined) {
    if (grace) warn([...path, 'grace'], `is never used: ${why}`);
    if (warnDays) warn([...path, 'warnDays'], `is never used: ${why}`);
    warnKeep(why);
  } else if (validity.kind === 'end_of_period' && period.kind !== 'since_promotion' && !grace) {
    warnKeep('a tier ends with the period that gave it; say end_of_next_period, or a grace');
  }
  for (const [i, days] of (warnDays ?? []).entries())
    if (warnDays!.indexOf(days) !== i) fault([...path, 'warnDays', i], `${days} is used twice`);
}

function checkLadderNames(ladders: readonly FileLadder[], { fault }: Report): void {
  const names = new Set<string>();
  const tiers = new Map<string, string>();
  const present = new Set(ladders.flatMap((ladder) => ladder.tiers.map(({ name }) => name)));
  const before = new Set<string>();
  for (const [i, ladder] of ladders.entries()) {
    if (names.has(ladder.name))
      fault(['ladders', i, 'name'], `${ladder.name} is used twice; give one of them another name`);
    names.add(ladder.name);
    for (const [j, { name, was = [] }] of ladder.tiers.entries()) {
      const path = ['ladders', i, 'tiers', j];
      const other = tiers.get(name);
      if (other !== undefined)
        fault(
          [...path, 'name'],
          `${name} is a tier of ${other} already; rules name tiers without their ladder`,
        );
      else tiers.set(name, ladder.name);
      for (const [k, old] of was.entries()) {
        if (present.has(old)) fault([...path, 'was', k], `${old} is a tier of its own`);
        else if (before.has(old)) fault([...path, 'was', k], `${old} was one tier; say it of one`);
        before.add(old);
      }
    }
  }
}

type Named = readonly [name: string, path: Path];

function namedIn(expiry: Expiry | undefined, path: Path): readonly Named[] {
  if (expiry?.kind !== 'tier') return [];
  return Object.keys(expiry.tiers).map((name) => [name, [...path, 'tiers', name]]);
}

/** Tiers that the file names outside its ladders. */
function tiersNamed(file: ProgramFile): readonly Named[] {
  const found: Named[] = file.currencies.flatMap(({ expiry }, i) =>
    namedIn(expiry, ['currencies', i, 'expiry']),
  );
  for (const list of ['rules', 'promotions', 'redemption'] as const)
    for (const [i, { tiers = [] }] of file[list].entries())
      found.push(...tiers.map((name, j): Named => [name, [list, i, 'tiers', j]]));
  for (const list of ['rules', 'promotions'] as const) {
    for (const [i, { earn, expiry }] of file[list].entries()) {
      found.push(...namedIn(expiry, [list, i, 'expiry']));
      if (earn?.by === 'fare')
        found.push(
          ...Object.keys(earn.tiers ?? {}).map((name): Named => [name, [list, i, 'earn', 'tiers', name]]),
        );
    }
  }
  for (const [i, { member }] of file.examples.entries())
    if (member?.tier !== undefined) found.push([member.tier, ['examples', i, 'member', 'tier']]);
  return found;
}

/** Whether what is said of ladders can be, and tiers are named that there are. A file without ladders may name any. */
export function checkLadders(file: ProgramFile, report: Report): void {
  if (file.ladders.length === 0) return;
  checkLadderNames(file.ladders, report);
  for (const [i, ladder] of file.ladders.entries()) {
    const path = ['ladders', i];
    const tiers = placedTiers(ladder, path);
    checkSources(tiers, report);
    checkGoals(file, ladder, tiers, report);
    checkRising(tiers, report);
    checkPeriod(ladder, path, report);
    checkUseless(ladder, path, report);
    checkTierMatches(ladder, path, report);
  }
  const names = file.ladders.flatMap(({ tiers }) => tiers.map(({ name }) => name));
  for (const [name, path] of tiersNamed(file))
    if (!names.includes(name))
      report.fault(path, `${name} is no tier of a ladder: there is ${names.slice(0, 8).join(', ')}`);
}
