/** PURE. What rules and promotions count and give: whether it fits what they are on, and whether it can come to anything. */
import { pointsOfBudget } from '../budgets.ts';
import type { Expiry, LineFilter } from './basics-schema.ts';
import type { Path, Report } from './check.ts';
import type { Earn, Promotion, Rule } from './earning-schema.ts';
import type { ProgramFile } from './schema.ts';

type On = Rule['on'];
type Awarding = Rule | Promotion;

/** What only one kind of subject has. */
const fieldsOf: Readonly<Record<string, On>> = {
  stores: 'purchase',
  channels: 'purchase',
  basket: 'purchase',
  spendReached: 'purchase',
  purchaseNumber: 'purchase',
  oncePerOrder: 'purchase',
  carriers: 'flight',
  activities: 'activity',
};
const earnedOn: Readonly<Record<Earn['by'], On | undefined>> = {
  amount: 'purchase',
  quantity: 'purchase',
  fixed: undefined,
  distance: 'flight',
  fare: 'flight',
};
const withArticle: Readonly<Record<On, string>> = {
  purchase: 'a purchase',
  flight: 'a flight',
  activity: 'an activity',
};

function checkSubject(item: Awarding, path: Path, { fault }: Report): void {
  for (const [field, on] of Object.entries(fieldsOf)) {
    if (item.on !== on && (item as Readonly<Record<string, unknown>>)[field] !== undefined)
      fault([...path, field], `only ${withArticle[on]} has it, and this is on ${withArticle[item.on]}`);
  }
  const { earn } = item;
  const on = earn && earnedOn[earn.by];
  if (earn && on !== undefined && on !== item.on)
    fault(
      [...path, 'earn', 'by'],
      `${earn.by} is of ${withArticle[on]}: say on: ${on}, or count something else`,
    );
}

/** Whether a category is one of the names or below it. */
function isWithin(category: string, names: readonly string[]): boolean {
  return names.some((name) => category === name || category.startsWith(`${name}/`));
}

function checkLines(lines: LineFilter | undefined, path: Path, { warn }: Report): void {
  const { except } = lines ?? {};
  if (!lines || !except) return;
  for (const field of ['skus', 'categories', 'brands'] as const) {
    const [named, left] = [lines[field], except[field]];
    if (
      named &&
      left &&
      named.every((name) => (field === 'categories' ? isWithin(name, left) : left.includes(name)))
    )
      warn([...path, 'except', field], `leaves out all ${field} that are named: no line ever fits`);
  }
}

/** Means that never earn: what points and gift cards paid was earned for when they were bought. */
const unpaidMeans = ['points', 'gift_card'];

function checkEarn(earn: Earn, path: Path, report: Report): void {
  if (earn.by === 'amount' || earn.by === 'quantity') checkLines(earn.lines, [...path, 'lines'], report);
  if (earn.by === 'amount' && earn.paidBy?.every((means) => unpaidMeans.includes(means)))
    report.warn(
      [...path, 'paidBy'],
      'what was paid by points or gift cards earns nothing: this rule never applies',
    );
  if (earn.by !== 'distance') return;
  const seen = new Set<string>();
  for (const [i, { codes, percent, minimumMiles }] of earn.classes.entries()) {
    for (const [j, code] of codes.entries()) {
      if (seen.has(code))
        report.fault([...path, 'classes', i, 'codes', j], `class ${code} is in the table twice`);
      seen.add(code);
    }
    if (percent === 0 && minimumMiles !== undefined)
      report.fault(
        [...path, 'classes', i, 'minimumMiles'],
        'a class of 0 percent earns nothing, so it has no minimum',
      );
  }
}

/** The least points of a single award, beyond none; 0 where that depends on the flight. */
function leastPoints(earn: Earn | undefined): number {
  if (!earn) return 0;
  if (earn.by === 'distance') {
    const minimums = earn.classes.map(({ minimumMiles }) => minimumMiles ?? 0);
    return earn.minimum === 'after' ? Math.min(...minimums) : 0;
  }
  if (earn.by === 'fare') return 0;
  return earn.by === 'amount' && (earn.steps === 'fraction' || earn.each === 'line') ? 1 : earn.points;
}

/** From the shortest; the others are not comparable. */
const calendar: readonly string[] = ['day', 'week', 'month', 'year', 'lifetime'];
const subjectOfPeriod: Readonly<Record<string, On>> = { order: 'purchase', ticket: 'flight' };

function checkCaps(item: Awarding, path: Path, { fault, warn }: Report): void {
  const least = leastPoints(item.earn);
  for (const [i, { points, period }] of item.caps.entries()) {
    const at = [...path, 'caps', i];
    if (item.caps.findIndex((other) => other.period === period) < i)
      fault([...at, 'period'], `there are two caps for a ${period}; keep the smaller one`);
    const on = subjectOfPeriod[period];
    if (on !== undefined && on !== item.on)
      fault(
        [...at, 'period'],
        `only ${withArticle[on]} has a ${period}, and this is on ${withArticle[item.on]}`,
      );
    if (points < least)
      fault([...at, 'points'], `is below a single award of ${least} points; raise it or lower the award`);
    const place = calendar.indexOf(period);
    const longer = item.caps.find(
      (other) => calendar.indexOf(other.period) > place && other.points <= points,
    );
    if (place >= 0 && longer)
      warn([...at, 'points'], `is never reached: a ${longer.period} has at most ${longer.points} points`);
  }
}

/** The longest that points can be valid; undefined where the calendar does not say. */
function validDaysOf(expiry: Expiry): number | undefined {
  switch (expiry.kind) {
    case 'days':
      return expiry.days;
    case 'month_end':
      return (expiry.months + 1) * 31;
    case 'year_end':
      return (expiry.years + 1) * 366;
    case 'birthday_month':
      return (expiry.years + 1) * 366;
    default:
      return undefined;
  }
}

function checkPending(item: Awarding, file: ProgramFile, path: Path, { fault }: Report): void {
  const { pending, currency } = item;
  const expiry = item.expiry ?? file.currencies.find(({ code }) => code === currency)?.expiry;
  if (pending?.kind !== 'days' || !expiry) return;
  const validDays = validDaysOf(expiry);
  if (validDays !== undefined && pending.days > validDays)
    fault([...path, 'pending', 'days'], 'the points end before they begin to count');
}

function checkBudgetOf(item: Awarding, file: ProgramFile, path: Path, { fault }: Report): void {
  const budget = file.budgets.find(({ name }) => name === item.budget);
  const least = leastPoints(item.earn);
  // A budget that does not say what it has is found by itself.
  const isSaid = budget && (budget.points !== undefined || (budget.costPerPoint?.[0] ?? 0) > 0);
  const points = isSaid ? pointsOfBudget(budget) : undefined;
  if (points !== undefined && points < least)
    fault([...path, 'budget'], `${budget!.name} has ${points} points, less than a single award of ${least}`);
}

function checkBudgets(file: ProgramFile, { fault, warn }: Report): void {
  const awarding = [...file.rules, ...file.promotions];
  for (const [i, { name, points, minorUnits, costPerPoint, pacing }] of file.budgets.entries()) {
    const path = ['budgets', i];
    const users = awarding.filter(({ budget }) => budget === name);
    if ((points === undefined) === (minorUnits === undefined))
      fault(path, 'needs either points or minorUnits: say which of the two is limited');
    if (minorUnits !== undefined && costPerPoint === undefined)
      fault(path, 'needs costPerPoint: what a point costs, in minor units such as "0.5"');
    if (minorUnits === undefined && costPerPoint !== undefined)
      fault([...path, 'costPerPoint'], 'is only for a budget of minorUnits');
    if (costPerPoint?.[0] === 0) fault([...path, 'costPerPoint'], 'points that cost nothing need no budget');
    if (points !== undefined && new Set(users.map(({ currency }) => currency)).size > 1)
      fault(path, 'limits points of several currencies; make one budget of points for each');
    if (pacing === 'day' && users.some(({ during }) => during?.through === undefined))
      fault([...path, 'pacing'], 'needs a last day (during.through) of all that the budget pays for');
    if (users.length === 0) warn([...path, 'name'], `${name} limits nothing: no rule or promotion names it`);
  }
}

export function checkEarning(file: ProgramFile, report: Report): void {
  for (const list of ['rules', 'promotions'] as const) {
    for (const [i, item] of file[list].entries()) {
      const path = [list, i];
      checkSubject(item, path, report);
      if (item.earn) checkEarn(item.earn, [...path, 'earn'], report);
      for (const [j, { lines }] of (item.basket ?? []).entries())
        checkLines(lines, [...path, 'basket', j, 'lines'], report);
      checkCaps(item, path, report);
      checkPending(item, file, path, report);
      checkBudgetOf(item, file, path, report);
    }
  }
  checkBudgets(file, report);
}
