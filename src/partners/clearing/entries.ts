/**
 * PURE. What an operation of the books means between the program and its partners: entries, each with the contract version that
 * it is priced by.
 *
 * An entry has the points of the ledger, with their sign: in the account `partner` positive went to the partner and negative came
 * from it, so what the partner owes is minus the points times the price, whatever the kind. Legs decide, never requests: the sum
 * of a partner's entries in that account is the account, to the point. The request only says by which contract, and under which names.
 */
import { momentOf } from '#src/earning/rules/calendar.ts';
import type { Effect } from '#src/journal.ts';
import { contractAt } from '#src/partners/contracts/arithmetic.ts';
import type { Contract, Partner } from '#src/partners/contracts/types.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { settledPartyOf } from '#src/wallet/lot-party.ts';
import { givesPoints, isBilledLater, spendingOf } from './spending.ts';

export const entryKinds = [
  'accrual',
  'redemption',
  'exchange_in',
  'exchange_out',
  'reversal',
  'correction',
  'cost_share',
  'cost_share_reversal',
  'spent',
  'spent_reversal',
] as const;
export type EntryKind = (typeof entryKinds)[number];

/**
 * Which price of the contract counts: of points given in the partner's name, or of points that went there; none of points that
 * are billed when they are spent.
 */
export type PriceSide = 'issue' | 'redemption' | 'none';

/** All of it. */
export const wholeShare = 10_000;

/** What requests keep that clearing wants to know. */
export interface KeptRequest {
  readonly body?: {
    readonly reference?: string;
    readonly originalReference?: string;
    readonly exchange?: string;
  };
  readonly contract?: number;
  readonly awards?: readonly {
    readonly currency: string;
    readonly points: number;
    readonly rule: string;
    readonly funder: string;
  }[];
}

/** An operation as clearing reads it. */
export interface Booked {
  readonly operation: string;
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly kind: string;
  readonly program: number;
  readonly member: MemberNumber;
  readonly at: EpochMs;
  readonly occurredAt: EpochMs;
  readonly bookedAt: EpochMs;
  readonly request: KeptRequest;
  readonly effect: Pick<Effect, 'legs' | 'given'>;
  /** What it follows from, where that is known. */
  readonly original?: Pick<Booked, 'kind' | 'at' | 'request' | 'effect'> | undefined;
}

export interface Entry {
  readonly operation: string;
  readonly line: number;
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly program: number;
  readonly partner: number;
  /** Version; null where no contract was ever in force. */
  readonly contract: number | null;
  readonly kind: EntryKind;
  readonly price: PriceSide;
  /** Where it stands in the ledger; null where it stands in nobody's name. */
  readonly account: 'partner' | 'issuance' | null;
  readonly party: number;
  readonly reference: string;
  readonly originalReference: string | null;
  readonly member: MemberNumber;
  readonly currency: number;
  readonly points: number;
  /** Hundredths of a percent. */
  readonly share: number;
  readonly rule: string | null;
  readonly at: EpochMs;
  readonly occurredAt: EpochMs;
  readonly bookedAt: EpochMs;
  /** First day of the month in which it happened, in the program's zone. */
  readonly ofPeriod: string;
}

/** Lines of partners' accounts come first, then shares of promotions (`shares.ts`). */
const firstSpentLine = 16_384;

const takesPoints: ReadonlySet<string> = new Set(['redemption', 'exchange_out']);

/** The first day of the month of an instant, such as `2026-11-01`. */
export function monthOf(at: EpochMs, timeZone: string): string {
  return `${momentOf(at, timeZone).date.slice(0, 7)}-01`;
}

/** The contract in force at a time; after the last has ended, the last that began. */
export function pricingContract(
  partner: Pick<Partner, 'contracts'>,
  at: EpochMs,
  version?: number,
): Contract | undefined {
  const named = partner.contracts.find((each) => each.version === version);
  const begun = partner.contracts
    .filter(({ from, until }) => from <= at && (until === null || from < until))
    .toSorted((a, b) => a.from - b.from);
  return named ?? contractAt(partner, at) ?? begun.at(-1);
}

function kindOf(kind: string): EntryKind {
  if (kind === 'correction') return 'correction';
  return givesPoints.has(kind) || takesPoints.has(kind) ? (kind as EntryKind) : 'reversal';
}

function priceOf({ kind, original }: Booked, points: number): PriceSide {
  for (const each of [kind, original?.kind ?? '']) {
    if (givesPoints.has(each)) return 'issue';
    if (takesPoints.has(each)) return 'redemption';
  }
  // A late booking has the sign of what it books; whatever else takes back has the opposite.
  return points < 0 === (kind === 'correction') ? 'issue' : 'redemption';
}

/** What is taken back has the price that it was given at. */
function pricedBy(booked: Booked): { readonly at: EpochMs; readonly version: number | undefined } {
  const { original, kind } = booked;
  const source =
    original !== undefined && !givesPoints.has(kind) && !takesPoints.has(kind) ? original : booked;
  return { at: source.at, version: source.request.contract };
}

function namesOf({ request, original, operation }: Booked): Pick<Entry, 'reference' | 'originalReference'> {
  const { reference, exchange, originalReference } = request.body ?? {};
  const before = original?.request.body;
  return {
    reference: reference ?? exchange ?? operation,
    originalReference: originalReference ?? before?.reference ?? before?.exchange ?? null,
  };
}

/** Sums of the legs in the accounts of partners, by party and currency, in the order of the legs. */
function movedOf({ effect }: Booked): { party: number; currency: number; points: number }[] {
  const sums = new Map<string, { party: number; currency: number; points: number }>();
  for (const leg of effect.legs) {
    if (leg[0] !== 'partner') continue;
    const [, currency, points, party] = leg;
    const sum = sums.get(`${party}.${currency}`);
    if (sum) sum.points += points;
    else sums.set(`${party}.${currency}`, { party, currency, points });
  }
  return [...sums.values()].filter(({ points }) => points !== 0);
}

/** What all entries of an operation have. */
type Head = Pick<
  Entry,
  | 'operation'
  | 'shard'
  | 'epoch'
  | 'seq'
  | 'program'
  | 'member'
  | 'at'
  | 'occurredAt'
  | 'bookedAt'
  | 'reference'
  | 'originalReference'
  | 'share'
  | 'rule'
  | 'ofPeriod'
>;

function headOf(booked: Booked, timeZone: string): Head {
  const { operation, shard, epoch, seq, program, member, at, occurredAt, bookedAt } = booked;
  return {
    ...{ operation, shard, epoch, seq, program, member, at, occurredAt, bookedAt },
    ...namesOf(booked),
    share: wholeShare,
    rule: null,
    ofPeriod: monthOf(at, timeZone),
  };
}

/** What stands in partners' accounts. */
function accountEntries(
  booked: Booked,
  moved: ReturnType<typeof movedOf>,
  partners: ReadonlyMap<number, Partner>,
  head: Head,
): Entry[] {
  const priced = pricedBy(booked);
  return moved.flatMap(({ party, currency, points }, line): Entry[] => {
    const partner = partners.get(party);
    if (!partner) return [];
    return [
      {
        ...head,
        ...{ line, currency, points, party, partner: party, account: 'partner' },
        contract: pricingContract(partner, priced.at, priced.version)?.version ?? null,
        kind: kindOf(booked.kind),
        price: isBilledLater(booked, party, currency) ? 'none' : priceOf(booked, points),
      },
    ];
  });
}

/**
 * What is billed because it is spent, by the contract in force then, and what comes back by that of when it was spent; where a partner takes
 * spent points back nobody knows when that was, and the contract in force counts.
 */
function spentEntries(
  booked: Booked,
  spent: ReturnType<typeof spendingOf>,
  partners: ReadonlyMap<number, Partner>,
  head: Head,
): Entry[] {
  const { at, original } = booked;
  const spentAt = original && !givesPoints.has(original.kind) ? original.at : at;
  return spent.flatMap(({ partner: number, currency, points }, i): Entry[] => {
    const partner = partners.get(number);
    if (!partner) return [];
    return [
      {
        ...head,
        ...{ line: firstSpentLine + i, partner: number, currency, price: 'issue', account: null },
        points: -points,
        party: settledPartyOf(number),
        contract: pricingContract(partner, points > 0 ? at : spentAt)?.version ?? null,
        kind: points > 0 ? 'spent' : 'spent_reversal',
      },
    ];
  });
}

/** The entries of an operation, without those whose party is no partner: these are counted. */
export function entriesOf(
  booked: Booked,
  partners: ReadonlyMap<number, Partner>,
  timeZone: string,
): { readonly entries: readonly Entry[]; readonly unknown: number } {
  const head = headOf(booked, timeZone);
  const [moved, spent] = [movedOf(booked), spendingOf(booked)];
  const entries = [
    ...accountEntries(booked, moved, partners, head),
    ...spentEntries(booked, spent, partners, head),
  ];
  return { entries, unknown: moved.length + spent.length - entries.length };
}
