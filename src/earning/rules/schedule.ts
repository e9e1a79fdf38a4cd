/**
 * PURE. When something counts: days between two dates, days of a recurrence, days of the member's own, hours of the day.
 *
 * Days are those of the program's zone and hours are what its clocks show. So 02:00 to 03:00 does not occur on the day the
 * clocks jump over it, and 01:00 to 03:00 takes three hours on the day they show 02:00 twice. Hours over midnight belong to
 * the day on which they begin: Monday 22:00 to 02:00 ends on Tuesday. `through` is the end all the same: nothing counts after
 * that day's midnight.
 *
 * A birthday week is seven days that begin with the birthday, as most programs publish it: the member's present begins on the
 * day itself and is never over before it, as in the week of the calendar it would be for whoever is born on a Sunday. A
 * birthday month is the month of the calendar. Who is born or joined on 29 February has the day on the 28th in common years.
 * The day of joining is no anniversary.
 *
 * Asking whether a window holds takes 10 to 30 ns, for days of the member's own 0.1 to 0.3 µs, and making the moment 0.12 µs:
 * 200 windows with recurrences and hours cost a receipt 7 µs (2026-11-22, two shared cores).
 */
import type { EpochMs } from '#src/values.ts';
import type { Window } from '../file/basics-schema.ts';
import {
  calendarDayOf,
  dayMinutes,
  dayNumberOfDate,
  type Moment,
  momentOf,
  type Span,
  spansOf,
  yearlyDayNumber,
} from './calendar.ts';
import { type DayTest, daysOf, firstDayDefault, parseRecurrence } from './recurrence.ts';
import type { JudgedMember } from './types.ts';

export type MemberDates = Pick<JudgedMember, 'birthday' | 'joinedAt'>;

/** A day of a window, from when to when. `date` names it: a day whose hours the clocks show twice occurs in two pieces. */
export interface Occurrence extends Span {
  readonly date: string;
}

export interface CompiledWindow {
  readonly holds: (moment: Moment, member: MemberDates) => boolean;
  /**
   * What holds, by the date it began: the day itself, or the first day of the member's week or month. Undefined where
   * nothing holds. A gift is given once for each.
   */
  readonly occurrenceOf: (moment: Moment, member: MemberDates) => string | undefined;
  /** Days that touch the time from `from` to before `to`, whole and in order, the first thousand; whoever the member is. */
  readonly occurrences: (from: EpochMs, to: EpochMs) => readonly Occurrence[];
  /** The first that begins after an instant, within forty years; whoever the member is. */
  readonly next: (after: EpochMs) => Occurrence | undefined;
}

/** What previews and schedules look at in one call at most. */
const occurrencesMax = 1_000;
/** Weekdays and leap days meet once in 28 years, and once in 40 around 2100. */
const horizonDays = 40 * 366;

/** A window as numbers. */
interface Bounds {
  readonly timeZone: string;
  readonly firstDay: number;
  readonly lastDay: number;
  readonly isDay: DayTest | undefined;
  /** Minutes of the day, the end not included and beyond 1,440 where it is on the next day. */
  readonly fromMinute: number;
  readonly toMinute: number;
}

/** Compiles a window of a file that was checked; throws a RangeError where it could not have passed. */
export function compileWindow(window: Window, timeZone: string): CompiledWindow {
  const bounds = boundsOf(window, timeZone);
  const runOf = window.member === undefined ? undefined : memberRuns[window.member];
  const runAt = (moment: Moment, member: MemberDates) =>
    dayOfHours(bounds, moment, (dayNumber) =>
      runOf === undefined ? dayNumber : runOf(dayNumber, member, timeZone),
    );
  return {
    holds: (moment, member) => runAt(moment, member) !== undefined,
    occurrenceOf: (moment, member) => {
      const run = runAt(moment, member);
      return run === undefined ? undefined : calendarDayOf(run).date;
    },
    occurrences: (from, to) => occurrencesOf(bounds, from, to),
    next: (after) => nextOf(bounds, after),
  };
}

function boundsOf(window: Window, timeZone: string): Bounds {
  const [fromText, toText] = window.hours ?? ['00:00', '24:00'];
  const [fromMinute, toMinute] = [minuteOf(fromText), minuteOf(toText)];
  return {
    timeZone,
    firstDay: window.from === undefined ? Number.NEGATIVE_INFINITY : dayNumberOfDate(window.from),
    lastDay: window.through === undefined ? Number.POSITIVE_INFINITY : dayNumberOfDate(window.through),
    isDay: window.repeat === undefined ? undefined : recurringDays(window.repeat, window.from),
    fromMinute,
    toMinute: toMinute < fromMinute ? toMinute + dayMinutes : toMinute,
  };
}

function minuteOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

function recurringDays(repeat: string, from: string | undefined): DayTest {
  const parsed = parseRecurrence(repeat, from !== undefined);
  if ('fault' in parsed) throw new RangeError(`repeat ${parsed.fault.message}`);
  return daysOf(parsed.recurrence, from === undefined ? firstDayDefault : dayNumberOfDate(from));
}

function isDayOf({ firstDay, lastDay, isDay }: Bounds, dayNumber: number): boolean {
  return dayNumber >= firstDay && dayNumber <= lastDay && (isDay === undefined || isDay(dayNumber));
}

/** What `runOf` says of the day whose hours hold at the moment: of this day, or of the day before over midnight. */
function dayOfHours(
  bounds: Bounds,
  { dayNumber, minuteOfDay }: Moment,
  runOf: (dayNumber: number) => number | undefined,
): number | undefined {
  const { fromMinute, toMinute, lastDay } = bounds;
  if (minuteOfDay >= fromMinute && minuteOfDay < toMinute)
    return isDayOf(bounds, dayNumber) ? runOf(dayNumber) : undefined;
  const minute = minuteOfDay + dayMinutes;
  if (minute < fromMinute || minute >= toMinute || dayNumber > lastDay) return undefined;
  return isDayOf(bounds, dayNumber - 1) ? runOf(dayNumber - 1) : undefined;
}

/** The first day of the member's days that a day is one of; undefined where it is none. */
type RunOf = (dayNumber: number, member: MemberDates, timeZone: string) => number | undefined;

const birthdayWeekDays = 7;
const memberRuns: Readonly<Record<NonNullable<Window['member']>, RunOf>> = {
  birthday: (dayNumber, { birthday }) => {
    if (birthday === undefined) return undefined;
    const { year } = calendarDayOf(dayNumber);
    return birthdayIn(year, birthday) === dayNumber ? dayNumber : undefined;
  },
  birthday_week: (dayNumber, { birthday }) => {
    if (birthday === undefined) return undefined;
    const { year } = calendarDayOf(dayNumber);
    // A week that begins in December ends in January.
    for (const first of [birthdayIn(year, birthday), birthdayIn(year - 1, birthday)]) {
      if (dayNumber >= first && dayNumber < first + birthdayWeekDays) return first;
    }
    return undefined;
  },
  birthday_month: (dayNumber, { birthday }) => {
    if (birthday === undefined) return undefined;
    const { month, day } = calendarDayOf(dayNumber);
    return monthOf(birthday) === month ? dayNumber - day + 1 : undefined;
  },
  anniversary: (dayNumber, { joinedAt }, timeZone) => {
    if (joinedAt === undefined) return undefined;
    const joined = momentOf(joinedAt, timeZone);
    const { year } = calendarDayOf(dayNumber);
    const anniversary = yearlyDayNumber(year, joined.month, joined.day);
    return year > joined.year && anniversary === dayNumber ? dayNumber : undefined;
  },
};

/** The month of a birthday such as "1990-05-17" or "--05-17". */
function monthOf(birthday: string): number {
  return Number(birthday.slice(-5, -3));
}

function birthdayIn(year: number, birthday: string): number {
  return yearlyDayNumber(year, monthOf(birthday), Number(birthday.slice(-2)));
}

/** The pieces of a day of the window. */
function spansOfDay(bounds: Bounds, dayNumber: number): readonly Span[] {
  const { fromMinute, toMinute, lastDay, timeZone } = bounds;
  const end = dayNumber === lastDay ? Math.min(toMinute, dayMinutes) : toMinute;
  return fromMinute < end ? spansOf(dayNumber, fromMinute, end, timeZone) : [];
}

/** Days of the window from one day through another, in order, within the horizon. */
function* daysFrom(
  bounds: Bounds,
  fromDay: number,
  throughDay = Number.POSITIVE_INFINITY,
): Generator<number, undefined> {
  const firstDay = Math.max(bounds.firstDay, fromDay);
  const lastDay = Math.min(bounds.lastDay, throughDay, firstDay + horizonDays);
  for (let dayNumber = firstDay; dayNumber <= lastDay; dayNumber += 1)
    if (isDayOf(bounds, dayNumber)) yield dayNumber;
}

function occurrencesOf(bounds: Bounds, from: EpochMs, to: EpochMs): readonly Occurrence[] {
  const found: Occurrence[] = [];
  // A day before, for hours that reach over midnight; a day after, for clocks that are set back over it.
  const fromDay = momentOf(from, bounds.timeZone).dayNumber - 1;
  const throughDay = momentOf(to, bounds.timeZone).dayNumber + 1;
  for (const dayNumber of daysFrom(bounds, fromDay, throughDay)) {
    for (const span of spansOfDay(bounds, dayNumber)) {
      if (span.start >= to || found.length === occurrencesMax) return found;
      if (span.end > from) found.push({ ...span, date: calendarDayOf(dayNumber).date });
    }
  }
  return found;
}

function nextOf(bounds: Bounds, after: EpochMs): Occurrence | undefined {
  for (const dayNumber of daysFrom(bounds, momentOf(after, bounds.timeZone).dayNumber - 1)) {
    const span = spansOfDay(bounds, dayNumber).find(({ start }) => start > after);
    if (span) return { ...span, date: calendarDayOf(dayNumber).date };
  }
  return undefined;
}

/** Why a window never occurs, whoever the member is; undefined where it does, as far as forty years show. */
export function neverOccurs(window: Window, timeZone: string): string | undefined {
  if (window.hours !== undefined && window.hours[0] === window.hours[1])
    return 'its hours begin and end at the same time';
  if (window.from !== undefined && window.through !== undefined && window.through < window.from)
    return `its last day ${window.through} is before its first day ${window.from}`;
  const bounds = boundsOf(window, timeZone);
  let days = 0;
  for (const dayNumber of daysFrom(bounds, beginOf([bounds]))) {
    if (spansOfDay(bounds, dayNumber).length > 0) return undefined;
    days += 1;
  }
  if (days > 0) return `the clocks of ${timeZone} do not show its hours on its days`;
  return `no day fits ${window.repeat} between its first and its last day`;
}

/** The first day to look at for windows of which some may have no first day. */
function beginOf(windows: readonly Bounds[]): number {
  const firstDays = windows.map(({ firstDay, isDay }) =>
    isDay === undefined || Number.isFinite(firstDay) ? firstDay : firstDayDefault,
  );
  const begin = Math.max(...firstDays);
  if (Number.isFinite(begin)) return begin;
  return Math.min(firstDayDefault, ...windows.map(({ lastDay }) => lastDay));
}

/** A cycle of weekdays and leap days. */
const cycleDays = 28 * 366;

/**
 * Whether two windows can hold at the same time. No only where they do not within 28 years of the later first day; days of the
 * member's own can be any day. Two that never meet cost 0.1 ms.
 */
export function canMeet(windowA: Window, windowB: Window, timeZone: string): boolean {
  const [a, b] = [boundsOf(windowA, timeZone), boundsOf(windowB, timeZone)];
  const begin = beginOf([a, b]);
  const end = Math.min(a.lastDay, b.lastDay, begin + cycleDays);
  // A day before and a day after, for hours that reach over midnight.
  for (let dayNumber = begin - 1; dayNumber <= end + 1; dayNumber += 1) {
    if (!isDayOf(a, dayNumber)) continue;
    if (a.fromMinute < b.toMinute && b.fromMinute < a.toMinute && isDayOf(b, dayNumber)) return true;
    if (reachesInto(a, b) && isDayOf(b, dayNumber + 1)) return true;
    if (reachesInto(b, a) && isDayOf(b, dayNumber - 1)) return true;
  }
  return false;
}

/** Whether the hours of one day reach into the other's of the day after. */
function reachesInto(before: Bounds, after: Bounds): boolean {
  return before.toMinute - dayMinutes > after.fromMinute;
}
