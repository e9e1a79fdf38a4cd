/**
 * PURE. The calendar of a program's zone: what day and what time of the day an instant is there, and which instants a time of
 * a day is.
 *
 * A receipt's moment is made once and given to every rule. A zone's offset is looked up for a day of UTC at a time: where it
 * is the same at the day's first and last millisecond it holds for all of it, else the one change between is found by
 * halving. No zone of the database changed twice within one such day since 1970. So daylight saving is exact to the
 * millisecond, whatever the offset, and a moment costs two look-ups in maps.
 */
import { IANAZone } from 'luxon';
import type { EpochMs } from '#src/values.ts';

export const minuteMs = 60_000;
export const dayMs = 86_400_000;
export const dayMinutes = 1_440;

/** A date. Dates are compared by number: days since 1970-01-01. */
export interface CalendarDay {
  readonly dayNumber: number;
  /** Such as `2026-11-22`. */
  readonly date: string;
  readonly year: number;
  readonly month: number;
  readonly day: number;
  /** 1 is Monday, 7 Sunday. */
  readonly weekday: number;
}

/** An instant as the clocks of a zone show it. */
export interface Moment extends CalendarDay {
  readonly at: EpochMs;
  readonly timeZone: string;
  /** Whole minutes that the clock shows since midnight, 0 to 1,439. */
  readonly minuteOfDay: number;
}

/** From `start` to before `end`. */
export interface Span {
  readonly start: EpochMs;
  readonly end: EpochMs;
}

/** A zone's offset over a day of UTC: `before` until `changesAt`, `after` from then on. */
interface ZoneDay {
  readonly before: number;
  readonly changesAt: EpochMs;
  readonly after: number;
}

/** Late receipts ask for old days: 27 years of them are kept, and begun anew when they are full. */
const daysMax = 10_000;
const calendarDays = new Map<number, CalendarDay>();
const zones = new Map<string, Map<number, ZoneDay>>();
/** Names of zones come from programs; the database knows some 600. */
const zonesMax = 1_000;

/** The number of a date, by Howard Hinnant's `days_from_civil`: years begin in March, so that 29 February ends one. */
export function dayNumberOf(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** The number of a date such as `2026-11-22`. */
export function dayNumberOfDate(date: string): number {
  return dayNumberOf(Number(date.slice(0, 4)), Number(date.slice(5, 7)), Number(date.slice(8, 10)));
}

/** The number of a month's and day's date in a year; 29 February is the 28th in common years. */
export function yearlyDayNumber(year: number, month: number, day: number): number {
  if (month !== 2 || day !== 29) return dayNumberOf(year, month, day);
  return dayNumberOf(year, 3, 1) - 1;
}

/** The date of a number. */
export function calendarDayOf(dayNumber: number): CalendarDay {
  const known = calendarDays.get(dayNumber);
  if (known) return known;
  const midnight = new Date(dayNumber * dayMs);
  const made = {
    dayNumber,
    date: midnight.toISOString().slice(0, 10),
    year: midnight.getUTCFullYear(),
    month: midnight.getUTCMonth() + 1,
    day: midnight.getUTCDate(),
    weekday: midnight.getUTCDay() || 7,
  };
  if (calendarDays.size >= daysMax) calendarDays.clear();
  calendarDays.set(dayNumber, made);
  return made;
}

/** What the clocks of the zone show at an instant. */
export function momentOf(at: EpochMs, timeZone: string): Moment {
  const zoneDay = zoneDayOf(Math.floor(at / dayMs), timeZone);
  const local = at + (at < zoneDay.changesAt ? zoneDay.before : zoneDay.after);
  const day = calendarDayOf(Math.floor(local / dayMs));
  return {
    at,
    timeZone,
    dayNumber: day.dayNumber,
    date: day.date,
    year: day.year,
    month: day.month,
    day: day.day,
    weekday: day.weekday,
    minuteOfDay: Math.floor((local - day.dayNumber * dayMs) / minuteMs),
  };
}

/**
 * When the clocks of the zone show a time of the day from `fromMinute` to before `toMinute`; minutes beyond 1,440 are of the
 * next day. One span as a rule; none where the clocks jump over all of it, two where they show it twice with a pause between.
 */
export function spansOf(
  dayNumber: number,
  fromMinute: number,
  toMinute: number,
  timeZone: string,
): readonly Span[] {
  const from = dayNumber * dayMs + fromMinute * minuteMs;
  const to = dayNumber * dayMs + toMinute * minuteMs;
  const spans: Span[] = [];
  const add = (offset: number, segmentStart: EpochMs, segmentEnd: EpochMs) => {
    const start = Math.max(from - offset, segmentStart);
    const end = Math.min(to - offset, segmentEnd);
    if (start >= end) return;
    const last = spans.at(-1);
    if (last?.end === start) spans[spans.length - 1] = { start: last.start, end };
    else spans.push({ start, end });
  };
  // No offset ever was more than 16 hours.
  const firstUtcDay = Math.floor((from - 16 * 60 * minuteMs) / dayMs);
  const lastUtcDay = Math.floor((to + 16 * 60 * minuteMs) / dayMs);
  for (let utcDay = firstUtcDay; utcDay <= lastUtcDay; utcDay += 1) {
    const { before, changesAt, after } = zoneDayOf(utcDay, timeZone);
    const [dayStart, dayEnd] = [utcDay * dayMs, (utcDay + 1) * dayMs];
    add(before, dayStart, Math.min(changesAt, dayEnd));
    if (changesAt < dayEnd) add(after, changesAt, dayEnd);
  }
  return spans;
}

/** The first instant of a day, which is midnight nearly everywhere; of the next one where a zone left the day out. */
export function startOfDay(dayNumber: number, timeZone: string): EpochMs {
  const [first = spansOf(dayNumber + 1, 0, dayMinutes, timeZone)[0]] = spansOf(
    dayNumber,
    0,
    dayMinutes,
    timeZone,
  );
  if (!first) throw new RangeError(`there is no day ${dayNumber} in ${timeZone}`);
  return first.start;
}

function zoneDayOf(utcDay: number, timeZone: string): ZoneDay {
  let days = zones.get(timeZone);
  if (!days) {
    if (zones.size >= zonesMax) zones.clear();
    days = new Map();
    zones.set(timeZone, days);
  }
  const known = days.get(utcDay);
  if (known) return known;
  const made = zoneDayLookedUp(utcDay, timeZone);
  if (days.size >= daysMax) days.clear();
  days.set(utcDay, made);
  return made;
}

function zoneDayLookedUp(utcDay: number, timeZone: string): ZoneDay {
  const zone = IANAZone.create(timeZone);
  const offsetAt = (at: EpochMs) => Math.round(zone.offset(at) * minuteMs);
  let last = utcDay * dayMs;
  let changesAt = last + dayMs - 1;
  const [before, after] = [offsetAt(last), offsetAt(changesAt)];
  if (Number.isNaN(before) || Number.isNaN(after))
    throw new RangeError(`there is no time zone ${timeZone}, or no such day in it`);
  if (before === after) return { before, changesAt: Number.POSITIVE_INFINITY, after };
  // The offset is `before` at `last` and `after` at `changesAt`.
  while (changesAt - last > 1) {
    const middle = Math.floor((last + changesAt) / 2);
    if (offsetAt(middle) === before) last = middle;
    else changesAt = middle;
  }
  return { before, changesAt, after };
}
