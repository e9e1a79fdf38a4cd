/** PURE. Promotions by themselves and in their groups. */
import { canMeet } from '../rules/schedule.ts';
import type { Fraction } from './basics-schema.ts';
import type { Path, Report } from './check.ts';
import type { Group, Promotion } from './earning-schema.ts';
import type { ProgramFile } from './schema.ts';

/** What there is only at a till: a gift comes by itself, to everybody who is selected. */
const notForGifts = [
  ...([
    'stores',
    'channels',
    'when',
    'basket',
    'code',
    'purchaseNumber',
    'spendReached',
    'oncePerOrder',
  ] as const),
  ...(['activities', 'carriers', 'group', 'budget'] as const),
];

function checkGift(promotion: Promotion, path: Path, { fault }: Report): void {
  const { during } = promotion;
  if (!during || (during.repeat === undefined && during.member === undefined && during.from === undefined)) {
    const detail = 'needs during with from, repeat or member: points are given once for each of its days';
    fault([...path, 'give'], detail);
  }
  if (during && during.member === undefined && during.repeat === undefined && during.through !== during.from)
    fault(
      [...path, 'during'],
      'would give the points every day: say repeat, or the same day in from and through',
    );
  if (during?.hours !== undefined)
    fault([...path, 'during', 'hours'], 'a gift begins at its own time: say give.at instead');
  if (promotion.on !== 'purchase')
    fault([...path, 'on'], 'a gift is on nothing: it comes by itself on its day; leave this out');
  for (const field of notForGifts) {
    if (promotion[field] !== undefined)
      fault([...path, field], 'a gift comes without a receipt, so this cannot be looked at; leave it out');
  }
  if (promotion.caps.length > 0)
    fault([...path, 'caps'], 'a gift comes once for each of its days, so it needs no cap');
}

function isLess([a, b]: Fraction, [c, d]: Fraction): boolean {
  return a * d < c * b;
}

const textOf = ([numerator, denominator]: Fraction): string =>
  denominator === 1 ? String(numerator) : String(numerator / denominator);

function checkMultiplier(promotion: Promotion, file: ProgramFile, path: Path, { fault, warn }: Report): void {
  const { multiply, on, currency } = promotion;
  if (!multiply) return;
  if (isLess(multiply.by, [1, 1]))
    fault([...path, 'multiply', 'by'], 'would take points away: a multiplier is at least 1');
  else if (multiply.by[0] === multiply.by[1])
    warn([...path, 'multiply', 'by'], 'multiplies by 1: it gives nothing');
  if (
    multiply.rules === undefined &&
    !file.rules.some((rule) => rule.on === on && rule.currency === currency)
  )
    fault(
      [...path, 'multiply'],
      `there is no rule on ${on} that gives ${currency}, so there is nothing to multiply`,
    );
  if (multiply.lines !== undefined && on !== 'purchase')
    fault([...path, 'multiply', 'lines'], 'only a purchase has lines');
}

function checkKind(promotion: Promotion, path: Path, { fault }: Report): void {
  const kinds = (['multiply', 'earn', 'give'] as const).filter((kind) => promotion[kind] !== undefined);
  if (kinds.length !== 1) {
    const has = kinds.length === 0 ? 'has none' : `has ${kinds.join(' and ')}`;
    fault(path, `needs exactly one of multiply, earn and give, and ${has}`);
  }
}

/** A single award that is the same whatever was bought. */
function fixedPoints({ earn }: Promotion): number {
  return earn?.by === 'fixed' ? earn.points : 0;
}

function checkLimits(group: Group, members: readonly Promotion[], path: Path, { fault, warn }: Report): void {
  if (members.length === 0) warn([...path, 'name'], `${group.name} is empty: no promotion names it`);
  for (const promotion of members) {
    const { multiply, name } = promotion;
    if (group.factorMax && multiply && isLess(group.factorMax, multiply.by)) {
      const detail = `is below ${name}, which multiplies by ${textOf(multiply.by)}`;
      fault([...path, 'factorMax'], detail);
    }
    if (group.pointsMax !== undefined && group.pointsMax < fixedPoints(promotion))
      fault([...path, 'pointsMax'], `is below ${name}, which gives ${fixedPoints(promotion)} points at once`);
  }
}

/** Whether both are limited to lists that have nothing in common. */
function areApart(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a !== undefined && b !== undefined && !a.some((each) => b.includes(each));
}

/** A member has one tier of each ladder. Without ladders all tiers are taken to be of one. */
function haveOtherTiers(a: Promotion, b: Promotion, { ladders }: ProgramFile): boolean {
  const ladderOf = (tier: string) =>
    ladders.findIndex(({ tiers }) => tiers.some(({ name }) => name === tier));
  const named = new Set([...(a.tiers ?? []), ...(b.tiers ?? [])].map(ladderOf));
  return named.size === 1 && areApart(a.tiers, b.tiers);
}

/** Whether one receipt can be both's; where that cannot be seen, it can. */
function canCoincide(a: Promotion, b: Promotion, file: ProgramFile): boolean {
  if (a.on !== b.on) return false;
  const lists = ['stores', 'channels', 'activities', 'carriers'] as const;
  if (lists.some((list) => areApart(a[list], b[list])) || haveOtherTiers(a, b, file)) return false;
  const [first, second] = [a.purchaseNumber, b.purchaseNumber];
  if (first !== undefined && second !== undefined && first !== second) return false;
  return canMeet(a.during ?? {}, b.during ?? {}, file.timeZone);
}

/** Two windows are compared day by day; more pairs than these would take seconds. */
const pairsMax = 500;

function checkExclusive(
  group: Group,
  members: readonly { readonly promotion: Promotion; readonly index: number }[],
  file: ProgramFile,
  { fault }: Report,
): void {
  if (group.combine !== 'exclusive') return;
  let pairs = 0;
  for (const [i, { promotion, index }] of members.entries()) {
    for (const other of members.slice(0, i)) {
      if (other.promotion.priority !== promotion.priority) continue;
      pairs += 1;
      const path = ['promotions', index, 'priority'];
      if (pairs > pairsMax) {
        fault(
          path,
          `too many promotions of ${group.name} have priority ${promotion.priority}; give them priorities of their own`,
        );
        return;
      }
      if (canCoincide(other.promotion, promotion, file)) {
        const detail = `${promotion.name} and ${other.promotion.name} of the exclusive group ${group.name} can fit the same ${promotion.on} with the same priority ${promotion.priority}; give one a higher priority`;
        fault(path, detail);
        break;
      }
    }
  }
}

/** Finds promotions of exclusive groups that could meet; the windows of the file have to be right. */
export function checkMeetings(file: ProgramFile, report: Report): void {
  for (const group of file.groups) {
    const members = file.promotions
      .map((promotion, index) => ({ promotion, index }))
      .filter(({ promotion }) => promotion.group === group.name);
    checkExclusive(group, members, file, report);
  }
}

export function checkPromotions(file: ProgramFile, report: Report): void {
  for (const [i, promotion] of file.promotions.entries()) {
    const path = ['promotions', i];
    checkKind(promotion, path, report);
    if (promotion.oncePerOrder && promotion.earn?.by !== 'fixed')
      report.warn(
        [...path, 'oncePerOrder'],
        'is about fixed points alone: whatever else it gives is for the lines of each shipment, which come once',
      );
    if (promotion.give) checkGift(promotion, path, report);
    checkMultiplier(promotion, file, path, report);
    if (file.promotionsPointsMax !== undefined && file.promotionsPointsMax < fixedPoints(promotion)) {
      const detail = `is below ${promotion.name}, which gives ${fixedPoints(promotion)} points at once`;
      report.fault(['promotionsPointsMax'], detail);
    }
  }
  for (const [i, group] of file.groups.entries()) {
    const members = file.promotions.filter((promotion) => promotion.group === group.name);
    checkLimits(group, members, ['groups', i], report);
  }
}
