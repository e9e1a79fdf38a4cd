/**
 * PURE. What judging a receipt is made of: the subject, what is known of the member, and what comes out. The shapes between
 * rules, wallet scripts and explanations.
 */
import type { EpochMs, Points } from '#src/values.ts';
import type { Rounding } from '../file/basics-schema.ts';

export interface PurchaseLine {
  readonly line: string | number;
  readonly sku?: string | undefined;
  readonly category?: string | undefined;
  readonly brand?: string | undefined;
  /** Decimal text such as "32.150"; absent = one. */
  readonly quantity?: string | undefined;
  readonly unit?: string | undefined;
  /** Minor units. */
  readonly amount: number;
}

export interface Payment {
  readonly means: string;
  readonly amount: number;
}

export interface Purchase {
  readonly order?: string | undefined;
  readonly store?: string | undefined;
  readonly terminal?: string | undefined;
  readonly channel?: string | undefined;
  readonly currency: string;
  readonly lines: readonly PurchaseLine[];
  readonly payments?: readonly Payment[] | undefined;
  /** Codes of promotions that were shown with the receipt. */
  readonly codes?: readonly string[] | undefined;
}

export interface Flight {
  readonly carrier: string;
  readonly operatingCarrier?: string | undefined;
  readonly flightNumber: string;
  readonly date: string;
  readonly from: string;
  readonly to: string;
  readonly distanceMiles?: number | undefined;
  readonly bookingClass: string;
  readonly ticket?: string | undefined;
  readonly fare?: { readonly amount: number; readonly currency: string } | undefined;
}

export interface Activity {
  readonly type: string;
  readonly attributes?: Readonly<Record<string, string>> | undefined;
}

/** One of the three. */
export interface Subject {
  readonly purchase?: Purchase | undefined;
  readonly flight?: Flight | undefined;
  readonly activity?: Activity | undefined;
}

/** What rules may know of a member. A quote without a member knows nothing: `isKnown` is false. */
export interface JudgedMember {
  readonly isKnown: boolean;
  /** Of the program's first ladder, when it happened. */
  readonly tier?: string | undefined;
  /** Of all its ladders; absent where `tier` is all. */
  readonly tiers?: readonly string[] | undefined;
  readonly segments: readonly string[];
  /** "1990-05-17" or "--05-17". */
  readonly birthday?: string | undefined;
  readonly joinedAt?: EpochMs | undefined;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** Promotions that were activated by their code. */
  readonly codes: readonly string[];
}

const noTiers: readonly string[] = [];

/** The tiers of a member on all ladders, the first ladder's first. */
export function tiersOf({ tier, tiers }: Pick<JudgedMember, 'tier' | 'tiers'>): readonly string[] {
  return tiers ?? (tier === undefined ? noTiers : [tier]);
}

/** What a table by tier says for a member: of the first of its tiers that stands in it. */
export function byTierOf<Value>(
  table: ReadonlyMap<string, Value>,
  member: Pick<JudgedMember, 'tier' | 'tiers'>,
): Value | undefined {
  for (const tier of tiersOf(member)) {
    const value = table.get(tier);
    if (value !== undefined) return value;
  }
  return undefined;
}

export const nobody: JudgedMember = { isKnown: false, segments: [], attributes: {}, codes: [] };

/**
 * A number that the wallet keeps for a member: how much of a cap is used, how many purchases there were. Counter numbers are
 * given by name when a version is applied; `period` is 20261122 for a day, 202647 for an ISO week, 202611, 2026, 0 for a
 * lifetime, and for an order or a ticket the first 48 bits of its hash.
 */
export interface CounterPlace {
  readonly counter: number;
  readonly period: number;
}

/** How far an award may raise a counter; checked and counted in the script. */
export interface Limit extends CounterPlace {
  readonly pointsMax: Points;
  /** All of the award or nothing. */
  readonly isAllOrNothing: boolean;
}

/** Points that a rule grants; times are epoch ms, 0 = none. */
export interface Award {
  readonly currency: string;
  readonly points: Points;
  readonly rule: string;
  readonly funder: string;
  readonly availableAt: EpochMs;
  readonly expiresAt: EpochMs;
  readonly limits?: readonly Limit[];
  readonly budget?: string;
}

/** The value of a counter that a judgement relied on: it holds while the counter, before this operation, is in the range. */
export interface Assumption extends CounterPlace {
  readonly from: number;
  readonly to: number;
}

/** What the operation adds to counters beside the limits of its awards. */
export interface Count extends CounterPlace {
  readonly by: number;
}

export type RuleOutcome = 'applied' | 'not_matched' | 'capped' | 'excluded' | 'failed';

/** A condition of a rule that was looked at, and what would have to differ where it did not hold. */
export interface ConditionView {
  readonly condition: string;
  readonly holds: boolean;
  readonly detail?: string;
}

export interface RuleView {
  readonly rule: string;
  readonly outcome: RuleOutcome;
  readonly conditions: readonly ConditionView[];
  /** What was counted: minor units, units in millionths, miles. */
  readonly base: number;
  readonly rounding: Rounding;
  readonly caps: readonly { readonly period: string; readonly pointsMax: Points; readonly cut: Points }[];
  readonly points: Points;
  readonly detail?: string;
}

export interface Judgement {
  readonly awards: readonly Award[];
  readonly counts: readonly Count[];
  readonly assumptions: readonly Assumption[];
  /** Rules that failed while they ran; nothing else is refused for them. */
  readonly failures: readonly { readonly rule: string; readonly reason: string }[];
}

/** The last known value of a counter; undefined where it was never heard of. */
export type CounterValues = (place: CounterPlace) => number | undefined;
