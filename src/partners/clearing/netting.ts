/**
 * PURE. Netting: many debts become few payments that leave everybody with the same. Bilateral: each pair pays the difference of
 * what the two owe each other. Multilateral: everybody has one position against all others, and payments are made of the
 * positions. Positions sum to zero, and no payment comes to anybody who owes in the end.
 */

export interface Debt {
  readonly from: string;
  readonly to: string;
  /** Minor units of one currency; never negative. */
  readonly amount: bigint;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What every party has in the end: positive is received, negative is paid. By name; those with nothing are among them. */
export function positionsOf(debts: readonly Debt[]): Map<string, bigint> {
  const positions = new Map<string, bigint>();
  const add = (party: string, amount: bigint) => positions.set(party, (positions.get(party) ?? 0n) + amount);
  for (const { from, to, amount } of debts) {
    if (amount < 0n) throw new RangeError(`a debt of ${amount}`);
    add(from, -amount);
    add(to, amount);
  }
  return new Map([...positions].toSorted(([a], [b]) => compare(a, b)));
}

/** Each pair pays its difference. */
export function netBilateral(debts: readonly Debt[]): Debt[] {
  const pairs = new Map<string, { readonly low: string; readonly high: string; owed: bigint }>();
  for (const { from, to, amount } of debts) {
    if (from === to) continue;
    const [low, high] = compare(from, to) < 0 ? [from, to] : [to, from];
    const key = JSON.stringify([low, high]);
    const pair = pairs.get(key) ?? { low, high, owed: 0n };
    pair.owed += from === low ? amount : -amount;
    pairs.set(key, pair);
  }
  return [...pairs.values()]
    .filter(({ owed }) => owed !== 0n)
    .map(({ low, high, owed }) =>
      owed > 0n ? { from: low, to: high, amount: owed } : { from: high, to: low, amount: -owed },
    )
    .toSorted((a, b) => compare(a.from, b.from) || compare(a.to, b.to));
}

function lesser(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

/** Payments that bring everybody to its position, at most one less than there are parties: who owes most pays who has most to get. */
export function netMultilateral(debts: readonly Debt[]): Debt[] {
  const open = [...positionsOf(debts)].map(([party, amount]) => ({ party, amount }));
  const most = (sign: bigint) =>
    open
      .filter(({ amount }) => amount * sign > 0n)
      .reduce<(typeof open)[number] | undefined>(
        (best, each) => (best && best.amount * sign >= each.amount * sign ? best : each),
        undefined,
      );
  const payments: Debt[] = [];
  for (let rounds = open.length; rounds > 0; rounds -= 1) {
    const [payer, payee] = [most(-1n), most(1n)];
    if (!payer || !payee) break;
    const amount = lesser(-payer.amount, payee.amount);
    payer.amount += amount;
    payee.amount -= amount;
    payments.push({ from: payer.party, to: payee.party, amount });
  }
  return payments;
}
