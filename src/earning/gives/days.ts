/**
 * PURE. Which runs of a promotion that gives are due, and whose day an occurrence is.
 *
 * A promotion gives at the beginning of each day of `during`. Where `during` names days of the member's own, a member gets
 * the points once for each of them, on the first day that is both the member's and the promotion's: for a birthday week on
 * the birthday, for a birthday month on the 1st, or on the 8th where the promotion repeats every 8th.
 */
import type { EpochMs } from '#src/values.ts';
import type { Window } from '../file/basics-schema.ts';
import type { Promotion } from '../file/earning-schema.ts';
import { type Program, type ProgramVersion, versionAt } from '../program.ts';
import {
  calendarDayOf,
  dayMinutes,
  dayMs,
  dayNumberOf,
  dayNumberOfDate,
  type Span,
  spansOf,
  yearlyDayNumber,
} from '../rules/calendar.ts';
import { type CompiledWindow, compileWindow } from '../rules/schedule.ts';

export type Give = NonNullable<Promotion['give']>;
export type GivingPromotion = Promotion & { readonly give: Give; readonly during: Window };

/** One occurrence of a promotion. */
export interface GivingDay {
  readonly promotion: GivingPromotion;
  readonly version: number;
  /** Such as `2026-11-08`. */
  readonly occurrence: string;
  /** When the giving begins: who is a member then is meant. */
  readonly dueAt: EpochMs;
}

/** Who is meant by an occurrence, beside tiers, segments and condition. */
export type Whose =
  | { readonly who: 'everybody' }
  /** Birthdays as month * 100 + day. */
  | { readonly who: 'born'; readonly days: readonly number[] }
  | { readonly who: 'joined'; readonly spans: readonly Span[] };

/** After a stop longer than this, what is older stays undone. */
export const catchUpMsMax = 31 * dayMs;
const firstYear = 1970;

function isGiving(promotion: Promotion): promotion is GivingPromotion {
  return promotion.give !== undefined && promotion.during !== undefined;
}

/** The promotions of a version that give. */
export function givingPromotions({ definition }: Pick<ProgramVersion, 'definition'>): GivingPromotion[] {
  return definition.promotions.filter(isGiving);
}

/** The days of a window, whoever's they are. */
function daysOf({ member: _, ...window }: Window, timeZone: string): CompiledWindow {
  return compileWindow(window, timeZone);
}

/** The first instant of a day at which the clocks show the time or a later one; daylight saving may leave the time out. */
function instantOf(dayNumber: number, time: string, timeZone: string): EpochMs | undefined {
  const minute = Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
  return spansOf(dayNumber, minute, dayMinutes, timeZone)[0]?.start;
}

/**
 * What is due after `from`, through `to`, oldest first. Each occurrence is judged by the version in force when it is due; one
 * that has left the file by then gives nothing.
 */
export function givingDaysDue(
  program: Pick<Program, 'versions' | 'timeZone'>,
  from: EpochMs,
  to: EpochMs,
): GivingDay[] {
  const { timeZone } = program;
  const due: GivingDay[] = [];
  for (const version of program.versions) {
    for (const promotion of givingPromotions(version)) {
      // A day is due at most a day after it begins.
      const days = daysOf(promotion.during, timeZone).occurrences(from - 2 * dayMs, to + 1);
      for (const { start, date } of days) {
        const dueAt = Math.max(start, instantOf(dayNumberOfDate(date), promotion.give.at, timeZone) ?? start);
        if (dueAt <= from || dueAt > to || versionAt(program, dueAt) !== version) continue;
        const day = {
          promotion,
          version: version.version,
          occurrence: date,
          dueAt,
        };
        if (whoseDay(day, timeZone)) due.push(day);
      }
    }
  }
  return due.sort((a, b) => a.dueAt - b.dueAt);
}

/** Birthdays that are on a date: on 28 February of a common year those of the 29th too. */
function birthdaysOn(dayNumber: number): number[] {
  const { year, month, day } = calendarDayOf(dayNumber);
  const isLeapDayToo = month === 2 && day === 28 && yearlyDayNumber(year, 2, 29) === dayNumber;
  return isLeapDayToo ? [228, 229] : [month * 100 + day];
}

/** The number of the last day of the window that is before `dayNumber` and not before `since`. */
function dayBefore(
  promotion: GivingPromotion,
  timeZone: string,
  since: number,
  dayNumber: number,
): number | undefined {
  if (since >= dayNumber) return undefined;
  const from = spansOf(since, 0, dayMinutes, timeZone)[0]?.start ?? since * dayMs;
  const to = spansOf(dayNumber - 1, 0, dayMinutes, timeZone).at(-1)?.end ?? dayNumber * dayMs;
  const dates = daysOf(promotion.during, timeZone)
    .occurrences(from, to)
    .map(({ date }) => dayNumberOfDate(date));
  return dates.findLast((each) => each >= since && each < dayNumber);
}

/** When people joined who have their anniversary on a day: on that date of every year before. */
function joiningSpans(dayNumber: number, timeZone: string): Span[] {
  const { year } = calendarDayOf(dayNumber);
  const spans: Span[] = [];
  for (const birthday of birthdaysOn(dayNumber)) {
    const [month, day] = [Math.floor(birthday / 100), birthday % 100];
    for (let joined = firstYear; joined < year; joined += 1) {
      const number = dayNumberOf(joined, month, day);
      if (calendarDayOf(number).month !== month) continue;
      spans.push(...spansOf(number, 0, dayMinutes, timeZone));
    }
  }
  return spans;
}

/** Who is meant by an occurrence; undefined where everybody who could be has been meant by an earlier one. */
export function whoseDay(
  { promotion, occurrence }: Pick<GivingDay, 'promotion' | 'occurrence'>,
  timeZone: string,
): Whose | undefined {
  const dayNumber = dayNumberOfDate(occurrence);
  const { year, month } = calendarDayOf(dayNumber);
  switch (promotion.during.member) {
    case undefined:
      return { who: 'everybody' };
    case 'birthday':
      return { who: 'born', days: birthdaysOn(dayNumber) };
    case 'birthday_week': {
      const since = dayNumber - 6;
      const first = (dayBefore(promotion, timeZone, since, dayNumber) ?? since - 1) + 1;
      const days = Array.from({ length: dayNumber - first + 1 }, (_, i) => birthdaysOn(first + i));
      return { who: 'born', days: days.flat() };
    }
    case 'birthday_month': {
      if (dayBefore(promotion, timeZone, dayNumberOf(year, month, 1), dayNumber) !== undefined)
        return undefined;
      return { who: 'born', days: Array.from({ length: 31 }, (_, i) => month * 100 + i + 1) };
    }
    case 'anniversary':
      return { who: 'joined', spans: joiningSpans(dayNumber, timeZone) };
    default:
      return promotion.during.member satisfies never;
  }
}
