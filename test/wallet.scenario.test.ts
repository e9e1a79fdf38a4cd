/** What happens to wallets, told as tables (the language is in scenario.ts). */
import { afterAll, describe, test } from 'vitest';
import { amountRule, inDays, startEngine } from './harness.ts';
import { playScenario } from './scenario.ts';

const engine = await startEngine();
afterAll(() => engine.end());

const spend = (more: Parameters<typeof amountRule>[3]) => [amountRule('spend', 'points', [1, 100], more)];
/** Points count at once and for ever. */
const plain = {};
/** Points are valid through the end of the 30th day after the receipt. */
const expiring = { timeZone: 'Europe/Berlin', definition: { rules: spend({ expiry: inDays(30) }) } };
/** Points count from the 14th day after the receipt. */
const pending = { definition: { rules: spend({ pending: inDays(14) }) } };
const pendingAndExpiring = { definition: { rules: spend({ pending: inDays(14), expiry: inDays(30) }) } };

function scenario(name: string, program: Parameters<typeof playScenario>[1], table: string): void {
  test(name, () => playScenario(engine, program, table));
}

describe('earning and spending', () => {
  scenario(
    'points that were earned can be spent, and no more than that',
    plain,
    `
    what     | who  | points | details | answer              | balance afterwards
    accrue   | anna |    100 | r1      | accrued             | 100
    accrue   | anna |     50 | r2      | accrued             | 150
    spend    | anna |     30 | s1      | redeemed            | 120
    spend    | anna |    121 | s2      | insufficient_points | 120
    spend    | anna |    120 | s3      | redeemed            | 0
    spend    | anna |      1 | s4      | insufficient_points | 0`,
  );
  scenario(
    'a receipt of 0.00 is valid and awards nothing',
    plain,
    `
    accrue   | anna |      0 | r1      | accrued             | 0
    accrue   | anna |     10 | r2      | accrued             | 10`,
  );
  scenario(
    'a receipt is rounded down once, not line by line',
    plain,
    `
    accrue   | anna |        | r1 lines 0.60 0.60 0.60 | accrued | 1`,
  );
  scenario(
    'care corrects in both directions, but never below zero',
    plain,
    `
    adjust   | anna |    +40 |         | adjusted            | 40
    adjust   | anna |    -15 |         | adjusted            | 25
    adjust   | anna |    -26 |         | insufficient_points | 25`,
  );
});

describe('lots', () => {
  scenario(
    'the points that expire soonest are spent first, whatever came in first',
    expiring,
    `
    grant    | anna |     20 | g1                                | accrued  | 20
    accrue   | anna |    100 | r1                                | accrued  | 120
    clock    |      |        | day 11, 12:00                     |          |
    accrue   | anna |     50 | r2                                | accrued  | 170
    look     | anna |        | lots 100 to day 31, 50 to day 41, 20 for ever
    spend    | anna |    110 | s1                                | redeemed | 60
    look     | anna |        | lots 40 to day 41, 20 for ever    |          | 60
    spend    | anna |     45 | s2                                | redeemed | 15
    look     | anna |        | lots 15 for ever                  |          | 15`,
  );
  scenario(
    'points are valid through the end of their last day in the program’s time zone',
    expiring,
    `
    accrue   | anna |    100 | r1                  | accrued             | 100
    clock    |      |        | day 31, 23:59       |                     |
    look     | anna |        | lots 100 to day 31  |                     | 100
    spend    | anna |     30 | s1                  | redeemed            | 70
    clock    |      |        | day 32, 00:00       |                     |
    look     | anna |        |                     |                     | 0
    spend    | anna |      1 | s2                  | insufficient_points | 0`,
  );
  scenario(
    'what expired is booked by the sweep too, for members whom nobody touches',
    expiring,
    `
    accrue   | anna |    100 | r1                  | accrued             | 100
    hold     | anna |     40 | h1 for 1 hour       | held                | 60, held 40
    clock    |      |        | day 40, 08:00       |                     |
    sweep    |      |        |                     |                     | anna 0
    accrue   | anna |      5 | r2                  | accrued             | 5`,
  );
  scenario(
    'a purchase of day 11 lives ten days longer than one of day 1',
    expiring,
    `
    accrue   | anna |    100 | r1                  | accrued             | 100
    clock    |      |        | day 11, 09:00       |                     |
    accrue   | anna |     50 | r2                  | accrued             | 150
    clock    |      |        | day 32, 00:00       |                     |
    look     | anna |        | lots 50 to day 41   |                     | 50
    clock    |      |        | day 42, 00:00       |                     |
    look     | anna |        |                     |                     | 0`,
  );
});

describe('pending points', () => {
  scenario(
    'pending points are seen but cannot be spent until their day comes',
    pending,
    `
    accrue   | anna |    100 | r1                      | accrued             | 0, pending 100
    look     | anna |        | lots 100 from day 15    |                     | 0, pending 100
    spend    | anna |      1 | s1                      | insufficient_points | 0, pending 100
    clock    |      |        | day 14, 23:59           |                     |
    look     | anna |        |                         |                     | 0, pending 100
    clock    |      |        | day 15, 00:00           |                     |
    spend    | anna |     60 | s2                      | redeemed            | 40`,
  );
  scenario(
    'a reversal takes pending points where they are',
    pending,
    `
    accrue   | anna |    100 | r1                      | accrued             | 0, pending 100
    reverse  |      |        | r1                      | reversed            | 0
    clock    |      |        | day 15, 00:00           |                     |
    look     | anna |        |                         |                     | 0`,
  );
  scenario(
    'pending points expire on their day like all others',
    pendingAndExpiring,
    `
    accrue   | anna |    100 | r1                              | accrued     | 0, pending 100
    look     | anna |        | lots 100 from day 15 to day 31  |             | 0, pending 100
    clock    |      |        | day 20, 12:00                   |             |
    spend    | anna |     10 | s1                              | redeemed    | 90
    clock    |      |        | day 32, 00:00                   |             |
    look     | anna |        |                                 |             | 0`,
  );
  scenario(
    'points that mature pay off a debt at once',
    pending,
    `
    accrue   | anna |    100 | r1                      | accrued             | 0, pending 100
    clock    |      |        | day 15, 00:00           |                     |
    spend    | anna |    100 | s1                      | redeemed            | 0
    accrue   | anna |     70 | r2                      | accrued             | 0, pending 70
    reverse  |      |        | r1                      | reversed            | 0, pending 70, debt 100
    clock    |      |        | day 29, 00:00           |                     |
    look     | anna |        |                         |                     | 0, debt 30`,
  );
});

describe('holds', () => {
  scenario(
    'held points cannot be spent by anybody else; a release gives them back',
    plain,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    hold     | anna |     80 | h1      | held                 | 20, held 80
    spend    | anna |     30 | s1      | insufficient_points  | 20, held 80
    release  |      |        | h1      | released             | 100
    release  |      |        | h1      | hold_already_resolved | 100
    capture  |      |        | h1      | hold_already_resolved | 100`,
  );
  scenario(
    'a capture of a part gives the rest back, and happens once',
    plain,
    `
    accrue   | anna |    100 | r1      | accrued              | 100
    hold     | anna |     80 | h1      | held                 | 20, held 80
    capture  |      |     81 | h1      | validation_failed    | 20, held 80
    capture  |      |     30 | h1      | captured             | 70
    capture  |      |     30 | h1      | hold_already_resolved | 70
    refund   |      |        | h1-captured | refunded         | 100
    refund   |      |      1 | h1-captured | refund_exceeds_redemption | 100`,
  );
  scenario(
    'a hold that nobody resolves ends by itself, and a late capture is refused',
    plain,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    hold     | anna |     80 | h1 for 2 hours   | held         | 20, held 80
    clock    |      |        | + 119 minutes    |              |
    look     | anna |        |                  |              | 20, held 80
    clock    |      |        | + 2 minutes      |              |
    look     | anna |        |                  |              | 100
    capture  |      |        | h1               | hold_expired | 100
    spend    | anna |    100 | s1               | redeemed     | 0`,
  );
  scenario(
    'held points do not expire while they are held, and expire at once when they come back late',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 30, 12:00    |              |
    hold     | anna |     60 | h1 for 5 days    | held         | 40, held 60
    hold     | anna |     40 | h2 for 5 days    | held         | 0, held 100
    clock    |      |        | day 33, 12:00    |              |
    look     | anna |        |                  |              | 0, held 100
    capture  |      |     50 | h1               | captured     | 0, held 40
    release  |      |        | h2               | released     | 0`,
  );
  scenario(
    'a release puts points back into their lots with their own dates',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 11, 12:00    |              |
    accrue   | anna |     50 | r2               | accrued      | 150
    hold     | anna |    120 | h1               | held         | 30, held 120
    look     | anna |        | lots 30 to day 41
    release  |      |        | h1               | released     | 150
    look     | anna |        | lots 100 to day 31, 50 to day 41`,
  );
  scenario(
    'a capture of a part takes what expires soonest and gives the later points back',
    expiring,
    `
    accrue   | anna |    100 | r1               | accrued      | 100
    clock    |      |        | day 11, 12:00    |              |
    accrue   | anna |     50 | r2               | accrued      | 150
    hold     | anna |    150 | h1               | held         | 0, held 150
    capture  |      |    110 | h1               | captured     | 40
    look     | anna |        | lots 40 to day 41`,
  );
});
