/** Another version of a ladder: what becomes of tiers and standings, without any clean-up by hand. */
import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import type { ladderSchema } from '#src/earning/file/ladder-schema.ts';
import { movedMember, tierMoves } from '#src/tiers/ladder/moves.ts';
import { review } from '#src/tiers/ladder/review.ts';
import type { Ladder, Review } from '#src/tiers/ladder/types.ts';
import { dateOf, dayOf, ladderFrom, spendTiers, sumsFor, type Walk, walkOn } from './house/ladders.ts';

type Tiers = z.input<typeof ladderSchema>['tiers'];
type Rest = Partial<Omit<z.input<typeof ladderSchema>, 'name' | 'tiers'>>;

const ladder = (tiers: Tiers, rest: Rest = {}) =>
  ladderFrom({
    tiers,
    period: { kind: 'calendar_year' },
    validity: { kind: 'end_of_next_period' },
    down: 'earned',
    ...rest,
  });
const before = ladder(spendTiers({ silver: 100, gold: 200, platinum: 400 }));
const named = (name: string, atLeast: number, was: readonly string[] = []) => ({
  ...{ name, reach: { all: [{ measure: 'spend' as const, atLeast }] } },
  ...(was.length > 0 ? { was: [...was] } : {}),
});

/** The standing after a new version came, and what was said of it. */
function under(after: Ladder, walk: Walk, date: string): Review {
  const member = movedMember(before, after, walk.member);
  return review(after, member, dayOf(date), sumsFor(after, member, dayOf(date), walk.deeds));
}

function spender(spend: number): Walk {
  const walk = walkOn(before, '2025-05-05');
  walk.does('2026-03-01', spend);
  return walk;
}

describe('between two versions of a ladder', () => {
  test('each tier is the same, renamed, or gone to the next lower one that stays', () => {
    const after = ladder([{ name: 'base' }, named('silver', 100), named('black', 400, ['platinum'])]);
    expect(tierMoves(before, after)).toEqual([
      { from: 'base', to: 'base', why: 'same' },
      { from: 'silver', to: 'silver', why: 'same' },
      { from: 'gold', to: 'silver', why: 'removed' },
      { from: 'platinum', to: 'black', why: 'renamed' },
    ]);
  });

  test('a first tier that is gone is the new first one', () => {
    const after = ladder([{ name: 'guest' }, named('silver', 100)]);
    expect(tierMoves(before, after)).toEqual([
      { from: 'base', to: 'guest', why: 'removed' },
      { from: 'silver', to: 'silver', why: 'same' },
      { from: 'gold', to: 'silver', why: 'removed' },
      { from: 'platinum', to: 'silver', why: 'removed' },
    ]);
  });
});

describe('a member of the version before', () => {
  test('has the new name of a tier with the same day and end, and nothing happens', () => {
    const after = ladder([
      { name: 'base' },
      named('silver', 100),
      named('rose', 200, ['gold']),
      named('platinum', 400),
    ]);
    const { standing, steps } = under(after, spender(250), '2026-07-01');
    expect(standing).toMatchObject({
      tier: 'rose',
      sinceDay: dayOf('2026-03-01'),
      untilDay: dayOf('2027-12-31'),
    });
    expect(steps).toEqual([]);
  });

  test('has the new name also where nobody moved the stored state', () => {
    const after = ladder([{ name: 'base' }, named('silver', 100), named('rose', 200, ['gold'])]);
    const walk = spender(250);
    const { standing } = review(
      after,
      walk.member,
      dayOf('2026-07-01'),
      sumsFor(after, walk.member, dayOf('2026-07-01'), walk.deeds),
    );
    expect(standing).toMatchObject({ tier: 'rose', untilDay: dayOf('2027-12-31') });
  });

  test('comes up to an inserted tier by what the period counted', () => {
    const after = ladder(spendTiers({ silver: 100, sapphire: 150, gold: 200 }));
    expect(under(after, spender(160), '2026-07-01')).toMatchObject({
      standing: { tier: 'sapphire', sinceDay: dayOf('2026-07-01') },
      steps: [{ what: 'promoted', from: 'silver', to: 'sapphire' }],
    });
    expect(under(after, spender(140), '2026-07-01')).toMatchObject({
      standing: { tier: 'silver' },
      steps: [],
    });
  });

  test('of a removed tier comes to the one below, or up where the file says so', () => {
    const lower = ladder(spendTiers({ silver: 100, platinum: 400 }));
    const { standing, earned } = under(lower, spender(250), '2026-07-01');
    expect(standing).toMatchObject({ tier: 'silver', untilDay: dayOf('2027-12-31'), how: 'moved' });
    expect(earned.qualified).toBeUndefined();
    const upper = ladder([{ name: 'base' }, named('silver', 100), named('platinum', 400, ['gold'])]);
    expect(under(upper, spender(250), '2026-07-01').standing).toMatchObject({
      ...{ tier: 'platinum', untilDay: dayOf('2027-12-31') },
    });
  });

  test('keeps a tier whose goals were raised through its end, and a return is judged by what was needed then', () => {
    const after = ladder(spendTiers({ silver: 100, gold: 300, platinum: 400 }));
    const walk = spender(250);
    expect(under(after, walk, '2026-07-01').standing).toMatchObject({ tier: 'gold' });
    walk.deeds.push({ day: dayOf('2026-03-01'), spend: -40 });
    expect(under(after, walk, '2026-07-01').standing).toMatchObject({ tier: 'gold' });
    walk.deeds.push({ day: dayOf('2026-03-01'), spend: -20 });
    expect(under(after, walk, '2026-07-01').standing).toMatchObject({ tier: 'silver' });
    const kept = spender(250);
    expect(under(after, kept, '2027-12-31').standing).toMatchObject({ tier: 'gold' });
    expect(under(after, kept, '2028-01-01').standing).toMatchObject({ tier: 'base' });
  });

  test('has another height where the order is another one', () => {
    const after = ladder(spendTiers({ silver: 100, platinum: 150, gold: 400 }));
    expect(under(after, spender(250), '2026-07-01').standing).toMatchObject({ tier: 'gold', level: 3 });
    expect(under(after, spender(120), '2026-07-01').standing).toMatchObject({ tier: 'silver', level: 1 });
  });

  test('gets an end counted from the day where nothing ended before, and loses it where nothing ends any more', () => {
    const endless = ladder(spendTiers({ silver: 100, gold: 200 }), { validity: { kind: 'for_ever' } });
    const walk = spender(250);
    expect(under(endless, walk, '2026-07-01').standing).not.toHaveProperty('untilDay');
    const other = walkOn(endless, '2025-05-05');
    other.does('2026-03-01', 250);
    const member = movedMember(endless, before, other.member);
    const day = dayOf('2029-02-01');
    const { standing } = review(before, member, day, sumsFor(before, member, day, other.deeds));
    expect(dateOf(standing.untilDay!)).toBe('2030-12-31');
    expect(standing.tier).toBe('gold');
  });

  test('whose grant names a tier that was renamed has it under the new name', () => {
    const after = ladder([{ name: 'base' }, named('silver', 100), named('black', 400, ['platinum'])]);
    const walk = walkOn(before, '2025-05-05');
    walk.grant({
      tier: 'platinum',
      origin: 'granted',
      fromDay: dayOf('2026-01-01'),
      untilDay: dayOf('2026-12-31'),
    });
    expect(under(after, walk, '2026-07-01').standing).toMatchObject({ tier: 'black', origin: 'granted' });
  });
});
