/**
 * What recurrences and windows mean, worked out slowly and differently from the engine: by luxon, one day or instant at a
 * time, from the words of RFC 5545. Properties compare the engine with it.
 */
import { DateTime } from 'luxon';

export const weekdayNames = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'] as const;

export interface RecurrenceParts {
  readonly frequency: 'DAILY' | 'WEEKLY' | 'MONTHLY' | 'YEARLY';
  readonly interval: number;
  readonly months?: readonly number[] | undefined;
  readonly monthDays?: readonly number[] | undefined;
  readonly yearDays?: readonly number[] | undefined;
  /** Such as `['MO', '-1FR']`. */
  readonly days?: readonly string[] | undefined;
  readonly position?: number | undefined;
}

export function recurrenceText(parts: RecurrenceParts): string {
  const list = (name: string, values: readonly (string | number)[] | undefined) =>
    values === undefined ? '' : `;${name}=${values.join(',')}`;
  return [
    `FREQ=${parts.frequency}`,
    parts.interval === 1 ? '' : `;INTERVAL=${parts.interval}`,
    list('BYMONTH', parts.months),
    list('BYMONTHDAY', parts.monthDays),
    list('BYYEARDAY', parts.yearDays),
    list('BYDAY', parts.days),
    parts.position === undefined ? '' : `;BYSETPOS=${parts.position}`,
  ].join('');
}

/** Whether a day is one of the recurrence that is counted from `first`; both are midnights of UTC. */
export function isSlowDay(parts: RecurrenceParts, first: DateTime, day: DateTime): boolean {
  if (day < first || !isInPeriod(parts, first, day)) return false;
  if (!fits(parts, first, day)) return false;
  if (parts.position === undefined) return true;
  const chosen = periodDays(parts, day).filter((each) => fits(parts, first, each));
  const index = chosen.findIndex((each) => each.hasSame(day, 'day'));
  return index === (parts.position > 0 ? parts.position - 1 : chosen.length + parts.position);
}

function isInPeriod({ frequency, interval }: RecurrenceParts, first: DateTime, day: DateTime): boolean {
  switch (frequency) {
    case 'DAILY':
      return Math.round(day.diff(first, 'days').days) % interval === 0;
    case 'WEEKLY': {
      const weeks = day.startOf('week').diff(first.startOf('week'), 'weeks').weeks;
      return Math.round(weeks) % interval === 0;
    }
    case 'MONTHLY':
      return (day.year * 12 + day.month - first.year * 12 - first.month) % interval === 0;
    case 'YEARLY':
      return (day.year - first.year) % interval === 0;
  }
}

/** The days among which BYSETPOS chooses. */
function periodDays({ frequency }: RecurrenceParts, day: DateTime): DateTime[] {
  const unit =
    frequency === 'DAILY'
      ? 'day'
      : frequency === 'WEEKLY'
        ? 'week'
        : frequency === 'MONTHLY'
          ? 'month'
          : 'year';
  const days: DateTime[] = [];
  for (let each = day.startOf(unit); each <= day.endOf(unit); each = each.plus({ days: 1 })) days.push(each);
  return days;
}

function fits(parts: RecurrenceParts, first: DateTime, day: DateTime): boolean {
  const { frequency, months, monthDays, yearDays, days } = parts;
  if (months && !months.includes(day.month)) return false;
  const monthLength = day.daysInMonth!;
  if (monthDays && !monthDays.some((each) => (each > 0 ? each : monthLength + each + 1) === day.day))
    return false;
  const yearLength = day.daysInYear;
  if (yearDays && !yearDays.some((each) => (each > 0 ? each : yearLength + each + 1) === day.ordinal))
    return false;
  if (days && !days.some((each) => fitsWeekday(each, parts, day))) return false;
  if (days || monthDays || yearDays) return true;
  switch (frequency) {
    case 'DAILY':
      return true;
    case 'WEEKLY':
      return day.weekday === first.weekday;
    case 'MONTHLY':
      return day.day === first.day;
    case 'YEARLY':
      return day.day === first.day && (months !== undefined || day.month === first.month);
  }
}

/** `-1FR` is the last Friday of the month, or of the year where the rule is yearly and names no months. */
function fitsWeekday(text: string, { frequency, months }: RecurrenceParts, day: DateTime): boolean {
  if (weekdayNames[day.weekday - 1] !== text.slice(-2)) return false;
  const ordinal = Number(text.slice(0, -2));
  if (ordinal === 0) return true;
  const unit = frequency === 'YEARLY' && months === undefined ? 'year' : 'month';
  const [begin, end] = [day.startOf(unit), day.endOf(unit)];
  const before = Math.floor(Math.round(day.diff(begin, 'days').days) / 7) + 1;
  const after = Math.floor(Math.floor(end.diff(day, 'days').days) / 7) + 1;
  return ordinal > 0 ? ordinal === before : ordinal === -after;
}

/** A window without a recurrence, as its file says it. */
export interface SlowWindow {
  readonly from?: string | undefined;
  readonly through?: string | undefined;
  readonly hours?: readonly [string, string] | undefined;
  readonly member?: 'birthday' | 'birthday_week' | 'birthday_month' | 'anniversary' | undefined;
}

/** Whether a window holds at an instant, by what a clock of the zone shows. */
export function slowlyHolds(
  window: SlowWindow,
  timeZone: string,
  at: number,
  member: { readonly birthday?: string | undefined; readonly joinedAt?: number | undefined },
): boolean {
  const shown = DateTime.fromMillis(at, { zone: timeZone });
  if (window.through !== undefined && shown.toISODate()! > window.through) return false;
  const [begin, end] = window.hours ?? ['00:00', '24:00'];
  const time = shown.toFormat('HH:mm');
  const isDay = (date: string) => fitsDates(window, date) && fitsMember(window, date, timeZone, member);
  const today = shown.toISODate()!;
  if (begin <= end) return time >= begin && time < end && isDay(today);
  if (time >= begin) return isDay(today);
  // Dates are reckoned in UTC, where every day has a midnight.
  return time < end && isDay(DateTime.fromISO(today, { zone: 'utc' }).minus({ days: 1 }).toISODate()!);
}

function fitsDates({ from, through }: SlowWindow, date: string): boolean {
  return (from === undefined || date >= from) && (through === undefined || date <= through);
}

function fitsMember(
  { member: kind }: SlowWindow,
  date: string,
  timeZone: string,
  { birthday, joinedAt }: { readonly birthday?: string | undefined; readonly joinedAt?: number | undefined },
): boolean {
  const day = DateTime.fromISO(date, { zone: 'utc' });
  const inYear = (monthDay: string, year: number) => {
    const exact = DateTime.fromISO(`${year}-${monthDay}`, { zone: 'utc' });
    return exact.isValid ? exact : DateTime.utc(year, 2, 28);
  };
  if (kind === undefined) return true;
  if (kind === 'anniversary') {
    if (joinedAt === undefined) return false;
    const joined = DateTime.fromMillis(joinedAt, { zone: timeZone });
    return day.year > joined.year && inYear(joined.toFormat('MM-dd'), day.year).hasSame(day, 'day');
  }
  if (birthday === undefined) return false;
  const monthDay = birthday.slice(-5);
  if (kind === 'birthday_month') return day.toFormat('MM') === monthDay.slice(0, 2);
  const length = kind === 'birthday' ? 1 : 7;
  return [day.year, day.year - 1].some((year) => {
    const after = day.diff(inYear(monthDay, year), 'days').days;
    return after >= 0 && after < length;
  });
}
