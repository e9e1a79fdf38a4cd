/**
 * Merging member A into member B. Both may live in different shards, so a merge is a row of steps, each applied once for
 * ever however often it is run; upkeep resumes a merge whose process died between any two of them.
 *
 *   active ──mark──► merging ──move──► merging, points in flight ──credited──► merged into B, identifiers moved
 *                       └──abandon──► active         B was not active, or closed before the points arrived
 *
 * The move is a transfer of everything: lots with their terms, pending ones and debt too, and counters, so that the survivor's
 * become the sums. Move and abandon are the same
 * attempt under one reference, so a merge that two processes drive goes one way only. While A is `merging` no movement
 * reaches it; what arrives later (a released hold, a refund, a transfer that was under way, a counter that went down with a
 * receipt) is moved on by upkeep.
 * The record that marks A is waited for in the ledger before anything moves: by then the books hold all of A.
 *
 * Of two merges that form a circle, the one that marks last finds its survivor `merging` and gives up.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { type Program, type Programs, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { memberId } from '#src/values.ts';
import { ordersFrom } from '#src/wallet/counter-state.ts';
import { fault } from '#src/wallet/fields.ts';
import type { Place } from '#src/wallet/load.ts';
import type { Operations, Recorded } from '#src/wallet/operations.ts';
import { type Moved, movementReply, perform } from '#src/wallet/perform.ts';
import { noteInAudit } from './audit-note.ts';
import { type Step, stepTaken, takeStep, waitUntil } from './engine.ts';
import type { Identity } from './identity.ts';
import { statusProblem, statusToAsk } from './life.ts';
import { currentMember, type MemberRef, resolveMember } from './member-ref.ts';
import { moveIdentifiers } from './move-identifiers.ts';
import { readView, seesPersonal, survivingMember } from './records.ts';
import type { TransferRelay } from './transfer-relay.ts';

export interface MergeRequest {
  readonly member: MemberRef;
  readonly into: MemberRef;
  readonly reference: string;
  readonly reason?: string | undefined;
}

interface Merge {
  /** The record that marked the source. */
  readonly operation: OperationHex;
  readonly program: Program;
  readonly source: MemberNumber;
  readonly into: MemberNumber;
}

type MergeState = 'merged' | 'abandoned' | 'pending';

export interface Merges {
  merge(caller: Caller, request: MergeRequest, waitMs: number): Promise<Reply>;
  /** Drives merges that nobody has finished for two seconds, and moves on what reached merged members since. */
  resume(limit: number): Promise<{ finished: number; failed: number }>;
}

const unfinishedQuery = `
  select m.number, m.program, replace(o.operation::text, '-', '') as operation, (o.request -> 'merge' ->> 'into')::bigint as into
  from member m join lateral (
    select operation, request, posted_at from operation o
    where o.member = m.number and o.kind = 'status' and (o.request -> 'merge') is not null
    order by o.operation desc limit 1) o on true
  where m.status = 'merging' and m.merged_into is not null and o.posted_at < now() - interval '2 seconds' limit $1`;

// Survivors that were closed keep nobody busy: what is left at their merged members stays there, on the books.
const leftoverQuery = `
  select m.number, m.program from member m join member s on s.number = m.merged_into
  where m.merged_into is not null and m.status = 'merged' and (
    exists (select 1 from identifier i where i.member = m.number)
    or (s.status <> 'closed' and (exists (select 1 from lot l where l.member = m.number and l.points > 0)
      or exists (select 1 from debt d where d.member = m.number and d.points > 0)
      or exists (select 1 from counter c where c.member = m.number and c.value <> 0))))
  order by random() limit $1`;

const stepWaitMs = 2_000;
/** Only active members are merged: one that is suspended is resumed first, so that giving up leaves it as it was. */
const wrongToMerge = ['merging', 'suspended', 'closed', 'merged'];

/** Counters that one record moves; upkeep moves those beyond. A record is some kilobytes with so many. */
const countersPerMoveMax = 200;
const countersQuery = `select counter, period from counter c where c.member = $1 and c.value <> 0
  order by c.period >= ${ordersFrom}, c.period desc limit ${countersPerMoveMax}`;

/** Everything of the source on its way to the survivor; `places` are the counters that the books have of it. */
function moveStep({ operation, program, source, into }: Merge, places: readonly Place[] = []): Step {
  return {
    program,
    member: source,
    script: 'spend',
    kind: 'transfer',
    reference: operation,
    input: { all: true, account: 'clearing', places },
    request: { body: { merge: operation }, transfer: { to: into } },
    origins: [operation],
  };
}

/** Takes the place of the move, so that it can never be made: a transfer of nothing to the source itself. */
function abandonStep(merge: Merge): Step {
  return {
    ...moveStep(merge),
    script: 'receive',
    input: { lots: [], debts: [], back: true },
    request: { body: { merge: merge.operation }, transfer: { to: merge.source } },
  };
}

function statusStep(
  { operation, program, source }: Merge,
  name: 'merged' | 'abandoned',
  input: unknown,
): Step {
  const request = { body: { action: name, merge: operation } };
  const reference = `${operation}/${name}`;
  return {
    program,
    member: source,
    script: 'status',
    kind: 'status',
    reference,
    input,
    request,
    origins: [operation],
  };
}

export function createMerges(
  operations: Operations,
  pool: pg.Pool,
  programs: Programs,
  identity: Identity,
  relay: TransferRelay,
): Merges {
  const { wallet, lookup } = operations;

  async function written(recorded: Recorded, deadlineMs: number): Promise<boolean> {
    return (await operations.reach(recorded, 'ledger', waitUntil(deadlineMs))) === 'ledger';
  }

  async function countersOf(member: MemberNumber): Promise<Place[]> {
    const { rows } = await pool.query<{ counter: number; period: number }>(countersQuery, [member]);
    return rows.map(({ counter, period }) => [counter, period]);
  }

  async function move(merge: Merge): Promise<Recorded> {
    const taken = await stepTaken(operations, moveStep(merge));
    if (taken) return taken;
    const survivor = await wallet.read(merge.into, programNow(merge.program));
    if (survivor?.status !== 'active') return takeStep(operations, abandonStep(merge));
    return takeStep(operations, moveStep(merge, await countersOf(merge.source)));
  }

  async function abandon(merge: Merge): Promise<MergeState> {
    await takeStep(operations, statusStep(merge, 'abandoned', { status: 'active', into: 0 }));
    lookup.forget(merge.source);
    return 'abandoned';
  }

  /** Drives a marked merge, whose mark is in the ledger, as far as it comes until the deadline. */
  async function advance(merge: Merge, deadlineMs: number): Promise<MergeState> {
    const moved = await move(merge);
    if ((moved.request.transfer as { to: MemberNumber }).to === merge.source) return abandon(merge);
    if (!(await written(moved, deadlineMs))) return 'pending';
    const relayed = await relay.relay(moved.operation, deadlineMs);
    if (relayed.status === 'pending') return 'pending';
    if (relayed.status === 'returned') return abandon(merge);
    const merged = await takeStep(
      operations,
      statusStep(merge, 'merged', { status: 'merged', into: merge.into }),
    );
    lookup.forget(merge.source);
    if (!(await written(merged, deadlineMs))) return 'pending';
    await moveIdentifiers(pool, identity, lookup, merge.program, merge.source, merge.into);
    return 'merged';
  }

  /** The survivor as it is now; it must be active when the merge begins. */
  async function survivorFor(caller: Caller, source: MemberNumber, into: MemberRef): Promise<MemberNumber> {
    const survivor = await currentMember(
      operations,
      identity,
      caller.program,
      into,
      programNow(caller.program),
    );
    if (!survivor)
      throw new Problem('member_not_found', 'nobody is known under `into`', { pointer: '/into' });
    const { member } = survivor.facts;
    if (member === source) throw fault('/into', 'is the member that is to be merged');
    const { status } = survivor.reading;
    if (status === 'merging') throw new Problem('member_merging', undefined, { pointer: '/into' });
    if (status !== 'active') {
      throw new Problem('member_not_active', undefined, { pointer: '/into', memberStatus: status });
    }
    return member;
  }

  function mark(caller: Caller, request: MergeRequest, waitMs: number): Promise<Moved> {
    return perform(operations, {
      caller,
      script: 'status',
      kind: 'status',
      reference: request.reference,
      named: { member: request.member, action: 'merge', into: request.into, reason: request.reason },
      body: { action: 'merge' },
      durability: 'ledger',
      waitMs,
      member: () => resolveMember(lookup, identity, caller.program, request.member),
      async decide({ member }) {
        const status = await statusToAsk(operations, caller, member, 'merging', wrongToMerge);
        if (status !== 'merging') return { input: { status } };
        const into = await survivorFor(caller, member, request.into);
        return { input: { status, into }, keep: { merge: { into } } };
      },
      refused: statusProblem,
    });
  }

  async function merge(caller: Caller, request: MergeRequest, waitMs: number): Promise<Reply> {
    const deadlineMs = Date.now() + waitMs;
    const marked = await mark(caller, request, waitMs);
    const { member: source, operation } = marked.recorded;
    lookup.forget(source);
    const { program } = caller;
    const { into } = marked.recorded.request.merge as { into: MemberNumber };
    const note = {
      program,
      actor: caller.keyId,
      action: 'member.merge',
      member: source,
      operation,
      reason: request.reason,
    };
    await noteInAudit(pool, identity, note);
    let state: MergeState = 'pending';
    if (marked.reached === 'ledger') {
      state = await advance({ operation, program, source, into }, deadlineMs).catch((error: unknown) => {
        // The mark is in the ledger, so upkeep finishes the merge: an error here would invite a second one.
        if (error instanceof Problem && error.code === 'internal') throw error;
        return 'pending' as const;
      });
    }
    if (state === 'abandoned') {
      throw new Problem('member_not_active', 'the survivor is not active; nothing was merged', {
        pointer: '/into',
      });
    }
    const view = await readView(pool, identity, program, source, seesPersonal(caller.role));
    const body = { ...view, status: state === 'merged' ? 'merged' : 'merging', mergedInto: memberId(into) };
    const reply = movementReply(marked, 'ledger', 200, body);
    return state === 'merged' ? reply : { ...reply, status: 202 };
  }

  async function resumeOne(
    program: Program,
    source: MemberNumber,
    operation: OperationHex,
    into: MemberNumber,
  ): Promise<boolean> {
    return (await advance({ operation, program, source, into }, Date.now() + stepWaitMs)) !== 'pending';
  }

  /** What reached a merged member after its merge. */
  async function moveLeftover(program: Program, source: MemberNumber): Promise<void> {
    const survivor = await survivingMember(pool, identity, program, memberId(source));
    await moveIdentifiers(pool, identity, lookup, program, source, survivor.number);
    if (survivor.status === 'closed' || survivor.number === source) return;
    const reading = await wallet.read(source, programNow(program));
    const empty = reading?.balances.every(
      ([, available, pending, , debt]) => available + pending + debt === 0,
    );
    const places = await countersOf(source);
    if (!reading || (empty && places.length === 0)) return;
    const moved = await takeStep(operations, {
      program,
      member: source,
      script: 'spend',
      kind: 'transfer',
      reference: `rest/${randomUUID()}`,
      input: { all: true, account: 'clearing', places },
      request: { body: { rest: true }, transfer: { to: survivor.number } },
    });
    const deadlineMs = Date.now() + stepWaitMs;
    if (await written(moved, deadlineMs)) await relay.relay(moved.operation, deadlineMs);
  }

  async function resume(limit: number): Promise<{ finished: number; failed: number }> {
    type Row = { number: MemberNumber; program: number; operation: OperationHex; into: MemberNumber };
    const unfinished = (await pool.query<Row>(unfinishedQuery, [limit])).rows;
    const leftovers = (await pool.query<Pick<Row, 'number' | 'program'>>(leftoverQuery, [limit])).rows;
    let finished = 0;
    let failed = 0;
    const count = async (programNumber: number, work: (program: Program) => Promise<boolean>) => {
      const program = programs.get(programNumber);
      const done = await (program ? work(program) : Promise.reject(new Error('unknown program'))).catch(
        () => undefined,
      );
      if (done === undefined) failed += 1;
      else if (done) finished += 1;
    };
    for (const row of unfinished) {
      await count(row.program, (program) => resumeOne(program, row.number, row.operation, row.into));
    }
    for (const row of leftovers) {
      await count(row.program, (program) => moveLeftover(program, row.number).then(() => true));
    }
    return { finished, failed };
  }

  return { merge, resume };
}
