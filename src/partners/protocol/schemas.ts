/**
 * PURE. The protocol between partners, version 1: what is sent and what is answered. Both sides speak it, so that what a
 * partner calls here under `/v1/partner/` is what is called on a partner under its own address, and two engines are
 * partners of each other. Nothing here knows the engine: simulator and conformance run read the same file.
 *
 * Words: the *caller* sends and signs; the *callee* keeps the account that is named. Every movement has a `reference` that its
 * caller made, unique for ever for the caller's key and the kind of movement: the same reference and body get the first
 * answer again, another body is refused with `reference_reused`. Whether a movement has happened is said by `status` in the
 * body, never by the HTTP status alone.
 */
import { z } from 'zod';

const noControls = /^[^\p{Cc}\p{Cs}]*$/u;

const text = (lengthMax: number) =>
  z.string().min(1).max(lengthMax).regex(noControls, 'must not hold control characters');

/** The caller's own name of one movement. */
const reference = text(128);

/** An account at the callee, as the callee gives it out: a member's number or card. `validate` answers its lasting form. */
const account = text(128);

/** A name as it stands on a passport or a ticket, in any order and script: `LI/XIAOMING MR`, `Jürgen Müller`, `李小明`. */
const name = text(128);

/** A one-time code that the member has from the callee and gives to the caller: the proof of who both accounts belong to. */
const code = z.string().regex(/^[0-9A-Za-z-]{6,32}$/, 'is not a one-time code');

const points = z.int().min(1).max(Number.MAX_SAFE_INTEGER);

/** A currency of the callee's program; its main one where none is named. */
const currency = z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, 'is not a currency of a program');

/** RFC 3339 with an offset. */
const instant = z.iso
  .datetime({ offset: true, error: 'is not an RFC 3339 time with an offset' })
  .refine(
    (at) => at >= '1970-01-02' && Date.parse(at) < Date.UTC(10_000, 0, 1),
    'is not between 1970 and 9999',
  );

/** What of the caller's business it is for, such as a flight, a product or an exchange; kept, never judged. */
const purpose = text(128);

export const movementKinds = ['accrual', 'redemption', 'reversal'] as const;
export type MovementKind = (typeof movementKinds)[number];

/** `POST members/validate`: with a code it links both accounts, without one it only compares the name. */
export const validationRequest = z
  .strictObject({
    account,
    name: name.optional(),
    code: code.optional(),
    callerAccount: account
      .optional()
      .meta({ description: "The member's account at the caller; required with a code." }),
  })
  .refine((body) => body.name !== undefined || body.code !== undefined, {
    path: ['name'],
    error: 'is required without a code',
  })
  .refine((body) => body.code === undefined || body.callerAccount !== undefined, {
    path: ['callerAccount'],
    error: 'is required with a code',
  })
  .meta({ id: 'PartnerValidationRequest' });
export type ValidationRequest = z.input<typeof validationRequest>;

/** How a name that was sent stands to the one that is kept. A name that differs is answered as no such member. */
export const nameMatches = ['full', 'initials', 'not_compared'] as const;
export type NameMatch = (typeof nameMatches)[number];

export const validationReply = z
  .object({
    object: z.literal('partnerMember'),
    account: account.meta({ description: 'The lasting form; movements name it.' }),
    status: z.enum(['active', 'suspended', 'closed']),
    name: z.enum(nameMatches),
    linked: z.boolean().meta({ description: 'Whether the caller may take points from the account.' }),
    memberSince: z.iso.date().optional(),
  })
  .meta({ id: 'PartnerMember' });
export type ValidationReply = z.output<typeof validationReply>;

/** `POST accruals`: points are given to the account. Of an account that is not linked the name must fit. */
export const accrualRequest = z
  .strictObject({
    reference,
    account,
    name: name.optional(),
    points,
    currency: currency.optional(),
    occurredAt: instant.meta({
      description: 'When the member earned them; late claims reach as far back as the contract says.',
    }),
    purpose: purpose.optional(),
  })
  .meta({ id: 'PartnerAccrualRequest' });
export type AccrualRequest = z.input<typeof accrualRequest>;

/** `POST redemptions`: points are taken from an account that is linked. */
export const redemptionRequest = z
  .strictObject({
    reference,
    account,
    points,
    currency: currency.optional(),
    occurredAt: instant,
    purpose: purpose.optional(),
  })
  .meta({ id: 'PartnerRedemptionRequest' });
export type RedemptionRequest = z.input<typeof redemptionRequest>;

/**
 * `POST reversals`: takes back all or part of an accrual or a redemption of the same caller, in any number of pieces and in any
 * order, never more than it was. `voidIfMissing` uses the original's reference up where it never arrived, so that a copy that is
 * still on its way moves nothing: the only safe way to give a movement up whose outcome is unknown.
 */
export const reversalRequest = z
  .strictObject({
    reference,
    originalKind: z.enum(['accrual', 'redemption']),
    originalReference: reference,
    account: account
      .optional()
      .meta({ description: 'Required with voidIfMissing; otherwise that of the original.' }),
    points: points.optional().meta({ description: 'All that is left where absent.' }),
    occurredAt: instant,
    voidIfMissing: z.literal(true).optional(),
  })
  .refine((body) => body.voidIfMissing === undefined || body.account !== undefined, {
    path: ['account'],
    error: 'is required with voidIfMissing',
  })
  .meta({ id: 'PartnerReversalRequest' });
export type ReversalRequest = z.input<typeof reversalRequest>;

/** `GET operations?kind=&reference=` */
export const operationQuery = z.strictObject({ kind: z.enum(movementKinds), reference });
export type OperationQuery = z.input<typeof operationQuery>;

export const movementStatuses = ['succeeded', 'pending', 'failed'] as const;
export type MovementStatus = (typeof movementStatuses)[number];

/**
 * What became of a movement: the answer to each of them, and to an inquiry. `pending` says that it will succeed or fail later, and
 * an inquiry tells which; `failed` is for good and has moved nothing. A movement that is refused at once is a problem document.
 */
export const movementReply = z
  .object({
    object: z.literal('partnerOperation'),
    id: text(128).meta({ description: "The callee's name of it." }),
    kind: z.enum(movementKinds),
    reference,
    status: z.enum(movementStatuses),
    account,
    points: z
      .int()
      .min(0)
      .meta({ description: 'Points that were moved; 0 of what was voided before it arrived.' }),
    currency,
    occurredAt: z.iso.datetime({ offset: true }),
    at: z.iso.datetime({ offset: true }).meta({ description: 'When the callee moved them.' }),
    originalReference: reference.optional().meta({ description: 'Of a reversal.' }),
    shortfall: z.int().min(1).optional().meta({
      description: 'Of a reversed accrual: points that the member had spent and now owes the callee.',
    }),
    reversed: z
      .int()
      .min(0)
      .optional()
      .meta({ description: 'Only in an inquiry: how many of the points have been taken back by now.' }),
    reason: text(64).optional().meta({ description: 'The word for why it failed.' }),
  })
  .meta({ id: 'PartnerOperation' });
export type MovementReply = z.output<typeof movementReply>;
