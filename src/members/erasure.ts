/**
 * Erasure: a person's values are destroyed, the books stay whole. Points, operations and entries name a number that
 * leads to nobody any more.
 *
 * Order: close by script (nothing moves any more, the points stay on the books) → destroy in PostgreSQL → raise the facts'
 * version, so that no process goes on finding the member by an identifier that it remembers. Every step may be run again;
 * a repeat with the same reference continues where the first one died, although the caller's id leads nowhere by then.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Caller, Reply } from '#src/http/route.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { movementReply } from '#src/wallet/perform.ts';
import { noteInAudit } from './audit-note.ts';
import { raiseFacts } from './engine.ts';
import type { Identity } from './identity.ts';
import type { Life } from './life.ts';
import type { MemberRef } from './member-ref.ts';
import { familyOf, readView } from './records.ts';
import { wipeMember } from './wipe.ts';

export interface ErasureRequest {
  readonly member: MemberRef;
  readonly reference?: string | undefined;
  /** Asked for by many callers' forms; deliberately kept nowhere. */
  readonly reason?: string | undefined;
}

export interface Erasure {
  erase(caller: Caller, request: ErasureRequest, waitMs: number): Promise<Reply>;
}

export function createErasure(
  operations: Operations,
  pool: pg.Pool,
  identity: Identity,
  life: Life,
): Erasure {
  async function erase(caller: Caller, request: ErasureRequest, waitMs: number): Promise<Reply> {
    const { program } = caller;
    const reference = request.reference ?? `erasure/${randomUUID()}`;
    const closed = await life.change(
      caller,
      'erase',
      { member: request.member, reference, durability: 'ledger' },
      waitMs,
    );
    const { member, operation, effect } = closed.recorded;
    const family = await familyOf(pool, member);
    for (const number of family) await wipeMember(pool, operations.lookup, program, number);
    await noteInAudit(pool, identity, {
      program,
      actor: caller.keyId,
      action: 'member.erase',
      member,
      operation,
    });
    await raiseFacts(operations, program, family, waitMs);
    const view = await readView(pool, identity, program, member, true);
    return movementReply(closed, 'ledger', 200, { ...view, status: effect.status });
  }

  return { erase };
}
