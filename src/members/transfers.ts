/** Points from one member to another: the debit here, the credit by the relay once the debit is in the ledger. */
import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import type { MemberNumber } from '#src/values.ts';
import { memberId, operationId, positionText } from '#src/values.ts';
import { balancesAfter } from '#src/wallet/balances.ts';
import { checkPointsLimit, currencyNumber, fault } from '#src/wallet/fields.ts';
import type { Durability, Operations, Recorded } from '#src/wallet/operations.ts';
import { type Moved, perform } from '#src/wallet/perform.ts';
import { waitUntil } from './engine.ts';
import type { Identity } from './identity.ts';
import { currentMember, type MemberRef, resolveMember } from './member-ref.ts';
import type { Relayed, TransferRelay } from './transfer-relay.ts';

export interface TransferRequest {
  readonly from: MemberRef;
  readonly to: MemberRef;
  readonly reference: string;
  readonly currency?: string | undefined;
  readonly points: number;
  readonly durability: Durability;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface Transfers {
  transfer(caller: Caller, request: TransferRequest, waitMs: number): Promise<Reply>;
}

const nothingYet: Relayed = { status: 'pending', half: undefined };

/** The member that a transfer's debit was made for. */
function destinationOf(debit: Recorded): MemberNumber {
  return (debit.request.transfer as { to: MemberNumber }).to;
}

function replyOf(
  caller: Caller,
  moved: Moved,
  relayed: Relayed,
  halfReached: Durability,
  asked: Durability,
): Reply {
  const { recorded } = moved;
  const body = recorded.request.body as { currency: string; points: number };
  const to = destinationOf(recorded);
  const late = relayed.status === 'pending' || (asked === 'ledger' && halfReached !== 'ledger');
  return {
    status: late ? 202 : 201,
    replayed: moved.replayed,
    body: {
      object: 'transfer',
      id: operationId('transfer', recorded.operation),
      mode: caller.program.mode,
      status: relayed.status,
      currency: body.currency,
      points: body.points,
      from: memberId(recorded.member),
      to: memberId(to),
      balances: balancesAfter(caller.program, recorded.effect.balances),
      ledger: { position: positionText(recorded.position), durability: moved.reached },
      counterparts: relayed.half
        ? [
            {
              id: operationId(relayed.half.kind, relayed.half.operation),
              member: memberId(relayed.half.member),
              ledger: { position: positionText(relayed.half.position), durability: halfReached },
            },
          ]
        : [],
    },
  };
}

export function createTransfers(operations: Operations, identity: Identity, relay: TransferRelay): Transfers {
  /** Whom the points go to; asked before the debit, so that an obvious refusal costs no journey there and back. */
  async function destination(caller: Caller, to: MemberRef): Promise<MemberNumber> {
    const current = await currentMember(operations, identity, caller.program, to, programNow(caller.program));
    if (!current) throw new Problem('member_not_found', 'nobody is known under `to`', { pointer: '/to' });
    const { status } = current.reading;
    if (status === 'merging') throw new Problem('member_merging', undefined, { pointer: '/to' });
    if (status === 'closed' || status === 'merged') {
      throw new Problem('member_not_active', undefined, { pointer: '/to', memberStatus: status });
    }
    return current.facts.member;
  }

  async function debit(caller: Caller, request: TransferRequest, waitMs: number): Promise<Moved> {
    const { program } = caller;
    const number = currencyNumber(caller, request.currency);
    const currency = program.currencyByNumber.get(number)!;
    if (!currency.spendable) throw fault('/currency', 'cannot be spent, so it cannot be passed on');
    const body = { currency: currency.code, points: request.points };
    return perform(operations, {
      caller,
      script: 'spend',
      kind: 'transfer',
      reference: request.reference,
      named: { from: request.from, to: request.to, ...body },
      body,
      metadata: request.metadata,
      durability: 'ledger',
      waitMs,
      member: () => resolveMember(operations.lookup, identity, program, request.from),
      async decide(source) {
        checkPointsLimit(caller, request.points);
        const to = await destination(caller, request.to);
        if (to === source.member) throw fault('/to', 'is the member that the points come from');
        return {
          input: { parts: [[number, request.points]], account: 'clearing', party: 0 },
          keep: { transfer: { to } },
        };
      },
    });
  }

  async function transfer(caller: Caller, request: TransferRequest, waitMs: number): Promise<Reply> {
    const deadlineMs = Date.now() + waitMs;
    const moved = await debit(caller, request, waitMs);
    if (moved.reached !== 'ledger') return replyOf(caller, moved, nothingYet, 'journal', request.durability);
    try {
      const relayed = await relay.relay(moved.recorded.operation, deadlineMs);
      const halfReached = relayed.half
        ? await operations.reach(relayed.half, request.durability, waitUntil(deadlineMs))
        : 'journal';
      return replyOf(caller, moved, relayed, halfReached, request.durability);
    } catch (error) {
      // The debit is in the ledger, so upkeep will finish the transfer: an error here would invite a second one.
      if (error instanceof Problem && error.code === 'internal') throw error;
      return replyOf(caller, moved, nothingYet, 'journal', request.durability);
    }
  }

  return { transfer };
}
