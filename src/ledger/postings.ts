/**
 * PURE. Turns journal records into the rows of the books. A record whose legs do not sum to zero, or that names an
 * account, lot or hold that cannot be, is refused with the reason; the writer then puts it into quarantine under its
 * number and freezes its member. Nothing here does I/O or reads a clock.
 */
import type { Effect, HeldLeg, JournalRecord, Leg, WalletLeg } from '#src/journal.ts';
import { parseEffect } from '#src/journal.ts';
import type { MemberNumber, OperationKind } from '#src/values.ts';
import type { Account } from './accounts.ts';

export interface EntryRow {
  readonly line: number;
  readonly account: Account;
  readonly currency: number;
  readonly points: number;
  readonly lot: number | null;
  readonly hold: string | null;
  readonly party: number | null;
}

export interface LotDelta {
  readonly member: MemberNumber;
  readonly currency: number;
  readonly lot: number;
  points: number;
  readonly party: number;
  readonly expiresAt: number;
  readonly availableAt: number;
}

/** A record with the entries that it makes. */
export interface Posting {
  readonly record: JournalRecord;
  readonly effect: Effect;
  readonly entries: readonly EntryRow[];
}

/** A reason is read in a table; what a schema says of a union can be pages. */
const reasonMax = 300;

export class UnbalancedRecord extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'UnbalancedRecord';
  }
}

function entryOf(leg: Leg, line: number): EntryRow {
  const [account, currency, points] = leg;
  switch (account) {
    case 'wallet':
      return { line, account, currency, points, lot: leg[3], hold: null, party: leg[4] };
    case 'held':
      return { line, account, currency, points, lot: leg[3], hold: leg[4], party: null };
    default:
      return { line, account, currency, points, lot: null, hold: null, party: leg[3] };
  }
}

/** Whether a request has the outside of an object. The json column checks the inside; a record it refuses is isolated. */
function isObjectText(request: string): boolean {
  return request.startsWith('{') && request.endsWith('}');
}

/** Sums of legs by currency. */
function sumsOf(legs: readonly Leg[]): Map<number, number> {
  const sums = new Map<number, number>();
  for (const leg of legs) sums.set(leg[1], (sums.get(leg[1]) ?? 0) + leg[2]);
  return sums;
}

/** The entries of a record. Throws UnbalancedRecord with the reason when the legs cannot be booked. */
export function postingOf(record: JournalRecord): Posting {
  let effect: Effect;
  try {
    effect = parseEffect(record.effectText);
    if (!isObjectText(record.request)) throw new Error('the request is not an object');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UnbalancedRecord(
      `effect or request cannot be read: ${why.replaceAll(/\s+/g, ' ').slice(0, reasonMax)}`,
    );
  }
  for (const leg of effect.legs) if (leg[2] === 0) throw new UnbalancedRecord('a leg of 0 points');
  for (const [currency, sum] of sumsOf(effect.legs)) {
    if (sum !== 0) throw new UnbalancedRecord(`legs in currency ${currency} sum to ${sum}, not 0`);
  }
  return { record, effect, entries: effect.legs.map(entryOf) };
}

/** A request that is no JSON object cannot stand in the books; what it was stands in quarantine. */
function objectOrEmpty(request: string): string {
  try {
    const value: unknown = JSON.parse(request);
    return typeof value === 'object' && value !== null && isObjectText(request) ? request : '{}';
  } catch {
    return '{}';
  }
}

/**
 * The entries of a record that does not balance: its readable legs and, for each currency, the difference in `suspense`.
 * Where not even the legs can be read it has none. Its number stays dense either way.
 */
export function suspendedPosting(record: JournalRecord): Posting {
  const empty: Effect = { legs: [], balances: [] };
  // Nothing follows from a record without legs: the hold that it may have settled is still open in the books.
  const quarantined = { ...record, origins: [], request: '{}', effectText: JSON.stringify(empty) };
  let effect: Effect;
  try {
    effect = parseEffect(record.effectText);
  } catch {
    return { record: quarantined, effect: empty, entries: [] };
  }
  const legs = effect.legs.filter((leg) => leg[2] !== 0);
  for (const [currency, sum] of sumsOf(legs)) if (sum !== 0) legs.push(['suspense', currency, -sum, 0]);
  const balanced = { ...effect, legs };
  return {
    record: { ...record, request: objectOrEmpty(record.request), effectText: JSON.stringify(balanced) },
    effect: balanced,
    entries: legs.map(entryOf),
  };
}

/** What a record is without everything that its caller wrote. */
export function bare(
  record: JournalRecord,
): Pick<JournalRecord, 'order' | 'origins' | 'occurredAt' | 'request'> {
  return { order: '', origins: [], occurredAt: record.at, request: '{}' };
}

/** A readable record whose legs PostgreSQL refuses to store: only its number, its member and its time are booked. */
export function unwritablePosting(record: JournalRecord): Posting {
  const effect: Effect = { legs: [], balances: [] };
  return { record: { ...record, ...bare(record), effectText: JSON.stringify(effect) }, effect, entries: [] };
}

export function walletLegs(effect: Effect): WalletLeg[] {
  return effect.legs.filter((leg): leg is WalletLeg => leg[0] === 'wallet');
}

export function heldLegs(effect: Effect): HeldLeg[] {
  return effect.legs.filter((leg): leg is HeldLeg => leg[0] === 'held');
}

/** Points that an accrual gave, by currency number: what was left of its awards under their limits. */
export function issuedBy({ legs }: Pick<Effect, 'legs'>): [currency: number, points: number][] {
  const sums = new Map<number, number>();
  for (const [account, currency, points] of legs)
    if (account === 'issuance') sums.set(currency, (sums.get(currency) ?? 0) - points);
  return [...sums];
}

/** What an operation moved to a partner (positive) or from it, by currency number; undefined where it moved nothing. */
export function movedToPartner({
  legs,
}: Pick<Effect, 'legs'>): { party: number; parts: [number, number][] } | undefined {
  const sums = new Map<number, number>();
  let party: number | undefined;
  for (const leg of legs) {
    if (leg[0] !== 'partner') continue;
    party = leg[3];
    sums.set(leg[1], (sums.get(leg[1]) ?? 0) + leg[2]);
  }
  return party === undefined ? undefined : { party, parts: [...sums] };
}

/** Changes of lots over a batch, one row a lot however often it was touched. */
export function lotDeltas(postings: readonly Posting[]): LotDelta[] {
  const deltas = new Map<string, LotDelta>();
  for (const { record, effect } of postings) {
    for (const [, currency, points, lot, party, expiresAt, availableAt] of walletLegs(effect)) {
      const key = `${record.member}.${currency}.${lot}`;
      const delta = deltas.get(key);
      if (delta) delta.points += points;
      else deltas.set(key, { member: record.member, currency, lot, points, party, expiresAt, availableAt });
    }
  }
  return [...deltas.values()];
}

export interface PointsMoved {
  readonly program: number;
  readonly kind: OperationKind;
  points: number;
}

/** What was moved over a batch, one row a program and kind. Entries sum to zero, so the positive ones are what moved. */
export function pointsMoved(postings: readonly Posting[]): PointsMoved[] {
  const sums = new Map<string, PointsMoved>();
  for (const { record, entries } of postings) {
    let points = 0;
    for (const entry of entries) points += Math.max(0, entry.points);
    if (points === 0) continue;
    const { program, kind } = record;
    const key = `${program}.${kind}`;
    const sum = sums.get(key);
    if (sum) sum.points += points;
    else sums.set(key, { program, kind, points });
  }
  return [...sums.values()];
}

export interface DebtDelta {
  readonly member: MemberNumber;
  readonly currency: number;
  points: number;
}

/** Changes of what members owe over a batch; positive where they owe more. */
export function debtDeltas(postings: readonly Posting[]): DebtDelta[] {
  const deltas = new Map<string, DebtDelta>();
  for (const { record, effect } of postings) {
    for (const leg of effect.legs) {
      if (leg[0] !== 'debt') continue;
      const key = `${record.member}.${leg[1]}`;
      const delta = deltas.get(key);
      if (delta) delta.points -= leg[2];
      else deltas.set(key, { member: record.member, currency: leg[1], points: -leg[2] });
    }
  }
  return [...deltas.values()];
}

export interface BalanceDelta {
  readonly shard: number;
  readonly program: number;
  readonly currency: number;
  readonly account: Account;
  readonly party: number;
  points: bigint;
}

/** Changes of account balances over a shard's batch, one row an account. */
export function balanceDeltas(shard: number, postings: readonly Posting[]): BalanceDelta[] {
  const deltas = new Map<string, BalanceDelta>();
  for (const { record, entries } of postings) {
    for (const { account, currency, points, party } of entries) {
      const key = `${record.program}.${currency}.${account}.${party ?? 0}`;
      const delta = deltas.get(key);
      if (delta) delta.points += BigInt(points);
      else {
        const sum = { points: BigInt(points), party: party ?? 0 };
        deltas.set(key, { shard, program: record.program, currency, account, ...sum });
      }
    }
  }
  return [...deltas.values()];
}

export type HoldChange =
  | {
      readonly hold: string;
      readonly status: 'held';
      readonly member: MemberNumber;
      readonly expiresAt: number;
      readonly lots: string;
    }
  | {
      readonly hold: string;
      readonly status: 'captured' | 'released' | 'expired';
      readonly resolvedBy: string;
    };

/** Parts of a hold as a script keeps them: [[currency, lot, points, expiresAt, availableAt, party], …]. */
function holdParts(effect: Effect): string {
  const parts = heldLegs(effect).map(([, currency, points, lot, , party, expiresAt, availableAt]) => [
    currency,
    lot,
    points,
    expiresAt,
    availableAt,
    party,
  ]);
  return JSON.stringify(parts);
}

/** What the record opened or resolved among the holds. */
export function holdChanges({ record, effect }: Posting): HoldChange[] {
  switch (record.kind) {
    case 'hold':
      // A quarantined record may hold nothing.
      if (heldLegs(effect).length === 0) return [];
      return [
        {
          hold: record.operation,
          status: 'held',
          member: record.member,
          expiresAt: effect.expiresAt ?? 0,
          lots: holdParts(effect),
        },
      ];
    case 'capture':
    case 'exchange_out':
    case 'release':
      return record.origins.map((hold) => ({
        hold,
        status: record.kind === 'release' ? ('released' as const) : ('captured' as const),
        resolvedBy: record.operation,
      }));
    default: {
      const status = record.kind === 'expiry' ? ('expired' as const) : ('released' as const);
      return (effect.holds ?? []).map((hold) => ({ hold, status, resolvedBy: record.operation }));
    }
  }
}
