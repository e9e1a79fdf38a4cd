/** Every period and validity of a ladder, day by day, over leap years and years without. */
import { describe, expect, test } from 'vitest';
import { momentOf } from '#src/earning/rules/calendar.ts';
import type { CountingPeriod, Through } from '#src/tiers/ladder/types.ts';
import { addMonths, monthsLater, periodAt } from '#src/tiers/ladder/windows.ts';
import { dateOf, dayOf, ladderFrom, spendTiers, walkOn } from './house/ladders.ts';

const tiers = spendTiers({ silver: 100, gold: 200 });
const toNextEnd = { validity: { kind: 'end_of_next_period' }, down: 'earned' } as const;

describe('a window of counting', () => {
  const windowText = (period: CountingPeriod, joined: string, date: string, promoted?: string) => {
    const endless = period.kind === 'lifetime' || period.kind === 'rolling_months';
    const ladder = ladderFrom({
      ...{ tiers, period, down: 'earned' },
      validity: endless ? { kind: 'months', months: 12 } : { kind: 'end_of_next_period' },
    });
    const promotion = promoted && { onDay: dayOf(promoted), endedFromDay: 0, carried: {} };
    const state = promotion ? { promotion } : {};
    const { fromDay, throughDay } = periodAt(ladder, dayOf(joined), state, dayOf(date));
    return `${dateOf(fromDay)} ${dateOf(throughDay)}`;
  };
  const year = (firstMonth: number): CountingPeriod => ({ kind: 'calendar_year', firstMonth });
  const rolling = (months: number): CountingPeriod => ({ kind: 'rolling_months', months });
  const since = (months: number): CountingPeriod => ({ kind: 'since_promotion', months });
  const anniversary: CountingPeriod = { kind: 'anniversary' };

  test.each<[CountingPeriod, joined: string, date: string, window: string, promoted?: string]>([
    [year(1), '2020-05-05', '2026-12-31', '2026-01-01 2026-12-31'],
    [year(1), '2020-05-05', '2028-02-29', '2028-01-01 2028-12-31'],
    [year(4), '2020-05-05', '2027-03-31', '2026-04-01 2027-03-31'],
    [year(4), '2020-05-05', '2027-04-01', '2027-04-01 2028-03-31'],
    [year(3), '2020-05-05', '2028-02-29', '2027-03-01 2028-02-29'],
    [rolling(12), '2020-05-05', '2027-03-15', '2026-03-16 2027-03-15'],
    [rolling(12), '2020-05-05', '2028-02-29', '2027-03-01 2028-02-29'],
    [rolling(12), '2020-05-05', '2029-02-28', '2028-02-29 2029-02-28'],
    [rolling(1), '2020-05-05', '2026-03-31', '2026-03-01 2026-03-31'],
    [rolling(1), '2020-05-05', '2026-03-30', '2026-03-01 2026-03-30'],
    [anniversary, '2024-02-29', '2024-02-29', '2024-02-29 2025-02-27'],
    [anniversary, '2024-02-29', '2025-02-27', '2024-02-29 2025-02-27'],
    [anniversary, '2024-02-29', '2025-02-28', '2025-02-28 2026-02-27'],
    [anniversary, '2024-02-29', '2028-02-28', '2027-02-28 2028-02-28'],
    [anniversary, '2024-02-29', '2028-02-29', '2028-02-29 2029-02-27'],
    [anniversary, '2023-07-14', '2026-07-13', '2025-07-14 2026-07-13'],
    [anniversary, '2023-07-14', '2026-07-14', '2026-07-14 2027-07-13'],
    [since(12), '2024-02-29', '2025-02-27', '2024-02-29 2025-02-27'],
    [since(12), '2024-02-29', '2025-02-28', '2025-02-28 2026-02-27'],
    [since(12), '2024-02-29', '2028-03-01', '2028-02-29 2029-02-27'],
    [since(6), '2026-08-31', '2027-02-28', '2027-02-28 2027-08-30'],
    [since(12), '2020-05-05', '2026-03-16', '2026-03-16 2027-03-15', '2026-03-15'],
    [since(12), '2020-05-05', '2024-03-01', '2024-03-01 2025-02-28', '2024-02-29'],
    [since(12), '2020-05-05', '2027-03-01', '2027-03-01 2028-02-29', '2024-02-29'],
    [since(1), '2020-05-05', '2026-03-01', '2026-03-01 2026-03-30', '2026-01-30'],
    [since(1), '2020-05-05', '2026-02-28', '2026-01-31 2026-02-28', '2026-01-30'],
    [{ kind: 'lifetime' }, '2020-05-05', '2026-03-01', '1970-01-01 9999-12-31'],
  ])('%j of who joined on %s, on %s: %s (promoted %s)', (period, joined, date, window, promoted) => {
    expect(windowText(period, joined, date, promoted)).toBe(window);
  });

  test.each([year(1), year(7), anniversary, since(1), since(5), since(12)])(
    'of %j holds every day of nine years in exactly one window, whatever the day of joining',
    (period) => {
      for (const joined of ['2020-02-29', '2020-01-31', '2019-12-31', '2020-03-01']) {
        let expected = '';
        for (let day = dayOf('2020-03-01'); day < dayOf('2029-03-01'); day += 1) {
          const [from, through] = windowText(period, joined, dateOf(day)).split(' ') as [string, string];
          if (expected !== '' && from !== expected) expect(from).toBe(dateOf(day));
          expect(from <= dateOf(day) && dateOf(day) <= through).toBe(true);
          expected = from;
        }
      }
    },
  );
});

describe('months', () => {
  test.each<[from: string, months: number, through: Through, last: string]>([
    ['2026-01-31', 1, 'day', '2026-02-28'],
    ['2028-01-31', 1, 'day', '2028-02-29'],
    ['2028-02-29', 12, 'day', '2029-02-28'],
    ['2028-02-29', -12, 'day', '2027-02-28'],
    ['2026-12-15', 13, 'day', '2028-01-15'],
    ['2026-11-20', 3, 'month_end', '2027-02-28'],
    ['2027-11-20', 3, 'month_end', '2028-02-29'],
    ['2026-11-20', 12, 'quarter_end', '2027-12-31'],
    ['2026-11-20', 2, 'quarter_end', '2027-03-31'],
    ['2026-11-20', 12, 'year_end', '2027-12-31'],
    ['2026-12-31', 0, 'month_end', '2026-12-31'],
  ])('from %s, %i months, rounded to the %s: %s', (from, months, through, last) => {
    expect(dateOf(monthsLater(dayOf(from), { months, through }))).toBe(last);
    if (through === 'day') expect(dateOf(addMonths(dayOf(from), months))).toBe(last);
  });
});

describe('what is reached is valid', () => {
  type Row = [
    what: string,
    input: Omit<Parameters<typeof ladderFrom>[0], 'tiers' | 'down'>,
    on: string,
    until: string,
  ];
  const months = (count: number, through: Through = 'day') =>
    ({ kind: 'months', months: count, through }) as const;
  const rolling = { kind: 'rolling_months', months: 12 } as const;

  test.each<Row>([
    [
      'this calendar year',
      { period: { kind: 'calendar_year' }, validity: { kind: 'end_of_period' } },
      '2027-05-05',
      '2027-12-31',
    ],
    [
      'the next as well',
      { period: { kind: 'calendar_year' }, validity: { kind: 'end_of_next_period' } },
      '2027-05-05',
      '2028-12-31',
    ],
    [
      'a year that begins in March',
      { period: { kind: 'calendar_year', firstMonth: 3 }, validity: { kind: 'end_of_next_period' } },
      '2027-02-28',
      '2028-02-29',
    ],
    [
      'the year of the anniversary',
      { period: { kind: 'anniversary' }, validity: { kind: 'end_of_period' } },
      '2027-05-05',
      '2028-02-28',
    ],
    [
      'the next of it',
      { period: { kind: 'anniversary' }, validity: { kind: 'end_of_next_period' } },
      '2027-05-05',
      '2029-02-27',
    ],
    [
      'months from the promotion',
      { period: { kind: 'since_promotion', months: 12 }, validity: { kind: 'end_of_period' } },
      '2028-02-29',
      '2029-02-28',
    ],
    [
      'twice as many',
      { period: { kind: 'since_promotion', months: 24 }, validity: { kind: 'end_of_next_period' } },
      '2028-02-29',
      '2032-02-29',
    ],
    ['twelve months', { period: rolling, validity: months(12) }, '2028-02-29', '2029-02-28'],
    [
      '24 months through the month',
      { period: rolling, validity: months(24, 'month_end') },
      '2026-02-10',
      '2028-02-29',
    ],
    [
      '14 months through the quarter',
      { period: rolling, validity: months(14, 'quarter_end') },
      '2027-05-05',
      '2028-09-30',
    ],
    [
      'a lifetime',
      { period: { kind: 'lifetime' }, validity: { kind: 'for_ever' } },
      '2027-05-05',
      'for ever',
    ],
  ])('%s', (_, input, on, until) => {
    const walk = walkOn(ladderFrom({ ...input, tiers, down: 'earned' }), '2024-02-29');
    const { standing } = walk.does(on, 120);
    expect(standing).toMatchObject({ tier: 'silver', sinceDay: dayOf(on), origin: 'earned', how: 'reached' });
    expect(standing.untilDay === undefined ? 'for ever' : dateOf(standing.untilDay)).toBe(until);
  });

  test('through its last day, and not on the next', () => {
    const walk = walkOn(ladderFrom({ period: { kind: 'anniversary' }, tiers, ...toNextEnd }), '2024-02-29');
    walk.does('2026-06-01', 250);
    expect(walk.standing('2028-02-28')).toBe('gold through 2028-02-28');
    expect(walk.standing('2028-02-29')).toBe('base');
  });

  test('in days of the zone: a receipt at 23:30 on the night that is an hour short belongs to its day there', () => {
    const walk = walkOn(
      ladderFrom({ period: { kind: 'calendar_year', firstMonth: 4 }, tiers, ...toNextEnd }),
      '2024-02-29',
    );
    // The clocks of Paris go forward on 2026-03-29 and back on 2026-10-25.
    const dayIn = (at: string) => momentOf(Date.parse(at), 'Europe/Paris').dayNumber;
    expect(dateOf(dayIn('2026-03-28T22:59:59Z'))).toBe('2026-03-28');
    expect(dateOf(dayIn('2026-03-29T21:59:59Z'))).toBe('2026-03-29');
    expect(dateOf(dayIn('2026-10-25T22:59:59Z'))).toBe('2026-10-25');
    walk.deeds.push(
      { day: dayIn('2026-03-31T21:30:00Z'), spend: 120 },
      { day: dayIn('2026-03-31T22:30:00Z'), spend: 90 },
    );
    expect(walk.standing('2026-04-01')).toBe('silver through 2027-03-31');
    walk.does('2026-04-02', 110);
    expect(walk.standing('2026-04-02')).toBe('gold through 2028-03-31');
  });
});
