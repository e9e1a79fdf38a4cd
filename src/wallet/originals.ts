/**
 * Finds the movement that another one follows from: by its id, or by the reference that its caller gave it
 * (`by-reference`, for a till that timed out and never learned the id). An answer that it does not exist is given only
 * after the books hold everything that the journals hold.
 */

import { Problem } from '#src/errors.ts';
import type { Caller } from '#src/http/route.ts';
import { type OperationHex, type OperationKind, parseOperationId } from '#src/values.ts';
import type { Operations, Recorded } from './operations.ts';
import { referenceKeyOf } from './reference.ts';

export const byReference = 'by-reference';

/** Waits until the books hold what every shard's journal holds now; throws `not_ready` when that takes too long. */
export async function allBarriers(operations: Operations, timeoutMs: number): Promise<void> {
  const shards = Array.from({ length: operations.wallet.shardCount }, (_, shard) => shard);
  const waited = await Promise.all(shards.map((shard) => operations.wallet.readBarrier(shard, timeoutMs)));
  if (waited.includes('timeout')) throw new Problem('not_ready', 'the books are behind; ask again');
}

/** The operation that used a reference, also when it is still on its way to the books. */
export async function findByReference(
  operations: Operations,
  caller: Pick<Caller, 'program' | 'client'>,
  kinds: readonly OperationKind[],
  reference: string,
): Promise<OperationHex | undefined> {
  const ask = async () => {
    const keys = kinds.map((kind) => referenceKeyOf(caller.program.number, caller.client, kind, reference));
    const found = await Promise.all(keys.map((key) => operations.lookup.reference(key)));
    return found.find(({ operation }) => operation !== undefined)?.operation;
  };
  const found = await ask();
  if (found) return found;
  await allBarriers(operations, 1_000);
  return ask();
}

/**
 * The original of a follow-up. `path` is an id or `by-reference`; `kinds` are those it may have. Undefined when there is
 * none in the caller's program.
 */
export async function findOriginal(
  operations: Operations,
  caller: Pick<Caller, 'program' | 'client'>,
  path: string,
  originalReference: string | undefined,
  kinds: readonly OperationKind[],
): Promise<Recorded | undefined> {
  let operation: OperationHex | undefined;
  if (path === byReference) {
    if (originalReference === undefined) {
      const errors = [{ pointer: '/originalReference', detail: 'is required by reference' }];
      throw new Problem('validation_failed', '/originalReference: is required by reference', { errors });
    }
    operation = await findByReference(operations, caller, kinds, originalReference);
  } else {
    operation = parseOperationId(path)?.operation;
  }
  const recorded = operation && (await operations.recorded(operation, 1_000));
  if (!recorded || recorded.program !== caller.program.number || !kinds.includes(recorded.kind))
    return undefined;
  // What a partner moved stands in the books of both, and only the partner takes it back.
  if (recorded.request.partner !== undefined) return undefined;
  return recorded;
}
