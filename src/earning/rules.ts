/**
 * PURE. (purchase, rule set, time) → awards and an explanation. Reads no clock, does no I/O; integers only.
 *
 * Points of a rule are `points` for each whole `perMinorUnits` of the receipt's eligible total, rounded down once a
 * receipt. What was paid with points or a gift card comes off the lines in proportion before rules see them, so those
 * parts earn nothing.
 */
import { DateTime } from 'luxon';
import { Problem } from '#src/errors.ts';
import type { EpochMs, Points } from '#src/values.ts';
import type { Earn } from './file/earning-schema.ts';
import type { Definition, Program } from './program.ts';

export interface PurchaseLine {
  readonly line: string | number;
  readonly amount: number;
}

export interface Payment {
  readonly means: string;
  readonly amount: number;
}

export interface Purchase {
  readonly currency: string;
  readonly lines: readonly PurchaseLine[];
  readonly payments?: readonly Payment[] | undefined;
}

/** Points that a rule grants; times are epoch ms, 0 = none. */
export interface Award {
  readonly currency: string;
  readonly points: Points;
  readonly rule: string;
  readonly funder: string;
  readonly availableAt: EpochMs;
  readonly expiresAt: EpochMs;
}

export interface RuleExplanation {
  readonly rule: string;
  readonly outcome: 'applied' | 'not_matched';
  readonly base: number;
  readonly rounding: 'floor';
  readonly points: Points;
}

export interface Evaluation {
  readonly awards: readonly Award[];
  readonly rules: readonly RuleExplanation[];
}

type EarnByAmount = Extract<Earn, { by: 'amount' }>;

const excludedMeans = new Set(['points', 'gift_card']);

/** Minor units of the receipt that earn: its lines less what points and gift cards paid, never below zero. */
export function eligibleTotal(purchase: Purchase): bigint {
  let total = 0n;
  for (const line of purchase.lines) total += BigInt(line.amount);
  let excluded = 0n;
  for (const payment of purchase.payments ?? [])
    if (excludedMeans.has(payment.means)) excluded += BigInt(payment.amount);
  return total > excluded ? total - excluded : 0n;
}

/** floor(base × points / perMinorUnits), exactly. */
export function pointsFor(rule: Pick<EarnByAmount, 'points' | 'perMinorUnits'>, base: bigint): Points {
  const points = Number((base / BigInt(rule.perMinorUnits)) * BigInt(rule.points));
  if (!Number.isSafeInteger(points))
    throw new Problem('balance_limit', 'the receipt would earn more points than can be counted');
  return points;
}

/** The first instant at which points valid "through N days later" no longer count, in the program's zone. */
export function expiryAfterDays(from: EpochMs, days: number, timeZone: string): EpochMs {
  return DateTime.fromMillis(from, { zone: timeZone })
    .startOf('day')
    .plus({ days: days + 1 })
    .toMillis();
}

function availableAfterDays(from: EpochMs, days: number, timeZone: string): EpochMs {
  return DateTime.fromMillis(from, { zone: timeZone }).startOf('day').plus({ days }).toMillis();
}

/** What a base amount earns under every rule of a definition. */
export function evaluate(
  { timeZone }: Pick<Program, 'timeZone'>,
  definition: Definition,
  base: bigint,
  occurredAt: EpochMs,
): Evaluation {
  const awards: Award[] = [];
  const rules: RuleExplanation[] = [];
  for (const rule of definition.rules) {
    if (rule.earn.by !== 'amount') continue;
    const points = pointsFor(rule.earn, base);
    rules.push({
      rule: rule.name,
      outcome: points > 0 ? 'applied' : 'not_matched',
      base: Number(base),
      rounding: 'floor',
      points,
    });
    if (points === 0) continue;
    awards.push({
      currency: rule.currency,
      points,
      rule: rule.name,
      funder: rule.funder,
      availableAt:
        rule.pending?.kind === 'days' ? availableAfterDays(occurredAt, rule.pending.days, timeZone) : 0,
      expiresAt: rule.expiry?.kind === 'days' ? expiryAfterDays(occurredAt, rule.expiry.days, timeZone) : 0,
    });
  }
  return { awards, rules };
}

/** A funder's number in the ledger. */
export function partyOf(definition: Definition, funder: string): number {
  const { funders } = definition.numbers;
  const party = Object.hasOwn(funders, funder) ? funders[funder] : undefined;
  if (party === undefined)
    throw new Problem('validation_failed', `the program has no funder ${funder}`, {
      errors: [{ pointer: '/funder', detail: 'unknown funder' }],
    });
  return party;
}
