/**
 * PURE. One member's gift: its reference, what is kept of it, and why it was given.
 *
 * The reference is made of program, promotion, occurrence and member, and the books know it for ever: however often a gift
 * is tried, by whomever and after whatever, it is given once. It has the form of a UUIDv7 whose time is the occurrence's
 * day, so that the references of a run stand together in the books' index.
 */
import { hash } from 'node:crypto';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import type { WrittenAward } from '../judge.ts';
import type { Program } from '../program.ts';
import { momentOf } from '../rules/calendar.ts';
import { compileExpiry, compilePending } from '../rules/expiry.ts';
import type { Award } from '../rules/types.ts';
import type { GivingPromotion } from './days.ts';

/** What makes a gift one that cannot come twice. */
export interface Occasion {
  readonly program: number;
  readonly promotion: string;
  /** Such as `2026-11-08`. */
  readonly occurrence: string;
}

export function referenceOfGift({ program, promotion, occurrence }: Occasion, member: MemberNumber): string {
  const time = Math.max(0, Date.parse(occurrence)).toString(16).padStart(12, '0');
  const digest = hash('sha256', `gift\0${program}\0${promotion}\0${occurrence}\0${member}`, 'hex');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${digest.slice(0, 3)}-8${digest.slice(3, 6)}-${digest.slice(6, 18)}`;
}

/** What is kept of a gift; its `body` says what it was for. */
export interface GiftRequest {
  readonly body: { readonly reference: string; readonly give: Omit<Occasion, 'program'> };
  readonly awards: readonly WrittenAward[];
  readonly programVersion: number;
}

/** What the award may depend on of a member. */
export interface Given {
  readonly birthMonth: number | undefined;
  readonly tiers: readonly string[];
}

/** The award of a promotion to a member. */
export type AwardOf = (to: Given, now: EpochMs) => Award;

function expiryOf(promotion: GivingPromotion, program: Program) {
  return promotion.expiry ?? program.currencyByCode.get(promotion.currency)?.expiry ?? { kind: 'never' };
}

/** Whether the award differs from tier to tier. */
export function dependsOnTier(promotion: GivingPromotion, program: Program): boolean {
  return expiryOf(promotion, program).kind === 'tier';
}

/** Whether the award differs by month of birth. */
export function dependsOnBirthday(promotion: GivingPromotion, program: Program): boolean {
  const expiry = expiryOf(promotion, program);
  const kinds = expiry.kind === 'tier' ? [expiry.otherwise, ...Object.values(expiry.tiers)] : [expiry];
  return kinds.some(({ kind }) => kind === 'birthday_month');
}

/** The points of an occurrence: earned on its day, posted when they are given. */
export function awardsOf(promotion: GivingPromotion, program: Program, dueAt: EpochMs): AwardOf {
  const { timeZone } = program;
  const endOf = compileExpiry(expiryOf(promotion, program), timeZone);
  const occurred = momentOf(dueAt, timeZone).date;
  const availableAt = compilePending(promotion.pending, timeZone)(occurred);
  return ({ birthMonth, tiers }, now) => {
    const birthday = birthMonth === undefined ? undefined : `--${String(birthMonth).padStart(2, '0')}-01`;
    const { date: posted } = momentOf(now, timeZone);
    return {
      currency: promotion.currency,
      points: promotion.give.points,
      rule: promotion.name,
      funder: promotion.funder,
      availableAt,
      // Points that wait for an event end on the day they would have to be released by.
      expiresAt:
        promotion.pending?.kind === 'event' ? availableAt : endOf({ occurred, posted }, { birthday, tiers }),
    };
  };
}

/** The input of `accrue.lua` for an award. */
export function inputOf(program: Program, award: Award): string {
  const currency = program.currencyByCode.get(award.currency)!.number;
  const party = program.definition.numbers.funders[award.funder] ?? 0;
  return `{"awards":[[${currency},${award.points},${award.expiresAt},${award.availableAt},${party}]]}`;
}

/** Why a gift was given; undefined for any other operation. */
export function explainGift(program: Program, recorded: Recorded): Record<string, unknown> | undefined {
  const { body, awards, programVersion } = recorded.request as Partial<GiftRequest>;
  const award = awards?.[0];
  if (recorded.kind !== 'accrual' || !body?.give || !award) return undefined;
  const { promotion, occurrence } = body.give;
  return {
    programVersion,
    judgedAt: new Date(recorded.occurredAt).toISOString(),
    rules: [
      {
        rule: promotion,
        outcome: 'applied',
        conditions: [
          {
            condition: `a member on ${occurrence}, selected by the promotion`,
            holds: true,
            detail: `given once for this day of the promotion, in the zone ${program.timeZone}`,
          },
        ],
        base: award.points,
        rounding: 'floor',
        caps: [],
        points: award.points,
      },
    ],
  };
}
