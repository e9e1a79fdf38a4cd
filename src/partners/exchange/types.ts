/** PURE. What an exchange is: its states, its terms, and the words of its history. `saga.ts` says what the states mean. */
import type { ErrorCode } from '#src/errors.ts';
import type { Quote } from '#src/partners/contracts/arithmetic.ts';
import type { Direction } from '#src/partners/contracts/types.ts';
import type { EpochMs, MemberNumber, OperationHex, Points } from '#src/values.ts';

export const states = [
  'quoted',
  'holding',
  'ready',
  'calling',
  'waiting',
  'capturing',
  'releasing',
  'crediting',
  'undoing',
  'in_review',
  'completed',
  'refused',
  'reversed',
] as const;
export type State = (typeof states)[number];

/**
 * What was quoted; and, once the exchange has begun, the version of the contract that was in force then. It is billed by that version,
 * whenever it ends.
 */
export type Terms = Omit<Quote, 'status'> & { readonly contract?: number };

/** The problem that a refusal is to its caller. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail?: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** What is settled when an exchange is quoted. */
export interface Quoted {
  readonly exchange: OperationHex;
  readonly program: number;
  readonly member: MemberNumber;
  /** In the ledger its party. */
  readonly partner: number;
  readonly direction: Direction;
  /** The program's own currency, and what moves in it here. */
  readonly currency: number;
  readonly ownPoints: Points;
  readonly partnerCurrency: string;
  readonly partnerPoints: Points;
  /** The member's account at the partner. */
  readonly account: string;
  readonly terms: Terms;
  readonly quotedAt: EpochMs;
  readonly quoteExpiresAt: EpochMs;
  /** ISO, in the program's zone. */
  readonly day: string;
  /** Keyed hash of the card that the member showed; of a quote, until it is used. */
  readonly card?: string | undefined;
}

/** Who asked for it, and how. */
export interface Asked {
  readonly client: number;
  readonly referenceKey: string;
  readonly fingerprint: string;
  readonly request: Readonly<Record<string, unknown>>;
}

export interface Exchange extends Quoted {
  readonly asked: Asked | undefined;
  /** What the partner is told that it happened at: the same in every send. */
  readonly occurredAt: EpochMs;
  readonly state: State;
  readonly reviewOf: State | undefined;
  readonly refusal: Refusal | undefined;
  /** Something was sent of which nobody knows what became. */
  readonly isInDoubt: boolean;
  readonly tries: number;
  readonly hold: OperationHex | undefined;
  /** The capture or the credit here. */
  readonly moved: OperationHex | undefined;
  readonly partnerOperation: string | undefined;
  readonly wasSent: boolean;
  readonly checks: number;
  readonly createdAt: EpochMs;
}

export type Action =
  | 'begin'
  | 'hold'
  | 'call'
  | 'inquire'
  | 'capture'
  | 'release'
  | 'credit'
  | 'undo'
  | 'cancel'
  | 'review'
  | 'resolve'
  | 'check';

export interface HistoryStep {
  readonly at: EpochMs;
  readonly endedAt: EpochMs | undefined;
  readonly action: Action;
  readonly outcome: string;
  readonly detail: Readonly<Record<string, unknown>> | undefined;
}

export const publicStatus = {
  quoted: 'quoted',
  holding: 'pending',
  ready: 'pending',
  calling: 'pending',
  waiting: 'pending',
  capturing: 'pending',
  releasing: 'pending',
  crediting: 'pending',
  undoing: 'pending',
  in_review: 'in_review',
  completed: 'completed',
  refused: 'refused',
  reversed: 'reversed',
} as const satisfies Record<State, string>;

const ended: ReadonlySet<State> = new Set(['completed', 'refused', 'reversed']);

/** Nothing will happen to it any more. */
export function isEnded({ state }: Pick<Exchange, 'state'>): boolean {
  return ended.has(state);
}

/** Its points have gone back, or are on their way: a partner that has done it after all contradicts that. */
export function isGivenUp({ state }: Pick<Exchange, 'state'>): boolean {
  return state === 'releasing' || state === 'refused' || state === 'reversed';
}

export function exchangeId(exchange: OperationHex): string {
  return `exc_${exchange}`;
}

export function parseExchangeId(id: string): OperationHex | undefined {
  return /^exc_([0-9a-f]{32})$/.exec(id)?.[1] as OperationHex | undefined;
}

/** What is sent to the partner is named so for ever. */
export function partnerReference(exchange: OperationHex): string {
  return exchangeId(exchange);
}

/** Which movement at the partner an exchange is: points that go out are given there, those that come in are taken there. */
export function partnerKind({ direction }: Pick<Quoted, 'direction'>): 'accrual' | 'redemption' {
  return direction === 'out' ? 'accrual' : 'redemption';
}

/** The reference of taking it back there. */
export function undoReference(exchange: OperationHex): string {
  return `${partnerReference(exchange)}/undo`;
}

/**
 * Whether a partner that says so has taken back exactly what an exchange has done there. None at all is as good where it has never
 * said that it has done it: then it never will.
 */
export function isTakenBack(
  { partnerPoints, partnerCurrency, partnerOperation }: Exchange,
  { points, currency }: { readonly points: number; readonly currency: string },
): boolean {
  // Of what never arrived the partner was not told in which currency it would have been.
  if (points === 0) return partnerOperation === undefined;
  return points === partnerPoints && currency === partnerCurrency;
}
