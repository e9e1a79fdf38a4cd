/**
 * Suspend, resume and close. A member's status is changed by the wallet's `status` script alone, with a journal record;
 * the ledger writer copies it to PostgreSQL.
 */
import type pg from 'pg';
import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import type { MemberNumber } from '#src/values.ts';
import type { Durability, Operations } from '#src/wallet/operations.ts';
import { type Moved, movementReply, perform } from '#src/wallet/perform.ts';
import { noteInAudit } from './audit-note.ts';
import type { Identity } from './identity.ts';
import { type MemberRef, resolveMember } from './member-ref.ts';
import { readView, seesPersonal } from './records.ts';

const statusAfter = { suspend: 'suspended', resume: 'active', close: 'closed', erase: 'closed' } as const;
export type LifeAction = keyof typeof statusAfter;

export interface LifeRequest {
  readonly member: MemberRef;
  readonly reference: string;
  readonly reason?: string | undefined;
  readonly durability: Durability;
}

export interface Life {
  change(caller: Caller, action: LifeAction, request: LifeRequest, waitMs: number): Promise<Moved>;
  /** `change` and the reply to it. */
  reply(caller: Caller, action: LifeAction, request: LifeRequest, waitMs: number): Promise<Reply>;
}

/** What a refused change of status is to the caller. */
export function statusProblem(code: string, details: Readonly<Record<string, unknown>>): Problem | undefined {
  if (code !== 'status_not_reachable') return undefined;
  return new Problem(
    details.memberStatus === 'merging' ? 'member_merging' : 'member_not_active',
    undefined,
    details,
  );
}

/** A status that the script refuses to go to from another one. */
const unreachableFrom: Readonly<Record<string, string>> = {
  merging: 'suspended',
  suspended: 'merged',
  closed: 'merging',
  merged: 'merging',
};

/**
 * The status to ask the script for, so that a member in a wrong one is refused by it and not here: the status may be the
 * work of the first attempt of this very request, and only the script and the books remember references. What was read
 * cannot be overtaken either, because the script compares the version of the facts, which every change of status raises.
 */
export async function statusToAsk(
  operations: Operations,
  caller: Caller,
  member: MemberNumber,
  wanted: string,
  wrong: readonly string[],
): Promise<string> {
  const reading = await operations.wallet.read(member, programNow(caller.program));
  return (wrong.includes(reading?.status ?? '') && unreachableFrom[reading!.status]) || wanted;
}

export function createLife(operations: Operations, pool: pg.Pool, identity: Identity): Life {
  async function change(
    caller: Caller,
    action: LifeAction,
    request: LifeRequest,
    waitMs: number,
  ): Promise<Moved> {
    const moved = await perform(operations, {
      caller,
      script: 'status',
      kind: 'status',
      reference: request.reference,
      named: { member: request.member, action, reason: request.reason },
      body: { action },
      durability: request.durability,
      waitMs,
      member: () => resolveMember(operations.lookup, identity, caller.program, request.member),
      async decide({ member }) {
        // `merging` is left by the merge alone, although the script lets it go back to `active`.
        const status = await statusToAsk(operations, caller, member, statusAfter[action], ['merging']);
        return { input: { status } };
      },
      refused: statusProblem,
    });
    const { member, operation } = moved.recorded;
    operations.lookup.forget(member);
    if (action !== 'erase') {
      const note = {
        program: caller.program,
        actor: caller.keyId,
        member,
        operation,
        reason: request.reason,
      };
      await noteInAudit(pool, identity, { ...note, action: `member.${action}` });
    }
    return moved;
  }

  async function reply(
    caller: Caller,
    action: LifeAction,
    request: LifeRequest,
    waitMs: number,
  ): Promise<Reply> {
    const moved = await change(caller, action, request, waitMs);
    const { member, effect } = moved.recorded;
    const view = await readView(pool, identity, caller.program, member, seesPersonal(caller.role));
    // As it was right after this change: the books may be behind it, and a repeat may come after a later one.
    return movementReply(moved, request.durability, 200, { ...view, status: effect.status });
  }

  return { change, reply };
}
