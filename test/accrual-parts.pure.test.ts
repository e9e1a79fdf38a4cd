/** What the books keep of an accrual's awards, and which part of it each became, as this version writes it and as versions before did. */
import { describe, expect, test } from 'vitest';
import { partsOf } from '#src/earning/award-parts.ts';
import { type KeptAward, keptAwards, writtenAward } from '#src/earning/judge.ts';
import type { Effect, Leg } from '#src/journal.ts';

const waits = { availableAt: 9_000, expiresAt: 9_000 };

function award(rule: string, points: number, more: Partial<KeptAward> = {}): KeptAward {
  return { currency: 'points', points, rule, funder: 'program', availableAt: 0, expiresAt: 0, ...more };
}

/** An accrual with a part for each of these points. */
function accrualOf(awards: readonly unknown[], parts: readonly number[], given?: number[]) {
  const legs = parts.flatMap((points): Leg[] => [
    ['wallet', 1, points, 1, 0, 0, 0],
    ['issuance', 1, -points, 0],
  ]);
  const effect: Effect = { legs, balances: [], ...(given ? { given } : {}) };
  return { request: { awards }, effect };
}

const awards = [
  award('base', 10),
  award('stay', 20, waits),
  award('fresh', 5),
  award('dairy', 7, { funder: 'dairy' }),
  award('later', 3, { availableAt: 8_000, expiresAt: 9_000 }),
  award('review', 30, waits),
  award('capped', 4),
];
const partsBy = (accrual: Parameters<typeof partsOf>[0]) =>
  partsOf(accrual).flatMap(({ part, award }) => (part === undefined ? [] : [[award.rule, part]]));

describe('the parts of an accrual', () => {
  test('are awards with the same terms together, and each that waits for an event alone', () => {
    expect(partsBy(accrualOf(awards.map(writtenAward), [19, 20, 7, 3, 30]))).toEqual([
      ['base', 1],
      ['stay', 2],
      ['fresh', 1],
      ['dairy', 3],
      ['later', 4],
      ['review', 5],
      ['capped', 1],
    ]);
  });

  test('leave out what caps left nothing of', () => {
    const given = [0, 20, 5, 7, 3, 30, 0];
    expect(partsBy(accrualOf(awards.map(writtenAward), [20, 5, 7, 3, 30], given))).toEqual([
      ['stay', 1],
      ['fresh', 2],
      ['dairy', 3],
      ['later', 4],
      ['review', 5],
    ]);
  });

  test('of a version before are its awards, one by one', () => {
    const points = awards.map((each) => each.points);
    expect(partsBy(accrualOf(awards, points))).toEqual(awards.map(({ rule }, i) => [rule, i + 1]));
  });
});

test('an award is read as it was given, whether all of it was written or only what is not usual', () => {
  for (const written of [awards, awards.map(writtenAward)]) {
    const stored = JSON.parse(JSON.stringify(written)) as unknown[];
    expect(keptAwards(accrualOf(stored, []))).toEqual(awards);
  }
  expect(JSON.stringify(writtenAward(award('base', 10)))).toBe(
    '{"currency":"points","points":10,"rule":"base"}',
  );
});
