/**
 * PURE. A movement between two programs as both of them know it, whoever keeps the account: who made it, under which reference,
 * what it moved, when it happened, and what became of it. Names and accounts of members are no part of it, so that what two
 * partners compare is about nobody.
 *
 * Points and currency are those of the side that keeps the account, as the protocol has them. Times are whole seconds.
 */
import { type MovementKind, movementKinds, movementStatuses } from '#src/partners/protocol/schemas.ts';

export type { MovementKind };
export { movementKinds, movementStatuses };
export type MovementStatus = (typeof movementStatuses)[number];

/** Who called: this program, or the partner. */
export const makers = ['us', 'them'] as const;
export type Maker = (typeof makers)[number];

export interface Movement {
  readonly madeBy: Maker;
  readonly kind: MovementKind;
  /** The caller's own, unique for it and the kind. */
  readonly reference: string;
  readonly points: number;
  readonly currency: string;
  /** Seconds since 1970. */
  readonly occurredAt: number;
  readonly status: MovementStatus;
}

/** Whether points have moved, or may have: what failed is nothing that two sides could differ about, unless one says otherwise. */
export function moves({ status, points }: Pick<Movement, 'status' | 'points'>): boolean {
  return status !== 'failed' && points > 0;
}

/** From `from` to before `until`, seconds since 1970. */
export interface Period {
  readonly from: number;
  readonly until: number;
}

/** `2026-11-22T10:00:00Z` */
export function instantText(seconds: number): string {
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19)}Z`;
}

const instantForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

/** Seconds since 1970; undefined where the text is no instant in this one form. */
export function secondsOf(text: string): number | undefined {
  if (!instantForm.test(text)) return undefined;
  const seconds = Date.parse(text) / 1_000;
  // The 31st of February is the 3rd of March to some parsers.
  return Number.isInteger(seconds) && instantText(seconds) === text ? seconds : undefined;
}

const daySeconds = 86_400;

/** The day of UTC of a text such as `2026-11-22`. */
export function dayPeriod(day: string): Period | undefined {
  const from = /^\d{4}-\d\d-\d\d$/.test(day) ? secondsOf(`${day}T00:00:00Z`) : undefined;
  return from === undefined ? undefined : { from, until: from + daySeconds };
}
