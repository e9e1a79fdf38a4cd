/** Ladders and matches as programs publish them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { definitionOf } from '#src/earning/file/definition.ts';
import type { ladderSchema } from '#src/earning/file/ladder-schema.ts';
import { noNumbers } from '#src/earning/file/numbers.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import { allianceTiersOn, conditionOf, ladderOf, laddersOf, matchesOn } from '#src/tiers/ladder/compile.ts';
import type { Grant, Ladder } from '#src/tiers/ladder/types.ts';
import { checkout } from './house/folders.ts';
import { dayOf, ladderFrom, type Walk, walkOn } from './house/ladders.ts';

type Tier = z.input<typeof ladderSchema>['tiers'][number];

/** A tier by miles flown or flights, kept by fewer. */
function byFlying(
  name: string,
  [distance, flights]: [number, number],
  [keepDistance, keepFlights]: [number, number],
): Tier {
  const either = (miles: number, segments: number) => ({
    any: [
      { measure: 'distance' as const, atLeast: miles },
      { measure: 'flights' as const, atLeast: segments },
    ],
  });
  return { name, reach: either(distance, flights), keep: either(keepDistance, keepFlights) };
}

describe('Air China: 80,000 or 40 segments in twelve months, kept by 70,000 or 36', () => {
  const ladder = ladderFrom({
    tiers: [
      { name: 'member' },
      byFlying('silver', [40_000, 25], [35_000, 20]),
      byFlying('gold', [80_000, 40], [70_000, 36]),
    ],
    period: { kind: 'rolling_months', months: 12 },
    validity: { kind: 'months', months: 12 },
    down: 'one_step',
  });

  test.each<[distance: number, flights: number, tier: string]>([
    [79_999, 24, 'silver'],
    [80_000, 1, 'gold'],
    [39_999, 25, 'silver'],
    [39_999, 24, 'member'],
    [0, 40, 'gold'],
  ])('%i with %i flights is %s', (distance, flights, tier) => {
    expect(walkOn(ladder, '2024-02-29').does('2026-05-05', { distance, flights }).standing.tier).toBe(tier);
  });

  test.each<[distance: number, flights: number, after: string]>([
    [70_000, 0, 'gold through 2028-05-05'],
    [69_999, 36, 'gold through 2028-05-05'],
    [69_999, 35, 'silver through 2028-05-05'],
    [0, 0, 'silver through 2028-05-05'],
  ])('gold is kept by %i with %i flights: %s', (distance, flights, after) => {
    const walk = walkOn(ladder, '2024-02-29');
    walk.does('2026-05-05', { distance: 80_000 });
    walk.does('2027-03-01', { distance, flights });
    expect(walk.standing('2027-05-05')).toBe('gold through 2027-05-05');
    expect(walk.standing('2027-05-06')).toBe(after);
  });
});

describe('a challenge of 90 days', () => {
  const ladder = ladderFrom({
    tiers: [
      { name: 'member' },
      { name: 'silver', reach: { all: [{ measure: 'points', currency: 'credits', atLeast: 20_000 }] } },
      { name: 'gold', reach: { all: [{ measure: 'points', currency: 'credits', atLeast: 40_000 }] } },
    ],
    period: { kind: 'calendar_year' },
    validity: { kind: 'end_of_next_period' },
    down: 'earned',
    warnDays: [14],
  });
  /** United: ten flights and 3,400 points in 120 days keep Gold. */
  const trial = (days: number): Omit<Grant, 'id' | 'reason'> => ({
    ...{ tier: 'gold', origin: 'trial', fromDay: dayOf('2026-03-01') },
    untilDay: dayOf('2026-03-01') + days - 1,
    challenge: {
      needed: [
        [
          { measure: 'flights', atLeast: 10 },
          { measure: { points: 2 }, atLeast: 3_400 },
        ],
      ],
      throughDay: dayOf('2026-03-01') + days - 1,
    },
  });

  test('gives the tier at once and ends with the trial where it is not met', () => {
    const walk = walkOn(ladder, '2026-01-01');
    walk.grant(trial(90));
    expect(walk.standing('2026-03-01')).toBe('gold through 2026-05-29');
    walk.does('2026-05-29', { flights: 9, credits: 9_000 });
    expect(walk.standing('2026-05-29')).toBe('gold through 2026-05-29');
    expect(walk.standing('2026-05-30')).toBe('member');
  });

  test('met on its last day, the tier stays as if it had been reached then', () => {
    const walk = walkOn(ladder, '2026-01-01');
    walk.grant(trial(120));
    walk.does('2026-06-28', { flights: 10, credits: 3_400 });
    expect(walk.standing('2026-06-28')).toBe('gold through 2027-12-31');
    expect(walk.said).toEqual(['2026-06-28 challenge_met gold 2027-12-31']);
    expect(walk.standing('2028-01-01')).toBe('member');
  });

  test('says what is missing by when, warns of it, and nothing before the trial or after it counts', () => {
    const walk = walkOn(ladder, '2026-01-01');
    walk.grant(trial(90));
    walk.does('2026-02-28', { flights: 20, credits: 3_500 });
    expect(walk.progress('2026-03-01').keep).toMatchObject({
      goals: [
        { counted: 0, missing: 10 },
        { counted: 0, missing: 3_400 },
      ],
      byDay: dayOf('2026-05-29'),
    });
    expect(walk.on('2026-05-14').warnings).toEqual([]);
    expect(walk.on('2026-05-15').warnings).toMatchObject([{ daysBefore: 14, lastDay: dayOf('2026-05-29') }]);
    walk.does('2026-05-30', { flights: 20, credits: 3_500 });
    expect(walk.standing('2026-05-30')).toBe('member');
  });

  test('met by what came back later, it is a trial again', () => {
    const walk = walkOn(ladder, '2026-01-01');
    walk.grant(trial(90));
    walk.does('2026-04-01', { flights: 10, credits: 3_400 });
    expect(walk.standing('2026-04-01')).toBe('gold through 2027-12-31');
    walk.does('2026-04-01', { credits: -1 }, '2026-04-20');
    expect(walk.standing('2026-04-20')).toBe('gold through 2026-05-29');
    expect(walk.on('2026-04-20').standing.origin).toBe('trial');
    walk.does('2026-05-01', { credits: 1 });
    expect(walk.standing('2026-05-01')).toBe('gold through 2027-12-31');
  });

  test('met, the tier is kept, landed from and warned of like any other', () => {
    const tiers = [
      { name: 'member' },
      { name: 'silver', reach: { all: [{ measure: 'flights' as const, atLeast: 20 }] } },
      {
        name: 'gold',
        reach: { all: [{ measure: 'flights' as const, atLeast: 40 }] },
        keep: { all: [{ measure: 'flights' as const, atLeast: 30 }] },
      },
    ];
    const soft = ladderFrom({
      ...{ tiers, period: { kind: 'calendar_year' }, validity: { kind: 'end_of_next_period' } },
      ...{ down: 'one_step', warnDays: [30] },
    });
    const [keeps, lands] = [walkOn(soft, '2026-01-01'), walkOn(soft, '2026-01-01')];
    for (const walk of [keeps, lands]) {
      walk.grant(trial(120));
      walk.does('2026-05-05', { flights: 12, credits: 3_400 });
      expect(walk.on('2026-05-05').standing).toMatchObject({
        tier: 'gold',
        origin: 'earned',
        how: 'reached',
      });
    }
    expect(lands.on('2027-12-01').warnings).toMatchObject([{ keep: { goals: [{ missing: 30 }] } }]);
    expect(lands.standing('2028-01-01')).toBe('silver through 2028-12-31');
    keeps.does('2027-05-05', { flights: 30 });
    expect(keeps.standing('2028-01-01')).toBe('gold through 2028-12-31');
  });

  test('that somebody ended is not met by what comes after its end', () => {
    const walk = walkOn(ladder, '2026-01-01');
    walk.grant({ ...trial(90), untilDay: dayOf('2026-03-10') });
    walk.does('2026-03-11', { flights: 10, credits: 3_400 });
    expect(walk.standing('2026-03-11')).toBe('member');
  });
});

describe('the ladder of the sample airline', () => {
  const { file } = readProgramFile(
    readFileSync(join(checkout, 'src/earning/samples', 'airline.yaml'), 'utf8'),
  );
  const definition = definitionOf(file!, noNumbers);
  const ladder: Ladder = ladderOf(definition)!;
  const credits = definition.numbers.currencies.credits!;

  test('is found by its name, once a version', () => {
    expect(laddersOf(definition)).toBe(laddersOf(definition));
    expect(ladderOf(definition, 'status')).toBe(ladder);
    expect(ladderOf(definition, 'other')).toBeUndefined();
    expect(ladder.tiers.map(({ name }) => name)).toEqual(['member', 'silver', 'gold', 'platinum', 'diamond']);
    expect(ladder.tiers[1]!.reach[0]![0]).toEqual({ measure: { points: credits }, atLeast: 5_000 });
  });

  const year = (spend: number): Walk => {
    const walk = walkOn(ladder, '2024-02-29');
    walk.deeds.push({ day: dayOf('2026-05-05'), credits: spend });
    return walk;
  };

  test.each<[credits: number, tier: string]>([
    [4_999, 'member'],
    [5_000, 'silver'],
    [10_000, 'gold'],
    [15_000, 'platinum'],
    [28_000, 'diamond'],
  ])('%i credits are %s, through the end of the next year', (amount, tier) => {
    // The house counts `credits` as the currency with number 2, as the file numbers it.
    expect(credits).toBe(2);
    const { standing } = year(amount).on('2026-05-05');
    expect(standing).toMatchObject({ tier, ...(tier === 'member' ? {} : { untilDay: dayOf('2027-12-31') }) });
  });

  test('its tiers are those of its alliance as long as it is a member: many are one there', () => {
    const inAlliance = (tier: string, date: string) =>
      Object.fromEntries(allianceTiersOn(definition, 'status', tier, dayOf(date)));
    expect(inAlliance('silver', '2026-06-01')).toEqual({ star: 'silver' });
    expect(inAlliance('gold', '2026-06-01')).toEqual({ star: 'gold' });
    expect(inAlliance('diamond', '2026-06-01')).toEqual({ star: 'gold' });
    expect(inAlliance('member', '2026-06-01')).toEqual({});
    expect(inAlliance('gold', '2012-06-17')).toEqual({});
    expect(inAlliance('gold', '2012-06-18')).toEqual({ star: 'gold' });
  });

  test('its matches are offered on their days, with what keeps each tier', () => {
    const [match] = matchesOn(definition, 'status', dayOf('2026-06-01'));
    expect(match).toMatchObject({ name: 'oneworld', trialDays: 120, onceIn: { months: 36 } });
    expect(matchesOn(definition, 'status', dayOf('2025-12-31'))).toEqual([]);
    expect(conditionOf(match!.tiers[0]!.keep, definition)).toEqual([
      [
        { measure: 'flights', atLeast: 5 },
        { measure: { points: credits }, atLeast: 1_700 },
      ],
    ]);
  });
});
