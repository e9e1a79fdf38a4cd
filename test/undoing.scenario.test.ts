/** Refunds, reversals, returns, transfers and the ends of members, told as tables (the language is in scenario.ts). */
import { afterAll, describe, test } from 'vitest';
import { amountRule, inDays, startEngine } from './harness.ts';
import { playScenario } from './scenario.ts';

const engine = await startEngine();
afterAll(() => engine.end());

const plain = {};
const expiring = {
  timeZone: 'America/New_York',
  definition: { rules: [amountRule('spend', 'points', [1, 100], { expiry: inDays(30) })] },
};
const withoutDebt = { definition: { debtAllowed: false } };
/** Points for each whole 10.00, so that pieces round. */
const coarse = { definition: { rules: [amountRule('spend', 'points', [3, 1_000])] } };

function scenario(name: string, program: Parameters<typeof playScenario>[1], table: string): void {
  test(name, () => playScenario(engine, program, table));
}

describe('refunds', () => {
  scenario(
    'a refund puts points back into the lots they came from, with their own dates',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 11, 12:00    |              |
    accrue   | anna |     50 | r2               | accrued      | 150
    spend    | anna |    130 | s1               | redeemed     | 20
    look     | anna |        | lots 20 to day 41
    refund   |      |        | s1               | refunded     | 150
    look     | anna |        | lots 100 to day 31, 50 to day 41`,
  );
  scenario(
    'a refund in pieces gives back what was taken last first, and never more than was taken',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 11, 12:00    |              |
    accrue   | anna |     50 | r2               | accrued      | 150
    spend    | anna |    130 | s1               | redeemed     | 20
    refund   |      |     40 | s1               | refunded     | 60
    look     | anna |        | lots 10 to day 31, 50 to day 41
    refund   |      |     91 | s1               | refund_exceeds_redemption | 60
    refund   |      |     90 | s1               | refunded     | 150
    look     | anna |        | lots 100 to day 31, 50 to day 41
    refund   |      |      1 | s1               | refund_exceeds_redemption | 150`,
  );
  scenario(
    'points that come back after their last day are gone at once',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    spend    | anna |    100 | s1               | redeemed     | 0
    clock    |      |        | day 40, 12:00    |              |
    refund   |      |        | s1               | refunded     | 0
    accrue   | anna |      5 | r2               | accrued      | 5`,
  );
});

describe('reversals', () => {
  scenario(
    'reversed line by line, a receipt ends at exactly nothing in any order',
    coarse,
    `
    accrue   | anna |        | r1 lines 14.99 25.01 9.99 | accrued   | 12
    reverse  |      |        | r1 line 2                 | reversed  | 6
    reverse  |      |        | r1 part 5.00 of line 1    | reversed  | 3
    reverse  |      |        | r1 line 3                 | reversed  | 0
    reverse  |      |        | r1 line 1                 | reversed  | 0
    reverse  |      |        | r1                        | reversal_exceeds_accrual | 0`,
  );
  scenario(
    'the rest of a receipt can be reversed at once after some of its lines',
    coarse,
    `
    accrue   | anna |        | r1 lines 14.99 25.01 9.99 | accrued   | 12
    reverse  |      |        | r1 line 3                 | reversed  | 12
    reverse  |      |        | r1                        | reversed  | 0
    reverse  |      |        | r1 line 1                 | reversal_exceeds_accrual | 0`,
  );
  scenario(
    'points that were spent already become a debt, which later receipts pay off',
    plain,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    spend    | anna |     70 | s1      | redeemed             | 30
    reverse  |      |        | r1      | reversed             | 0, debt 70
    spend    | anna |      1 | s2      | insufficient_points  | 0, debt 70
    accrue   | anna |     50 | r2      | accrued              | 0, debt 20
    accrue   | anna |     50 | r3      | accrued              | 30`,
  );
  scenario(
    'where no debt is allowed a reversal takes what is there and no more',
    withoutDebt,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    spend    | anna |     70 | s1      | redeemed             | 30
    reverse  |      |        | r1      | reversed             | 0
    accrue   | anna |     50 | r2      | accrued              | 50`,
  );
  scenario(
    'a refund pays off the debt that a reversal left',
    plain,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    spend    | anna |    100 | s1      | redeemed             | 0
    reverse  |      |        | r1      | reversed             | 0, debt 100
    refund   |      |     60 | s1      | refunded             | 0, debt 40
    refund   |      |        | s1      | refunded             | 0`,
  );
  scenario(
    'a reversal takes the receipt’s own lot before any other',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 11, 12:00    |              |
    accrue   | anna |     50 | r2               | accrued      | 150
    reverse  |      |        | r2               | reversed     | 100
    look     | anna |        | lots 100 to day 31`,
  );
});

/** Each use of points gives all of them thirty more days. */
const inactive = {
  timeZone: 'America/New_York',
  definition: { currencies: [{ code: 'points', expiry: { kind: 'inactivity' as const, months: 1 } }] },
};

describe('points that ended unused', () => {
  scenario(
    'are not taken a second time when their receipt is reversed',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 32, 12:00    |              |
    accrue   | anna |     70 | r2               | accrued      | 70
    reverse  |      |        | r1               | reversed     | 70
    reverse  |      |        | r1               | reversal_exceeds_accrual | 70`,
  );
  scenario(
    'are not taken a second time, booked by the sweep or by the reversal itself',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    accrue   | ben  |    100 | r2               | accrued      | 100
    clock    |      |        | day 32, 12:00    |              |
    reverse  |      |        | r1               | reversed     | 0
    sweep    |      |        |                  |              |
    reverse  |      |        | r2               | reversed     | ben 0`,
  );
  scenario(
    'count once over all pieces of a return, and what was spent is owed',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    spend    | anna |     60 | s1               | redeemed     | 40
    clock    |      |        | day 32, 12:00    |              |
    reverse  |      |        | r1 part 30.00 of line 1 | reversed | 0
    reverse  |      |        | r1 part 30.00 of line 1 | reversed | 0, debt 20
    reverse  |      |        | r1               | reversed     | 0, debt 60`,
  );
  scenario(
    'count once over all receipts whose points were one lot',
    expiring,
    `
    accrue   | anna |     50 | r1 order o1      | accrued      | 50
    accrue   | anna |     50 | r2 order o1      | accrued      | 100
    accrue   | anna |     50 | r3               | accrued      | 150
    spend    | anna |     90 | s1               | redeemed     | 60
    clock    |      |        | day 32, 12:00    |              |
    return   | anna |        | order o1         | returned     | 0, debt 40
    reverse  |      |        | r3               | reversed     | 0, debt 90`,
  );
});

describe('points that ended unused elsewhere', () => {
  scenario(
    'also come out of holds and refunds after their last day',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 29, 12:00    |              |
    hold     | anna |     60 | h1 for 5 days    | held         | 40, held 60
    spend    | anna |     40 | s1               | redeemed     | 0, held 60
    clock    |      |        | day 35, 12:00    |              |
    refund   |      |     10 | s1               | refunded     | 0
    reverse  |      |        | r1               | reversed     | 0, debt 30`,
  );
  scenario(
    'are known where their end was moved before',
    inactive,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 11, 12:00    |              |
    accrue   | anna |     50 | r2               | accrued      | 150
    spend    | anna |     30 | s1               | redeemed     | 120
    clock    |      |        | day 60, 12:00    |              |
    reverse  |      |        | r1               | reversed     | 0
    reverse  |      |        | r2               | reversed     | 0, debt 30`,
  );
  scenario(
    'of a member that was merged are known at the survivor, before and after the merge',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued         | 100
    clock    |      |        | day 11, 12:00    |                 |
    accrue   | anna |     50 | r2               | accrued         | 150
    clock    |      |        | day 32, 12:00    |                 |
    merge    | anna |        | into ben         | merged          | ben 50
    reverse  |      |        | r1               | reversed        | ben 50
    clock    |      |        | day 42, 12:00    |                 |
    reverse  |      |        | r2               | reversed        | ben 0`,
  );
});

describe('points that come back after their last day', () => {
  for (const [first, steps] of [
    [
      'hold',
      `
    clock    |      |        | day 35, 12:00    |              |
    reverse  |      |        | r1               | reversed     | 0`,
    ],
    [
      'return',
      `
    clock    |      |        | day 32, 12:00    |              |
    reverse  |      |        | r1               | reversed     | 0, held 100, debt 100
    clock    |      |        | day 35, 12:00    |              |
    look     | anna |        |                  |              | 0`,
    ],
  ] as const)
    scenario(
      `out of a hold are owed by nobody whose purchase came back too, the ${first} first`,
      expiring,
      `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 29, 12:00    |              |
    hold     | anna |    100 | h1 for 5 days    | held         | 0, held 100
    ${steps}
    accrue   | anna |      5 | r2               | accrued      | 5`,
    );
  for (const [first, steps] of [
    [
      'refund',
      `
    refund   |      |        | s1               | refunded     | 0
    reverse  |      |        | r1               | reversed     | 0`,
    ],
    [
      'return',
      `
    reverse  |      |        | r1               | reversed     | 0, debt 100
    refund   |      |     30 | s1               | refunded     | 0, debt 70
    refund   |      |        | s1               | refunded     | 0`,
    ],
  ] as const)
    scenario(
      `out of a redemption are owed by nobody whose purchase came back too, the ${first} first`,
      expiring,
      `
    accrue   | anna |    100 | r1               | accrued      | 100
    spend    | anna |    100 | s1               | redeemed     | 0
    clock    |      |        | day 40, 12:00    |              |
    ${steps}
    accrue   | anna |      5 | r2               | accrued      | 5`,
    );
});

describe('points that come back after their last day, beside what is owed', () => {
  scenario(
    'by a release pay what is owed, and what is not owed ends',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 29, 12:00    |              |
    hold     | anna |    100 | h1 for 7 days    | held         | 0, held 100
    clock    |      |        | day 35, 12:00    |              |
    reverse  |      |        | r1 part 60.00 of line 1 | reversed | 0, held 100, debt 60
    release  |      |        | h1               | released     | 0
    reverse  |      |        | r1               | reversed     | 0`,
  );
  scenario(
    'pay what is owed before they end, whether the sweep came between or not',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    accrue   | ben  |    100 | r2               | accrued      | 100
    clock    |      |        | day 24, 12:00    |              |
    hold     | anna |    100 | h1 for 5 days    | held         | 0, held 100
    hold     | ben  |    100 | h2 for 5 days    | held         | ben 0, held 100
    clock    |      |        | day 26, 12:00    |              |
    reverse  |      |        | r1               | reversed     | 0, held 100, debt 100
    reverse  |      |        | r2               | reversed     | ben 0, held 100, debt 100
    clock    |      |        | day 29, 13:00    |              |
    sweep    |      |        |                  |              |
    look     | anna |        |                  |              | 0
    clock    |      |        | day 35, 12:00    |              |
    look     | anna |        |                  |              | 0
    look     | ben  |        |                  |              | 0
    accrue   | ben  |      5 | r3               | accrued      | 5`,
  );
});

describe('returns', () => {
  scenario(
    'goods of an order that points paid a part of: what it earned goes, what it cost comes back',
    plain,
    `
    accrue   | anna |    200 | r0                       | accrued    | 200
    spend    | anna |    100 | s1 order o1              | redeemed   | 100
    accrue   | anna |        | r1 order o1 lines 60 40  | accrued    | 200
    return   | anna |        | order o1 line 2          | returned   | 200
    return   | anna |        | order o1                 | returned   | 200
    return   | anna |        | order o1                 | reversal_exceeds_accrual | 200`,
  );
  scenario(
    'a return of an order that nobody knows is refused',
    plain,
    `
    accrue   | anna |     10 | r1                       | accrued    | 10
    return   | anna |        | order o9                 | original_not_found | 10`,
  );
});

describe('transfers', () => {
  scenario(
    'transferred points keep the day on which they expire',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued             | 100
    clock    |      |        | day 11, 12:00    |                     |
    transfer | anna |     60 | to ben           | completed           | 40
    look     | ben  |        | lots 60 to day 31 |                    | 60
    transfer | anna |     41 | to ben           | insufficient_points | 40
    clock    |      |        | day 32, 00:00    |                     |
    look     | ben  |        |                  |                     | 0`,
  );
  scenario(
    'nobody can pass points to a closed member or to themselves',
    plain,
    `
    accrue   | anna |    100 | r1               | accrued             | 100
    close    | ben  |        |                  | closed              |
    transfer | anna |     10 | to ben           | member_not_active   | 100
    transfer | anna |     10 | to anna          | validation_failed   | 100`,
  );
  scenario(
    'points that arrive at somebody in debt pay that off first',
    plain,
    `
    accrue   | ben  |     50 | r1               | accrued             | 50
    spend    | ben  |     50 | s1               | redeemed            | 0
    reverse  |      |        | r1               | reversed            | ben 0, debt 50
    accrue   | anna |     80 | r2               | accrued             | 80
    transfer | anna |     80 | to ben           | completed           | 0
    look     | ben  |        |                  |                     | 30`,
  );
});

describe('the life of members', () => {
  scenario(
    'a suspended member neither earns nor spends until resumed',
    plain,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    suspend  | anna |        |         | suspended            | 100
    accrue   | anna |     10 | r2      | member_not_active    | 100
    spend    | anna |     10 | s1      | member_not_active    | 100
    hold     | anna |     10 | h1      | member_not_active    | 100
    resume   | anna |        |         | active               | 100
    spend    | anna |     10 | s2      | redeemed             | 90`,
  );
  scenario(
    'a hold that was made before a suspension can still be captured',
    plain,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    hold     | anna |     40 | h1      | held                 | 60, held 40
    suspend  | anna |        |         | suspended            | 60, held 40
    capture  |      |        | h1      | captured             | 60`,
  );
  scenario(
    'closing releases holds, and a closed member stays closed',
    plain,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    hold     | anna |     40 | h1      | held                 | 60, held 40
    close    | anna |        |         | closed               | 100
    capture  |      |        | h1      | hold_already_resolved | 100
    resume   | anna |        |         | member_not_active    | 100
    spend    | anna |      1 | s1      | member_not_active    | 100`,
  );
  scenario(
    'a merge moves lots with their dates and debt too; the merged name means the survivor',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued         | 100
    clock    |      |        | day 11, 12:00    |                 |
    accrue   | ben  |     50 | r2               | accrued         | 50
    merge    | anna |        | into ben         | merged          | ben 150
    look     | ben  |        | lots 100 to day 31, 50 to day 41
    accrue   | anna |      5 | r3               | accrued         | ben 155
    spend    | anna |    110 | s1               | redeemed        | ben 45
    merge    | anna |        | into ben         | validation_failed | ben 45`,
  );
  scenario(
    'what is undone after a merge concerns the survivor',
    plain,
    `
    accrue   | anna |    100 | r1               | accrued         | 100
    spend    | anna |     30 | s1               | redeemed        | 70
    merge    | anna |        | into ben         | merged          | ben 70
    refund   |      |        | s1               | refunded        | ben 100
    reverse  |      |        | r1               | reversed        | ben 0`,
  );
});
