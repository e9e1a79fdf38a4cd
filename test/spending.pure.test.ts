/** What members spend of points whose partner is billed then, told by the legs of operations alone. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Leg } from '#src/journal.ts';
import { isBilledLater, type Moving, spendingOf } from '#src/partners/clearing/spending.ts';
import { lotPartyFor } from '#src/partners/contracts/arithmetic.ts';
import { partnerOfLot, settledPartyOf } from '#src/wallet/lot-party.ts';

const hold = 'a'.repeat(32);
const day = 86_400_000;
const [air, rail] = [7, 8];

/** Lot `lot` of somebody's party; it ends at `ends`. */
const wallet = (points: number, partner: number | undefined, lot = 1, ends = 0): Leg => [
  ...(['wallet', 1, points, lot] as const),
  partner === undefined ? 0 : settledPartyOf(partner),
  ends,
  0,
];
const held = (points: number, partner: number | undefined, lot = 1): Leg => [
  ...(['held', 1, points, lot, hold] as const),
  partner === undefined ? 0 : settledPartyOf(partner),
  0,
  0,
];
type Plain = 'issuance' | 'redemption' | 'breakage' | 'debt' | 'adjustment' | 'clearing' | 'recovered';
const plain = (account: Plain, points: number): Leg => [account, 1, points, 0];
const partners = (points: number, partner: number): Leg => ['partner', 1, points, partner];
const spentBy = (moving: Moving) =>
  Object.fromEntries(spendingOf(moving).map(({ partner, points }) => [partner, points]));

const given: Moving = { kind: 'accrual', effect: { legs: [wallet(100, air), partners(-100, air)] } };
const givenOnIssue: Moving = {
  kind: 'accrual',
  effect: { legs: [wallet(100, undefined), partners(-100, air)] },
};

type Row = [what: string, kind: string, legs: Leg[], spent: Record<number, number>, original?: Moving];
const table: Row[] = [
  ['given points are', 'accrual', [wallet(100, air), partners(-100, air)], {}],
  [
    'what pays a debt as it is given is',
    'exchange_in',
    [wallet(100, air), partners(-100, air), wallet(-30, air), plain('debt', 30)],
    { [air]: 30 },
  ],
  [
    'of what is redeemed, as much as came from each',
    'redemption',
    [wallet(-40, air), wallet(-20, undefined, 2), wallet(-5, rail, 3), plain('redemption', 65)],
    { [air]: 40, [rail]: 5 },
  ],
  [
    'what is redeemed at the partner itself is',
    'redemption',
    [wallet(-40, air), partners(40, air)],
    { [air]: 40 },
  ],
  ['what is held is not', 'hold', [wallet(-40, air), held(40, air)], {}],
  ['what is released is not', 'release', [held(-40, air), wallet(40, air)], {}],
  [
    'of a hold, what is captured',
    'capture',
    [held(-40, air), plain('redemption', 25), wallet(15, air)],
    { [air]: 25 },
  ],
  [
    'what goes out to another partner is',
    'exchange_out',
    [held(-40, air), partners(40, rail)],
    { [air]: 40 },
  ],
  ['what is refunded comes back', 'refund', [plain('redemption', -10), wallet(10, air)], { [air]: -10 }],
  [
    'what ends is not, what pays a debt beside it is, whatever was held before',
    'expiry',
    [
      ...[held(-40, air), wallet(40, air), wallet(-30, air), wallet(-9, undefined, 2), plain('breakage', 39)],
      ...[wallet(-10, air, 3), plain('debt', 10)],
    ],
    { [air]: 10 },
  ],
  ['what goes to another member is not', 'transfer', [wallet(-40, air), plain('clearing', 40)], {}],
  [
    'what arrives is not, but for the debt it pays',
    'transfer_credit',
    [plain('clearing', -40), wallet(40, air), wallet(-15, air), plain('debt', 15)],
    { [air]: 15 },
  ],
  ['what care takes is not', 'adjustment', [wallet(-40, air), plain('adjustment', 40)], {}],
  ['what a restore cannot explain is not', 'recovery', [wallet(-40, air), plain('recovered', 40)], {}],
  ['what gets another end is not', 'extension', [wallet(-40, air), wallet(40, air, 2, day)], {}],
  [
    'what stands in for goods that come back is',
    'reversal',
    [wallet(-25, air), plain('issuance', 25)],
    { [air]: 25 },
    { kind: 'accrual', effect: { legs: [wallet(25, undefined), plain('issuance', -25)] } },
  ],
  [
    'what the partner takes back unspent is not',
    'reversal',
    [wallet(-60, air), partners(60, air)],
    {},
    given,
  ],
  [
    'what the partner takes back has ended, is unspent, or comes back as spent, whoever stands in for it',
    'reversal',
    [
      ...[wallet(-10, air), plain('breakage', -20), wallet(-30, undefined, 2), wallet(-5, rail, 3)],
      ...[plain('debt', -35), partners(100, air)],
    ],
    { [air]: -70, [rail]: 5 },
    given,
  ],
  [
    'what the partner takes back is all spent where nothing of it is left',
    'reversal',
    [plain('debt', -100), partners(100, air)],
    { [air]: -100 },
    given,
  ],
  [
    'what was billed when it was given, and is taken back out of other lots of the partner, is spent there',
    'reversal',
    [wallet(-60, air, 2), partners(60, air)],
    { [air]: 60 },
    givenOnIssue,
  ],
  [
    'what a redemption at the partner gives back comes back',
    'reversal',
    [partners(-40, air), wallet(40, air)],
    { [air]: -40 },
    { kind: 'redemption', effect: { legs: [wallet(-40, air), partners(40, air)] } },
  ],
  [
    'what is booked late is as it would have been: redeemed',
    'correction',
    [plain('redemption', 40), wallet(-40, air)],
    { [air]: 40 },
  ],
  ['booked late: given', 'correction', [wallet(40, air), partners(-40, air)], {}],
  ['booked late: ended', 'correction', [plain('breakage', 40), wallet(-40, air, 1, 1)], {}],
];

describe('of points of a partner', () => {
  test.each<Row>(table)('%s', (...[, kind, legs, spent, original]) => {
    expect(legs.reduce((sum, leg) => sum + leg[2], 0)).toBe(0);
    expect(spentBy({ kind, effect: { legs }, original })).toEqual(spent);
  });

  test('what lots say decides whether they are billed later, also of what takes them back', () => {
    expect(isBilledLater(given, air, 1)).toBe(true);
    expect(isBilledLater(givenOnIssue, air, 1)).toBe(false);
    const back = { kind: 'reversal', effect: { legs: [wallet(-60, air), partners(60, air)] } };
    expect(isBilledLater({ ...back, original: given }, air, 1)).toBe(true);
    expect(isBilledLater({ ...back, original: givenOnIssue }, air, 1)).toBe(false);
  });
});

test('lots name a partner that is billed when they are spent, and none that pays in advance or when it gives', () => {
  const postpaid = { kind: 'postpaid', alertAmount: null } as const;
  const prepaid = { kind: 'prepaid', alertPoints: 0, usesReserve: false } as const;
  expect(partnerOfLot(lotPartyFor(air, { settleOn: 'redemption', billing: postpaid }))).toBe(air);
  expect(lotPartyFor(air, { settleOn: 'redemption', billing: prepaid })).toBe(0);
  expect(lotPartyFor(air, { settleOn: 'issue', billing: postpaid })).toBe(0);
  expect(lotPartyFor(air, undefined)).toBe(0);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999_999 }), (funder) => partnerOfLot(funder) === undefined),
  );
});

interface Lot {
  number: number;
  points: number;
  readonly party: number;
  readonly ends: number;
}
interface Held {
  readonly parts: Lot[];
}
interface Wallet {
  lots: Lot[];
  next: number;
  debt: number;
  holds: Held[];
  /** Points that ended, by lot, and were not taken back. */
  readonly ended: Map<number, number>;
}
interface Accrual {
  readonly member: number;
  readonly partner: number | undefined;
  readonly lot: number;
  readonly ends: number;
  readonly operation: Moving;
  left: number;
}

const lotsMax = 5;
const never = Number.MAX_SAFE_INTEGER;
const sumOf = (lots: readonly Lot[]) => lots.reduce((sum, { points }) => sum + points, 0);

/** Wallets that move points and write legs as the scripts do, and know where each partner's points are. */
class World {
  readonly wallets: Wallet[] = [0, 1].map(() => ({
    ...{ lots: [], next: 1, debt: 0, holds: [], ended: new Map() },
  }));
  readonly operations: Moving[] = [];
  readonly accruals: Accrual[] = [];
  readonly redemptions: { member: number; parts: Lot[] }[] = [];
  readonly given = new Map<number, number>();
  readonly ended = new Map<number, number>();
  /** Taken back as spent: points of the partner may come back later (a hold, a refund, another member's) and end unused. */
  readonly takenAsSpent = new Map<number, number>();
  now = day;

  private note(sums: Map<number, number>, partner: number | undefined, points: number): void {
    if (partner !== undefined) sums.set(partner, (sums.get(partner) ?? 0) + points);
  }

  private credit(wallet: Wallet, legs: Leg[], points: number, party: number, ends: number): Lot {
    const same = wallet.lots.find((lot) => lot.party === party && lot.ends === ends);
    if (!same && wallet.lots.length >= lotsMax) this.join(wallet, legs);
    const lot = same ?? { number: wallet.next, points: 0, party, ends };
    if (!same) {
      wallet.next += 1;
      wallet.lots.push(lot);
      wallet.lots.sort((a, b) => (a.ends || never) - (b.ends || never) || a.number - b.number);
    }
    lot.points += points;
    return lot;
  }

  private leg({ number, party, ends }: Lot, points: number): Leg {
    return ['wallet', 1, points, number, party, ends, 0];
  }

  /** Two lots of one party become one. */
  private join(wallet: Wallet, legs: Leg[]): void {
    const from = wallet.lots.find((lot, i) =>
      wallet.lots.slice(i + 1).some(({ party }) => party === lot.party),
    )!;
    const into =
      wallet.lots.find((lot) => lot !== from && lot.party === from.party && lot.ends >= from.ends) ?? from;
    const to = into === from ? wallet.lots.findLast(({ party }) => party === from.party)! : into;
    legs.push(this.leg(from, -from.points), this.leg(to, from.points));
    to.points += from.points;
    wallet.lots = wallet.lots.filter((lot) => lot !== from);
  }

  private take(
    wallet: Wallet,
    points: number,
    may: (lot: Lot) => boolean,
    taken: (lot: Lot, part: number) => void,
  ): number {
    let rest = points;
    for (const lot of wallet.lots.filter(may)) {
      const part = Math.min(rest, lot.points);
      if (part === 0) continue;
      lot.points -= part;
      rest -= part;
      taken(lot, part);
    }
    wallet.lots = wallet.lots.filter((lot) => lot.points > 0);
    return rest;
  }

  private repay(wallet: Wallet, legs: Leg[]): void {
    if (wallet.debt === 0) return;
    const rest = this.take(
      wallet,
      wallet.debt,
      () => true,
      (lot, part) => legs.push(this.leg(lot, -part)),
    );
    if (rest < wallet.debt) legs.push(plain('debt', wallet.debt - rest));
    wallet.debt = rest;
  }

  private add(kind: string, legs: Leg[], original?: Moving): Moving {
    const operation = { kind, effect: { legs }, original };
    expect(legs.reduce((sum, leg) => sum + leg[2], 0)).toBe(0);
    this.operations.push(operation);
    return operation;
  }

  /** What has fallen due is a record of its own. */
  private due(wallet: Wallet): void {
    const legs: Leg[] = [];
    let sum = 0;
    const isOver = ({ ends }: Lot) => ends > 0 && ends <= this.now;
    this.take(wallet, never, isOver, (lot, part) => {
      legs.push(this.leg(lot, -part));
      sum += part;
      this.note(this.ended, partnerOfLot(lot.party), part);
      this.note(wallet.ended, lot.number, part);
    });
    if (sum > 0) legs.push(plain('breakage', sum));
    this.repay(wallet, legs);
    if (legs.length > 0) this.add('expiry', legs);
  }

  wallet(member: number): Wallet {
    const wallet = this.wallets[member % this.wallets.length]!;
    this.due(wallet);
    return wallet;
  }

  give(member: number, partner: number | undefined, points: number, days: number): void {
    const wallet = this.wallet(member);
    const ends = days === 0 ? 0 : this.now + days * day;
    const party = partner === undefined ? 0 : settledPartyOf(partner);
    const legs: Leg[] = [];
    const lot = this.credit(wallet, legs, points, party, ends);
    legs.push(
      this.leg(lot, points),
      partner === undefined ? plain('issuance', -points) : partners(-points, partner),
    );
    this.repay(wallet, legs);
    this.note(this.given, partner, points);
    const operation = this.add('accrual', legs);
    this.accruals.push({ member, partner, lot: lot.number, ends, operation, left: points });
  }

  spend(member: number, wanted: number): void {
    const wallet = this.wallet(member);
    const points = Math.min(wanted, sumOf(wallet.lots));
    const [legs, parts]: [Leg[], Lot[]] = [[], []];
    this.take(
      wallet,
      points,
      () => true,
      (lot, part) => {
        legs.push(this.leg(lot, -part));
        parts.push({ ...lot, points: part });
      },
    );
    if (points === 0) return;
    this.redemptions.push({ member, parts });
    this.add('redemption', [...legs, plain('redemption', points)]);
  }

  hold(member: number, wanted: number): void {
    const wallet = this.wallet(member);
    const [legs, parts]: [Leg[], Lot[]] = [[], []];
    this.take(
      wallet,
      wanted,
      () => true,
      (lot, part) => {
        legs.push(this.leg(lot, -part), ['held', 1, part, lot.number, hold, lot.party, lot.ends, 0]);
        parts.push({ ...lot, points: part });
      },
    );
    if (parts.length === 0) return;
    wallet.holds.push({ parts });
    this.add('hold', legs);
  }

  private putBack(wallet: Wallet, legs: Leg[], points: number, { number, party, ends }: Lot): void {
    const lot = wallet.lots.find((each) => each.number === number) ?? { number, points: 0, party, ends };
    if (!wallet.lots.includes(lot)) {
      if (wallet.lots.length >= lotsMax) this.join(wallet, legs);
      wallet.lots.push(lot);
      wallet.lots.sort((a, b) => (a.ends || never) - (b.ends || never) || a.number - b.number);
    }
    lot.points += points;
    legs.push(this.leg(lot, points));
  }

  /** Captures part of the oldest hold, or releases it. */
  settle(member: number, wanted: number, isReleased: boolean): void {
    const wallet = this.wallet(member);
    const open = wallet.holds.shift();
    if (!open) return;
    const legs: Leg[] = [];
    const captured: Lot[] = [];
    let left = isReleased ? 0 : Math.min(wanted, sumOf(open.parts));
    for (const part of open.parts) {
      const share = Math.min(left, part.points);
      left -= share;
      legs.push(['held', 1, -part.points, part.number, hold, part.party, part.ends, 0]);
      if (share > 0) {
        legs.push(plain('redemption', share));
        captured.push({ ...part, points: share });
      }
      if (share < part.points) this.putBack(wallet, legs, part.points - share, part);
    }
    this.add(captured.length > 0 ? 'capture' : 'release', legs);
    if (captured.length > 0) this.redemptions.push({ member, parts: captured });
  }

  refund(which: number, wanted: number): void {
    const redemption = this.redemptions[which % Math.max(1, this.redemptions.length)];
    if (!redemption) return;
    const wallet = this.wallet(redemption.member);
    const legs: Leg[] = [];
    let rest = wanted;
    for (const part of redemption.parts.toReversed()) {
      const share = Math.min(rest, part.points);
      if (share === 0) continue;
      part.points -= share;
      rest -= share;
      legs.push(plain('redemption', -share));
      this.putBack(wallet, legs, share, part);
    }
    this.repay(wallet, legs);
    if (legs.length > 0) this.add('refund', legs);
  }

  back(which: number, wanted: number): void {
    const accrual = this.accruals[which % Math.max(1, this.accruals.length)];
    const points = Math.min(wanted, accrual?.left ?? 0);
    if (!accrual || points === 0) return;
    const wallet = this.wallet(accrual.member);
    const { partner, lot: own, ends } = accrual;
    const party = partner === undefined ? 0 : settledPartyOf(partner);
    const legs: Leg[] = [];
    let unspent = 0;
    const taken = (lot: Lot, part: number) => {
      legs.push(this.leg(lot, -part));
      if (lot.party === party) unspent += part;
    };
    let rest = this.take(wallet, points, ({ number }) => number === own, taken);
    const ended = ends > 0 && ends <= this.now ? Math.min(rest, wallet.ended.get(own) ?? 0) : 0;
    if (ended > 0) {
      legs.push(plain('breakage', -ended));
      this.note(wallet.ended, own, -ended);
      this.note(this.ended, partner, -ended);
      unspent += ended;
      rest -= ended;
    }
    if (partner !== undefined) rest = this.take(wallet, rest, (lot) => lot.party === party, taken);
    rest = this.take(wallet, rest, () => true, taken);
    if (rest > 0) {
      wallet.debt += rest;
      legs.push(plain('debt', -rest));
    }
    legs.push(partner === undefined ? plain('issuance', points) : partners(points, partner));
    accrual.left -= points;
    this.note(this.given, partner, -points);
    this.note(this.takenAsSpent, partner, points - unspent);
    this.add('reversal', legs, accrual.operation);
  }

  send(from: number, wanted: number): void {
    const [source, target] = [this.wallet(from), this.wallet(from + 1)];
    const [legs, lots]: [Leg[], Lot[]] = [[], []];
    this.take(
      source,
      wanted,
      () => true,
      (lot, part) => {
        legs.push(this.leg(lot, -part));
        lots.push({ ...lot, points: part });
      },
    );
    if (lots.length === 0) return;
    this.add('transfer', [...legs, plain('clearing', sumOf(lots))]);
    const arriving: Leg[] = [];
    for (const { points, party, ends } of lots) {
      arriving.push(plain('clearing', -points));
      const lot = this.credit(target, arriving, points, party, ends);
      arriving.push(this.leg(lot, points));
    }
    this.repay(target, arriving);
    this.add('transfer_credit', arriving);
  }

  /** Where a partner's points are: lots and holds of all. */
  everywhere(partner: number | undefined): Lot[] {
    return this.wallets
      .flatMap(({ lots, holds }) => [...lots, ...holds.flatMap(({ parts }) => parts)])
      .filter(({ party }) => partnerOfLot(party) === partner && partner !== undefined);
  }
}

const who = fc.nat(1);
const points = fc.integer({ min: 1, max: 60 });
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      ...{ do: fc.constant('give' as const), who, points, days: fc.constantFrom(0, 1, 2, 5) },
      partner: fc.constantFrom(air, rail, undefined),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('spend' as const, 'hold' as const, 'send' as const),
      who,
      points,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('settle' as const), who, points, isReleased: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('refund' as const, 'back' as const),
      which: fc.nat(),
      points,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('wait' as const), days: fc.integer({ min: 1, max: 3 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function follow(world: World, each: Step): void {
  if (each.do === 'give') world.give(each.who, each.partner, each.points, each.days);
  else if (each.do === 'settle') world.settle(each.who, each.points, each.isReleased);
  else if (each.do === 'wait') world.now += each.days * day;
  else if ('which' in each) world[each.do](each.which, each.points);
  else world[each.do](each.who, each.points);
}

test('whatever members and partners do, what is billed is what was given less what is left, ended or taken back, and never more than given', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const world = new World();
      const billed = new Map([air, rail].map((partner) => [partner, 0]));
      let read = 0;
      for (const each of steps) {
        follow(world, each);
        for (const operation of world.operations.slice(read))
          for (const spent of spendingOf(operation))
            billed.set(spent.partner, billed.get(spent.partner)! + spent.points);
        read = world.operations.length;
        for (const [partner, sum] of billed) {
          const given = world.given.get(partner) ?? 0;
          const left = sumOf(world.everywhere(partner)) + (world.ended.get(partner) ?? 0);
          expect(sum).toBe(given - left);
          expect(sum).toBeLessThanOrEqual(given);
          expect(sum).toBeGreaterThanOrEqual(-(world.takenAsSpent.get(partner) ?? 0));
        }
      }
    }),
    { numRuns: 400 },
  );
});
