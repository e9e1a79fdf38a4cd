/** Up, kept, down, taken back: a member walks a ladder over years, as programs publish their rules. */
import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import type { ladderSchema } from '#src/earning/file/ladder-schema.ts';
import { dateOf, dayOf, ladderFrom, spendTiers, walkOn } from './house/ladders.ts';

type Input = Partial<Omit<z.input<typeof ladderSchema>, 'name'>>;

const yearly = (input: Input = {}) =>
  ladderFrom({
    tiers: spendTiers({ silver: 100, gold: 200, platinum: 400 }),
    period: { kind: 'calendar_year' },
    validity: { kind: 'end_of_next_period' },
    down: 'one_step',
    ...input,
  });

describe('up', () => {
  test('with the receipt that qualifies, several tiers at once, through the end of the next period', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    expect(walk.does('2026-03-01', 99).standing).toMatchObject({ tier: 'base', how: 'start' });
    expect(walk.does('2026-03-02', 1).standing).toMatchObject({
      tier: 'silver',
      sinceDay: dayOf('2026-03-02'),
    });
    const { standing, steps } = walk.does('2026-03-03', 350);
    expect(standing).toMatchObject({ tier: 'platinum', level: 3, untilDay: dayOf('2027-12-31') });
    expect(steps).toEqual([
      {
        ...{ what: 'promoted', from: 'silver', to: 'platinum', untilDay: dayOf('2027-12-31') },
        window: { fromDay: dayOf('2026-01-01'), throughDay: dayOf('2026-12-31') },
        counted: [{ measure: 'spend', atLeast: 400, counted: 450, missing: 0 }],
      },
    ]);
  });

  test('a review that finds nothing gives back the state it was given', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    const { earned } = walk.does('2026-03-01', 250);
    expect(walk.on('2026-03-02').earned).toBe(earned);
    expect(walk.on('2026-12-31').earned).toBe(earned);
  });

  test('by any of several, where one of them may be several things together', () => {
    const ladder = yearly({
      tiers: [
        { name: 'base' },
        {
          name: 'elite',
          reach: {
            any: [
              { measure: 'points', currency: 'credits', atLeast: 6_000 },
              {
                all: [
                  { measure: 'flights', atLeast: 15 },
                  { measure: 'points', currency: 'credits', atLeast: 5_000 },
                ],
              },
            ],
          },
        },
      ],
    });
    const walk = walkOn(ladder, '2025-11-05');
    expect(walk.does('2026-01-05', { credits: 5_500, flights: 14 }).standing.tier).toBe('base');
    expect(walk.does('2026-01-06', { flights: 1 }).standing.tier).toBe('elite');
    const other = walkOn(ladder, '2025-11-05');
    expect(other.does('2026-01-05', { flights: 40, credits: 4_999 }).standing.tier).toBe('base');
    expect(other.does('2026-01-06', { credits: 1_001 }).standing.tier).toBe('elite');
  });

  test('by active months, visits and distance', () => {
    const goal = (measure: 'active_months' | 'visits' | 'distance', atLeast: number) => ({
      measure,
      atLeast,
    });
    const ladder = yearly({
      tiers: [
        { name: 'base' },
        { name: 'regular', reach: { all: [goal('active_months', 3), goal('visits', 5)] } },
        {
          name: 'traveller',
          reach: { all: [goal('active_months', 3), goal('visits', 5), goal('distance', 900)] },
        },
      ],
    });
    const walk = walkOn(ladder, '2025-11-05');
    for (const date of ['2026-01-05', '2026-01-06', '2026-01-07', '2026-02-05'])
      expect(walk.does(date, { visits: 1 }).standing.tier).toBe('base');
    expect(walk.does('2026-05-05', { visits: 1 }).standing.tier).toBe('regular');
    expect(walk.does('2026-05-06', { distance: 900 }).standing.tier).toBe('traveller');
  });
});

describe('down', () => {
  test('a soft landing over three years: one step at a time', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    walk.does('2026-03-01', 450);
    expect(walk.standing('2027-12-31')).toBe('platinum through 2027-12-31');
    expect(walk.standing('2028-01-01')).toBe('gold through 2028-12-31');
    expect(walk.standing('2028-12-31')).toBe('gold through 2028-12-31');
    expect(walk.standing('2029-01-01')).toBe('silver through 2029-12-31');
    expect(walk.standing('2030-01-01')).toBe('base');
    expect(walk.said).toEqual([
      '2026-03-01 promoted platinum 2027-12-31',
      '2028-01-01 soft_landing gold 2028-12-31',
      '2029-01-01 soft_landing silver 2029-12-31',
      '2030-01-01 soft_landing base',
    ]);
  });

  test('a soft landing that nobody looked at for years is the same, on the same days', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    walk.does('2026-03-01', 450);
    const { standing, steps } = walk.on('2029-06-01');
    expect(standing).toMatchObject({
      tier: 'silver',
      sinceDay: dayOf('2029-01-01'),
      untilDay: dayOf('2029-12-31'),
    });
    expect(steps.map(({ what, to }) => `${what} ${to}`)).toEqual([
      'soft_landing gold',
      'soft_landing silver',
    ]);
  });

  test('not below what was earned: one step ends where the year has more', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    walk.does('2026-03-01', 450);
    walk.does('2028-05-05', 110);
    expect(walk.standing('2028-05-05')).toBe('gold through 2028-12-31');
    expect(walk.standing('2029-01-01')).toBe('silver through 2029-12-31');
    expect(walk.said.at(-1)).toBe('2029-01-01 soft_landing silver 2029-12-31');
    expect(walk.standing('2030-01-01')).toBe('base');
  });

  test('to what was earned', () => {
    const walk = walkOn(yearly({ down: 'earned' }), '2025-11-05');
    walk.does('2026-03-01', 450);
    walk.does('2027-03-01', 120);
    expect(walk.standing('2028-01-01')).toBe('silver through 2028-12-31');
    expect(walk.standing('2029-01-01')).toBe('base');
    expect(walk.said.slice(1)).toEqual(['2028-01-01 fell silver 2028-12-31', '2029-01-01 fell base']);
  });

  test('never', () => {
    const walk = walkOn(yearly({ down: 'none' }), '2025-11-05');
    walk.does('2026-03-01', 450);
    expect(walk.standing('2046-01-01')).toBe('platinum');
  });

  test('not from a protected tier, and not while the member is protected', () => {
    const [base, silver, gold] = spendTiers({ silver: 100, gold: 200 });
    const ladder = yearly({ tiers: [base!, silver!, { ...gold!, protected: true }] });
    const walk = walkOn(ladder, '2025-11-05');
    walk.does('2026-03-01', 250);
    expect(walk.on('2040-01-01').standing).toMatchObject({ tier: 'gold' });

    const other = walkOn(yearly(), '2025-11-05');
    other.does('2026-03-01', 250);
    other.member = { ...other.member, protectedThroughDay: dayOf('2028-06-15') };
    expect(other.on('2028-06-15')).toMatchObject({
      standing: { tier: 'gold' },
      nextDay: dayOf('2028-06-16'),
    });
    expect(other.on('2028-06-16').standing).toMatchObject({ tier: 'silver', sinceDay: dayOf('2028-06-16') });
  });

  test('past a tier that is only granted: nobody earns it, and nobody lands on it', () => {
    const [base, silver, gold] = spendTiers({ silver: 100, gold: 200 });
    const ladder = yearly({ tiers: [base!, silver!, { name: 'invited', onlyGranted: true }, gold!] });
    const walk = walkOn(ladder, '2025-11-05');
    expect(walk.does('2026-03-01', 150).standing).toMatchObject({ tier: 'silver', level: 1 });
    expect(walk.progress('2026-03-01').next).toMatchObject({ tier: 'gold', goals: [{ missing: 50 }] });
    expect(walk.does('2026-03-02', 50).standing).toMatchObject({ tier: 'gold', level: 3 });
    expect(walk.standing('2028-01-01')).toBe('silver through 2028-12-31');
    walk.grant({ tier: 'invited', origin: 'granted', fromDay: dayOf('2028-01-02') });
    expect(walk.on('2028-01-02').standing).toMatchObject({ tier: 'invited', level: 2, origin: 'granted' });
  });

  test('after grace, rounded up to its quarter, in which the new period may still keep the tier', () => {
    const grace = { months: 2, through: 'quarter_end' } as const;
    const walk = walkOn(yearly({ grace }), '2025-11-05');
    walk.does('2026-03-01', 250);
    expect(walk.on('2028-03-31').standing).toMatchObject({
      ...{ tier: 'gold', untilDay: dayOf('2027-12-31'), holdsThroughDay: dayOf('2028-03-31') },
    });
    expect(walk.standing('2028-04-01')).toBe('silver through 2028-12-31');
    const other = walkOn(yearly({ grace }), '2025-11-05');
    other.does('2026-03-01', 250);
    other.does('2028-03-31', 200);
    expect(other.standing('2028-04-01')).toBe('gold through 2029-12-31');
  });
});

describe('kept', () => {
  test('as soon as the period has what keeps it, which may be less than what reached it', () => {
    const walk = walkOn(yearly({ tiers: spendTiers({ silver: 100, gold: [200, 150] }) }), '2025-11-05');
    walk.does('2026-03-01', 200);
    walk.does('2027-02-01', 149);
    expect(walk.standing('2027-02-01')).toBe('gold through 2027-12-31');
    walk.does('2027-12-31', 1);
    expect(walk.standing('2027-12-31')).toBe('gold through 2028-12-31');
    expect(walk.standing('2029-01-01')).toBe('silver through 2029-12-31');
  });

  test('within rolling months, by what they hold on the last day', () => {
    const rolling = yearly({
      period: { kind: 'rolling_months', months: 12 },
      validity: { kind: 'months', months: 12 },
      ...{ down: 'earned', tiers: spendTiers({ silver: 100, gold: 200 }) },
    });
    const walk = walkOn(rolling, '2025-11-05');
    walk.does('2025-12-01', 60);
    walk.does('2026-03-15', 140);
    expect(walk.standing('2026-03-15')).toBe('gold through 2027-03-15');
    walk.does('2026-03-16', 150);
    walk.does('2026-09-16', 50);
    expect(walk.standing('2027-03-16')).toBe('gold through 2028-03-15');
    expect(walk.standing('2028-03-16')).toBe('base');
  });

  test('since the promotion: each period keeps the tier through the next', () => {
    const since = yearly({
      tiers: spendTiers({ silver: 100, gold: [200, 150] }),
      period: { kind: 'since_promotion', months: 12 },
      validity: { kind: 'end_of_period' },
    });
    const walk = walkOn(since, '2025-11-05');
    walk.does('2026-02-28', 200);
    // What was counted begins anew on the day after.
    walk.does('2026-03-01', 100);
    expect(walk.standing('2026-03-01')).toBe('gold through 2027-02-28');
    walk.does('2026-08-01', 50);
    expect(walk.standing('2026-08-01')).toBe('gold through 2028-02-28');
    expect(walk.standing('2028-02-29')).toBe('silver through 2029-02-28');
  });
});

describe('what was counted', () => {
  const tiers = spendTiers({ silver: 100, gold: 150 });

  test('begins anew on the day after a promotion; the day itself belongs to it', () => {
    const walk = walkOn(yearly({ tiers, atPromotion: 'reset' }), '2025-11-05');
    walk.does('2026-03-01', 120);
    expect(walk.does('2026-03-01', 29).standing.tier).toBe('silver');
    walk.does('2026-03-02', 149);
    expect(walk.standing('2026-03-02')).toBe('silver through 2027-12-31');
    expect(walk.does('2026-03-03', 1).standing.tier).toBe('gold');
    const other = walkOn(yearly({ tiers, atPromotion: 'reset' }), '2025-11-05');
    other.does('2026-03-01', 120);
    expect(other.does('2026-03-01', 30).standing.tier).toBe('gold');
  });

  test('rolls over a promotion with what was above its goal', () => {
    const walk = walkOn(yearly({ tiers, atPromotion: 'roll_over' }), '2025-11-05');
    walk.does('2026-03-01', 140);
    expect(walk.standing('2026-03-02')).toBe('silver through 2027-12-31');
    expect(walk.does('2026-03-02', 109).standing.tier).toBe('silver');
    expect(walk.does('2026-03-03', 1).standing.tier).toBe('gold');
  });

  test('rolls over the end of a period, and on, and what came back of the old one is missing in the new', () => {
    const walk = walkOn(yearly({ tiers, atPeriodEnd: 'roll_over' }), '2025-11-05');
    walk.does('2026-03-01', 240);
    expect(walk.progress('2027-01-05').keep?.goals).toMatchObject([{ counted: 90, missing: 60 }]);
    walk.does('2027-03-01', 60);
    expect(walk.standing('2027-03-01')).toBe('gold through 2028-12-31');
    walk.does('2026-03-01', -50, '2027-06-01');
    expect(walk.said.at(-1)).toBe('2027-06-01 taken_back gold 2027-12-31');
    walk.does('2027-06-02', 50);
    expect(walk.standing('2028-06-01')).toBe('gold through 2028-12-31');
    // 2026 has 190 and carries 40; with them 2027 has just 150.
    expect(walk.progress('2028-06-01').keep?.goals).toMatchObject([{ counted: 0 }]);
  });

  test('rolls nothing over where no tier was reached', () => {
    const walk = walkOn(yearly({ tiers, atPeriodEnd: 'roll_over' }), '2025-11-05');
    walk.does('2026-03-01', 99);
    expect(walk.does('2027-03-01', 99).standing.tier).toBe('base');
  });

  test('rolls over many periods that nobody looked at', () => {
    const walk = walkOn(yearly({ tiers, atPeriodEnd: 'roll_over', down: 'earned' }), '2025-11-05');
    walk.does('2026-03-01', 460);
    // 310 in 2027 and 160 in 2028 keep it through 2029, which has 10.
    expect(walk.standing('2030-06-01')).toBe('base');
    expect(walk.said.slice(1)).toEqual([
      '2030-06-01 kept gold 2028-12-31',
      '2030-06-01 kept gold 2029-12-31',
      '2030-06-01 fell base',
    ]);
    const other = walkOn(yearly({ tiers, atPeriodEnd: 'roll_over', down: 'earned' }), '2025-11-05');
    other.does('2026-03-01', 460);
    for (const date of ['2027-01-01', '2028-01-01', '2029-01-01']) other.on(date);
    expect(other.progress('2029-06-01').keep?.goals).toMatchObject([{ counted: 10, missing: 140 }]);
  });
});

describe('a return', () => {
  test('takes the tier back at once', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    walk.does('2026-03-01', 120);
    walk.does('2026-04-01', 100);
    expect(walk.does('2026-04-01', -50, '2026-04-20')).toMatchObject({
      standing: { tier: 'silver', sinceDay: dayOf('2026-04-20'), untilDay: dayOf('2027-12-31') },
      steps: [{ what: 'taken_back', from: 'gold', to: 'silver' }],
    });
    expect(walk.does('2026-03-01', -120, '2026-04-21').standing).toMatchObject({
      tier: 'base',
      how: 'taken_back',
    });
  });

  test('in the next period takes back the one before', () => {
    const walk = walkOn(yearly({ down: 'earned' }), '2025-11-05');
    walk.does('2026-03-01', 120);
    walk.does('2026-12-20', 100);
    walk.does('2026-12-20', -100, '2027-01-15');
    expect(walk.standing('2027-01-15')).toBe('silver through 2027-12-31');
  });

  test('of a year that kept a tier brings back the end it had before', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    walk.does('2026-03-01', 200);
    walk.does('2027-12-20', 200);
    expect(walk.standing('2027-12-20')).toBe('gold through 2028-12-31');
    walk.does('2027-12-20', -1, '2027-12-30');
    expect(walk.standing('2027-12-30')).toBe('gold through 2027-12-31');
    walk.does('2027-12-20', 1, '2027-12-31');
    expect(walk.standing('2027-12-31')).toBe('gold through 2028-12-31');
    walk.does('2027-12-20', -1, '2028-01-05');
    expect(walk.standing('2028-01-05')).toBe('silver through 2028-12-31');
  });

  test('leaves the tier for some days, and for good where enough was bought by then', () => {
    const days = yearly({ whenTakenBack: { kind: 'days', days: 30 } });
    const walk = walkOn(days, '2025-11-05');
    walk.does('2026-03-01', 200);
    expect(walk.does('2026-03-01', -80, '2026-03-10')).toMatchObject({
      standing: { tier: 'gold' },
      nextDay: dayOf('2026-04-09'),
    });
    expect(walk.on('2026-04-08').standing.tier).toBe('gold');
    expect(walk.on('2026-04-09').standing.tier).toBe('silver');
    const other = walkOn(days, '2025-11-05');
    other.does('2026-03-01', 200);
    other.does('2026-03-01', -80, '2026-03-10');
    other.does('2026-04-01', 80);
    expect(other.standing('2026-04-09')).toBe('gold through 2027-12-31');
    expect(other.said).toEqual([
      '2026-03-01 promoted gold 2027-12-31',
      '2026-03-10 held_though_taken_back gold',
      '2026-04-01 qualified_again gold',
    ]);
  });

  test('leaves the tier until its end, and then decides by what is left', () => {
    const walk = walkOn(yearly({ whenTakenBack: { kind: 'until_end' }, down: 'earned' }), '2025-11-05');
    walk.does('2026-03-01', 200);
    walk.does('2026-03-01', -200, '2026-03-10');
    expect(walk.standing('2027-12-31')).toBe('gold through 2027-12-31');
    expect(walk.standing('2028-01-01')).toBe('base');
  });
});

describe('a late receipt', () => {
  test('counts in its own period: promoted today, valid as of then', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    walk.does('2026-12-20', 190);
    walk.does('2026-12-30', 10, '2027-02-10');
    expect(walk.on('2027-02-10').standing).toMatchObject({
      ...{ tier: 'gold', sinceDay: dayOf('2027-02-10'), untilDay: dayOf('2027-12-31') },
    });
  });

  test('that would have kept the tier brings it back', () => {
    const walk = walkOn(yearly({ tiers: spendTiers({ silver: 100, gold: [200, 150] }) }), '2025-11-05');
    walk.does('2026-03-01', 200);
    walk.does('2027-12-01', 140);
    expect(walk.standing('2028-01-01')).toBe('silver through 2028-12-31');
    const { standing, steps } = walk.does('2027-12-30', 10, '2028-02-10');
    expect(standing).toMatchObject({ tier: 'gold', untilDay: dayOf('2028-12-31') });
    expect(steps).toMatchObject([{ what: 'late_receipt', from: 'silver', to: 'gold' }]);
    expect(walk.on('2028-02-11').steps).toEqual([]);
  });

  test('of a period whose tier has ended by now promotes nobody', () => {
    const walk = walkOn(yearly({ validity: { kind: 'end_of_period' } }), '2025-11-05');
    walk.does('2026-12-30', 400, '2027-02-10');
    expect(walk.standing('2027-02-10')).toBe('base');
  });
});

test('a night that is caught up does not see what was done after it', () => {
  const walk = walkOn(yearly(), '2025-11-05');
  walk.does('2025-12-01', 100);
  // Nobody looked for some weeks; the receipts are in the books.
  walk.deeds.push({ day: dayOf('2027-01-10'), spend: 100 });
  expect(walk.on('2027-01-01').standing).toMatchObject({ tier: 'base', sinceDay: dayOf('2027-01-01') });
  expect(walk.on('2027-01-20').standing).toMatchObject({ tier: 'silver', sinceDay: dayOf('2027-01-20') });
});

describe('a grant', () => {
  test('is a floor until its end, whatever is earned below it, and never hides what is earned above', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    const [fromDay, untilDay] = [dayOf('2026-02-01'), dayOf('2026-06-30')];
    walk.grant({ tier: 'gold', origin: 'granted', fromDay, untilDay });
    expect(walk.on('2026-01-31')).toMatchObject({ standing: { tier: 'base' }, nextDay: fromDay });
    walk.does('2026-03-01', 120);
    expect(walk.on('2026-03-01')).toMatchObject({
      standing: { tier: 'gold', origin: 'granted', grant: 'g1', sinceDay: fromDay, untilDay },
      earned: { tier: 'silver', untilDay: dayOf('2027-12-31') },
      nextDay: untilDay + 1,
    });
    expect(walk.on('2026-07-01').standing).toMatchObject({ tier: 'silver', origin: 'earned' });
    walk.does('2026-06-01', 300, '2026-06-02');
    expect(walk.on('2026-06-02').standing).toMatchObject({ tier: 'platinum', origin: 'earned' });
  });

  test('of several the highest holds, then the longest', () => {
    const walk = walkOn(yearly(), '2025-11-05');
    const fromDay = dayOf('2026-02-01');
    walk.grant({ tier: 'silver', origin: 'lifetime', fromDay });
    walk.grant({ tier: 'gold', origin: 'gifted', fromDay, untilDay: dayOf('2026-06-30') });
    walk.grant({ tier: 'gold', origin: 'granted', fromDay, untilDay: dayOf('2026-09-30') });
    expect(walk.on('2026-03-01').standing).toMatchObject({ tier: 'gold', grant: 'g3' });
    expect(walk.on('2026-10-01').standing).toMatchObject({ tier: 'silver', grant: 'g1', origin: 'lifetime' });
  });
});

describe('progress and warnings', () => {
  const ladder = yearly({ tiers: spendTiers({ silver: 100, gold: [200, 150] }), warnDays: [30, 90] });

  test('say how much more by when: to the next tier, and to keep', () => {
    const walk = walkOn(ladder, '2025-11-05');
    walk.does('2026-03-01', 130);
    expect(walk.progress('2026-03-02')).toMatchObject({
      next: { tier: 'gold', goals: [{ counted: 130, missing: 70 }], byDay: dayOf('2026-12-31') },
      keep: { tier: 'silver', goals: [{ counted: 0, missing: 100 }], byDay: dayOf('2027-12-31') },
    });
    walk.does('2026-04-01', 80);
    walk.does('2027-04-01', 100);
    expect(walk.progress('2027-04-02')).toEqual({
      standing: expect.objectContaining({ tier: 'gold' }),
      keep: {
        ...{ tier: 'gold', isMet: false, byDay: dayOf('2027-12-31') },
        goals: [{ measure: 'spend', atLeast: 150, counted: 100, missing: 50 }],
      },
    });
  });

  test('warnings come on their days, and none where the tier is kept or held by a grant', () => {
    const walk = walkOn(ladder, '2025-11-05');
    walk.does('2026-03-01', 200);
    expect(walk.on('2027-10-01')).toMatchObject({ warnings: [], nextDay: dayOf('2027-10-02') });
    expect(walk.on('2027-10-02')).toMatchObject({
      warnings: [
        {
          ...{ daysBefore: 90, lastDay: dayOf('2027-12-31'), onDay: dayOf('2027-10-02') },
          keep: { goals: [{ missing: 150 }] },
        },
      ],
      nextDay: dayOf('2027-12-01'),
    });
    expect(walk.on('2027-12-24').warnings).toMatchObject([{ daysBefore: 30, onDay: dayOf('2027-12-01') }]);
    expect(walk.on('2027-12-24').nextDay).toBe(dayOf('2028-01-01'));
    walk.grant({ tier: 'gold', origin: 'granted', fromDay: dayOf('2027-12-25') });
    expect(walk.on('2027-12-25').warnings).toEqual([]);
    const other = walkOn(ladder, '2025-11-05');
    other.does('2026-03-01', 200);
    other.does('2027-03-01', 150);
    expect(other.on('2027-12-24').warnings).toEqual([]);
  });

  test('of a tier in rolling months count what will still be there on the last day', () => {
    const rolling = yearly({
      ...{ period: { kind: 'rolling_months', months: 12 }, validity: { kind: 'months', months: 12 } },
      tiers: spendTiers({ silver: 100, gold: 200 }),
    });
    const walk = walkOn(rolling, '2025-11-05');
    walk.does('2026-02-10', 120);
    walk.does('2026-06-10', 30);
    expect(walk.progress('2026-06-10')).toMatchObject({
      next: { goals: [{ counted: 150, missing: 50 }] },
      keep: { goals: [{ counted: 30, missing: 70 }], byDay: dayOf('2027-02-10') },
    });
    expect(walk.progress('2026-06-10').next).not.toHaveProperty('byDay');
  });
});

test('days to come are named: the next day on which anything may change by itself', () => {
  const walk = walkOn(yearly(), '2025-11-05');
  expect(walk.does('2026-01-01', 10)).not.toHaveProperty('nextDay');
  expect(dateOf(walk.does('2026-03-01', 100).nextDay!)).toBe('2028-01-01');
});
