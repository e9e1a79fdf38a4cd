/** What holds of every ladder: reviewed twice, in any order, with more; and beside a model that looks at each day. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { review } from '#src/tiers/ladder/review.ts';
import type { Ladder, LadderMember } from '#src/tiers/ladder/types.ts';
import { type Deed, dateOf, dayOf, ladderFrom, spendTiers, sumsFor, walkOn } from './house/ladders.ts';
import { type NaiveRules, naiveWalk } from './house/naive-ladder.ts';

const goals = { silver: [100, 100], gold: [200, 150], platinum: [400, 320] } as const;
const naiveTiers = Object.values(goals).map(([reach, keep]) => ({ reach, keep }));

const period = fc.oneof(
  fc.record({ kind: fc.constant('calendar_year' as const), firstMonth: fc.integer({ min: 1, max: 12 }) }),
  fc.constant({ kind: 'anniversary' as const }),
  fc.record({ kind: fc.constant('rolling_months' as const), months: fc.constantFrom(3, 6, 12, 24) }),
  fc.record({ kind: fc.constant('since_promotion' as const), months: fc.constantFrom(3, 6, 12) }),
  fc.constant({ kind: 'lifetime' as const }),
);
const ended = fc.oneof(
  fc.record({ kind: fc.constantFrom('end_of_period' as const, 'end_of_next_period' as const) }),
  fc.record({ kind: fc.constant('months' as const), months: fc.constantFrom(6, 12, 14, 24) }),
  fc.constant({ kind: 'for_ever' as const }),
);
const down = fc.constantFrom('one_step' as const, 'earned' as const, 'none' as const);

/** Rules that a file may say: what never ends has no end of a period. */
const rules: fc.Arbitrary<NaiveRules> = fc
  .record({ period, validity: ended, down, graceMonths: fc.constantFrom(0, 0, 1, 3) })
  .map((made) => {
    const isEndless = made.period.kind === 'rolling_months' || made.period.kind === 'lifetime';
    const isOfPeriods = made.validity.kind === 'end_of_period' || made.validity.kind === 'end_of_next_period';
    const validity = isEndless && isOfPeriods ? { kind: 'months' as const, months: 12 } : made.validity;
    return { ...made, validity, tiers: naiveTiers };
  });

type Input = Parameters<typeof ladderFrom>[0];

function ladderOfRules(
  { period: of, validity, down: how, graceMonths }: NaiveRules,
  more: Partial<Input> = {},
): Ladder {
  return ladderFrom({
    tiers: spendTiers(goals),
    ...{ period: of as Input['period'], validity, down: how },
    ...(graceMonths === 0 ? {} : { grace: { months: graceMonths } }),
    ...more,
  });
}

const joined = fc.constantFrom('2023-03-15', '2024-02-29', '2023-12-31', '2023-08-30');
const firstDay = dayOf('2024-02-29');
const someDay = (years: number) => fc.integer({ min: firstDay, max: firstDay + Math.floor(years * 365.25) });
const spends = (years: number, count: number, max = 250) =>
  fc.array(fc.record({ day: someDay(years), spend: fc.integer({ min: 1, max }) }), { maxLength: count });

test('the model that looks at each day agrees on every day of six years', () => {
  fc.assert(
    fc.property(rules, joined, spends(4.5, 14), (made, joinedOn, deeds) => {
      const ladder = ladderOfRules(made);
      const last = dayOf('2030-03-31');
      const byDate = new Map<string, number>();
      for (const { day, spend } of deeds) byDate.set(dateOf(day), (byDate.get(dateOf(day)) ?? 0) + spend);
      const model = naiveWalk(made, joinedOn, byDate, dateOf(last));
      const walk = walkOn(ladder, joinedOn);
      let found = walk.on(joinedOn);
      for (let day = dayOf(joinedOn); day <= last; day += 1) {
        const spend = byDate.get(dateOf(day));
        if (spend !== undefined) found = walk.does(dateOf(day), spend);
        else if (found.nextDay !== undefined && found.nextDay <= day) found = walk.on(day);
        const expected = model.get(dateOf(day))!;
        const { level, untilDay } = found.standing;
        const place = `${dateOf(day)} ${walk.said.join('; ')}`;
        expect([level, untilDay && dateOf(untilDay)], place).toEqual([expected.level, expected.until]);
      }
    }),
    { numRuns: 100, interruptAfterTimeLimit: 60_000 },
  );
}, 120_000);

describe('a member who buys, returns and sends receipts late', () => {
  const delay = fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 400 }) },
  );
  /** Something bought, of which a part comes back, each known on its day or later. */
  const purchase = fc
    .record({
      day: someDay(4),
      spend: fc.integer({ min: 1, max: 250 }),
      back: fc.nat(99),
      late: delay,
      backLate: delay,
    })
    .map(({ day, spend, back, late, backLate }) => {
      const returned = back < 50 ? 0 : Math.min(spend, back);
      const bought = { day, spend, arrives: day + late };
      return returned === 0 ? [bought] : [bought, { day, spend: -returned, arrives: day + late + backLate }];
    });
  /** Trials that 60 or 160 in so many days keep. */
  const trial = fc.array(
    fc
      .record({
        tier: fc.constantFrom('silver', 'gold'),
        fromDay: someDay(4),
        days: fc.integer({ min: 1, max: 200 }),
      })
      .map(({ tier, fromDay, days }) => ({
        ...{ tier, fromDay, origin: 'trial' as const, untilDay: fromDay + days },
        challenge: {
          needed: [[{ measure: 'spend' as const, atLeast: tier === 'gold' ? 160 : 60 }]],
          throughDay: fromDay + days,
        },
      })),
    { maxLength: 2 },
  );
  const more = fc.record({
    atPromotion: fc.constantFrom('reset' as const, 'roll_over' as const, undefined),
    atPeriodEnd: fc.constantFrom('reset' as const, 'roll_over' as const),
    whenTakenBack: fc.constantFrom(
      { kind: 'nothing' as const },
      { kind: 'until_end' as const },
      { kind: 'days' as const, days: 30 },
    ),
    warnDays: fc.constantFrom<number[]>([30, 7], [90]),
  });
  const anyLadder = fc.tuple(rules, more).map(([made, { atPromotion, atPeriodEnd, ...rest }]) => {
    const isEndless = made.period.kind === 'rolling_months' || made.period.kind === 'lifetime';
    const isRolling = made.period.kind === 'rolling_months';
    return ladderOfRules(made, {
      ...rest,
      ...(atPromotion && !(isRolling && atPromotion === 'roll_over') ? { atPromotion } : {}),
      ...(isEndless ? {} : { atPeriodEnd }),
    });
  });

  test('reviewed again on the same day nothing changes, whenever that is', () => {
    fc.assert(
      fc.property(
        anyLadder,
        joined,
        fc.array(purchase, { maxLength: 14 }),
        trial,
        (ladder, joinedOn, purchases, trials) => {
          const walk = walkOn(ladder, joinedOn);
          for (const grant of trials) walk.grant(grant);
          for (const { day, spend, arrives } of purchases.flat().toSorted((a, b) => a.arrives - b.arrives)) {
            walk.does(dateOf(day), spend, dateOf(arrives));
            const before = walk.member;
            const again = walk.on(arrives);
            expect(again.steps).toEqual([]);
            expect(again.earned).toBe(before.earned);
            expect(again.nextDay === undefined || again.nextDay > arrives).toBe(true);
            // What it names as the next day is the next on which anything changes.
            const quiet = Math.min(again.nextDay ?? arrives + 500, arrives + 500) - 1;
            if (quiet > arrives)
              expect(walk.on(quiet)).toMatchObject({ steps: [], standing: again.standing });
            walk.member = before;
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  test('the order of a day does not matter', () => {
    const day = fc.record({
      day: someDay(3),
      spends: fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 2, maxLength: 5 }),
    });
    fc.assert(
      fc.property(
        anyLadder,
        joined,
        fc.array(day, { maxLength: 6 }),
        fc.nat(),
        (ladder, joinedOn, days, seed) => {
          const [one, other] = [walkOn(ladder, joinedOn), walkOn(ladder, joinedOn)];
          for (const { day: on, spends: amounts } of days.toSorted((a, b) => a.day - b.day)) {
            const turned = seed % 2 === 0 ? amounts.toReversed() : [...amounts.slice(1), amounts[0]!];
            for (const amount of amounts) one.does(dateOf(on), amount);
            for (const amount of turned) other.does(dateOf(on), amount);
            expect(other.on(on).standing).toEqual(one.on(on).standing);
            expect(other.member).toEqual(one.member);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

const periodic = rules.filter(
  ({ period: { kind }, validity }) =>
    (kind === 'calendar_year' || kind === 'anniversary') && validity.kind !== 'months',
);

test('the order of receipts within a period does not matter: those that come late, and those that come at once', () => {
  fc.assert(
    fc.property(periodic, spends(0.8, 10), fc.infiniteStream(fc.nat()), (made, deeds, chance) => {
      const ladder = ladderOfRules(made);
      const joinedOn = '2024-02-29';
      const first = dayOf(made.period.kind === 'anniversary' ? '2025-02-28' : '2025-01-01');
      const shift =
        made.period.kind === 'calendar_year' && made.period.firstMonth > 1 ? made.period.firstMonth - 1 : 0;
      const begin = dayOf(dateOf(first).replace('-01-', `-${String(shift + 1).padStart(2, '0')}-`));
      const inPeriod = deeds.map(({ day, spend }) => ({ day: begin + (day - firstDay), spend }));
      const last = begin + 364;
      const ordered = walkOn(ladder, joinedOn);
      for (const { day, spend } of inPeriod.toSorted((a, b) => a.day - b.day))
        ordered.does(dateOf(day), spend);
      const mixed = walkOn(ladder, joinedOn);
      const turned = inPeriod
        .map((deed) => ({ deed, key: chance.next().value! }))
        .toSorted((a, b) => a.key - b.key)
        .map(({ deed }) => deed);
      for (const { day, spend } of turned) mixed.does(dateOf(day), spend, dateOf(last));
      const { tier, untilDay } = ordered.on(last).standing;
      expect(mixed.on(last).standing).toMatchObject({
        tier,
        ...(untilDay === undefined ? {} : { untilDay }),
      });
    }),
    { numRuns: 300 },
  );
});

test('more never gives a lower tier, where periods do not begin with a promotion', () => {
  const ladders = rules.filter(
    ({ period: { kind }, validity }) =>
      kind === 'lifetime' ||
      ((kind === 'calendar_year' || kind === 'anniversary') && validity.kind !== 'months'),
  );
  fc.assert(
    fc.property(ladders, joined, spends(4, 14), spends(4, 6), (made, joinedOn, deeds, extra) => {
      const ladder = ladderOfRules(made);
      const [less, more] = [walkOn(ladder, joinedOn), walkOn(ladder, joinedOn)];
      const all = [
        ...deeds.map((deed) => ({ deed, isExtra: false })),
        ...extra.map((deed) => ({ deed, isExtra: true })),
      ];
      for (const { deed, isExtra } of all.toSorted((a, b) => a.deed.day - b.deed.day)) {
        more.deeds.push(deed);
        if (!isExtra) less.deeds.push(deed);
        const [low, high] = [less.on(deed.day).standing, more.on(deed.day).standing];
        expect(high.level).toBeGreaterThanOrEqual(low.level);
        if (high.level === low.level && high.untilDay !== undefined && made.validity.kind !== 'months')
          expect(high.untilDay).toBeGreaterThanOrEqual(low.untilDay!);
      }
    }),
    { numRuns: 400 },
  );
});

test('a state that went through JSON is the same state', () => {
  fc.assert(
    fc.property(rules, joined, spends(4, 8), someDay(6), (made, joinedOn, deeds: readonly Deed[], on) => {
      const ladder = ladderOfRules(made);
      const walk = walkOn(ladder, joinedOn);
      for (const { day, spend } of deeds.toSorted((a, b) => a.day - b.day)) walk.does(dateOf(day), spend!);
      const stored = JSON.parse(JSON.stringify(walk.member)) as LadderMember;
      const later = Math.max(on, ...deeds.map(({ day }) => day));
      const [one, other] = [walk.member, stored].map((member) =>
        review(ladder, member, later, sumsFor(ladder, member, later, deeds)),
      );
      expect(other).toEqual(one);
    }),
    { numRuns: 150 },
  );
});
