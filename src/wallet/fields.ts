/** The fields that movements share: their schemas, and the bounds on time, store and amount that a key sets. */
import { z } from 'zod';
import { presentVersion, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller } from '#src/http/route.ts';
import { clockIsBelieved } from '#src/platform/clock.ts';
import { type EpochMs, type Points, pointsMax } from '#src/values.ts';
import type { Durability } from './operations.ts';

const controlFree = /^[^\p{Cc}\p{Cs}]*$/u;

/** Text without control characters or lone surrogates. */
export const textOf = (lengthMax: number) =>
  z.string().min(1).max(lengthMax).regex(controlFree, 'must not hold control characters');

export const referenceField = textOf(128).meta({
  description: "The caller's own id of this attempt: a UUIDv7, or store/terminal/business-date/receipt",
  examples: ['0197f3a2-5d1c-7c3e-9f00-2b6f0a4d9e11'],
});
export const orderField = textOf(64);
export const durabilityField = z.enum(['journal', 'ledger']);
export const metadataField = z
  .record(textOf(64), z.string().max(256).regex(controlFree, 'must not hold control characters'))
  .refine((pairs) => Object.keys(pairs).length <= 20, 'at most 20 pairs');
export const pointsField = z.int().min(1).max(pointsMax);
export const currencyField = z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, 'is not a currency of a program');
const moneyCurrencies = new Set(Intl.supportedValuesOf('currency'));
export const moneyCurrencyField = z
  .string()
  .regex(/^[A-Z]{3}$/, 'is not an ISO 4217 code')
  .refine((code) => moneyCurrencies.has(code), 'is not an ISO 4217 code');
/** Minor units; 0 is valid. */
export const amountField = z.int().min(0).max(pointsMax);
export const quantityField = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,6})?$/, 'is not a decimal number such as "32.150"');

/** Scripts count in milliseconds since 1970 and 0 means none; PostgreSQL and the calendars agree up to 9999. */
const instantMin = Date.UTC(1970, 0, 2);
const instantEnd = Date.UTC(10_000, 0, 1);

/** RFC 3339 with an offset, as an instant. */
export const instantField = z.iso
  .datetime({ offset: true, error: 'is not an RFC 3339 time with an offset' })
  .transform((text) => Date.parse(text))
  .refine((ms) => ms >= instantMin && ms < instantEnd, 'is not a time between 1970 and 9999');

export const moneySchema = z.strictObject({ amount: amountField, currency: moneyCurrencyField });

/** What every movement accepts. */
export const movementFields = {
  reference: referenceField.optional(),
  durability: durabilityField.optional(),
  metadata: metadataField.optional(),
};

export const balancesSchema = z
  .record(z.string(), z.object({ available: z.int(), pending: z.int(), held: z.int(), debt: z.int() }))
  .meta({ id: 'BalancesAfter' });
export const ledgerSchema = z
  .object({ position: z.string(), durability: durabilityField })
  .meta({ id: 'LedgerLevel' });

/** The reference of a movement: in the body or in the header, never two different ones. */
export function referenceOf(
  call: Pick<Call, 'idempotencyKey'>,
  body: { reference?: string | undefined },
): string {
  const { idempotencyKey } = call;
  if (body.reference !== undefined && idempotencyKey !== undefined && body.reference !== idempotencyKey) {
    throw fault('/reference', 'differs from the Idempotency-Key header');
  }
  const reference = body.reference ?? idempotencyKey;
  if (reference === undefined)
    throw fault('/reference', 'is required, here or as the Idempotency-Key header');
  return reference;
}

export function fault(pointer: string, detail: string): Problem {
  return new Problem('validation_failed', `${pointer}: ${detail}`, { errors: [{ pointer, detail }] });
}

export function durabilityOf(
  body: { durability?: Durability | undefined },
  otherwise: Durability,
): Durability {
  return body.durability ?? otherwise;
}

const aheadMsMax = 5 * 60_000;
const dayMs = 86_400_000;

/** Refuses a time that lies ahead or further back than key and program allow. */
export function checkOccurredAt(caller: Caller, occurredAt: EpochMs, pointer = '/occurredAt'): void {
  const now = programNow(caller.program);
  const days = Math.min(
    caller.backdateDaysMax ?? Infinity,
    presentVersion(caller.program).definition.backdateDaysMax ?? Infinity,
  );
  const [isAhead, isTooOld] = [occurredAt > now + aheadMsMax, occurredAt < now - days * dayMs];
  // A refusal is for good; by a wrong clock it would refuse receipts of now, and repeats of what was done.
  if ((isAhead || isTooOld) && !clockIsBelieved()) throw new Problem('clock_skew');
  if (isAhead) {
    throw new Problem('occurred_at_in_future', undefined, {
      errors: [{ pointer, detail: 'lies more than five minutes ahead' }],
    });
  }
  if (isTooOld) {
    throw new Problem('occurred_at_too_old', undefined, {
      errors: [{ pointer, detail: `lies more than ${days} days back` }],
    });
  }
}

/** Refuses a store that the key may not act for. */
export function checkStore(caller: Caller, store: string | undefined): void {
  if (caller.stores === undefined) return;
  if (store === undefined || !caller.stores.includes(store)) throw new Problem('store_not_allowed');
}

/** Refuses a follow-up on a receipt of a store that the key may not act for. */
export function checkOriginalStore(
  caller: Caller,
  original: { readonly request: Readonly<Record<string, unknown>> },
): void {
  const body = original.request.body as { purchase?: { store?: string } } | undefined;
  const store = body?.purchase?.store;
  if (store !== undefined) checkStore(caller, store);
}

/** Refuses a movement over the key's limit. */
export function checkPointsLimit(caller: Caller, points: Points): void {
  const limit = caller.pointsPerMovementMax;
  if (limit !== undefined && points > limit) {
    throw new Problem('limit_exceeded', undefined, { limit, required: points });
  }
}

/** The body as it is compared and kept: with its reference, and with the default currency where none is named. */
export function canonicalBody<Body extends { currency?: string | undefined; parts?: unknown }>(
  caller: Caller,
  body: Body,
  reference: string,
): Body & { reference: string } {
  if (body.parts !== undefined) return { ...body, reference };
  return { ...body, reference, currency: body.currency ?? caller.program.mainCurrency.code };
}

/** The number of a spendable currency by its code; the program's main one where none is named. */
export function currencyNumber(caller: Caller, code: string | undefined, pointer = '/currency'): number {
  const currency = code === undefined ? caller.program.mainCurrency : caller.program.currencyByCode.get(code);
  if (!currency)
    throw new Problem('currency_unknown', undefined, {
      errors: [{ pointer, detail: 'is not a currency of the program' }],
    });
  return currency.number;
}

/** The wanted parts of a movement, by currency number: `parts`, or `points` of one currency. */
export function partsOf(
  caller: Caller,
  body: {
    points?: number | undefined;
    currency?: string | undefined;
    parts?: readonly { currency: string; points: number }[] | undefined;
  },
): [number, number][] {
  if (body.parts) {
    if (body.points !== undefined || body.currency !== undefined)
      throw fault('/parts', 'stands instead of points and currency');
    const parts = body.parts.map((part, i): [number, number] => [
      currencyNumber(caller, part.currency, `/parts/${i}/currency`),
      part.points,
    ]);
    if (new Set(parts.map(([currency]) => currency)).size < parts.length)
      throw fault('/parts', 'names a currency twice');
    return parts;
  }
  if (body.points === undefined) throw fault('/points', 'is required');
  return [[currencyNumber(caller, body.currency), body.points]];
}
