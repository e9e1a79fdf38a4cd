/** What statements come to and who pays whom: published cases as tables, and properties over anything. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { csvLine } from '#src/partners/clearing/export.ts';
import { draftsOf, type Group, lineOf, nearest, roundingOf, sumsOf } from '#src/partners/clearing/lines.ts';
import { openMonth } from '#src/partners/clearing/months.ts';
import { type Debt, netBilateral, netMultilateral, positionsOf } from '#src/partners/clearing/netting.ts';
import type { Contract } from '#src/partners/contracts/types.ts';
import { fileWith, partnerOf, plainContract } from './house/partners.ts';

function contractWith(more: object): Contract {
  return partnerOf(fileWith([], { contracts: [{ ...plainContract, ...more }] })).contracts[0]!;
}

const group: Group = {
  kind: 'accrual',
  price: 'issue',
  contract: 1,
  currency: 1,
  rule: null,
  share: 10_000,
  ofPeriod: '2026-11-01',
  entries: 1,
  points: -1n,
  prepaid: 0n,
};

const perPoint = (amount: number, perPoints: number) => ({ amount, perPoints });
const prices = (issue: ReturnType<typeof perPoint>, redemption = issue) => ({
  prices: { issue, redemption },
});

describe('a line', () => {
  test.each<[what: string, contract: object, group: Partial<Group>, amount: bigint, tax: bigint]>([
    ['1,200,000 points given at 0.009', prices(perPoint(9, 10)), { points: -1_200_000n }, 1_080_000n, 0n],
    [
      '700,000 points redeemed there at 0.012 are owed to the partner',
      prices(perPoint(12, 10)),
      { points: 700_000n, kind: 'redemption', price: 'redemption' },
      -840_000n,
      0n,
    ],
    ['what was taken back of points given is owed back', prices(perPoint(9, 10)), { points: 10n }, -9n, 0n],
    ['half a cent goes to the even cent below', prices(perPoint(1, 2)), { points: -1n }, 0n, 0n],
    ['half a cent goes to the even cent above', prices(perPoint(1, 2)), { points: -3n }, 2n, 0n],
    ['and the other way alike', prices(perPoint(1, 2)), { points: 3n }, -2n, 0n],
    ['90 % of the list', { ...prices(perPoint(1, 1)), billedPercent: 90 }, { points: -105n }, 94n, 0n],
    [
      '19 % tax of the rounded amount',
      { ...prices(perPoint(1, 1)), taxPercent: 19 },
      { points: -150n },
      150n,
      28n,
    ],
    ['a share of 40 %', prices(perPoint(1, 1)), { points: -101n, share: 4_000 }, 40n, 0n],
    ['points that blocks have paid for', prices(perPoint(1, 1)), { points: -100n, prepaid: -60n }, 40n, 0n],
    [
      'products far beyond what a double holds',
      { ...prices(perPoint(999_999_999, 1_000_000_000)), billedPercent: '99.99' },
      { points: -9_007_199_254_740_991n },
      9_006_298_525_809_218n,
      0n,
    ],
  ])('%s', (_, contract, more, amount, tax) => {
    const line = lineOf({ ...group, ...more }, contractWith(contract));
    expect([line.amount, line.tax]).toEqual([amount, tax]);
  });

  test('of a contract that nobody knows is no line: its price is unknown, and not none', () => {
    const contract = contractWith({});
    expect(() => draftsOf([{ ...group, contract: 2 }], [], [contract])).toThrow('no contract version 2');
    expect(draftsOf([{ ...group, contract: null }], [], [contract])[0]).toMatchObject({ amount: 0n });
  });

  test('without a contract is named and costs nothing', () => {
    expect(lineOf({ ...group, contract: null }, undefined)).toMatchObject({
      points: -1n,
      amount: 0n,
      tax: 0n,
    });
  });

  test('is never further than half a minor unit from its exact amount, and rounding says how far', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            points: fc.bigInt({ min: -(2n ** 60n), max: 2n ** 60n }),
            share: fc.integer({ min: 0, max: 10_000 }),
          }),
          { maxLength: 8 },
        ),
        fc.integer({ min: 0, max: 1_000_000_000 }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (parts, amount, perPoints) => {
          const contract = contractWith(prices(perPoint(amount, perPoints)));
          const lines = parts.map((part) => lineOf({ ...group, ...part }, contract));
          for (const line of lines) {
            const off = line.amount * line.denominator - line.numerator;
            expect(2n * (off < 0n ? -off : off) <= line.denominator).toBe(true);
          }
          const { numerator, denominator } = roundingOf(lines);
          const exact = lines.reduce(
            (sum, line) => sum + (line.numerator * denominator * 1n) / line.denominator,
            0n,
          );
          const sum = sumsOf(lines).amount * denominator;
          // Each division above drops less than one part.
          const difference = sum - numerator - exact;
          expect(difference >= -BigInt(lines.length) && difference <= BigInt(lines.length)).toBe(true);
        },
      ),
    );
  });

  test('rounds the same up and down', () => {
    fc.assert(
      fc.property(fc.bigInt(), fc.bigInt({ min: 1n, max: 2n ** 70n }), (numerator, denominator) => {
        expect(nearest(-numerator, denominator)).toBe(-nearest(numerator, denominator));
      }),
    );
  });
});

test('a draft has one order of lines and one sum, in whatever order the entries came', () => {
  const contract = contractWith(prices(perPoint(7, 3)));
  const groupsArbitrary = fc.array(
    fc.record({
      points: fc.bigInt({ min: -1_000_000n, max: 1_000_000n }),
      kind: fc.constantFrom('accrual' as const, 'redemption' as const, 'reversal' as const),
      ofPeriod: fc.constantFrom('2026-10-01', '2026-11-01'),
      currency: fc.integer({ min: 1, max: 3 }),
    }),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(groupsArbitrary, (parts) => {
      const groups = parts.map((part, i) => ({ ...group, ...part, rule: `rule-${i}` }));
      expect(draftsOf(groups.toReversed(), [], [contract])).toEqual(draftsOf(groups, [], [contract]));
    }),
  );
});

describe('a month', () => {
  test.each([
    ['2026-11-01', '-infinity', '2026-11-01'],
    ['2026-11-01', '2026-10-01', '2026-11-01'],
    ['2026-11-01', '2026-11-01', '2026-12-01'],
    ['2026-11-01', '2026-12-01', '2027-01-01'],
  ])('%s closed through %s is stated in %s', (month, closed, stated) => {
    expect(openMonth(month, closed)).toBe(stated);
  });
});

const debt = (from: string, to: string, amount: number): Debt => ({ from, to, amount: BigInt(amount) });

describe('netting', () => {
  test('of two: A owes 10,800.00 and B 8,400.00, so A pays 2,400.00', () => {
    const debts = [debt('A', 'B', 1_080_000), debt('B', 'A', 840_000)];
    expect(netBilateral(debts)).toEqual([debt('A', 'B', 240_000)]);
    expect(netMultilateral(debts)).toEqual([debt('A', 'B', 240_000)]);
  });

  test('of three: A to B 100, B to C 80, C to A 50 leaves A at -50, B at +20, C at +30', () => {
    const debts = [debt('A', 'B', 100), debt('B', 'C', 80), debt('C', 'A', 50)];
    expect(Object.fromEntries(positionsOf(debts))).toEqual({ A: -50n, B: 20n, C: 30n });
    expect(netMultilateral(debts)).toEqual([debt('A', 'C', 30), debt('A', 'B', 20)]);
    expect(netBilateral(debts)).toEqual([debt('A', 'B', 100), debt('B', 'C', 80), debt('C', 'A', 50)]);
  });

  test('of what two owe alike is nothing', () => {
    const debts = [debt('A', 'B', 70), debt('B', 'A', 70)];
    expect([netBilateral(debts), netMultilateral(debts)]).toEqual([[], []]);
  });

  test('leaves everybody with the same, in any order of debts; positions sum to zero; nobody pays and is paid', () => {
    const name = fc.constantFrom('A', 'B', 'C', 'D', 'E');
    const debts = fc.array(
      fc.record({ from: name, to: name, amount: fc.bigInt({ min: 0n, max: 2n ** 62n }) }),
    );
    fc.assert(
      fc.property(debts, (each) => {
        const positions = [...positionsOf(each)].filter(([, amount]) => amount !== 0n);
        expect(positions.reduce((sum, [, amount]) => sum + amount, 0n)).toBe(0n);
        for (const netted of [netBilateral(each), netMultilateral(each)])
          expect([...positionsOf(netted)].filter(([, amount]) => amount !== 0n)).toEqual(positions);
        const payments = netMultilateral(each);
        const payers = new Set(payments.map(({ from }) => from));
        expect(payments.filter(({ to }) => payers.has(to))).toEqual([]);
        expect(payments.length).toBeLessThan(Math.max(1, positions.length));
        expect(netMultilateral(each.toReversed())).toEqual(payments);
      }),
    );
  });
});

test('CSV quotes what has to be quoted', () => {
  expect(csvLine(['a', 'b,c', 'd"e', null, 5, 'f\ng'])).toBe('a,"b,c","d""e",,5,"f\ng"\r\n');
});
