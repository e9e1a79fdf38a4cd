/**
 * A ladder as somebody would do it with a calendar and a list of receipts, one day after another: every day is looked at, every
 * sum is made anew, months are added by luxon. It knows spend alone, receipts that come in order and no returns, and shares no
 * code with `src/tiers/ladder`.
 */
import { DateTime } from 'luxon';

export interface NaiveRules {
  readonly tiers: readonly { readonly reach: number; readonly keep: number }[];
  readonly period:
    | { readonly kind: 'calendar_year'; readonly firstMonth: number }
    | { readonly kind: 'anniversary' | 'lifetime' }
    | { readonly kind: 'rolling_months' | 'since_promotion'; readonly months: number };
  readonly validity:
    | { readonly kind: 'end_of_period' | 'end_of_next_period' | 'for_ever' }
    | { readonly kind: 'months'; readonly months: number };
  readonly down: 'none' | 'one_step' | 'earned';
  readonly graceMonths: number;
}

type Date = string;

/** Dates are asked for again and again: luxon is asked once. */
const moved = new Map<string, Date>();
function plus(date: Date, unit: 'months' | 'days', count: number): Date {
  const key = `${date} ${count} ${unit}`;
  const known = moved.get(key);
  if (known !== undefined) return known;
  const made = DateTime.fromISO(date, { zone: 'utc' })
    .plus({ [unit]: count })
    .toISODate()!;
  moved.set(key, made);
  return made;
}
const plusMonths = (date: Date, months: number): Date => plus(date, 'months', months);
const plusDays = (date: Date, days: number): Date => plus(date, 'days', days);

export interface NaiveDay {
  readonly level: number;
  /** The last day of the validity. */
  readonly until: Date | undefined;
}

function highestOf(tiers: NaiveRules['tiers'], sum: number, by: 'reach' | 'keep'): number {
  let found = 0;
  for (const [i, tier] of tiers.entries()) if (sum >= tier[by]) found = i + 1;
  return found;
}

/** The standing on every day from joining through the last. Level 0 is everybody's. */
export function naiveWalk(
  rules: NaiveRules,
  joined: Date,
  spends: ReadonlyMap<Date, number>,
  last: Date,
): ReadonlyMap<Date, NaiveDay> {
  const { tiers, period, validity, down, graceMonths } = rules;
  let level = 0;
  let until: Date | undefined;
  let promoted: Date | undefined;
  /** The beginning of the last period that gave something, and the highest tier that it gave. */
  let used = '';
  let usedLevel = 0;

  const isRolling = period.kind === 'rolling_months' || period.kind === 'lifetime';
  const beginOf = (date: Date): Date => {
    switch (period.kind) {
      case 'calendar_year': {
        const year = Number(date.slice(0, 4));
        const begin = `${year}-${String(period.firstMonth).padStart(2, '0')}-01`;
        return begin <= date ? begin : `${year - 1}${begin.slice(4)}`;
      }
      case 'anniversary': {
        const years = Number(date.slice(0, 4)) - Number(joined.slice(0, 4));
        const begin = plusMonths(joined, years * 12);
        return begin <= date ? begin : plusMonths(joined, (years - 1) * 12);
      }
      case 'since_promotion': {
        const { months } = period;
        const nth = (n: number) =>
          promoted && promoted < date
            ? plusDays(plusMonths(promoted, n * months), 1)
            : plusMonths(joined, n * months);
        let n = 0;
        while (nth(n + 1) <= date) n += 1;
        return nth(n);
      }
      case 'rolling_months':
        return plusDays(plusMonths(date, -period.months), 1);
      case 'lifetime':
        return '1970-01-01';
    }
  };
  const endOf = (begin: Date): Date => {
    let end = begin;
    // The first day whose period began later, found by months and then by days.
    while (beginOf(plusDays(end, 28)) === begin) end = plusDays(end, 28);
    while (beginOf(plusDays(end, 1)) === begin) end = plusDays(end, 1);
    return end;
  };
  const nextEnd = (date: Date) => endOf(beginOf(plusDays(endOf(beginOf(date)), 1)));
  const countedThrough = (date: Date): number => {
    const begin = beginOf(date);
    let sum = 0;
    for (const [day, spend] of spends) if (day >= begin && day <= date) sum += spend;
    return sum;
  };
  const highest = (sum: number, by: 'reach' | 'keep') => highestOf(tiers, sum, by);
  const ends = down !== 'none' && validity.kind !== 'for_ever';
  const graceEnd = (date: Date) => (graceMonths === 0 ? date : plusMonths(date, graceMonths));
  const afterPromotion = (date: Date): Date | undefined => {
    if (!ends) return undefined;
    if (validity.kind === 'months') return plusMonths(date, validity.months);
    const periods = validity.kind === 'end_of_period' ? 1 : 2;
    if (period.kind === 'since_promotion') return plusMonths(date, period.months * periods);
    return periods === 1 ? endOf(beginOf(date)) : nextEnd(date);
  };
  const afterKeeping = (date: Date): Date => {
    if (validity.kind === 'months') return plusMonths(date, validity.months);
    const isNext = validity.kind === 'end_of_next_period' || period.kind === 'since_promotion';
    return isNext ? nextEnd(date) : endOf(beginOf(date));
  };
  const isNew = (date: Date, old: Date) => {
    if (isRolling) return true;
    if (beginOf(date) <= used) return false;
    return validity.kind !== 'end_of_period' || period.kind === 'since_promotion' || beginOf(date) > old;
  };
  /** The highest tier that is kept at an end, and a day of the first period that keeps it. */
  const keptBetween = (old: Date, date: Date): { level: number; day: Date } => {
    let best = { level: 0, day: old };
    const before = plusDays(beginOf(old), -1);
    const isCounted = !isRolling && validity.kind === 'months' && before !== promoted;
    const earlier = isCounted ? [before] : [];
    for (const day of [...earlier, old, date]) {
      const sumDay = isRolling ? day : [date, endOf(beginOf(day))].toSorted()[0]!;
      const kept = Math.min(highest(countedThrough(sumDay), 'keep'), level);
      if (isNew(day, old) && kept > best.level) best = { level: kept, day };
    }
    return best;
  };

  /** What holds on a day after an end that came, its grace included. */
  const decide = (today: Date, old: Date) => {
    const final = graceEnd(old);
    const kept = keptBetween(old, final);
    level = Math.max(kept.level, down === 'one_step' ? level - 1 : 0);
    const isEarned = level > 0 && level === kept.level;
    if (level === 0) until = undefined;
    else if (validity.kind === 'months') until = plusMonths(old, validity.months);
    else {
      const keeps = isEarned ? afterKeeping(kept.day) : '';
      until = [endOf(beginOf(today)), keeps].toSorted().at(-1);
    }
    if (isEarned && !isRolling) {
      used = beginOf(kept.day);
      usedLevel = level;
    }
  };

  const walked = new Map<Date, NaiveDay>();
  for (let today = joined; today <= last; today = plusDays(today, 1)) {
    if (level > 0 && until !== undefined && today > graceEnd(until)) decide(today, until);
    const sum = countedThrough(today);
    const begin = beginOf(today);
    const reached = highest(sum, 'reach');
    if (reached > level && (isRolling || begin > used || reached > usedLevel)) {
      level = reached;
      usedLevel = reached;
      until = afterPromotion(today);
      used = begin;
      promoted = today;
    } else if (level > 0 && until !== undefined && isRolling && today > until) {
      if (keptBetween(until, today).level === level && validity.kind === 'months')
        until = plusMonths(until, validity.months);
    } else if (
      level > 0 &&
      until !== undefined &&
      !isRolling &&
      begin > used &&
      highest(sum, 'keep') >= level
    ) {
      const longer = afterKeeping(today);
      if (longer > until) {
        until = longer;
        used = begin;
        usedLevel = level;
      }
    }
    walked.set(today, { level, until });
  }
  return walked;
}
