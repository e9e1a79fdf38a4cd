/** What is read out of the books about lots that are gone: which of their points ended unused, wherever they had been moved. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Leg } from '#src/journal.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { type Past, type PastRecord, pastOf } from '#src/wallet/ended-lots.ts';

const anna = 7 as MemberNumber;
const ben = 8 as MemberNumber;
const named = (name: string) => name.padEnd(32, '0') as OperationHex;

const lot = (number: number, points: number): Leg => ['wallet', 1, points, number, 0, 1, 0];
const other = (
  account: 'issuance' | 'redemption' | 'breakage' | 'clearing' | 'debt',
  points: number,
): Leg => [account, 1, points, 0];
const held = (number: number, points: number): Leg => ['held', 1, points, number, named('h'), 0, 1, 0];

function record(kind: string, legs: Leg[], more: Partial<PastRecord> = {}): PastRecord {
  return {
    ...{ operation: named(kind), kind, member: anna, legs, expired: null, undone: null, origin: null },
    ...more,
  };
}

/** How many points of each lot a return of `asked` may take as ended: what ended there, at most what may be its. */
function endedOf({ rows, lots }: Past): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [place, most] of rows[0]![2]) {
    const [, member, number, points] = lots[place]!;
    if (Math.min(most, points) > 0) sums[`${member}.${number}`] = Math.min(most, points);
  }
  return sums;
}

const earned = (number: number, points: number) =>
  record('accrual', [lot(number, points), other('issuance', -points)]);
const ended = (...lots: [number, number][]) =>
  record('expiry', [
    ...lots.map(([number, points]) => lot(number, -points)),
    other(
      'breakage',
      lots.reduce((sum, [, points]) => sum + points, 0),
    ),
  ]);

const cases: [string, PastRecord[], Record<string, number>][] = [
  ['ended where its lot did', [earned(1, 100), ended([1, 60])], { '7.1': 60 }],
  ['are not those of another lot', [earned(1, 100), ended([2, 60])], {}],
  [
    'were spent where they left for a redemption or a debt',
    [
      earned(1, 100),
      record('redemption', [lot(1, -70), other('redemption', 70)]),
      record('expiry', [
        held(2, -5),
        lot(2, 5),
        lot(2, -5),
        other('breakage', 5),
        lot(1, -30),
        other('debt', 30),
      ]),
    ],
    {},
  ],
  [
    'ended in the lot into which an extension moved them',
    [earned(1, 100), record('extension', [lot(1, -40), lot(2, 40), lot(3, -7), lot(4, 7)]), ended([2, 500])],
    { '7.2': 40 },
  ],
  [
    'ended where neighbours were made one, twice at once',
    [
      earned(1, 100),
      record('accrual', [lot(1, -100), lot(2, -9), lot(5, 9), lot(5, 100), lot(6, 3), other('issuance', -3)]),
      ended([5, 109]),
    ],
    { '7.5': 100 },
  ],
  [
    'ended in the lot into which a refund put them',
    [
      earned(1, 100),
      record('redemption', [lot(1, -50), lot(2, -30), other('redemption', 80)]),
      record('refund', [other('redemption', -30), lot(3, 30), other('redemption', -10), lot(3, 10)], {
        undone: [[named('redemption'), '', [[1, 40]]]],
      }),
      ended([3, 40]),
    ],
    { '7.3': 10 },
  ],
  [
    'ended with the member into which theirs was merged',
    [
      earned(1, 100),
      ended([1, 20]),
      record('transfer', [lot(1, -80), lot(2, -5), other('clearing', 85)]),
      record(
        'transfer_credit',
        [other('clearing', -80), lot(3, -4), lot(4, 4), lot(9, 80), other('clearing', -5), lot(9, 5)],
        { member: ben, origin: named('transfer') },
      ),
      { ...ended([9, 85]), member: ben },
    ],
    { '7.1': 20, '8.9': 80 },
  ],
  [
    'ended where they came together again by two ways',
    [
      earned(1, 100),
      record('extension', [lot(1, -60), lot(2, 60), lot(1, -40), lot(3, 40)]),
      record('extension', [lot(3, -40), lot(2, 40)]),
      record('extension', [lot(2, -100), lot(4, 100)]),
      ended([4, 100]),
    ],
    { '7.4': 100 },
  ],
  [
    'are not those that had left a lot before they came into it',
    [
      earned(1, 30),
      earned(2, 50),
      record('extension', [lot(2, -50), lot(3, 50)]),
      record('extension', [lot(1, -30), lot(2, 30)]),
      ended([3, 50]),
      ended([2, 30]),
    ],
    { '7.2': 30 },
  ],
  [
    'count no more once a return has taken them back',
    [
      earned(1, 100),
      record('extension', [lot(1, -40), lot(2, 40)]),
      ended([2, 500]),
      record('return', [other('breakage', -30), other('issuance', 30)], {
        expired: [[1, 30, anna, 2, anna, 1]],
      }),
    ],
    { '7.2': 10 },
  ],
  [
    'count no more once a return of another receipt of the lot has taken them back',
    [
      earned(1, 100),
      ended([1, 50]),
      record('return', [other('breakage', -30), other('issuance', 30)], {
        expired: [[1, 30, anna, 1, anna, 1]],
      }),
    ],
    { '7.1': 20 },
  ],
];

test.each(cases)('points of a lot that is gone %s', (_, records, expected) => {
  expect(endedOf(pastOf(records, anna, [[1, 1]]))).toEqual(expected);
});

test('points end as often as the books say and no more, however they were moved and whoever asks', () => {
  const number = fc.integer({ min: 1, max: 4 });
  const step = fc.record({
    do: fc.constantFrom('earn', 'spend', 'move', 'end', 'return'),
    number,
    into: number,
    percent: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const records: PastRecord[] = [];
      const inLot = [0, 0, 0, 0, 0];
      let [breakage, back] = [0, 0];
      for (const { do: what, number: at, into, percent } of steps) {
        const points = Math.ceil((inLot[at]! * percent) / 100);
        if (what === 'earn') {
          records.push(earned(at, percent));
          inLot[at]! += percent;
        } else if (what === 'return') {
          // Takes all that it may, lot by lot, as the script does.
          const { rows, lots } = pastOf(records, anna, [[1, at]]);
          const expired = rows[0]![2].flatMap(
            ([place, most]): [number, number, number, number, number, number][] => {
              const share = Math.min(most, lots[place]![3]);
              return share > 0 ? [[1, share, anna, lots[place]![2], anna, at]] : [];
            },
          );
          back += expired.reduce((sum, [, share]) => sum + share, 0);
          records.push(record('return', [], { expired }));
        } else if (points > 0 && (what !== 'move' || at !== into)) {
          inLot[at]! -= points;
          if (what === 'move') inLot[into]! += points;
          if (what === 'end') breakage += points;
          if (what === 'move') records.push(record('extension', [lot(at, -points), lot(into, points)]));
          else if (what === 'end') records.push(ended([at, points]));
          else records.push(record('redemption', [lot(at, -points), other('redemption', points)]));
        }
      }
      expect(back).toBeLessThanOrEqual(breakage);
      const after = pastOf(
        records,
        anna,
        [1, 2, 3, 4].map((each) => [1, each] as const),
      );
      const known = new Map(after.lots.map(([, , each, points]) => [each, points]));
      expect([...known.values()].reduce((sum, points) => sum + points, 0)).toBe(breakage - back);
    }),
  );
});

test('no point of a lot that ends is overlooked, whichever of those beside it are moved with it', () => {
  const number = fc.integer({ min: 1, max: 4 });
  const step = fc.record({
    do: fc.constantFrom('earn', 'move', 'move', 'move', 'move', 'move', 'move', 'end', 'end', 'spend'),
    number,
    // As an end is only ever moved on.
    ahead: fc.constantFrom(1, 1, 2),
    percent: fc.constantFrom(40, 60, 100, 100),
    isOwnFirst: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 30 }), (steps) => {
      const records: PastRecord[] = [earned(1, 100)];
      // Of each lot: points that were earned in the first one, and others.
      const inLot = [1, 2, 3, 4, 5, 6].map((each) => ({ own: each === 1 ? 100 : 0, others: 0 }));
      const over: Record<string, number> = {};
      for (const { do: what, number: at, ahead, percent, isOwnFirst } of steps) {
        const [from, into] = [inLot[at - 1]!, at + ahead];
        if (what === 'earn') {
          records.push(earned(at, percent));
          from[at === 1 ? 'own' : 'others'] += percent;
          continue;
        }
        const points = Math.ceil(((from.own + from.others) * percent) / 100);
        if (points === 0) continue;
        const own = isOwnFirst ? Math.min(points, from.own) : Math.max(0, points - from.others);
        from.own -= own;
        from.others -= points - own;
        if (what === 'move') {
          inLot[into - 1]!.own += own;
          inLot[into - 1]!.others += points - own;
          records.push(record('extension', [lot(at, -points), lot(into, points)]));
        } else if (what === 'end') {
          if (own > 0) over[`7.${at}`] = (over[`7.${at}`] ?? 0) + own;
          records.push(ended([at, points]));
        } else records.push(record('redemption', [lot(at, -points), other('redemption', points)]));
      }
      const found = endedOf(pastOf(records, anna, [[1, 1]]));
      for (const [each, own] of Object.entries(over))
        expect(found[each] ?? 0, each).toBeGreaterThanOrEqual(own);
    }),
    { numRuns: 2_000 },
  );
});
