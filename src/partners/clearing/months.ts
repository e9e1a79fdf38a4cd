/** PURE. Months by their first days, such as `2026-11-01`: statements are made of them. Text compares as time does. */
import { DateTime } from 'luxon';
import type { EpochMs } from '#src/values.ts';

/** Nothing was closed yet. */
export const neverClosed = '-infinity';

export function monthAfter(month: string): string {
  return DateTime.fromISO(month, { zone: 'UTC' }).plus({ months: 1 }).toISODate()!;
}

/** The month in whose statement something is that happened in a month: the first that is not closed. */
export function openMonth(month: string, closedThrough: string): string {
  return closedThrough < month ? month : monthAfter(closedThrough);
}

/** When a month has ended in a zone. */
export function endOfMonth(month: string, timeZone: string): EpochMs {
  return DateTime.fromISO(month, { zone: timeZone }).plus({ months: 1 }).toMillis();
}

/** The first day of a month that is written as `2026-11`. */
export function parseMonth(text: string): string | undefined {
  return /^\d{4}-(0[1-9]|1[0-2])$/.test(text) ? `${text}-01` : undefined;
}
