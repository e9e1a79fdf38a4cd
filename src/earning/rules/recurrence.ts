/**
 * PURE. Recurrence rules of RFC 5545, as far as they name days: every 8th, every Wednesday, the last Friday.
 *
 * `rrule-temporal` works the days out. It is asked in UTC and for dates only: in a zone whose clocks jump over midnight, as in
 * Beirut each spring, it would leave out the day that has no midnight, because RFC 5545 omits times that do not exist. What it
 * answers is kept in blocks of 256 days, one byte a day, so that a rule that is asked for every receipt costs a look at a byte.
 * The first look into a block takes the library 0.3 ms for most rules, and some 10 for the rarest: who compiles rules asks for
 * today once.
 *
 * The text is checked here, part by part, before the library sees it: the library takes what it does not know without a word.
 */
import { LRUCache } from 'lru-cache';
import { RRuleTemporal } from 'rrule-temporal';
import { calendarDayOf, dayMs, dayNumberOf } from './calendar.ts';

/** What is wrong with a text, and where in it. */
export interface TextFault {
  readonly message: string;
  readonly offset: number;
}

export interface Recurrence {
  /** In capitals, `UNTIL` as an instant of UTC, as the library reads it. */
  readonly text: string;
}

export type ParsedRecurrence = { readonly recurrence: Recurrence } | { readonly fault: TextFault };

/** Whether a date is a day of the recurrence. */
export type DayTest = (dayNumber: number) => boolean;

/** Recurrences that have no first day of their own are counted from here: no receipt is older. */
export const firstDayDefault = dayNumberOf(1970, 1, 1);

const frequencies = ['DAILY', 'WEEKLY', 'MONTHLY', 'YEARLY'];
const subDayParts = ['BYHOUR', 'BYMINUTE', 'BYSECOND'];
const weekdays = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];

interface NumberPart {
  readonly max: number;
  readonly isList: boolean;
  readonly isSigned: boolean;
  /** Frequencies it has a meaning with; RFC 5545 forbids the others. */
  readonly frequencies: readonly string[];
}

const single = (max: number): NumberPart => ({ max, isList: false, isSigned: false, frequencies });
const signedList = (max: number, meant: readonly string[]): NumberPart => ({
  max,
  isList: true,
  isSigned: true,
  frequencies: meant,
});
const numberParts: Readonly<Record<string, NumberPart>> = {
  INTERVAL: single(1_000),
  COUNT: single(1_000),
  BYMONTH: { ...single(12), isList: true },
  BYMONTHDAY: signedList(31, ['DAILY', 'MONTHLY', 'YEARLY']),
  BYYEARDAY: signedList(366, ['YEARLY']),
  BYWEEKNO: signedList(53, ['YEARLY']),
  BYSETPOS: signedList(366, ['WEEKLY', 'MONTHLY', 'YEARLY']),
};

interface Part {
  readonly name: string;
  readonly value: string;
  readonly offset: number;
  readonly valueOffset: number;
}
type Parts = ReadonlyMap<string, Part>;

/** Reads a recurrence, or says what is wrong with it. `hasFirstDay`: whether its window says from which day it is counted. */
export function parseRecurrence(text: string, hasFirstDay = true): ParsedRecurrence {
  const capitals = text.toUpperCase();
  const parts = new Map<string, Part>();
  let offset = 0;
  for (const piece of capitals.split(';')) {
    const equals = piece.indexOf('=');
    const name = equals < 0 ? piece : piece.slice(0, equals);
    const part = { name, value: piece.slice(name.length + 1), offset, valueOffset: offset + name.length + 1 };
    const message = parts.has(name) ? `names ${name} twice` : shapeFault(part);
    if (message !== undefined) return { fault: { message, offset } };
    parts.set(name, part);
    offset += piece.length + 1;
  }
  const fault = togetherFault(parts, hasFirstDay);
  if (fault) return { fault };
  const until = parts.get('UNTIL');
  const read = until
    ? `${capitals.slice(0, until.valueOffset)}${until.value}T000000Z${capitals.slice(until.valueOffset + 8)}`
    : capitals;
  return { recurrence: { text: read } };
}

/** What is wrong with a part by itself. */
function shapeFault({ name, value }: Part): string | undefined {
  const numbers = numberParts[name];
  if (numbers) return numbersFault(name, value, numbers);
  switch (name) {
    case 'FREQ':
      if (frequencies.includes(value)) return undefined;
      return `FREQ is ${frequencies.join(', ')}: rules name whole days, and \`hours\` the times in them`;
    case 'BYDAY':
      return value.split(',').every((each) => /^([+-]?[1-9]\d?)?(MO|TU|WE|TH|FR|SA|SU)$/.test(each))
        ? undefined
        : 'BYDAY is a list of days such as WE, 1MO or -1FR';
    case 'WKST':
      return weekdays.includes(value) ? undefined : `WKST is one of ${weekdays.join(', ')}`;
    case 'UNTIL':
      return isWrittenDate(value) ? undefined : 'UNTIL is the last day, such as 20271231';
  }
  if (subDayParts.includes(name)) return `${name}: rules name whole days, and \`hours\` the times in them`;
  const known = ['FREQ', ...Object.keys(numberParts), 'BYDAY', 'WKST', 'UNTIL'];
  return `has no part ${name === '' ? 'without a name' : name}; there are ${known.join(', ')}`;
}

function numbersFault(
  name: string,
  value: string,
  { max, isList, isSigned }: NumberPart,
): string | undefined {
  const pattern = isSigned ? /^[+-]?\d{1,4}$/ : /^\d{1,4}$/;
  const fits = (each: string) => {
    const size = Math.abs(Number(each));
    return pattern.test(each) && size >= 1 && size <= max;
  };
  const values = isList ? value.split(',') : [value];
  if (values.every(fits)) return undefined;
  const ends = isSigned ? `, or -1 to -${max} from the end` : '';
  return `${name} is ${isList ? 'a list of numbers' : 'a number'} from 1 to ${max}${ends}`;
}

function isWrittenDate(value: string): boolean {
  if (!/^\d{8}$/.test(value)) return false;
  const [month, day] = [Number(value.slice(4, 6)), Number(value.slice(6))];
  const written = calendarDayOf(dayNumberOf(Number(value.slice(0, 4)), month, day));
  return written.month === month && written.day === day;
}

/** What is wrong with the parts together. */
function togetherFault(parts: Parts, hasFirstDay: boolean): TextFault | undefined {
  const frequency = parts.get('FREQ')?.value;
  if (frequency === undefined) return { message: `needs FREQ: ${frequencies.join(', ')}`, offset: 0 };
  for (const { name, offset } of parts.values()) {
    if (numberParts[name]?.frequencies.includes(frequency) === false)
      return { message: `${name} has no meaning with FREQ=${frequency}`, offset };
  }
  const [count, until] = [parts.get('COUNT'), parts.get('UNTIL')];
  if (count && until)
    return { message: 'COUNT and UNTIL both say when it ends; one of them does', offset: count.offset };
  if (count && !hasFirstDay)
    return { message: 'COUNT is counted from the first day: say `from`', offset: count.offset };
  const positions = parts.get('BYSETPOS');
  if (positions && ![...parts.keys()].some((name) => name.startsWith('BY') && name !== 'BYSETPOS'))
    return {
      message: 'BYSETPOS chooses among the days of another part, such as BYDAY',
      offset: positions.offset,
    };
  const byDay = parts.get('BYDAY');
  const ordinalFault = byDay && ordinalsFault(byDay, frequency, parts.has('BYWEEKNO'));
  if (ordinalFault) return ordinalFault;
  if (hasFirstDay || namesItsDays(parts, frequency)) return undefined;
  return {
    message: `FREQ=${frequency} alone falls on the day it is counted from: say \`from\`, or name days by BYDAY or BYMONTHDAY`,
    offset: parts.get('FREQ')!.offset,
  };
}

/** The second Monday is one of a month or a year, not of a week. */
function ordinalsFault(byDay: Part, frequency: string, hasWeeks: boolean): TextFault | undefined {
  const ordinals = byDay.value.split(',').map((each) => Math.abs(Number(each.slice(0, -2))));
  const most = Math.max(...ordinals);
  if (most === 0) return undefined;
  const offset = byDay.valueOffset;
  if (!['MONTHLY', 'YEARLY'].includes(frequency) || hasWeeks)
    return { message: 'BYDAY with a number needs FREQ=MONTHLY or FREQ=YEARLY without BYWEEKNO', offset };
  // With YEARLY;BYDAY=1MO,TU rrule-temporal 2.2.8 forgets the Tuesdays.
  if (frequency === 'YEARLY' && ordinals.includes(0))
    return { message: 'BYDAY names days with a number or without one, not both, with FREQ=YEARLY', offset };
  const max = frequency === 'MONTHLY' ? 5 : 53;
  return most <= max
    ? undefined
    : { message: `BYDAY has numbers up to ${max} with FREQ=${frequency}`, offset };
}

function namesItsDays(parts: Parts, frequency: string): boolean {
  if (frequency === 'DAILY' || parts.has('BYDAY') || parts.has('BYYEARDAY')) return true;
  return parts.has('BYMONTHDAY') && !parts.has('BYWEEKNO');
}

/** Days by blocks, so that a block is a shift and a day in it a mask. */
const blockShift = 8;
const blockDays = 1 << blockShift;
/** A century, for late receipts and previews; begun anew when full. */
const blocksMax = 150;
/** How far the library follows a COUNT, in days, weeks, months or years: a century, which takes half a second at worst. */
const century: Readonly<Record<string, number>> = {
  DAILY: 36_600,
  WEEKLY: 5_300,
  MONTHLY: 1_200,
  YEARLY: 100,
};

/** The same few recurrences stand in every version of every program, and are compared with each other by `check.ts`. */
const dayTests = new LRUCache<string, DayTest>({ max: 2_000 });

/** The days of a recurrence that is counted from a day. The day itself is one only where the rule names it. */
export function daysOf(recurrence: Recurrence, firstDay: number): DayTest {
  const name = `${firstDay};${recurrence.text}`;
  const known = dayTests.get(name);
  if (known) return known;
  const made = dayTestOf(recurrence.text, firstDay);
  dayTests.set(name, made);
  return made;
}

function dayTestOf(text: string, firstDay: number): DayTest {
  const begin = calendarDayOf(firstDay).date.replaceAll('-', '');
  const frequency = /FREQ=([A-Z]+)/.exec(text)?.[1] ?? '';
  const rule = new RRuleTemporal({
    rruleString: `DTSTART:${begin}T000000Z\nRRULE:${text}`,
    ...(text.includes('COUNT=') ? { maxIterations: century[frequency] ?? 0 } : {}),
  });
  return text.includes('COUNT=') ? countedDays(rule) : daysByBlocks(rule);
}

/** The few days of a COUNT, once: for every block the library would begin anew with the first. */
function countedDays(rule: RRuleTemporal): DayTest {
  let days: Set<number> | undefined;
  return (dayNumber) => {
    days ??= countedDaysOf(rule);
    return days.has(dayNumber);
  };
}

function countedDaysOf(rule: RRuleTemporal): Set<number> {
  const days = new Set<number>();
  const add = (each: { readonly epochMilliseconds: number }) => days.add(each.epochMilliseconds / dayMs);
  try {
    rule.all().forEach(add);
  } catch {
    followedForACentury(rule, add);
  }
  return days;
}

/** A COUNT that a century does not reach has the days of that century: the library counts them and then fails. */
function followedForACentury(
  rule: RRuleTemporal,
  add: (each: { readonly epochMilliseconds: number }) => void,
): void {
  try {
    rule.all((each) => {
      add(each);
      return true;
    });
  } catch (error) {
    if (!String(error).includes('iterations')) throw error;
  }
}

function daysByBlocks(rule: RRuleTemporal): DayTest {
  const blocks = new Map<number, Uint8Array>();
  let lastBlock = Number.NaN;
  let lastBytes: Uint8Array = new Uint8Array();
  const bytesOf = (block: number): Uint8Array => {
    const known = blocks.get(block);
    if (known) return known;
    const bytes = new Uint8Array(blockDays);
    const start = block * blockDays;
    for (const each of rule.between(dateOf(start), dateOf(start + blockDays - 1), true))
      bytes[each.epochMilliseconds / dayMs - start] = 1;
    if (blocks.size >= blocksMax) blocks.clear();
    blocks.set(block, bytes);
    return bytes;
  };
  return (dayNumber) => {
    const block = dayNumber >> blockShift;
    if (block !== lastBlock) {
      lastBytes = bytesOf(block);
      lastBlock = block;
    }
    return lastBytes[dayNumber & (blockDays - 1)] === 1;
  };
}

function dateOf(dayNumber: number): Date {
  return new Date(dayNumber * dayMs);
}
