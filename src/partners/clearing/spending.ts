/**
 * PURE. What members spend of points whose partner is billed then (`settleOn: redemption`), by the legs of each operation.
 *
 * Such points are in lots of the partner's own party (`wallet/lot-party.ts`), which they keep through holds, refunds, transfers and
 * merges of members. What an operation takes out of lots and holds of the party, and does not bring back, is spent, but for:
 *
 *   what left                                   is known by                                   and is
 *   ends unused                                 the leg of breakage behind it                 never billed
 *   goes to another member, or arrives          transfer; transfer_credit, transfer_return    billed when it is spent there
 *   is held, released, or given another end     held +, wallet -; or wallet +                 nothing: it stays the party's
 *   is taken by customer care, or unexplained   adjustment, recovery                          never billed
 *   is given by the partner                     partner -                                     nothing yet
 *   is taken back by the partner, unspent       partner +, out of lots of the party           never billed
 *   is taken back by the partner, ended         partner +, breakage -                         never billed
 *   is taken back by the partner, spent         partner + beyond these                        billed back
 *   comes back (refund, return)                 redemption -, wallet +                        billed back
 *   pays a debt, or for somebody else's points  debt +, issuance +, another partner +         spent
 *
 * So over all operations what is billed is what was given, less what was taken back, what is in lots, holds or under way, what ended,
 * and what care took. It is never more than what was given. Where a partner takes points back that are held, and others of the member
 * stand in, they count as spent until the hold ends; where it is released and they end unused then, they stay billed back.
 */
import type { Effect, Leg } from '#src/journal.ts';
import { partnerOfLot, settledPartyOf } from '#src/wallet/lot-party.ts';

interface Decided {
  readonly kind: string;
  readonly effect: Pick<Effect, 'legs'>;
}

/** An operation, with what it follows from where that is known. */
export interface Moving extends Decided {
  readonly original?: Decided | undefined;
}

export const givesPoints: ReadonlySet<string> = new Set(['accrual', 'exchange_in']);

/** What an operation changed of a partner's points, in a currency. */
interface Change {
  /** In lots and holds. */
  net: number;
  ended: number;
  /** Of a debt, paid with them. */
  paid: number;
}

const nothing: Readonly<Change> = { net: 0, ended: 0, paid: 0 };

interface Changes {
  readonly partner: number;
  readonly currency: number;
  readonly change: Change;
}

/** The party of a leg of a member's account whose partner is billed when its points are spent. */
function billedPartner(leg: Leg): number | undefined {
  if (leg[0] === 'wallet') return partnerOfLot(leg[4]);
  return leg[0] === 'held' ? partnerOfLot(leg[5]) : undefined;
}

class Ledger {
  private readonly changes = new Map<string, Changes>();
  /** What left lots of a currency, and what it was for has not come yet: whose, and how much. */
  private readonly waiting = new Map<number, { partner: number | undefined; points: number }[]>();

  constructor(legs: readonly Leg[]) {
    for (const leg of legs) this.read(leg);
  }

  private of(partner: number, currency: number): Change {
    const key = `${partner}.${currency}`;
    const known = this.changes.get(key)?.change;
    if (known) return known;
    const change = { ...nothing };
    this.changes.set(key, { partner, currency, change });
    return change;
  }

  /** The legs of what ends, or pays a debt, stand right before the leg that says so. */
  private explain(currency: number, points: number, what: 'ended' | 'paid'): void {
    const out = this.waiting.get(currency) ?? [];
    let rest = points;
    for (let each = out.pop(); each && rest > 0; each = out.pop()) {
      const part = Math.min(rest, each.points);
      rest -= part;
      if (each.partner !== undefined) this.of(each.partner, currency)[what] += part;
    }
    this.waiting.delete(currency);
  }

  private read(leg: Leg): void {
    const [account, currency, points] = leg;
    const partner = billedPartner(leg);
    if (partner !== undefined) this.of(partner, currency).net += points;
    if (account === 'wallet' && points < 0) {
      const out = this.waiting.get(currency) ?? [];
      out.push({ partner, points: -points });
      this.waiting.set(currency, out);
    } else if (account === 'breakage' && points > 0) this.explain(currency, points, 'ended');
    else if (account === 'debt' && points > 0) this.explain(currency, points, 'paid');
    else if (account !== 'wallet' && account !== 'held' && points > 0) this.waiting.delete(currency);
  }

  all(): Changes[] {
    return [...this.changes.values()];
  }

  find(partner: number, currency: number): Readonly<Change> {
    return this.changes.get(`${partner}.${currency}`)?.change ?? nothing;
  }
}

function sumOf(legs: readonly Leg[], currency: number, accounts: readonly Leg[0][]): number {
  return legs.reduce((sum, leg) => sum + (leg[1] === currency && accounts.includes(leg[0]) ? leg[2] : 0), 0);
}

/** What a partner's own account got. */
function partnersPoints(legs: readonly Leg[], partner: number, currency: number): number {
  return legs.reduce(
    (sum, leg) => sum + (leg[0] === 'partner' && leg[1] === currency && leg[3] === partner ? leg[2] : 0),
    0,
  );
}

/** Whether a partner gave points that it is billed for when they are spent: the leg of the lot stands right before its own. */
function gaveLots(legs: readonly Leg[], partner: number, currency: number): boolean {
  return legs.some((leg, i) => {
    const lot = legs[i - 1];
    const isGiven = leg[0] === 'partner' && leg[1] === currency && leg[3] === partner && leg[2] < 0;
    return isGiven && lot?.[0] === 'wallet' && lot[4] === settledPartyOf(partner);
  });
}

/** Whether what an operation moved on a partner's account is points that are billed when they are spent. */
export function isBilledLater(
  { kind, effect, original }: Moving,
  partner: number,
  currency: number,
): boolean {
  const { legs } = effect;
  if (givesPoints.has(kind)) return gaveLots(legs, partner, currency);
  if (kind === 'correction') {
    const { net } = new Ledger(legs).find(partner, currency);
    return net * partnersPoints(legs, partner, currency) < 0;
  }
  return (
    original !== undefined &&
    givesPoints.has(original.kind) &&
    gaveLots(original.effect.legs, partner, currency)
  );
}

/** Accounts through which points leave unspent. */
const unspent = ['breakage', 'clearing', 'adjustment', 'unclaimed'] as const;

/** What was spent; negative: what came back. */
function spentOf(moving: Moving, { partner, currency, change }: Changes): number {
  const { kind, effect } = moving;
  const { legs } = effect;
  const { net, ended, paid } = change;
  const account = isBilledLater(moving, partner, currency) ? partnersPoints(legs, partner, currency) : 0;
  switch (kind) {
    case 'transfer':
    case 'recovery':
      return 0;
    case 'adjustment':
    case 'transfer_credit':
    case 'transfer_return':
      return paid;
    case 'expiry':
      return Math.max(0, -net - ended);
    case 'correction': {
      // Its legs stand in no order that says which left for what.
      const left = -net - account;
      const other = sumOf(legs, currency, unspent);
      return left > 0 ? Math.max(0, left - Math.max(0, other)) : Math.min(0, left - Math.min(0, other));
    }
    default: {
      const endedBefore = account > 0 ? Math.max(0, -sumOf(legs, currency, ['breakage'])) : 0;
      return -net - account + endedBefore;
    }
  }
}

export interface Spent {
  readonly partner: number;
  readonly currency: number;
  /** Negative where they came back. */
  readonly points: number;
}

/** What an operation spends of partners' points, and gives back of what was spent, in the order of its legs. */
export function spendingOf(moving: Moving): Spent[] {
  const { effect, original } = moving;
  const changed = new Ledger(effect.legs).all();
  // A partner may take back points of which none is left.
  const taken = effect.legs.flatMap((leg): Changes[] => {
    if (leg[0] !== 'partner' || leg[2] <= 0 || original === undefined) return [];
    const [, currency, , partner] = leg;
    if (changed.some((each) => each.partner === partner && each.currency === currency)) return [];
    return [{ partner, currency, change: { ...nothing } }];
  });
  return [...changed, ...taken]
    .map((each) => ({ partner: each.partner, currency: each.currency, points: spentOf(moving, each) }))
    .filter(({ points }) => points !== 0);
}
