/**
 * Extensions: points of a member end later than they would have. The terms of a lot never change, so points move to lots
 * that end later; nothing that ends later already is shortened, and points that wait for an event are left alone.
 */
import { DateTime } from 'luxon';
import { z } from 'zod';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import type { Leg, WalletLeg } from '#src/journal.ts';
import type { EpochMs } from '#src/values.ts';
import { type MemberNumber, memberId, operationId, type Soon } from '#src/values.ts';
import { balancesAfter, lastValidDay } from './balances.ts';
import {
  balancesSchema,
  canonicalBody,
  currencyField,
  currencyNumber,
  durabilityOf,
  fault,
  ledgerSchema,
  movementFields,
  referenceOf,
  textOf,
} from './fields.ts';
import { lotsMax } from './limits.ts';
import type { MemberFacts } from './lookup.ts';
import type { Operations, Recorded } from './operations.ts';
import { movementReply, perform } from './perform.ts';

export const extensionSchema = z
  .strictObject({
    ...movementFields,
    currency: currencyField.optional(),
    lots: z.array(z.int().min(1).max(2_147_483_647)).min(1).max(lotsMax).optional().meta({
      description: 'Numbers of lots as `GET /v1/operations/:id` shows them in its entries; absent: all.',
    }),
    expiringBefore: z.iso
      .date()
      .optional()
      .meta({ description: 'Only points whose last day is before this.' }),
    months: z.int().min(1).max(1_200).optional().meta({ description: 'How many months later they end.' }),
    until: z.iso.date().optional().meta({ description: 'Instead of months: their last day.' }),
    reason: textOf(256),
  })
  .meta({ id: 'ExtensionRequest' });
type ExtensionBody = z.output<typeof extensionSchema>;

export const extensionReply = z
  .object({
    object: z.literal('extension'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    status: z.literal('extended'),
    member: z.string(),
    currency: z.string(),
    points: z.int().meta({ description: 'Points that end later now; 0 where nothing fitted.' }),
    lots: z.array(z.object({ points: z.int(), expiredOn: z.iso.date(), expiresOn: z.iso.date() })),
    reason: z.string(),
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Extension' });

export interface ExtensionContext {
  readonly operations: Operations;
  resolvePathMember(program: Program, text: string): Soon<MemberFacts | undefined>;
}

/**
 * So many months later, in days of the program's calendar. What ends with a month ends with a month afterwards too, and the
 * 30th of January becomes the last of February: of the two ways to count it is the later one.
 */
export function monthsLater(expiresAt: EpochMs, months: number, timeZone: string): EpochMs {
  const end = DateTime.fromMillis(expiresAt, { zone: timeZone });
  const lastDay = DateTime.fromMillis(expiresAt - 1, { zone: timeZone }).startOf('day');
  // Where a day begins at 01:00, luxon keeps that hour on every later one.
  const byEnd = end.plus({ months }).startOf('day');
  const byDay = lastDay.plus({ months }).plus({ days: 1 }).startOf('day');
  return Math.max(byEnd.toMillis(), byDay.toMillis());
}

function endOfDay(day: string, timeZone: string): EpochMs {
  return DateTime.fromISO(day, { zone: timeZone }).plus({ days: 1 }).startOf('day').toMillis();
}

/** Pairs of legs by which points moved to a lot with other terms. */
export function movesIn(legs: readonly Leg[]): { readonly from: WalletLeg; readonly into: WalletLeg }[] {
  return legs.flatMap((from, i) => {
    const into = legs[i + 1];
    const isMove = from[0] === 'wallet' && into?.[0] === 'wallet' && from[2] < 0 && into[2] === -from[2];
    return isMove ? [{ from, into }] : [];
  });
}

/** [present end, later end] of the member's points, each once. */
async function laterEnds(
  { operations: { wallet } }: ExtensionContext,
  program: Program,
  member: MemberNumber,
  currency: number,
  body: ExtensionBody,
): Promise<[EpochMs, EpochMs][]> {
  const { timeZone } = program;
  const { months, until, expiringBefore } = body;
  const reading = await wallet.read(member, programNow(program));
  if (!reading) throw new Problem('member_not_found');
  const before =
    expiringBefore === undefined
      ? Infinity
      : DateTime.fromISO(expiringBefore, { zone: timeZone }).startOf('day').toMillis();
  const ends = new Set(reading.lots.filter((lot) => lot[0] === currency && lot[3] > 0).map((lot) => lot[3]));
  return [...ends]
    .filter((end) => end <= before)
    .map((end) => [
      end,
      until === undefined ? monthsLater(end, months!, timeZone) : endOfDay(until, timeZone),
    ]);
}

function view(program: Program, recorded: Recorded): Record<string, unknown> {
  const body = recorded.request.body as ExtensionBody;
  const moves = movesIn(recorded.effect.legs);
  return {
    object: 'extension',
    id: operationId('extension', recorded.operation),
    mode: program.mode,
    status: 'extended',
    member: memberId(recorded.member),
    currency: body.currency ?? program.mainCurrency.code,
    points: moves.reduce((sum, { into }) => sum + into[2], 0),
    lots: moves.map(({ from, into }) => ({
      points: into[2],
      expiredOn: lastValidDay(from[5], program.timeZone),
      expiresOn: lastValidDay(into[5], program.timeZone),
    })),
    reason: body.reason,
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

function check(program: Program, currency: number, body: ExtensionBody): void {
  if ((body.months === undefined) === (body.until === undefined))
    throw fault('/months', 'either months or until is required, not both');
  const isTogether = program.currencyByNumber.get(currency)?.expiry.kind === 'inactivity';
  if (isTogether && (body.lots ?? body.expiringBefore) !== undefined)
    throw fault('/currency', 'all its points end together, so all are extended or none');
}

/** `POST /v1/members/:member/extensions` */
export async function extend(context: ExtensionContext, call: Call<ExtensionBody>): Promise<Reply> {
  const { caller, params } = call;
  const { program } = caller;
  const { durability: asked, metadata, ...rest } = call.body;
  const currency = currencyNumber(caller, rest.currency);
  check(program, currency, call.body);
  const reference = referenceOf(call, rest);
  const durability = durabilityOf({ durability: asked }, 'ledger');
  const canonical = canonicalBody(caller, rest, reference);
  const moved = await perform(context.operations, {
    caller,
    script: 'redate',
    kind: 'extension',
    reference,
    named: { ...canonical, member: params.member },
    body: canonical,
    metadata,
    durability,
    waitMs: call.waitMs,
    member: () => context.resolvePathMember(program, params.member!),
    async decide({ member }) {
      const later = await laterEnds(context, program, member, currency, call.body);
      return { input: { currency, later, ...(rest.lots ? { lots: rest.lots } : {}) } };
    },
  });
  return movementReply(moved, durability, 201, view(program, moved.recorded));
}
