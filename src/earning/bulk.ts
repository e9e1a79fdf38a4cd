/**
 * Bulk accruals: up to a thousand items, each judged and answered alone. Items of one member run one after the other in
 * the order of the request; items of different members share script calls, sixty-four at most in each.
 */
import { z } from 'zod';
import { errorTable, Problem } from '#src/errors.ts';
import { bodyPointer, faultsOf } from '#src/http/faults.ts';
import type { Call, Reply } from '#src/http/route.ts';
import type { Durability } from '#src/wallet/operations.ts';
import type { Moved } from '#src/wallet/perform.ts';
import { accrualReplyOf, accrue, durabilityOfAccrual, type EarningContext } from './accruals.ts';
import { type AccrualBody, accrualSchema, type bulkSchema } from './schemas.ts';

interface ItemResult {
  readonly index: number;
  readonly status: number;
  readonly replayed: boolean;
  readonly accrual?: unknown;
  readonly error?: Record<string, unknown>;
}

const itemCheck = z.compile(accrualSchema);

function refused(index: number, error: unknown): ItemResult {
  const problem = error instanceof Problem ? error : new Problem('internal', undefined, {}, { cause: error });
  const { code, detail, fields, status } = problem;
  const { applied } = errorTable[code] as { applied?: string };
  return {
    index,
    status,
    replayed: false,
    error: { ...fields, status, code, detail, applied: applied ?? 'no' },
  };
}

function parseItem(item: unknown): AccrualBody {
  const result = itemCheck.safeParse(item);
  if (result.success) return result.data;
  throw new Problem('validation_failed', undefined, { errors: faultsOf(result.error, item, bodyPointer) });
}

/** `POST /v1/accruals/bulk` */
export async function accrueBulk(
  context: EarningContext,
  call: Call<z.output<typeof bulkSchema>>,
): Promise<Reply> {
  const { caller, body } = call;
  // The wait bounds the whole call, not each item.
  const deadline = Date.now() + call.waitMs;
  const results: ItemResult[] = [];
  const chains = new Map<string, Promise<void>>();

  const performed: { index: number; moved: Moved; durability: Durability }[] = [];

  async function run(index: number, accrual: AccrualBody): Promise<void> {
    try {
      const item = { caller, waitMs: 0, idempotencyKey: undefined };
      const moved = await accrue(context, item, accrual);
      performed.push({ index, moved, durability: durabilityOfAccrual(accrual) });
    } catch (error) {
      results[index] = refused(index, error);
    }
  }

  /** All items wait for the books together, after the last script: a member's fifty items cost one wait, not fifty. */
  async function answer({ index, moved, durability }: (typeof performed)[number]): Promise<void> {
    const waitMs = Math.max(0, deadline - Date.now());
    const reached = await context.operations.reach(moved.recorded, durability, waitMs);
    const reply = accrualReplyOf(caller.program, { ...moved, reached }, durability);
    results[index] = { index, status: reply.status, replayed: moved.replayed, accrual: reply.body };
  }

  for (const [index, item] of body.items.entries()) {
    let accrual: AccrualBody;
    try {
      accrual = parseItem(item);
    } catch (error) {
      results[index] = refused(index, error);
      continue;
    }
    if (body.durability !== undefined && accrual.durability === undefined)
      accrual = { ...accrual, durability: body.durability };
    const key = JSON.stringify(accrual.member);
    const before = chains.get(key);
    chains.set(key, before ? before.then(() => run(index, accrual)) : run(index, accrual));
  }
  await Promise.all(chains.values());
  await Promise.all(performed.map(answer));
  return { status: 200, body: { object: 'list', data: results } };
}
