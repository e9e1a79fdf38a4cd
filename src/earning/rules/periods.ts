/** PURE. The numbers of periods that counters count in: of the program's calendar, or of one order or ticket. */
import { createHash } from 'node:crypto';
import type { Period } from '../file/basics-schema.ts';
import { calendarDayOf, dayNumberOf, type Moment } from './calendar.ts';

/** Periods of the calendar. */
export type CalendarPeriod = Exclude<Period, 'receipt' | 'order' | 'ticket'>;

/** 20261122 for a day, 202647 for an ISO week, 202611 for a month, 2026 for a year, 0 for a lifetime. */
export function periodOf(period: CalendarPeriod, moment: Moment): number {
  switch (period) {
    case 'day':
      return moment.year * 10_000 + moment.month * 100 + moment.day;
    case 'week':
      return weekOf(moment);
    case 'month':
      return moment.year * 100 + moment.month;
    case 'year':
      return moment.year;
    case 'lifetime':
      return 0;
  }
}

/** A week is of the year that its Thursday is in: 2027-01-01 is in 202653. */
function weekOf(moment: Moment): number {
  const thursday = moment.dayNumber + 4 - moment.weekday;
  const { year } = calendarDayOf(thursday);
  return year * 100 + Math.floor((thursday - dayNumberOf(year, 1, 1)) / 7) + 1;
}

/**
 * The period of an order or a ticket: the first 48 bits of its name's SHA-256. A counter is of one member and rule: of a
 * thousand orders two share a number once in 560 million members.
 */
export function namedPeriodOf(name: string): number {
  return createHash('sha256').update(name).digest().readUIntBE(0, 6);
}
