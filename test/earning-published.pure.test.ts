/**
 * What airlines have published, as tables: EVA Air on Air China, China Airlines on China Eastern, United by fare. The numbers
 * of the cases are those of our research notes.
 */
import { describe, expect, test } from 'vitest';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import type { Program } from '#src/earning/program.ts';
import { compileExpiry, compilePending } from '#src/earning/rules/expiry.ts';
import { dayStart } from '#src/ledger/statement.ts';
import { monthsLater } from '#src/wallet/extensions.ts';
import { judge, pointsBy, rulesFrom } from './house/judge.ts';

type Rule = NonNullable<ProgramFileInput['rules']>[number];

const miles = { currencies: [{ code: 'miles' }] };

function row(codes: string, percent: number, minimumMiles?: number) {
  return { codes: [...codes], percent, ...(minimumMiles === undefined ? {} : { minimumMiles }) };
}

function flightRule(name: string, carrier: string, rest: Partial<Rule> & Pick<Rule, 'earn'>): Rule {
  return { name, on: 'flight', currency: 'miles', carriers: [carrier], ...rest };
}

function evaRule(name: string, percentOfP: number, during: Rule['during']): Rule {
  return flightRule(name, 'CA', {
    during,
    earn: {
      by: 'distance',
      minimum: 'after',
      classes: [
        row('FA', 150, 650),
        row('CJ', 130, 500),
        row('DZR', 125, 500),
        row('G', 110, 300),
        row('YB', 100, 300),
        row('E', 90, 300),
        row('MUHQV', 75, 300),
        row('WST', 50, 300),
        row('LK', 25, 300),
        row('P', percentOfP, 300),
        row('OIXN', 0, 300),
      ],
    },
  });
}

/** Booking class P earns a quarter since travel date 2019-05-01; before, it was one of the full-fare classes in this sample. */
const eva = rulesFrom({
  ...miles,
  timeZone: 'Asia/Taipei',
  rules: [
    evaRule('old-table', 100, { through: '2019-04-30' }),
    evaRule('new-table', 25, { from: '2019-05-01' }),
  ],
});

function chinaRule(rounding: 'floor' | 'half_up') {
  return rulesFrom({
    ...miles,
    rules: [
      flightRule('china', 'MU', {
        rounding,
        earn: {
          by: 'distance',
          minimum: 'before',
          classes: [row('FU', 150, 310), row('WP', 110, 310), row('KLNRSV', 50, 310), row('T', 30, 310)],
        },
      }),
    ],
  });
}

const united = rulesFrom({
  ...miles,
  rules: [
    flightRule('fare', 'UA', {
      caps: [{ points: 75_000, period: 'receipt' }],
      earn: {
        by: 'fare',
        points: 5,
        perMinorUnits: 100,
        tiers: { silver: 7, gold: 8, platinum: 9, k1: 11 },
      },
    }),
  ],
});

function flown(carrier: string, bookingClass: string, distanceMiles: number, at?: string) {
  const flight = {
    carrier,
    flightNumber: '1',
    date: '2026-01-01',
    from: 'TPE',
    to: 'PEK',
    bookingClass,
    distanceMiles,
  };
  return { subject: { flight }, ...(at === undefined ? {} : { at }) };
}

function paid(tier: string, amount: number) {
  const { subject } = flown('UA', 'Y', 1_000);
  return { subject: { flight: { ...subject.flight, fare: { amount, currency: 'USD' } } }, member: { tier } };
}

describe('published cases', () => {
  test.for([
    [1, 'K', 220, 300],
    [2, 'M', 1_068, 801],
    [3, 'F', 400, 650],
    [4, 'C', 401, 521],
    [5, 'X', 5_000, 0],
  ] as const)('%i: EVA Air on Air China, class %s, %i miles: %i', ([, code, distance, expected]) => {
    expect(judge(eva, flown('CA', code, distance)).awards[0]?.points ?? 0).toBe(expected);
  });

  test('6: class P earns by the table of the day of travel, in the zone of the program', () => {
    const by = (at: string) => pointsBy(judge(eva, flown('CA', 'P', 2_000, at)));
    expect(by('2019-04-30T23:59:59+08:00')).toEqual({ 'old-table': 2_000 });
    expect(by('2019-05-01T00:00:00+08:00')).toEqual({ 'new-table': 500 });
  });

  test.for([
    [7, 'T', 200, 93],
    [8, 'W', 309, 341],
    [9, 'K', 1_069, 534],
  ] as const)(
    '%i: China Airlines on China Eastern, class %s, %i miles: %i',
    ([, code, distance, expected]) => {
      expect(judge(chinaRule('floor'), flown('MU', code, distance)).awards[0]?.points).toBe(expected);
    },
  );

  test('9: a half is rounded as the rule says', () => {
    expect(judge(chinaRule('half_up'), flown('MU', 'K', 1_069)).awards[0]?.points).toBe(535);
  });

  test.for([
    [10, 'gold', 41_237, 3_298],
    [11, 'k1', 700_000, 75_000],
    [12, 'k1', 681_819, 75_000],
  ] as const)('%i: United by fare, %s, %i cents: %i', ([, tier, amount, expected]) => {
    expect(judge(united, paid(tier, amount)).awards[0]?.points).toBe(expected);
  });
});

describe('expiry as published', () => {
  const expires = (expiry: NonNullable<Rule['expiry']>, timeZone: string, at: string, more = {}) => {
    const rule: Rule = {
      name: 'any',
      on: 'activity',
      currency: 'miles',
      expiry,
      earn: { by: 'fixed', points: 1 },
    };
    const judged = judge(rulesFrom({ ...miles, timeZone, rules: [rule] }), {
      subject: { activity: { type: 'any' } },
      at,
      ...more,
    });
    return new Date(judged.awards[0]!.expiresAt).toISOString();
  };
  const krisflyer = { kind: 'month_end', months: 36, from: 'posting' } as const;

  test('KrisFlyer: through the end of the 36th month after posting, at midnight in Singapore', () => {
    expect(expires(krisflyer, 'Asia/Singapore', '2017-07-10T12:00:00+08:00')).toBe(
      '2020-07-31T16:00:00.000Z',
    );
  });

  test('KrisFlyer: what was posted in August counts from August', () => {
    const late = { postedAt: '2018-08-02T12:00:00+08:00' };
    expect(expires(krisflyer, 'Asia/Singapore', '2018-07-28T12:00:00+08:00', late)).toBe(
      '2021-08-31T16:00:00.000Z',
    );
  });

  test('Air India: the end of the third year after the one of earning', () => {
    const yearEnd = { kind: 'year_end', years: 3 } as const;
    expect(expires(yearEnd, 'Asia/Kolkata', '2015-05-01T12:00:00+05:30')).toBe('2018-12-31T18:30:00.000Z');
  });

  test('Emirates: the end of the month of birth, three years on', () => {
    const birthday = { kind: 'birthday_month', years: 3 } as const;
    const member = { birthday: '1980-08-17' };
    expect(expires(birthday, 'Asia/Dubai', '2012-06-05T12:00:00+04:00', { member })).toBe(
      '2015-08-31T20:00:00.000Z',
    );
  });

  test.for([
    [undefined, '2017-01-31T20:00:00.000Z'],
    ['silver', '2017-07-31T20:00:00.000Z'],
    ['gold', '2018-01-31T20:00:00.000Z'],
  ] as const)('Etihad: 24 months, 30 for silver, 36 for gold (%s)', ([tier, expected]) => {
    const byTier = {
      kind: 'tier',
      tiers: { silver: { kind: 'month_end', months: 30 }, gold: { kind: 'month_end', months: 36 } },
      otherwise: { kind: 'month_end', months: 24 },
    } as const;
    const member = tier === undefined ? {} : { tier };
    expect(expires(byTier, 'Asia/Dubai', '2015-01-15T12:00:00+04:00', { member })).toBe(expected);
  });
});

describe('points of a day that has no midnight', () => {
  const local = (at: number, timeZone: string) =>
    new Date(at).toLocaleString('sv', { timeZone }).replace(/:00$/, '');

  test.each([
    ['Asia/Beirut', '2026-03-29', '2026-04-29', '2026-03-31'],
    ['Africa/Cairo', '2026-04-24', '2026-05-25', '2026-04-26'],
    ['America/Santiago', '2026-09-06', '2026-10-07', '2026-09-08'],
    ['America/Havana', '2026-03-08', '2026-04-08', '2026-03-10'],
  ])('%s: end and begin at midnight of later days all the same', (timeZone, day, ends, begins) => {
    const end = compileExpiry({ kind: 'days', days: 30, from: 'occurrence' }, timeZone);
    expect(local(end({ occurred: day, posted: day }, {}), timeZone)).toBe(`${ends} 00:00`);
    const pending = compilePending({ kind: 'days', days: 2 }, timeZone);
    expect(local(pending(day), timeZone)).toBe(`${begins} 00:00`);
    // What begins or ends on such a day does so with its first instant.
    const dayBefore = new Date(Date.parse(day) - 86_400_000).toISOString().slice(0, 10);
    expect(local(compilePending({ kind: 'days', days: 1 }, timeZone)(dayBefore), timeZone)).toBe(
      `${day} 01:00`,
    );
  });

  test('an end that is moved from such a day, and the day after it in a statement, are at midnight', () => {
    const timeZone = 'Asia/Beirut';
    const end = compileExpiry({ kind: 'month_end', months: 0, from: 'occurrence' }, timeZone);
    const first = compilePending({ kind: 'days', days: 1 }, timeZone)('2026-03-28');
    expect(local(first, timeZone)).toBe('2026-03-29 01:00');
    expect(local(monthsLater(first, 1, timeZone), timeZone)).toBe('2026-04-29 00:00');
    expect(
      local(monthsLater(end({ occurred: '2026-03-29', posted: '2026-03-29' }, {}), 1, timeZone), timeZone),
    ).toBe('2026-05-01 00:00');
    const program = { timeZone } as Program;
    expect([0, 1].map((days) => local(dayStart('2026-03-29', program, days), timeZone))).toEqual([
      '2026-03-29 01:00',
      '2026-03-30 00:00',
    ]);
  });
});
