/** PURE. Days of a program's zone by their numbers, as texts and as instants. */
import {
  calendarDayOf,
  dayMinutes,
  dayMs,
  dayNumberOfDate,
  momentOf,
  spansOf,
} from '#src/earning/rules/calendar.ts';
import type { EpochMs } from '#src/values.ts';
import type { Day } from './ladder/types.ts';

export function dayOf(at: EpochMs, timeZone: string): Day {
  return momentOf(at, timeZone).dayNumber;
}

/** The first instant of a day. */
export function startOfDay(day: Day, timeZone: string): EpochMs {
  return spansOf(day, 0, dayMinutes, timeZone)[0]?.start ?? day * dayMs;
}

/** Such as `2026-11-22`. */
export function dateText(day: Day): string {
  return calendarDayOf(day).date;
}

/** The day of a date such as `2026-11-22`. */
export function dayOfText(date: string): Day {
  return dayNumberOfDate(date);
}
