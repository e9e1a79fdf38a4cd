/** Which tier a receipt is judged by: that of its time, as far as it was known when it was decided. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type KnownChange, tierAt, tiersAt } from '#src/tiers/spans.ts';

const status = { name: 'status', tiers: [{ name: 'blue' }, { name: 'silver' }, { name: 'gold' }] };
const club = { name: 'club', tiers: [{ name: 'guest' }, { name: 'friend' }] };

function change(
  number: number,
  tier: string,
  effectiveAt: number,
  seq: number,
  ladder = 'status',
): KnownChange {
  return { ladder, number, tier, effectiveAt, epoch: 1, seq };
}

describe('the tier of a receipt', () => {
  const changes = [change(1, 'silver', 100, 10), change(2, 'gold', 200, 20), change(3, 'blue', 150, 30)];

  test('is everybody’s first before any change, and that of its time after', () => {
    expect([99, 100, 149].map((at) => tierAt(status, changes, at))).toEqual(['blue', 'silver', 'silver']);
  });

  test('is what the last change says of a time that several speak of', () => {
    expect([150, 200, 999].map((at) => tierAt(status, changes, at))).toEqual(['blue', 'blue', 'blue']);
  });

  test('is not touched by what became known after it was decided', () => {
    const decidedAt = (seq: number, epoch = 1) => tierAt(status, changes, 250, { epoch, seq });
    expect([9, 10, 11, 20, 21, 30, 31].map((seq) => decidedAt(seq))).toEqual([
      ...['blue', 'blue', 'silver', 'silver', 'gold', 'gold', 'blue'],
    ]);
    expect(decidedAt(0, 2)).toBe('blue');
    expect(decidedAt(99, 0)).toBe('blue');
  });

  test('does not depend on the order in which changes became known', () => {
    const swapped = [change(1, 'silver', 100, 25), change(2, 'gold', 200, 20)];
    expect(tierAt(status, swapped, 300)).toBe('gold');
    expect(tierAt(status, swapped, 300, { epoch: 1, seq: 22 })).toBe('gold');
  });

  test('stands on every ladder, in their order', () => {
    const both = [...changes, change(1, 'friend', 120, 15, 'club')];
    expect(tiersAt([status, club], both, 130)).toEqual(['silver', 'friend']);
    expect(tiersAt([club, status], both, 110)).toEqual(['guest', 'silver']);
  });

  test('never changes for a receipt that was decided, whatever becomes known later', () => {
    const anyChange = fc.record({
      tier: fc.constantFrom('blue', 'silver', 'gold'),
      effectiveAt: fc.nat(50),
    });
    fc.assert(
      fc.property(fc.array(anyChange, { maxLength: 12 }), fc.nat(12), fc.nat(60), (all, known, at) => {
        const made = all.map(({ tier, effectiveAt }, i) => change(i + 1, tier, effectiveAt, (i + 1) * 10));
        const position = { epoch: 1, seq: known * 10 + 5 };
        expect(tierAt(status, made, at, position)).toBe(tierAt(status, made.slice(0, known), at));
      }),
    );
  });
});
