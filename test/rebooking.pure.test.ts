/** What was decided on stale balances is booked so that the books stay whole, whatever the record and the books say. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Effect, Leg } from '#src/journal.ts';
import { type MemberInBooks, rebook } from '#src/ledger/rebooking.ts';
import type { OperationKind } from '#src/values.ts';

const at = 1_000;
const hold = (n: number) => String(n).padStart(32, '0');
const terms = fc.record({
  party: fc.integer({ min: 0, max: 1 }),
  expiresAt: fc.constantFrom(0, 900, 2_000),
  availableAt: fc.constantFrom(0, 3_000),
});
const points = fc.integer({ min: 1, max: 50 });
const lotNumber = fc.integer({ min: 1, max: 4 });

const member = fc
  .record({
    lots: fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), terms), { maxLength: 4 }),
    debt: fc.constantFrom(0, 0, 7),
    held: fc.array(fc.tuple(points, lotNumber, terms), { maxLength: 2 }),
  })
  .map(({ lots, debt, held }): MemberInBooks => {
    const own = lots.map(([of, lotTerms], i) => ({ lot: i + 1, points: of, ...lotTerms }));
    const parts = held.map(([of, lot, lotTerms]) => ({ currency: 1, lot, points: of, ...lotTerms }));
    return {
      status: 'active',
      frozen: 0,
      facts: 3,
      into: 0,
      wallets: new Map([[1, { debt, nextLot: 9, lots: own }]]),
      holds: new Map(parts.length > 0 ? [[hold(1), parts]] : []),
    };
  });

const wallet = (
  of: number,
  lot: number,
  t: { party: number; expiresAt: number; availableAt: number },
): Leg => ['wallet', 1, of, lot, t.party, t.expiresAt, t.availableAt];

interface Decided {
  readonly kind: OperationKind;
  readonly legs: Leg[];
}
const piece = fc.tuple(points, lotNumber, terms);

/** Debt paid off, and two lots made one, as scripts append and prepend them. */
const tidying = fc.record({ repaid: fc.option(piece), merged: fc.option(piece) });
const accrual = fc.tuple(piece, tidying).map(([[of, lot, t], { repaid, merged }]): Decided => {
  const merge: Leg[] = merged
    ? [wallet(-merged[0], merged[1], merged[2]), wallet(merged[0], merged[1] + 1, t)]
    : [];
  const repay: Leg[] = repaid ? [wallet(-repaid[0], lot, t), ['debt', 1, repaid[0], 0]] : [];
  return { kind: 'accrual', legs: [...merge, wallet(of, lot, t), ['issuance', 1, -of, t.party], ...repay] };
});
const spend = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces): Decided => {
  const sum = pieces.reduce((total, [of]) => total + of, 0);
  return {
    kind: 'redemption',
    legs: [...pieces.map(([of, lot, t]) => wallet(-of, lot, t)), ['redemption', 1, sum, 0]],
  };
});
const extending = fc.tuple(piece, terms).map(
  ([[of, lot, t], later]): Decided => ({
    kind: 'extension',
    legs: [wallet(-of, lot, t), wallet(of, lot + 5, later)],
  }),
);
const opening = fc.array(piece, { minLength: 1, maxLength: 3 }).map(
  (pieces): Decided => ({
    kind: 'hold',
    legs: pieces.flatMap(([of, lot, t]): Leg[] => [
      wallet(-of, lot, t),
      ['held', 1, of, lot, hold(2), t.party, t.expiresAt, t.availableAt],
    ]),
  }),
);
const reversal = fc.tuple(piece, fc.integer({ min: 0, max: 20 })).map(
  ([[of, lot, t], owed]): Decided => ({
    kind: 'reversal',
    legs: [
      wallet(-of, lot, t),
      ...(owed > 0 ? [['debt', 1, -owed, 0] as Leg] : []),
      ['issuance', 1, of + owed, t.party],
    ],
  }),
);
/** Settling the hold that the books may have open, with the total that it has there (a hold's amount never changes). */
const settling = fc.tuple(fc.constantFrom('capture', 'release'), fc.double({ min: 0, max: 1, noNaN: true }));

function settled(of: MemberInBooks, [kind, share]: readonly [string, number]): Decided {
  const parts = of.holds.get(hold(1)) ?? [
    { currency: 1, lot: 2, points: 12, party: 0, expiresAt: 0, availableAt: 0 },
  ];
  const total = parts.reduce((sum, part) => sum + part.points, 0);
  let left = kind === 'capture' ? Math.max(1, Math.floor(total * share)) : 0;
  const legs = parts.flatMap((part): Leg[] => {
    const captured = Math.min(left, part.points);
    left -= captured;
    return [
      ['held', 1, -part.points, part.lot, hold(1), part.party, part.expiresAt, part.availableAt],
      ...(captured > 0 ? [['redemption', 1, captured, 0] as Leg] : []),
      ...(captured < part.points ? [wallet(part.points - captured, part.lot, part)] : []),
    ];
  });
  return { kind: kind as OperationKind, legs };
}

const isProgram = (leg: Leg) => !['wallet', 'held', 'debt'].includes(leg[0]);
const sum = (legs: readonly Leg[]) => legs.reduce((total, leg) => total + leg[2], 0);

/** Replays the legs on lots and holds as `books.ts` would and compares with the member that `rebook` left. */
function expectWhole(before: MemberInBooks, after: MemberInBooks, legs: readonly Leg[]): void {
  const lots = new Map(before.wallets.get(1)!.lots.map((lot) => [lot.lot, { ...lot }]));
  let debt = before.wallets.get(1)!.debt;
  for (const leg of legs) {
    expect(leg[2]).not.toBe(0);
    if (leg[0] === 'debt') debt -= leg[2];
    if (leg[0] !== 'wallet') continue;
    const [, , of, number, party, expiresAt, availableAt] = leg;
    const lot = lots.get(number) ?? { lot: number, points: 0, party, expiresAt, availableAt };
    expect({ party, expiresAt, availableAt }).toEqual({
      party: lot.party,
      expiresAt: lot.expiresAt,
      availableAt: lot.availableAt,
    });
    lot.points += of;
    expect(lot.points).toBeGreaterThanOrEqual(0);
    lots.set(number, lot);
  }
  const wanted = after.wallets.get(1)!;
  expect(debt).toBe(wanted.debt);
  expect(debt).toBeGreaterThanOrEqual(0);
  const pairs = (all: Iterable<{ lot: number; points: number }>) =>
    [...all].map(({ lot, points: of }) => [lot, of]).toSorted((a, b) => a[0]! - b[0]!);
  expect(pairs(lots.values())).toEqual(pairs(wanted.lots));
}

function heldIn(of: MemberInBooks): number {
  return [...of.holds.values()].flat().reduce((total, part) => total + part.points, 0);
}

describe('a record that was decided on stale balances', () => {
  test('is booked whole: legs sum to zero, nothing goes below zero, what the world was told stays', () => {
    fc.assert(
      fc.property(
        member,
        fc.array(fc.oneof(accrual, spend, reversal, opening, extending, settling), {
          minLength: 1,
          maxLength: 5,
        }),
        (of, decisions) => {
          let opened = false;
          for (const decision of decisions) {
            const decided = Array.isArray(decision) ? settled(of, decision) : decision;
            if (decided.kind === 'hold' && opened) continue;
            opened ||= decided.kind === 'hold';
            const before = structuredClone(of);
            const effect: Effect = { legs: decided.legs, balances: [] };
            const { effect: booked, shortfall } = rebook(of, { kind: decided.kind, at }, effect);
            expect(sum(booked.legs)).toBe(0);
            expect(booked.legs.filter(isProgram)).toEqual(decided.legs.filter(isProgram));
            expectWhole(before, of, booked.legs);
            const held = booked.legs.filter((leg) => leg[0] === 'held');
            expect(sum(held)).toBe(heldIn(of) - heldIn(before));
            const owed = booked.legs.reduce(
              (total, leg) => (leg[0] === 'debt' && leg[2] < 0 ? total - leg[2] : total),
              0,
            );
            if (decided.kind !== 'reversal') expect(owed).toBe(shortfall.reduce((t, [, p]) => t + p, 0));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  const booksOf = (lots: [number, number][]): MemberInBooks => ({
    status: 'active',
    frozen: 0,
    facts: 1,
    into: 0,
    wallets: new Map([
      [
        1,
        {
          debt: 0,
          nextLot: 5,
          lots: lots.map(([lot, of]) => ({ lot, points: of, party: 0, expiresAt: 0, availableAt: 0 })),
        },
      ],
    ]),
    holds: new Map(),
  });
  const noTerms = { party: 0, expiresAt: 0, availableAt: 0 };

  test('owes only what no lot can pay', () => {
    const of = booksOf([
      [1, 0],
      [2, 30],
    ]);
    const legs: Leg[] = [wallet(-50, 1, noTerms), ['redemption', 1, 50, 0]];
    const { effect, shortfall } = rebook(of, { kind: 'redemption', at }, { legs, balances: [] });
    expect(shortfall).toEqual([[1, 20]]);
    expect(effect.legs.filter(([account]) => account === 'debt')).toEqual([['debt', 1, -20, 0]]);
    expect(of.wallets.get(1)!.debt).toBe(20);
  });

  test('gives points under the terms that were promised, and does nothing else, whatever the script tidied up', () => {
    fc.assert(
      fc.property(member, accrual, (of, { kind, legs }) => {
        const [issued] = legs.filter(([account]) => account === 'issuance');
        const credited = legs[legs.indexOf(issued!) - 1]!;
        const { effect } = rebook(of, { kind, at }, { legs, balances: [] });
        expect(effect.legs).toHaveLength(2);
        const [given, other] = effect.legs as [Leg, Leg];
        expect(other).toEqual(issued);
        // Points and terms; the lot's number is the books' own.
        expect([given[0], given[2], ...given.slice(4)]).toEqual([
          credited[0],
          credited[2],
          ...credited.slice(4),
        ]);
      }),
      { numRuns: 300 },
    );
  });

  test('relieves a debt only as far as there is one; the rest is the member’s', () => {
    const of = booksOf([]);
    of.wallets.get(1)!.debt = 3;
    const legs: Leg[] = [
      ['debt', 1, 7, 0],
      ['clearing', 1, -7, 0],
    ];
    const { effect } = rebook(of, { kind: 'transfer', at }, { legs, balances: [] });
    expect(effect.legs).toEqual([['debt', 1, 3, 0], wallet(4, 5, noTerms), ['clearing', 1, -7, 0]]);
    expect(of.wallets.get(1)!.debt).toBe(0);
  });

  test('cannot spend a hold a second time that the books have captured already', () => {
    const of = booksOf([[1, 10]]);
    const legs: Leg[] = [
      ['held', 1, -25, 1, hold(1), 0, 0, 0],
      ['redemption', 1, 25, 0],
    ];
    const { effect, shortfall } = rebook(of, { kind: 'capture', at }, { legs, balances: [] });
    expect(shortfall).toEqual([[1, 15]]);
    expect(effect.legs).toEqual([wallet(-10, 1, noTerms), ['debt', 1, -15, 0], ['redemption', 1, 25, 0]]);
  });

  test('leaves a closed member closed and a frozen one frozen, and only raises the version of the facts', () => {
    const of = { ...booksOf([]), status: 'closed' as const, frozen: 1, facts: 9 };
    const effect: Effect = { legs: [], balances: [], status: 'active', frozen: 0, facts: 4, into: 0 };
    expect(rebook(of, { kind: 'status', at }, effect).effect).toMatchObject({
      status: 'closed',
      frozen: 1,
      facts: 10,
    });
  });
});
