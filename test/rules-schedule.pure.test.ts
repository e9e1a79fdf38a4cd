/** When rules count: days, recurrences, hours through daylight saving, days of the member's own, and the numbers of periods. */
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { describe, expect, test } from 'vitest';
import type { Window } from '#src/earning/file/basics-schema.ts';
import { calendarDayOf, dayNumberOfDate, momentOf, spansOf } from '#src/earning/rules/calendar.ts';
import { namedPeriodOf, periodOf } from '#src/earning/rules/periods.ts';
import { daysOf, parseRecurrence } from '#src/earning/rules/recurrence.ts';
import { canMeet, compileWindow, type MemberDates, neverOccurs } from '#src/earning/rules/schedule.ts';
import {
  isSlowDay,
  type RecurrenceParts,
  recurrenceText,
  slowlyHolds,
  weekdayNames,
} from './house/slow-calendar.ts';

const zones = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Beirut', 'Asia/Kathmandu'];
const zone = fc.constantFrom(...zones);
const instant = fc.integer({ min: Date.UTC(1975, 0, 1), max: Date.UTC(2060, 0, 1) });
/** Instants about the changes of the clocks, where mistakes live. */
const changes = ['2026-03-29T01:00Z', '2026-10-25T01:00Z', '2026-03-08T07:00Z', '2026-11-01T06:00Z'];
changes.push('2026-10-03T15:30Z', '2026-04-04T15:00Z', '2026-03-28T22:00Z', '2026-10-24T21:00Z');
const aboutChange = fc
  .tuple(fc.constantFrom(...changes), fc.integer({ min: -26 * 3_600_000, max: 26 * 3_600_000 }))
  .map(([change, offset]) => Date.parse(change) + offset);
const anyInstant = fc.oneof(instant, aboutChange);
const someone = { birthday: '1990-05-17', joinedAt: Date.parse('2020-02-29T10:00Z') };

function atLocal(text: string, timeZone = 'Europe/Berlin') {
  return momentOf(DateTime.fromISO(text, { zone: timeZone }).toMillis(), timeZone);
}

function utc(text: string): number {
  return Date.parse(`2026-${text}Z`);
}

describe('a moment', () => {
  test('is what luxon says the clocks of the zone show, also about their changes', () => {
    const check = (at: number, timeZone: string) => {
      const shown = DateTime.fromMillis(at, { zone: timeZone });
      expect(momentOf(at, timeZone)).toMatchObject({
        date: shown.toISODate(),
        year: shown.year,
        month: shown.month,
        day: shown.day,
        weekday: shown.weekday,
        minuteOfDay: shown.hour * 60 + shown.minute,
      });
    };
    fc.assert(fc.property(anyInstant, zone, check), { numRuns: 2_000 });
  });

  test('has the number of its date, and the date has the number', () => {
    fc.assert(
      fc.property(fc.integer({ min: -40_000, max: 80_000 }), (dayNumber) => {
        expect(dayNumberOfDate(calendarDayOf(dayNumber).date)).toBe(dayNumber);
      }),
    );
  });

  test('is refused in a zone that there is not', () => {
    expect(() => momentOf(0, 'Europe/Nowhere')).toThrow('no time zone Europe/Nowhere');
  });
});

/** [zone, date, from minute, to minute, spans in UTC] */
const clockTable: readonly [string, string, string, string, readonly (readonly [string, string])[]][] = [
  ['Europe/Berlin', '2026-03-29', '02:00', '03:00', []],
  ['Europe/Berlin', '2026-03-29', '01:30', '03:30', [['03-29T00:30', '03-29T01:30']]],
  ['Europe/Berlin', '2026-03-29', '00:00', '24:00', [['03-28T23:00', '03-29T22:00']]],
  ['Europe/Berlin', '2026-10-25', '00:00', '24:00', [['10-24T22:00', '10-25T23:00']]],
  ['Europe/Berlin', '2026-10-25', '01:00', '03:00', [['10-24T23:00', '10-25T02:00']]],
  [
    'Europe/Berlin',
    '2026-10-25',
    '02:00',
    '02:30',
    [
      ['10-25T00:00', '10-25T00:30'],
      ['10-25T01:00', '10-25T01:30'],
    ],
  ],
  ['America/New_York', '2026-03-08', '02:00', '03:00', []],
  ['America/New_York', '2026-03-08', '02:30', '04:00', [['03-08T07:00', '03-08T08:00']]],
  ['America/New_York', '2026-11-01', '01:00', '03:00', [['11-01T05:00', '11-01T08:00']]],
  [
    'America/New_York',
    '2026-11-01',
    '01:00',
    '01:30',
    [
      ['11-01T05:00', '11-01T05:30'],
      ['11-01T06:00', '11-01T06:30'],
    ],
  ],
  ['Australia/Lord_Howe', '2026-10-04', '02:00', '02:30', []],
  ['Australia/Lord_Howe', '2026-10-04', '02:00', '03:00', [['10-03T15:30', '10-03T16:00']]],
  ['Australia/Lord_Howe', '2026-04-05', '01:30', '02:00', [['04-04T14:30', '04-04T15:30']]],
  [
    'Australia/Lord_Howe',
    '2026-04-05',
    '01:30',
    '01:45',
    [
      ['04-04T14:30', '04-04T14:45'],
      ['04-04T15:00', '04-04T15:15'],
    ],
  ],
  ['Asia/Beirut', '2026-03-29', '00:00', '24:00', [['03-28T22:00', '03-29T21:00']]],
];

describe('times of a day', () => {
  test.each(clockTable)('%s %s %s to %s', (timeZone, date, from, to, spans) => {
    const window = compileWindow({ from: date, through: date, hours: [from, to] }, timeZone);
    const found = window.occurrences(utc('01-01T00:00'), utc('12-31T00:00'));
    expect(found).toEqual(spans.map(([start, end]) => ({ start: utc(start), end: utc(end), date })));
  });

  test('are none on a day that a zone left out', () => {
    expect(spansOf(dayNumberOfDate('2011-12-30'), 0, 1_440, 'Pacific/Apia')).toEqual([]);
    expect(neverOccurs({ from: '2011-12-30', through: '2011-12-30' }, 'Pacific/Apia')).toMatch(/do not show/);
  });
});

const someDays: readonly [string, string, readonly string[]][] = [
  ['every 8th', 'FREQ=MONTHLY;BYMONTHDAY=8', ['2026-11-08', '2026-12-08', '2027-01-08', '2027-02-08']],
  ['every Wednesday', 'FREQ=WEEKLY;BYDAY=WE', ['2026-11-04', '2026-11-11', '2026-11-18', '2026-11-25']],
  ['the last Friday', 'FREQ=MONTHLY;BYDAY=-1FR', ['2026-11-27', '2026-12-25', '2027-01-29', '2027-02-26']],
  [
    'the last working day',
    'FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1',
    ['2026-11-30', '2026-12-31', '2027-01-29'],
  ],
  ['29 February', 'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29', ['2028-02-29', '2032-02-29', '2036-02-29']],
  [
    'the last day of the month',
    'FREQ=MONTHLY;BYMONTHDAY=-1',
    ['2026-11-30', '2026-12-31', '2027-01-31', '2027-02-28'],
  ],
  ['Monday of week 53', 'FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO', ['2026-12-28', '2032-12-27']],
  ['three days in a row', 'FREQ=DAILY;COUNT=3', ['2026-11-01', '2026-11-02', '2026-11-03']],
  ['until a day, with it', 'FREQ=WEEKLY;BYDAY=SU;UNTIL=20261115', ['2026-11-01', '2026-11-08', '2026-11-15']],
];

describe('a recurrence', () => {
  test.each(someDays)('%s', (_name, repeat, dates) => {
    const window = compileWindow({ from: '2026-11-01', repeat }, 'Europe/Berlin');
    const found: string[] = [];
    for (let after = utc('10-01T00:00'); found.length < dates.length; ) {
      const next = window.next(after)!;
      found.push(next.date);
      after = next.start;
    }
    expect(found).toEqual(dates);
  });

  test('ends with its last day', () => {
    const counted = compileWindow({ from: '2026-11-01', repeat: 'FREQ=DAILY;COUNT=3' }, 'Europe/Berlin');
    expect(counted.next(utc('11-03T12:00'))).toBeUndefined();
    expect(counted.occurrences(utc('11-03T12:00'), utc('12-31T00:00')).map(({ date }) => date)).toEqual([
      '2026-11-03',
    ]);
  });

  test('keeps the day that has no midnight', () => {
    const sundays = compileWindow({ repeat: 'FREQ=WEEKLY;BYDAY=SU' }, 'Asia/Beirut');
    expect(sundays.holds(momentOf(utc('03-28T22:00'), 'Asia/Beirut'), {})).toBe(true);
    expect(sundays.holds(momentOf(utc('03-28T21:59'), 'Asia/Beirut'), {})).toBe(false);
  });

  const weekday = fc.constantFrom(...weekdayNames);
  const some = <Value>(value: fc.Arbitrary<Value>) => fc.uniqueArray(value, { minLength: 1, maxLength: 3 });
  const months = fc.option(some(fc.integer({ min: 1, max: 12 })), { nil: undefined, freq: 1 });
  const monthDay = fc.oneof(fc.integer({ min: 1, max: 31 }), fc.integer({ min: -31, max: -1 }));
  const yearDay = fc.oneof(fc.integer({ min: 1, max: 366 }), fc.integer({ min: -366, max: -1 }));
  const interval = fc.integer({ min: 1, max: 4 });
  const ordinal = fc
    .tuple(fc.constantFrom('', '1', '2', '4', '5', '-1', '-3'), weekday)
    .map((pair) => pair.join(''));
  const numbered = ordinal.filter((text) => text.length > 2);
  const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
  const recurrence: fc.Arbitrary<RecurrenceParts> = fc.oneof(
    fc.record({
      frequency: fc.constant('DAILY'),
      interval,
      months,
      days: maybe(some(weekday)),
      monthDays: maybe(some(monthDay)),
    }),
    fc.record({ frequency: fc.constant('WEEKLY'), interval, months, days: maybe(some(weekday)) }),
    fc.record({
      frequency: fc.constant('MONTHLY'),
      interval,
      months,
      monthDays: some(monthDay),
      days: maybe(some(weekday)),
    }),
    fc.record({
      frequency: fc.constant('MONTHLY'),
      interval,
      months,
      days: some(ordinal),
      position: maybe(fc.constantFrom(1, 2, -1)),
    }),
    fc.record({ frequency: fc.constant('MONTHLY'), interval }),
    fc.record({ frequency: fc.constant('YEARLY'), interval, months, days: some(weekday) }),
    fc.record({ frequency: fc.constant('YEARLY'), interval, months, days: some(numbered) }),
    fc.record({ frequency: fc.constant('YEARLY'), interval, months, monthDays: some(monthDay) }),
    fc.record({ frequency: fc.constant('YEARLY'), interval, yearDays: some(yearDay) }),
    fc.record({ frequency: fc.constant('YEARLY'), interval, months }),
  );
  const first = fc.integer({ min: dayNumberOfDate('1999-12-01'), max: dayNumberOfDate('2026-12-31') });
  const distance = fc.oneof(fc.integer({ min: -5, max: 400 }), fc.integer({ min: 0, max: 12_000 }));

  test('has the days that RFC 5545 says, as a slow reading of it finds them', () => {
    const check = (parts: RecurrenceParts, firstDay: number, after: number) => {
      const parsed = parseRecurrence(recurrenceText(parts));
      if ('fault' in parsed) throw new Error(`${recurrenceText(parts)} ${parsed.fault.message}`);
      const isDay = daysOf(parsed.recurrence, firstDay);
      const dayOf = (dayNumber: number) => DateTime.fromMillis(dayNumber * 86_400_000, { zone: 'utc' });
      for (let dayNumber = firstDay + after; dayNumber < firstDay + after + 40; dayNumber += 1) {
        const name = `${recurrenceText(parts)} from ${dayOf(firstDay).toISODate()} on ${dayOf(dayNumber).toISODate()}`;
        expect([name, isDay(dayNumber)]).toEqual([name, isSlowDay(parts, dayOf(firstDay), dayOf(dayNumber))]);
      }
    };
    fc.assert(fc.property(recurrence, first, distance, check), { numRuns: 500 });
  });

  test('has every day of ten years where it names every day', () => {
    const isDay = daysOf({ text: 'FREQ=DAILY' }, dayNumberOfDate('2020-02-29'));
    const days = Array.from({ length: 3_653 }, (_, i) => dayNumberOfDate('2020-02-29') + i);
    expect(days.filter((dayNumber) => !isDay(dayNumber))).toEqual([]);
    expect(isDay(dayNumberOfDate('2020-02-28'))).toBe(false);
  });

  test('with a COUNT that a century does not reach has the days of the century', () => {
    const isDay = daysOf(
      { text: 'FREQ=YEARLY;COUNT=1000;BYMONTH=2;BYMONTHDAY=29' },
      dayNumberOfDate('2000-01-01'),
    );
    const found = Array.from({ length: 36_500 }, (_, i) => dayNumberOfDate('2000-01-01') + i).filter(isDay);
    expect(found.map((dayNumber) => calendarDayOf(dayNumber).year)).toEqual(
      Array.from({ length: 25 }, (_, i) => 2_000 + 4 * i),
    );
    expect(
      neverOccurs({ from: '2026-01-01', repeat: 'FREQ=DAILY;COUNT=9;BYMONTH=2;BYMONTHDAY=30' }, 'UTC'),
    ).toMatch(/no day fits/);
  });

  test('with a COUNT has the first days of the one without', () => {
    const check = (parts: RecurrenceParts, firstDay: number, count: number) => {
      const text = recurrenceText(parts);
      const [counted, endless] = [`${text};COUNT=${count}`, text].map((each) =>
        daysOf({ text: each }, firstDay),
      );
      const days = Array.from({ length: 3_000 }, (_, i) => firstDay + i);
      expect(days.filter(counted!)).toEqual(days.filter(endless!).slice(0, count));
    };
    fc.assert(fc.property(recurrence, first, fc.integer({ min: 1, max: 50 }), check), { numRuns: 100 });
  });
});

const faults: readonly [string, boolean, RegExp, number][] = [
  ['FREQ=HOURLY', true, /whole days, and `hours` the times/, 0],
  ['FREQ=DAILY;BYHOUR=9', true, /BYHOUR: rules name whole days/, 11],
  ['INTERVAL=2', true, /needs FREQ/, 0],
  ['FREQ=DAILY;FREQ=DAILY', true, /FREQ twice/, 11],
  ['FREQ=DAILY;COUNT=3;UNTIL=20270101', true, /COUNT and UNTIL/, 11],
  ['FREQ=DAILY;COUNT=0', true, /COUNT is a number from 1 to 1000/, 11],
  ['FREQ=DAILY;COUNT=3', false, /say `from`/, 11],
  ['FREQ=DAILY;UNTIL=20270230', true, /UNTIL is the last day/, 11],
  ['FREQ=DAILY;UNTIL=20270101T100000Z', true, /UNTIL is the last day/, 11],
  ['FREQ=MONTHLY;BYMONTHDAY=32', true, /BYMONTHDAY is a list of numbers from 1 to 31, or -1 to -31/, 13],
  ['FREQ=MONTHLY;BYMONTHDAY=0', true, /from 1 to 31/, 13],
  ['FREQ=WEEKLY;BYMONTHDAY=8', true, /BYMONTHDAY has no meaning with FREQ=WEEKLY/, 12],
  ['FREQ=WEEKLY;BYDAY=1MO', true, /needs FREQ=MONTHLY/, 18],
  ['FREQ=MONTHLY;BYDAY=6MO', true, /numbers up to 5/, 19],
  ['FREQ=YEARLY;BYDAY=1MO,TU', true, /with a number or without one, not both/, 18],
  ['FREQ=DAILY;BYDAY=MO;BYSETPOS=2', true, /BYSETPOS has no meaning with FREQ=DAILY/, 20],
  ['FREQ=MONTHLY;BYDAY=MON', true, /BYDAY is a list of days/, 13],
  ['FREQ=MONTHLY;BYSETPOS=1', true, /BYSETPOS chooses/, 13],
  ['FREQ=WEEKLY', false, /falls on the day it is counted from/, 0],
  ['FREQ=DAILY;RSCALE=HEBREW', true, /has no part RSCALE/, 11],
  ['FREQ=DAILY;', true, /no part without a name/, 11],
  ['every Wednesday', true, /has no part EVERY WEDNESDAY/, 0],
];

describe('a recurrence that is refused', () => {
  test.each(faults)('%s', (text, hasFirstDay, message, offset) => {
    const parsed = parseRecurrence(text, hasFirstDay);
    expect(parsed).toEqual({ fault: { message: expect.stringMatching(message), offset } });
  });

  test('is read in small letters too', () => {
    expect(parseRecurrence('freq=weekly;byday=we')).toEqual({ recurrence: { text: 'FREQ=WEEKLY;BYDAY=WE' } });
  });
});

const time = fc.tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom('00', '15', '30', '45'));
const hours = fc
  .tuple(time, time)
  .map(([from, to]): [string, string] => [clock(from), clock(to)])
  .filter(([from, to]) => from !== to);

function clock([hour, minute]: [number, string]): string {
  return `${String(hour).padStart(2, '0')}:${minute}`;
}

const nearDate = aboutChange.map((at) => new Date(at).toISOString().slice(0, 10));
const windows = fc
  .record({
    from: fc.option(nearDate, { nil: undefined }),
    through: fc.option(nearDate, { nil: undefined }),
    hours: fc.option(hours, { nil: undefined }),
  })
  .map((record) => Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)));
type MemberKind = Window['member'];
const memberKinds: fc.Arbitrary<MemberKind> = fc.constantFrom(
  undefined,
  'birthday',
  'birthday_week',
  'birthday_month',
  'anniversary',
);
const birthday = fc.constantFrom('1990-03-29', '--10-25', '1988-02-29', '--03-07', '1970-12-30', undefined);
const joinedAt = fc.constantFrom(Date.parse('2020-02-29T23:30Z'), Date.parse('2026-03-08T05:30Z'), undefined);

describe('a window', () => {
  test('holds when a clock of the zone shows it, as a slow reading finds', () => {
    const check = (window: object, member: MemberKind, at: number, timeZone: string, who: MemberDates) => {
      const whole = member === undefined ? window : { ...window, member };
      const holds = compileWindow(whole, timeZone).holds(momentOf(at, timeZone), who);
      expect(holds).toBe(slowlyHolds(whole, timeZone, at, who));
    };
    const leapDays = fc.integer({ min: Date.parse('2027-02-20Z'), max: Date.parse('2028-03-10Z') });
    const member = fc.record({ birthday, joinedAt });
    const at = fc.oneof(anyInstant, leapDays);
    fc.assert(fc.property(windows, memberKinds, at, zone, member, check), { numRuns: 3_000 });
  });

  test('holds exactly inside its occurrences', () => {
    const repeats = fc.constantFrom(undefined, 'FREQ=WEEKLY;BYDAY=SU,MO', 'FREQ=MONTHLY;BYMONTHDAY=8,29');
    const check = (window: object, repeat: string | undefined, at: number, timeZone: string) => {
      const compiled = compileWindow(repeat === undefined ? window : { ...window, repeat }, timeZone);
      const touching = compiled.occurrences(at, at + 1);
      expect(touching.length).toBe(compiled.holds(momentOf(at, timeZone), {}) ? 1 : 0);
      for (const { start, end, date } of touching) {
        expect(at >= start && at < end).toBe(true);
        expect(compiled.occurrenceOf(momentOf(at, timeZone), {})).toBe(date);
        expect(compiled.holds(momentOf(start, timeZone), {})).toBe(true);
        expect(compiled.holds(momentOf(end - 1, timeZone), {})).toBe(true);
        expect(compiled.next(start - 1)).toEqual({ start, end, date });
      }
    };
    fc.assert(fc.property(windows, repeats, aboutChange, zone, check), { numRuns: 2_000 });
  });

  test('ends with the end of its last day, and begins with the beginning of its first', () => {
    const december = compileWindow({ from: '2026-12-01', through: '2026-12-31' }, 'America/New_York');
    const holdsAt = (text: string) => december.holds(atLocal(text, 'America/New_York'), {});
    expect(
      ['2026-11-30T23:59:59.999', '2026-12-01T00:00', '2026-12-31T23:59:59.999', '2027-01-01T00:00'].map(
        holdsAt,
      ),
    ).toEqual([false, true, true, false]);
  });

  test('over midnight belongs to the day it begins on, but ends with the last day', () => {
    const nights = compileWindow(
      { through: '2026-11-23', repeat: 'FREQ=WEEKLY;BYDAY=MO', hours: ['22:00', '02:00'] },
      'Europe/Berlin',
    );
    const table = {
      '2026-11-16T21:59': undefined,
      '2026-11-16T22:00': '2026-11-16',
      '2026-11-17T01:59': '2026-11-16',
    };
    const more = {
      '2026-11-17T02:00': undefined,
      '2026-11-23T01:00': undefined,
      '2026-11-23T23:59': '2026-11-23',
      '2026-11-24T00:00': undefined,
    };
    for (const [text, date] of Object.entries({ ...table, ...more }))
      expect([text, nights.occurrenceOf(atLocal(text), {})]).toEqual([text, date]);
  });
});

const memberTable: readonly [
  string,
  'birthday' | 'birthday_week' | 'birthday_month' | 'anniversary',
  object,
  string,
  string | undefined,
][] = [
  ['the birthday', 'birthday', someone, '2026-05-17T00:00', '2026-05-17'],
  ['the day after', 'birthday', someone, '2026-05-18T00:00', undefined],
  ['without a year', 'birthday', { birthday: '--05-17' }, '2026-05-17T12:00', '2026-05-17'],
  ['nobody', 'birthday', {}, '2026-05-17T12:00', undefined],
  ['29 February in a leap year', 'birthday', { birthday: '1988-02-29' }, '2028-02-29T12:00', '2028-02-29'],
  ['28 February in a leap year', 'birthday', { birthday: '1988-02-29' }, '2028-02-28T12:00', undefined],
  ['28 February in a common year', 'birthday', { birthday: '1988-02-29' }, '2027-02-28T12:00', '2027-02-28'],
  ['the seventh day', 'birthday_week', someone, '2026-05-23T23:59', '2026-05-17'],
  ['the eighth day', 'birthday_week', someone, '2026-05-24T00:00', undefined],
  ['the day before', 'birthday_week', someone, '2026-05-16T23:59', undefined],
  ['over the new year', 'birthday_week', { birthday: '--12-30' }, '2027-01-05T12:00', '2026-12-30'],
  ['the month', 'birthday_month', someone, '2026-05-31T23:59', '2026-05-01'],
  ['another month', 'birthday_month', someone, '2026-06-01T00:00', undefined],
  [
    'the day of joining',
    'anniversary',
    { joinedAt: Date.parse('2025-11-22T10:00Z') },
    '2025-11-22T12:00',
    undefined,
  ],
  [
    'a year later',
    'anniversary',
    { joinedAt: Date.parse('2025-11-22T10:00Z') },
    '2026-11-22T00:00',
    '2026-11-22',
  ],
  [
    'joined after midnight of the zone',
    'anniversary',
    { joinedAt: Date.parse('2025-11-22T23:30Z') },
    '2026-11-23T12:00',
    '2026-11-23',
  ],
  ['joined on 29 February', 'anniversary', someone, '2026-02-28T12:00', '2026-02-28'],
];

describe("days of the member's own", () => {
  test.each(memberTable)('%s: %s', (_name, member, who, text, date) => {
    expect(compileWindow({ member }, 'Europe/Berlin').occurrenceOf(atLocal(text), who)).toBe(date);
  });
});

describe('a window that never occurs', () => {
  const never: readonly [object, RegExp][] = [
    [{ repeat: 'FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30' }, /no day fits FREQ=MONTHLY/],
    [{ repeat: 'FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31' }, /no day fits/],
    [{ from: '2026-11-02', through: '2026-11-03', repeat: 'FREQ=WEEKLY;BYDAY=SU' }, /no day fits/],
    [{ from: '2026-11-02', through: '2026-11-01' }, /before its first day/],
    [{ hours: ['10:00', '10:00'] }, /begin and end at the same time/],
    [
      { from: '2026-03-29', through: '2026-03-29', hours: ['02:00', '03:00'] },
      /clocks of Europe\/Berlin do not show/,
    ],
    [{ through: '1969-12-31', repeat: 'FREQ=WEEKLY;BYDAY=SU' }, /no day fits/],
  ];
  test.each(never)('%j', (window, message) => {
    expect(neverOccurs(window, 'Europe/Berlin')).toMatch(message);
  });

  test.each([
    [{}],
    [{ repeat: 'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO' }],
    [{ through: '1990-01-01' }],
    [{ from: '1969-12-31', repeat: 'FREQ=DAILY;COUNT=1' }],
    [{ member: 'birthday' as const }],
    [{ repeat: 'FREQ=WEEKLY;BYDAY=SU', hours: ['02:00', '03:00'] as [string, string] }],
  ])('is not %j', (window) => {
    expect(neverOccurs(window, 'Europe/Berlin')).toBeUndefined();
  });
});

describe('two windows', () => {
  const meeting: readonly [boolean, object, object][] = [
    [true, {}, {}],
    [true, {}, { through: '1990-01-01' }],
    [false, { through: '2026-11-30' }, { from: '2026-12-01' }],
    [true, { through: '2026-12-01' }, { from: '2026-12-01' }],
    [false, { hours: ['10:00', '12:00'] }, { hours: ['12:00', '14:00'] }],
    [true, { hours: ['22:00', '02:00'] }, { hours: ['01:00', '03:00'] }],
    [
      false,
      { repeat: 'FREQ=WEEKLY;BYDAY=MO', hours: ['22:00', '02:00'] },
      { repeat: 'FREQ=WEEKLY;BYDAY=MO', hours: ['01:00', '03:00'] },
    ],
    [
      true,
      { repeat: 'FREQ=WEEKLY;BYDAY=MO', hours: ['22:00', '02:00'] },
      { repeat: 'FREQ=WEEKLY;BYDAY=TU', hours: ['01:00', '03:00'] },
    ],
    [false, { repeat: 'FREQ=WEEKLY;BYDAY=MO' }, { repeat: 'FREQ=WEEKLY;BYDAY=TU' }],
    [true, { repeat: 'FREQ=WEEKLY;BYDAY=MO' }, { repeat: 'FREQ=MONTHLY;BYMONTHDAY=8' }],
    [true, { repeat: 'FREQ=WEEKLY;BYDAY=MO' }, { repeat: 'FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29' }],
    [false, { repeat: 'FREQ=MONTHLY;BYMONTHDAY=8' }, { repeat: 'FREQ=MONTHLY;BYMONTHDAY=9' }],
    [true, { member: 'birthday' }, { member: 'anniversary' }],
  ];
  test.each(meeting)('meet: %s for %j and %j', (expected, a, b) => {
    expect([canMeet(a, b, 'Europe/Berlin'), canMeet(b, a, 'Europe/Berlin')]).toEqual([expected, expected]);
  });

  test('that hold at one instant are said to meet', () => {
    const check = (a: object, b: object, at: number, timeZone: string) => {
      const moment = momentOf(at, timeZone);
      const both = [a, b].every((window) => compileWindow(window, timeZone).holds(moment, {}));
      if (both) expect(canMeet(a, b, timeZone)).toBe(true);
    };
    fc.assert(fc.property(windows, windows, aboutChange, zone, check), { numRuns: 2_000 });
  });
});

describe('the number of a period', () => {
  const weeks: readonly [string, number][] = [
    ['2026-11-22T12:00', 202647],
    ['2027-01-01T12:00', 202653],
    ['2027-01-03T23:59', 202653],
    ['2027-01-04T00:00', 202701],
    ['2024-12-30T12:00', 202501],
    ['2021-01-03T12:00', 202053],
    ['2028-12-31T12:00', 202852],
  ];
  test.each(weeks)('%s is in ISO week %i', (text, week) => {
    expect(periodOf('week', atLocal(text))).toBe(week);
  });

  test('is that of the calendar', () => {
    const moment = atLocal('2026-11-22T23:59');
    const numbers = (['day', 'month', 'year', 'lifetime'] as const).map((period) => periodOf(period, moment));
    expect(numbers).toEqual([20_261_122, 202_611, 2_026, 0]);
  });

  test('of a week is what luxon says', () => {
    const check = (at: number, timeZone: string) => {
      const shown = DateTime.fromMillis(at, { zone: timeZone });
      expect(periodOf('week', momentOf(at, timeZone))).toBe(shown.weekYear * 100 + shown.weekNumber);
    };
    fc.assert(fc.property(anyInstant, zone, check), { numRuns: 1_000 });
  });

  test('of an order is the first 48 bits of its SHA-256', () => {
    // `printf A-1 | sha256sum` begins so.
    expect(namedPeriodOf('A-1')).toBe(0xbc4e7be982ab);
  });
});
