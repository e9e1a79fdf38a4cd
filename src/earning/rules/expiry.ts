/**
 * PURE. From when points count and until when, by the program's calendar. A day's answer is the same for everybody, so it is
 * remembered: calendar arithmetic with zones takes 10 µs, a look-up a tenth of one.
 */
import { DateTime } from 'luxon';
import type { EpochMs } from '#src/values.ts';
import type { Expiry, FixedExpiry, Pending } from '../file/basics-schema.ts';
import { dayMs, startOfDay } from './calendar.ts';
import { byTierOf, type JudgedMember } from './types.ts';

/** Two days of one program: when it happened and when it was booked, "2026-11-22" in its zone. */
export interface Days {
  readonly occurred: string;
  readonly posted: string;
}

const rememberedMax = 10_000;

function remembering<Answer>(compute: (key: string) => Answer): (key: string) => Answer {
  const answers = new Map<string, Answer>();
  return (key) => {
    const known = answers.get(key);
    if (known !== undefined) return known;
    if (answers.size >= rememberedMax) answers.clear();
    const answer = compute(key);
    answers.set(key, answer);
    return answer;
  };
}

function monthOf(birthday: string | undefined): number | undefined {
  if (birthday === undefined) return undefined;
  return Number(birthday.startsWith('--') ? birthday.slice(2, 4) : birthday.slice(5, 7));
}

type Ending = Exclude<FixedExpiry, { kind: 'never' }>;

/** The day after the last one: points count through its end. */
function dayAfter(expiry: Ending, day: DateTime, birthMonth: number | undefined): DateTime {
  switch (expiry.kind) {
    case 'days':
      return day.plus({ days: expiry.days + 1 });
    case 'month_end':
      return day.startOf('month').plus({ months: expiry.months + 1 });
    case 'year_end':
      return day.startOf('year').plus({ years: expiry.years + 1 });
    case 'birthday_month':
      return day
        .startOf('month')
        .plus({ years: expiry.years })
        .set({ month: birthMonth ?? day.month })
        .plus({ months: 1 });
    case 'inactivity':
      return day.plus({ months: expiry.months }).plus({ days: 1 });
    default:
      return expiry satisfies never;
  }
}

/**
 * A date apart from any zone: counted in one where a day has no midnight, luxon goes on from 01:00 and keeps that hour on
 * every later day.
 */
function dateOf(date: string): DateTime {
  return DateTime.fromISO(date, { zone: 'utc' });
}

function beginningOf(date: DateTime, timeZone: string): EpochMs {
  return startOfDay(date.toMillis() / dayMs, timeZone);
}

function compileFixed(
  expiry: FixedExpiry,
  timeZone: string,
): (days: Days, birthday: string | undefined) => EpochMs {
  if (expiry.kind === 'never') return () => 0;
  const isPosted = 'from' in expiry && expiry.from === 'posting';
  const ofDay = remembering((key) => {
    const [date = '', month = ''] = key.split(' ');
    const end = dayAfter(expiry, dateOf(date), month === '' ? undefined : Number(month));
    return beginningOf(end, timeZone);
  });
  return (days, birthday) => {
    const date = isPosted ? days.posted : days.occurred;
    const month = expiry.kind === 'birthday_month' ? monthOf(birthday) : undefined;
    return ofDay(month === undefined ? date : `${date} ${month}`);
  };
}

/** When points earned on a day end, as the first instant at which they no longer count; 0 = never. */
export type ExpiryOf = (days: Days, member: Pick<JudgedMember, 'tier' | 'tiers' | 'birthday'>) => EpochMs;

export function compileExpiry(expiry: Expiry, timeZone: string): ExpiryOf {
  if (expiry.kind !== 'tier') {
    const fixed = compileFixed(expiry, timeZone);
    return (days, { birthday }) => fixed(days, birthday);
  }
  const otherwise = compileFixed(expiry.otherwise, timeZone);
  const byTier = new Map(
    Object.entries(expiry.tiers).map(([tier, fixed]) => [tier, compileFixed(fixed, timeZone)]),
  );
  return (days, member) => (byTierOf(byTier, member) ?? otherwise)(days, member.birthday);
}

/** From when points earned on a day count, as an instant; 0 = at once. */
export function compilePending(
  pending: Pending | undefined,
  timeZone: string,
): (occurred: string) => EpochMs {
  if (!pending) return () => 0;
  return remembering((date) => beginningOf(firstDayOf(pending, dateOf(date)), timeZone));
}

function firstDayOf(pending: Pending, day: DateTime): DateTime {
  switch (pending.kind) {
    case 'days':
      return day.plus({ days: pending.days });
    case 'day_of_month': {
      const thisMonth = day.set({ day: pending.day });
      return thisMonth > day ? thisMonth : thisMonth.plus({ months: 1 });
    }
    case 'event':
      return day.plus({ days: pending.daysMax + 1 });
    default:
      return pending satisfies never;
  }
}
