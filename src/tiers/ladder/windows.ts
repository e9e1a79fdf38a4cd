/**
 * PURE. The calendar of a ladder: windows in which amounts are counted, and until when what they gave is valid. Days alone,
 * never milliseconds, so that a night of 23 hours is a day like any other.
 *
 * Months are added by the calendar: a month after 31 January is the last of February. Windows of months are counted from where
 * they began, not from the end of the one before, so that a short month shortens one of them and not all that follow. Who joined
 * on 29 February has the anniversary on the 28th in common years, as birthdays have it in rules.
 */
import { calendarDayOf, dayNumberOf, yearlyDayNumber } from '#src/earning/rules/calendar.ts';
import type { Day, Earned, Ladder, MonthsThrough, Window } from './types.ts';

/** 9999-12-31: the last day of what has no end. Nothing is booked before 1970. */
export const endlessDay: Day = 2_932_896;
const firstDay: Day = 0;

function monthLength(year: number, month: number): number {
  return (
    dayNumberOf(month === 12 ? year + 1 : year, month === 12 ? 1 : month + 1, 1) - dayNumberOf(year, month, 1)
  );
}

/** So many months later (or, below zero, before); the last day of a month that is too short. */
export function addMonths(day: Day, months: number): Day {
  const date = calendarDayOf(day);
  const count = date.year * 12 + date.month - 1 + months;
  const year = Math.floor(count / 12);
  const month = count - year * 12 + 1;
  return dayNumberOf(year, month, Math.min(date.day, monthLength(year, month)));
}

function monthEnd(day: Day): Day {
  const { year, month } = calendarDayOf(day);
  return dayNumberOf(year, month, monthLength(year, month));
}

/** The day so many months later, rounded up to the end of its month, quarter or year. */
export function monthsLater(day: Day, { months, through }: MonthsThrough): Day {
  const later = addMonths(day, months);
  const { year, month } = calendarDayOf(later);
  switch (through) {
    case 'day':
      return later;
    case 'month_end':
      return monthEnd(later);
    case 'quarter_end':
      return monthEnd(dayNumberOf(year, Math.ceil(month / 3) * 3, 1));
    case 'year_end':
      return dayNumberOf(year, 12, 31);
    default:
      return through satisfies never;
  }
}

/** The part of a state that windows depend on. */
export type Anchored = Pick<Earned, 'promotion'>;

/** Whether a promotion ends the window and begins another one. */
export function splitsAtPromotion(ladder: Ladder): boolean {
  return ladder.atPromotion !== 'keep';
}

/** The window of so many months that holds the day; `boundary(k)` is the first day of the k-th. */
function monthsWindow(boundary: (k: number) => Day, months: number, day: Day): Window {
  const [from, to] = [calendarDayOf(boundary(0)), calendarDayOf(day)];
  let k = Math.floor(((to.year - from.year) * 12 + to.month - from.month) / months) + 1;
  // The estimate is at most two too high: one for the rounding above, one for the day of the month.
  while (boundary(k) > day) k -= 1;
  return { fromDay: boundary(k), throughDay: boundary(k + 1) - 1 };
}

/** The ladder's period that holds a day, without regard to promotions where they only split it. */
export function periodAt(ladder: Ladder, joinedDay: Day, { promotion }: Anchored, day: Day): Window {
  const { period } = ladder;
  switch (period.kind) {
    case 'calendar_year': {
      const { year, month } = calendarDayOf(day);
      const first = month >= period.firstMonth ? year : year - 1;
      return {
        fromDay: dayNumberOf(first, period.firstMonth, 1),
        throughDay: dayNumberOf(first + 1, period.firstMonth, 1) - 1,
      };
    }
    case 'anniversary': {
      const joined = calendarDayOf(joinedDay);
      const { year } = calendarDayOf(day);
      const inYear = (of: number) => yearlyDayNumber(of, joined.month, joined.day);
      const first = day >= inYear(year) ? year : year - 1;
      return { fromDay: inYear(first), throughDay: inYear(first + 1) - 1 };
    }
    case 'since_promotion': {
      const { months } = period;
      return promotion && day > promotion.onDay
        ? monthsWindow((k) => addMonths(promotion.onDay, k * months) + 1, months, day)
        : monthsWindow((k) => addMonths(joinedDay, k * months), months, day);
    }
    case 'rolling_months':
      return { fromDay: addMonths(day, -period.months) + 1, throughDay: day };
    case 'lifetime':
      return { fromDay: firstDay, throughDay: endlessDay };
    default:
      return period satisfies never;
  }
}

/** The window in which a day counts. */
export function windowAt(ladder: Ladder, joinedDay: Day, state: Anchored, day: Day): Window {
  const { promotion } = state;
  if (!promotion || !splitsAtPromotion(ladder)) return periodAt(ladder, joinedDay, state, day);
  if (day <= promotion.onDay && day >= promotion.endedFromDay)
    return { fromDay: promotion.endedFromDay, throughDay: promotion.onDay };
  const period = periodAt(ladder, joinedDay, state, day);
  if (day < promotion.endedFromDay) return period;
  return { fromDay: Math.max(period.fromDay, promotion.onDay + 1), throughDay: period.throughDay };
}

/**
 * The window that ended before this one began; undefined where there is none, only days before the member joined, or nothing is
 * known of it: before the window that a promotion ended, another promotion may have split what the calendar says.
 */
export function windowBefore(
  ladder: Ladder,
  joinedDay: Day,
  state: Anchored,
  { fromDay }: Window,
): Window | undefined {
  const { kind } = ladder.period;
  const isEndless = kind === 'rolling_months' || kind === 'lifetime';
  const isSplit = splitsAtPromotion(ladder);
  const isAfterPromotion = isSplit && state.promotion?.onDay === fromDay - 1;
  if (isSplit && state.promotion?.endedFromDay === fromDay) return undefined;
  if ((isEndless && !isAfterPromotion) || fromDay <= joinedDay) return undefined;
  return windowAt(ladder, joinedDay, state, fromDay - 1);
}

/** Whether anything on the ladder ever ends. */
export function hasEnds({ down, validity }: Ladder): boolean {
  return down !== 'none' && validity.kind !== 'for_ever';
}

function endOfPeriods(ladder: Ladder, joinedDay: Day, state: Anchored, day: Day, more: number): Day {
  let end = periodAt(ladder, joinedDay, state, day).throughDay;
  for (let i = 0; i < more; i += 1) end = periodAt(ladder, joinedDay, state, end + 1).throughDay;
  return end;
}

/**
 * The last day of a tier that is come up to, or undefined. `onDay` is in the window that gave it. Where periods begin with a
 * promotion, the current one is the one that begins with this promotion.
 */
export function endOfPromotion(ladder: Ladder, joinedDay: Day, state: Anchored, onDay: Day): Day | undefined {
  const { validity, period } = ladder;
  if (!hasEnds(ladder) || validity.kind === 'for_ever') return undefined;
  if (validity.kind === 'months') return monthsLater(onDay, validity);
  const periods = validity.kind === 'end_of_period' ? 1 : 2;
  if (period.kind === 'since_promotion') return addMonths(onDay, period.months * periods);
  return endOfPeriods(ladder, joinedDay, state, onDay, periods - 1);
}

/**
 * The last day of a tier that was kept by what a window counted. Where periods begin with a promotion, each keeps the tier
 * through the next.
 */
export function endOfKeeping(ladder: Ladder, joinedDay: Day, state: Anchored, onDay: Day): Day | undefined {
  const { validity, period } = ladder;
  if (!hasEnds(ladder) || validity.kind === 'for_ever') return undefined;
  if (validity.kind === 'months') return monthsLater(onDay, validity);
  const isNext = validity.kind === 'end_of_next_period' || period.kind === 'since_promotion';
  return endOfPeriods(ladder, joinedDay, state, onDay, isNext ? 1 : 0);
}

/**
 * The next end after one that came, for who stays and for who goes down alike: months are counted from the old end, periods
 * are the one that holds the first day after it. So the ends that follow are known before it is known what was earned.
 */
export function endAfter(
  ladder: Ladder,
  joinedDay: Day,
  state: Anchored,
  untilDay: Day,
  lastDay: Day,
): Day | undefined {
  const { validity } = ladder;
  if (!hasEnds(ladder) || validity.kind === 'for_ever') return undefined;
  if (validity.kind !== 'months') return endOfPeriods(ladder, joinedDay, state, lastDay + 1, 0);
  const end = monthsLater(untilDay, validity);
  return end > lastDay ? end : monthsLater(lastDay, validity);
}

/** The last day on which a tier holds whose validity ends: with the ladder's grace. */
export function withGrace({ grace }: Ladder, untilDay: Day): Day {
  return grace ? monthsLater(untilDay, grace) : untilDay;
}
