/**
 * Returns: goods of an order come back, so what they earned is taken back and points that paid for them are given back,
 * in one record. Both follow cumulative totals (`returned.ts`), so any pieces in any order end at exactly zero.
 *
 * Which part of a mixed payment comes back as points: `proportional` to the returned share of the receipt (the default),
 * `first` (points before money), `last` (money before points), or a number of points.
 */
import type pg from 'pg';
import { awardView } from '#src/earning/accruals.ts';
import type { Program } from '#src/earning/program.ts';
import { amountReturned } from '#src/earning/returned.ts';
import { shortfallView, undoneOf } from '#src/earning/reversals.ts';
import type { Award, Purchase } from '#src/earning/rules.ts';
import {
  type OriginalState,
  type TakenBack,
  takeBack,
  type Undone,
  untouched,
} from '#src/earning/undoing.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { memberId, type OperationHex, type OperationKind, operationId } from '#src/values.ts';
import { balancesAfter } from '#src/wallet/balances.ts';
import { checkOccurredAt, durabilityOf, fault, referenceOf } from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { allBarriers, findOriginal } from '#src/wallet/originals.ts';
import { movementReply, perform } from '#src/wallet/perform.ts';
import {
  codeOf,
  leftToRefund,
  parseRefunded,
  type RedemptionContext,
  redeemedParts,
  refundOf,
} from './redemptions.ts';
import type { ReturnBody } from './schemas.ts';

export interface ReturnContext extends RedemptionContext {
  readonly pool: pg.Pool;
}

/** An order's receipts and the redemptions that paid for it. */
interface Order {
  readonly accruals: readonly Recorded[];
  readonly redemptions: readonly Recorded[];
}

const operationsOfOrderMax = 200;

async function operationsOfOrder(
  context: ReturnContext,
  program: Program,
  order: string,
): Promise<Recorded[]> {
  const kinds: OperationKind[] = ['accrual', 'redemption', 'capture'];
  const result = await context.pool.query<{ operation: OperationHex }>(
    `select replace(operation::text, '-', '') as operation from operation
     where program = $1 and order_reference = $2 and kind = any($3) order by at, operation limit $4`,
    [program.number, order, kinds, operationsOfOrderMax],
  );
  const recorded = await Promise.all(result.rows.map((row) => context.operations.recorded(row.operation, 0)));
  return recorded.filter((operation) => operation !== undefined);
}

async function findOrder(context: ReturnContext, caller: Caller, body: ReturnBody): Promise<Order> {
  const { program } = caller;
  if (body.accrual !== undefined) {
    const accrual = await findOriginal(context.operations, caller, body.accrual, undefined, ['accrual']);
    if (!accrual) throw new Problem('original_not_found');
    if (accrual.order === '') return { accruals: [accrual], redemptions: [] };
    await allBarriers(context.operations, 1_000);
    const paid = (await operationsOfOrder(context, program, accrual.order)).filter(
      (o) => o.kind !== 'accrual',
    );
    return { accruals: [accrual], redemptions: paid.filter((o) => o.member === accrual.member) };
  }
  await allBarriers(context.operations, 1_000);
  const found = await operationsOfOrder(context, program, body.order!);
  const first = found[0];
  if (!first) throw new Problem('original_not_found');
  const own = found.filter((operation) => operation.member === first.member);
  return {
    accruals: own.filter((o) => o.kind === 'accrual'),
    redemptions: own.filter((o) => o.kind !== 'accrual'),
  };
}

function purchaseOf(accrual: Recorded): Purchase | undefined {
  return (accrual.request.body as { purchase?: Purchase } | undefined)?.purchase;
}

/** The lines of the request that belong to each accrual of the order; each line to the first that has it. */
function linesByAccrual(order: Order, body: ReturnBody): Map<Recorded, ReturnBody['lines']> {
  const shares = new Map<Recorded, NonNullable<ReturnBody['lines']>>();
  if (!body.lines) return new Map(order.accruals.map((accrual) => [accrual, undefined]));
  for (const [index, line] of body.lines.entries()) {
    const accrual = order.accruals.find((a) =>
      purchaseOf(a)?.lines.some((l) => String(l.line) === String(line.line)),
    );
    if (!accrual) throw fault(`/lines/${index}/line`, 'is not a line of the order');
    shares.set(accrual, [...(shares.get(accrual) ?? []), line]);
  }
  return shares;
}

interface Progress {
  /** Minor units of the receipts that have come back, before and after this return. */
  readonly before: number;
  readonly after: number;
  readonly total: number;
  readonly currency: string | undefined;
}

function progressOf(
  order: Order,
  taken: ReadonlyMap<Recorded, TakenBack>,
  state: (o: Recorded) => OriginalState,
): Progress {
  let [before, after, total] = [0, 0, 0];
  for (const accrual of order.accruals) {
    const lines = purchaseOf(accrual)?.lines ?? [];
    total += lines.reduce((sum, line) => sum + line.amount, 0);
    const mine = taken.get(accrual);
    const returned = mine ? { before: mine.before, after: mine.after } : undefined;
    const untouchedNote = state(accrual).note;
    const still = returned ?? { before: parseNote(untouchedNote), after: parseNote(untouchedNote) };
    before += amountReturned(still.before);
    after += amountReturned(still.after);
  }
  return {
    before,
    after,
    total,
    currency: order.accruals.map((a) => purchaseOf(a)?.currency).find((c) => c !== undefined),
  };
}

function parseNote(note: string): {
  amounts: Record<string, number>;
  quantities: Record<string, number>;
  all: boolean;
} {
  return note === ''
    ? { amounts: {}, quantities: {}, all: false }
    : (JSON.parse(note) as ReturnType<typeof parseNote>);
}

/** Minor units that a redemption stood for, where its caller said so. */
function worth(redemption: Recorded): number | undefined {
  return (redemption.request.body as { value?: { amount: number } } | undefined)?.value?.amount;
}

/** PURE. Points of a redemption that have come back once `progress` is reached, of `points` in all. */
function refundedAfter(
  points: number,
  value: number | undefined,
  progress: Progress,
  mode: 'proportional' | 'first' | 'last',
): number {
  const { after, total } = progress;
  if (total === 0 || after >= total) return points;
  const share = (amount: number, of: number) =>
    Number((BigInt(points) * BigInt(Math.max(0, amount))) / BigInt(of));
  switch (mode) {
    case 'proportional':
      return share(after, total);
    case 'first':
      return value === undefined || value === 0 ? points : Math.min(points, share(after, value));
    case 'last':
      return value === undefined || value === 0 ? 0 : Math.min(points, share(after - (total - value), value));
  }
}

/** What comes back of each redemption, oldest last: a number of points is taken from the newest first. */
function refunds(
  program: Program,
  order: Order,
  body: ReturnBody,
  progress: Progress,
  state: (o: Recorded) => OriginalState,
): Undone[] {
  const undone: Undone[] = [];
  let asked = typeof body.points === 'number' ? body.points : 0;
  for (const redemption of [...order.redemptions].reverse()) {
    const left = leftToRefund(program, redemption, state(redemption));
    const soFar = parseRefunded(state(redemption).note);
    const parts: [number, number][] = [];
    for (const [currency, remaining] of left) {
      let points: number;
      if (typeof body.points === 'number') {
        points = currency === program.mainCurrency.number ? Math.min(asked, remaining) : 0;
        asked -= points;
      } else {
        const total = remaining + (soFar[currency] ?? 0);
        points = Math.min(
          remaining,
          Math.max(
            0,
            refundedAfter(total, worth(redemption), progress, body.points) - (soFar[currency] ?? 0),
          ),
        );
      }
      if (points > 0) parts.push([currency, points]);
    }
    if (parts.length > 0) undone.push(refundOf(redemption, state(redemption), parts));
  }
  if (asked > 0) throw new Problem('refund_exceeds_redemption');
  return undone;
}

interface Decided {
  readonly accruals: Undone[];
  readonly redemptions: Undone[];
  readonly awards: Award[];
  readonly money: { amount: number; currency: string } | undefined;
}

/** Money that comes back beside the points; unknown where a redemption did not say what it was worth. */
function moneyBack(
  program: Program,
  order: Order,
  progress: Progress,
  undone: readonly Undone[],
): Decided['money'] {
  if (progress.currency === undefined) return undefined;
  let amount = progress.after - progress.before;
  for (const [operation, , , parts] of undone) {
    const redemption = order.redemptions.find((r) => r.operation === operation)!;
    const value = worth(redemption);
    if (value === undefined) return undefined;
    const points = redeemedParts(program, redemption).reduce((sum, part) => sum + part.points, 0);
    const back = parts.reduce((sum, [, p]) => sum + p, 0);
    amount -= Number((BigInt(value) * BigInt(back)) / BigInt(points));
  }
  return { amount: Math.max(0, amount), currency: progress.currency };
}

function decideReturn(
  program: Program,
  order: Order,
  body: ReturnBody,
  state: (o: Recorded) => OriginalState,
): Decided {
  const taken = new Map<Recorded, TakenBack>();
  for (const [accrual, lines] of linesByAccrual(order, body)) {
    const back = takeBack(program, accrual, state(accrual), lines);
    if (!back && (body.lines || order.accruals.length === 1)) throw new Problem('reversal_exceeds_accrual');
    if (back) taken.set(accrual, back);
  }
  const progress = progressOf(order, taken, state);
  const redemptions = refunds(program, order, body, progress, state);
  if (taken.size === 0 && redemptions.length === 0)
    throw new Problem('reversal_exceeds_accrual', 'everything of this order has come back already');
  return {
    accruals: [...taken.values()].map((back) => back.undone),
    redemptions,
    awards: [...taken.values()].flatMap((back) => back.awards),
    money: moneyBack(program, order, progress, redemptions),
  };
}

interface KeptReturn {
  readonly takenBack?: Award[];
  readonly refunded?: readonly { redemption: string; currency: number; points: number }[];
  readonly refundMoney?: { amount: number; currency: string };
}

function view(program: Program, recorded: Recorded): Record<string, unknown> {
  const kept = recorded.request as KeptReturn;
  return {
    object: 'return',
    id: operationId('return', recorded.operation),
    mode: program.mode,
    status: 'returned',
    member: memberId(recorded.member),
    ...(recorded.order ? { order: recorded.order } : {}),
    reversed: (kept.takenBack ?? []).map((award) => awardView(program, award)),
    refunded: (kept.refunded ?? []).map((row) => ({ ...row, currency: codeOf(program, row.currency) })),
    ...(kept.refundMoney ? { refundMoney: kept.refundMoney } : {}),
    shortfall: shortfallView(program, recorded),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** `POST /v1/returns` */
export async function returnGoods(context: ReturnContext, call: Call<ReturnBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  checkOccurredAt(caller, body.occurredAt);
  const reference = referenceOf(call, body);
  const order = await findOrder(context, caller, body);
  const owner = (order.accruals[0] ?? order.redemptions[0])!;
  const kindOf = new Map(order.redemptions.map((r) => [r.operation, r.kind]));
  const durability = durabilityOf(body, 'ledger');
  const { durability: _asked, metadata, ...canonical } = { ...body, reference };
  const states = new Map<string, OriginalState>();
  const moved = await perform(context.operations, {
    caller,
    script: 'undo',
    kind: 'return',
    reference,
    named: canonical,
    body: canonical,
    metadata,
    occurredAt: body.occurredAt,
    durability,
    waitMs: call.waitMs,
    member: () => context.operations.lookup.member(program.number, owner.member),
    attemptsMax: 5 + order.accruals.length + order.redemptions.length,
    staleOperation(details) {
      states.set(String(details.operation), {
        version: Number(details.version),
        note: String(details.note),
      });
    },
    decide(member) {
      const decided = decideReturn(program, order, body, (o) => states.get(o.operation) ?? untouched);
      const all = [...decided.accruals, ...decided.redemptions];
      return {
        origins: all.map(([operation]) => operation),
        order: owner.order,
        input: {
          accruals: decided.accruals,
          redemptions: decided.redemptions,
          debt: program.definition.debtAllowed,
          moved: member.member !== owner.member,
        },
        keep: {
          takenBack: decided.awards,
          refunded: decided.redemptions.flatMap(([operation, , , parts]) =>
            parts.map(([currency, points]) => ({
              redemption: operationId(kindOf.get(operation)!, operation),
              currency,
              points,
            })),
          ),
          ...(decided.money ? { refundMoney: decided.money } : {}),
          undone: all.map(undoneOf),
        },
      };
    },
  });
  return movementReply(moved, durability, 201, view(program, moved.recorded));
}
