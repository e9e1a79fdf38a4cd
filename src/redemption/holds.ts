/**
 * Holds: two-phase redemptions. A hold reserves points; it is captured (all or part, the rest goes back), released, or
 * ends by itself at `expiresAt`. Each hold is resolved once: its place in the member's state is the only one there is.
 *
 * What its points are worth is judged when it is made and is a promise from then on: a capture asks no rule again, also
 * where the rate has changed since or what is captured is below a minimum. A capture of a part is worth the part of it.
 */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { heldLegs } from '#src/ledger/postings.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { memberId, operationId, positionText } from '#src/values.ts';
import { balancesAfter } from '#src/wallet/balances.ts';
import { canonicalBody, durabilityOf, fault, referenceOf } from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { findOriginal } from '#src/wallet/originals.ts';
import { movementReply, perform } from '#src/wallet/perform.ts';
import { judgedWorth } from './judged.ts';
import {
  askedOf,
  checkPartsLimit,
  codeOf,
  numberedParts,
  type Part,
  partsView,
  type RedemptionContext,
  redeemedParts,
  sumOf,
  valueView,
} from './redemptions.ts';
import type { HoldBody, SettleBody } from './schemas.ts';
import { capturedWorth, keptWorth, portionOf, shownValue } from './worth.ts';

export interface HoldContext extends RedemptionContext {
  readonly pool: pg.Pool;
}

/** Points of a hold by currency. */
function heldParts(program: Program, hold: Recorded): Part[] {
  const sums = new Map<number, number>();
  for (const [, currency, points] of heldLegs(hold.effect))
    sums.set(currency, (sums.get(currency) ?? 0) + points);
  return [...sums].map(([currency, points]) => ({ currency: codeOf(program, currency), points }));
}

function holdView(
  program: Program,
  hold: Recorded,
  status: 'held' | 'captured' | 'released' | 'expired',
): Record<string, unknown> {
  return {
    object: 'hold',
    id: operationId('hold', hold.operation),
    mode: program.mode,
    status,
    member: memberId(hold.member),
    ...partsView(program, heldParts(program, hold)),
    ...valueView(hold),
    expiresAt: new Date(hold.effect.expiresAt ?? 0).toISOString(),
  };
}

/** `POST /v1/holds` */
export async function hold(context: HoldContext, call: Call<HoldBody>): Promise<Reply> {
  const { caller } = call;
  const { program } = caller;
  const { member, durability: level, metadata, ...rest } = call.body;
  const asked = askedOf(caller, call.body);
  const parts = numberedParts(asked);
  const reference = referenceOf(call, rest);
  const durability = durabilityOf({ durability: level }, 'ledger');
  const canonical = canonicalBody(caller, rest, reference);
  const moved = await perform(context.operations, {
    caller,
    script: 'hold',
    kind: 'hold',
    reference,
    named: { ...canonical, member },
    body: canonical,
    metadata,
    durability,
    waitMs: call.waitMs,
    member: () => context.resolveMember(program, member),
    async decide(facts) {
      checkPartsLimit(caller, parts);
      const worth = await judgedWorth(context, program, asked, facts);
      return {
        order: rest.order ?? rest.purchase?.order,
        points: sumOf(parts),
        input: { parts, expiresInMs: rest.expiresInSeconds * 1_000 },
        ...(worth ? { keep: { worth } } : {}),
      };
    },
  });
  const view = {
    ...holdView(program, moved.recorded, 'held'),
    balances: balancesAfter(program, moved.recorded.effect.balances),
  };
  return movementReply(moved, durability, 201, view);
}

interface HoldRow {
  hold: OperationHex;
  status: 'held' | 'captured' | 'released' | 'expired';
  resolved_by: OperationHex | null;
  expires_at: number;
}

async function holdRow(pool: pg.Pool, operation: OperationHex): Promise<HoldRow | undefined> {
  const result = await pool.query<HoldRow>(
    `select replace(hold::text, '-', '') as hold, status, replace(resolved_by::text, '-', '') as resolved_by, expires_at from hold where hold = $1`,
    [operation],
  );
  return result.rows[0];
}

/** Why a hold can no longer be settled, as the books have it. */
async function resolvedProblem(context: HoldContext, operation: OperationHex): Promise<Problem> {
  const { wallet } = context.operations;
  const shard = Number.parseInt(operation.slice(13, 16), 16);
  if ((await wallet.readBarrier(shard, 1_000)) === 'timeout')
    return new Problem('not_ready', 'the books are behind; repeat with the same reference');
  const row = await holdRow(context.pool, operation);
  if (!row || row.status === 'held')
    return new Problem('reference_in_progress', 'the hold is being resolved; repeat with the same reference');
  if (row.status === 'expired') return new Problem('hold_expired');
  const redemption =
    row.status === 'captured' && row.resolved_by
      ? { redemption: operationId('capture', row.resolved_by) }
      : {};
  return new Problem('hold_already_resolved', undefined, { resolution: row.status, ...redemption });
}

function settleView(program: Program, original: Recorded, settled: Recorded): Record<string, unknown> {
  const captured = settled.kind === 'capture';
  const parts = captured ? redeemedParts(program, settled) : heldParts(program, original);
  // Not by the lots' legs: where lots are joined on the way they hold more than what came back.
  const resolved = settled.effect.legs.reduce((sum, leg) => (leg[0] === 'held' ? sum - leg[2] : sum), 0);
  const released = settled.effect.legs.reduce(
    (sum, leg) => (leg[0] === 'redemption' ? sum - leg[2] : sum),
    resolved,
  );
  return {
    ...holdView(program, original, captured ? 'captured' : 'released'),
    ...partsView(program, parts),
    ...valueView(captured ? settled : original),
    ...(captured ? { released, redemption: { id: operationId('capture', settled.operation) } } : {}),
    balances: balancesAfter(program, settled.effect.balances),
  };
}

/** Refuses a hold that is a part of a pool's redemption or of an exchange: what becomes of it is decided there. */
function refusePart({ request }: Recorded): void {
  const { redemption, exchange } = request.body as { redemption?: string; exchange?: string };
  const whole = redemption ?? exchange;
  if (whole !== undefined) throw new Problem('not_found', `it is a part of ${whole}`);
}

/** `POST /v1/holds/:id/capture` and `/release` */
export async function settle(
  context: HoldContext,
  call: Call<SettleBody>,
  mode: 'capture' | 'release',
): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const reference = referenceOf(call, body);
  const original = await findOriginal(context.operations, caller, call.params.id!, body.originalReference, [
    'hold',
  ]);
  if (!original) throw new Problem('not_found');
  refusePart(original);
  const durability = durabilityOf(body, mode === 'capture' ? 'ledger' : 'journal');
  const canonical = { hold: original.operation, reference, points: body.points };
  const parts = captureParts(program, original, body.points);
  const worth = keptWorth(original);
  const moved = await perform(context.operations, {
    caller,
    script: 'settle',
    kind: mode,
    reference,
    named: canonical,
    body: { ...canonical, ...(mode === 'capture' ? capturedValue(program, original, body.points) : {}) },
    metadata: body.metadata,
    durability,
    waitMs: call.waitMs,
    // The hold stays in the shard it was made in, also when its member has been merged into another since.
    member: async () => ({
      member: original.member,
      program: program.number,
      factsVersion: 0,
      mergedInto: undefined,
    }),
    decide: () => ({
      origins: [original.operation],
      order: original.order,
      input: { hold: original.operation, mode, parts },
      ...(worth && mode === 'capture' ? { keep: { worth: capturedWorth(worth, body.points) } } : {}),
    }),
    anyFacts: true,
    refused: (code) => (code === 'hold_not_open' ? resolvedProblem(context, original.operation) : undefined),
  });
  return movementReply(moved, durability, 200, settleView(program, original, moved.recorded));
}

/** The part that a capture takes of the value that its hold's caller said, where no rule judged it. */
function capturedValue(
  program: Program,
  original: Recorded,
  points: number | undefined,
): { readonly value?: MoneyAmount } {
  const value = shownValue(original);
  if (value === undefined || keptWorth(original)) return {};
  const held = heldParts(program, original).reduce((sum, part) => sum + part.points, 0);
  return { value: { ...value, amount: portionOf(value.amount, points ?? held, held) } };
}

function captureParts(program: Program, original: Recorded, points: number | undefined): [number, number][] {
  if (points === undefined) return [];
  const parts = heldParts(program, original);
  if (parts.length !== 1) throw fault('/points', 'a hold in several currencies is captured whole');
  return [[program.currencyByCode.get(parts[0]!.currency)!.number, points]];
}

/** A hold as the books have it; one whose end has passed is expired whether or not that is written yet. */
async function holdFromBooks(
  context: HoldContext,
  program: Program,
  original: Recorded,
): Promise<Record<string, unknown>> {
  const row = await holdRow(context.pool, original.operation);
  const ended = row?.status === 'held' && row.expires_at <= programNow(program);
  const status = ended ? 'expired' : (row?.status ?? 'held');
  const resolution = row?.resolved_by && (await context.operations.recorded(row.resolved_by, 0));
  const view =
    resolution?.kind === 'capture' && status === 'captured'
      ? { ...settleView(program, original, resolution), balances: undefined }
      : holdView(program, original, status);
  return { ...view, ledger: { position: positionText(original.position), durability: 'ledger' } };
}

/** `GET /v1/holds/:id` */
export async function readHold(
  context: HoldContext,
  caller: Caller,
  id: string,
  waitMs: number,
): Promise<Reply> {
  const original = await findOriginal(context.operations, caller, id, undefined, ['hold']);
  if (!original) throw new Problem('not_found');
  const waited = await context.operations.wallet.readBarrier(original.position.shard, waitMs);
  if (waited === 'timeout') throw new Problem('not_ready', 'the books are behind; ask again');
  return { status: 200, body: await holdFromBooks(context, caller.program, original) };
}

/** `GET /v1/holds?member&status`, newest first. */
export async function listHolds(
  context: HoldContext,
  caller: Caller,
  member: MemberNumber,
  query: { status?: string | undefined; limit: number; cursor?: string | undefined },
  waitMs: number,
): Promise<Reply> {
  const { wallet } = context.operations;
  if ((await wallet.readBarrier(wallet.shardOf(member), waitMs)) === 'timeout')
    throw new Problem('not_ready', 'the books are behind; ask again');
  const result = await context.pool.query<{ hold: OperationHex }>(
    `select replace(hold::text, '-', '') as hold from hold
     where member = $1 and ($2::uuid is null or hold < $2)
       and ($3::text is null or $3 = case when status = 'held' and expires_at <= $4 then 'expired' else status end)
     order by hold desc limit $5`,
    [member, query.cursor ?? null, query.status ?? null, programNow(caller.program), query.limit + 1],
  );
  const page = result.rows.slice(0, query.limit);
  const data = await Promise.all(
    page.map(async ({ hold: operation }) => {
      const original = await context.operations.recorded(operation, 0);
      return original && holdFromBooks(context, caller.program, original);
    }),
  );
  const nextCursor = result.rows.length > query.limit ? (page.at(-1)?.hold ?? null) : null;
  return {
    status: 200,
    body: { object: 'list', data: data.filter((view) => view !== undefined), nextCursor },
  };
}
