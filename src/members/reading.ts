/** Reading and enrolling members for callers: what the routes answer. */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { errorTable, Problem } from '#src/errors.ts';
import { faultsOf } from '#src/http/faults.ts';
import { problemType } from '#src/http/problem.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import { shownTiers } from '#src/tiers/shown.ts';
import type { MemberNumber } from '#src/values.ts';
import { memberId } from '#src/values.ts';
import { balancesView } from '#src/wallet/balances.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { waitUntil } from './engine.ts';
import type { Enrolled, Enrolment, EnrolmentDraft } from './enrolment.ts';
import type { Identifier, Identity } from './identity.ts';
import { currentMember, type MemberRef } from './member-ref.ts';
import {
  type IdentifierRow,
  identifiersOf,
  type MemberRow,
  membersByNumber,
  memberView,
  namedMember,
  readView,
  seesPersonal,
} from './records.ts';
import { draftOf, type EnrolmentBody, enrolmentSchema } from './schemas.ts';

export interface Readings {
  enrol(caller: Caller, body: EnrolmentBody): Promise<Reply>;
  enrolBulk(caller: Caller, items: readonly unknown[]): Promise<Reply>;
  get(caller: Caller, member: MemberRef, waitMs: number): Promise<Record<string, unknown>>;
  find(caller: Caller, identifier: Identifier): Promise<Record<string, unknown>>;
}

interface Sent {
  readonly index: number;
  readonly draft: EnrolmentDraft;
}

type Item = {
  readonly index: number;
  readonly status: number;
  readonly member?: unknown;
  readonly error?: unknown;
};

function refusedItem(index: number, problem: Problem): Item {
  const { code, status, detail, fields } = problem;
  const { title } = errorTable[code];
  return {
    index,
    status,
    error: { ...fields, type: problemType(code), title, status, detail, code, applied: 'no' },
  };
}

/** The drafts of a bulk; what does not fit the schema is answered at its place. */
function draftsOf(program: Program, items: readonly unknown[]): { sent: Sent[]; refused: Item[] } {
  const now = programNow(program);
  const sent: Sent[] = [];
  const refused: Item[] = [];
  items.forEach((item, index) => {
    const parsed = enrolmentSchema.safeParse(item);
    try {
      if (!parsed.success)
        throw new Problem('validation_failed', undefined, { errors: faultsOf(parsed.error, item) });
      sent.push({ index, draft: draftOf(program, parsed.data, now) });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      refused.push(refusedItem(index, error));
    }
  });
  return { sent, refused };
}

export function createReadings(
  operations: Operations,
  pool: pg.Pool,
  identity: Identity,
  enrolment: Enrolment,
): Readings {
  const { wallet } = operations;

  function viewOf(
    caller: Caller,
    row: MemberRow,
    identifiers: readonly IdentifierRow[],
    draft: EnrolmentDraft,
    tier: string | null,
  ) {
    return memberView(identity, {
      program: caller.program,
      row,
      identifiers,
      personal: seesPersonal(caller.role),
      sent: { birthday: draft.birthday, attributes: draft.attributes },
      tier,
    });
  }

  /** Views of enrolled members, read with two statements however many there are, a third where the program has tiers. */
  async function viewsOf(
    caller: Caller,
    sent: readonly Sent[],
    enrolled: readonly Enrolled[],
  ): Promise<Item[]> {
    const numbers = enrolled.flatMap((result) => (result.status === 'refused' ? [] : [result.member]));
    const rows = await membersByNumber(pool, caller.program, numbers);
    const identifiers = Map.groupBy(await identifiersOf(pool, numbers), (row) => row.member);
    const tierOf = await shownTiers(pool, caller.program, numbers);
    return sent.map(({ index, draft }, i): Item => {
      const result = enrolled[i]!;
      if (result.status === 'refused') return refusedItem(index, result.problem);
      const row = rows.get(result.member);
      if (!row) return refusedItem(index, new Problem('member_not_found'));
      const member = viewOf(caller, row, identifiers.get(result.member) ?? [], draft, tierOf(result.member));
      return { index, status: result.status === 'created' ? 201 : 200, member };
    });
  }

  return {
    async enrol(caller, body) {
      const draft = draftOf(caller.program, body, programNow(caller.program));
      const [result] = await enrolment.enrol(caller.program, [draft]);
      if (result?.status === 'refused') throw result.problem;
      const [item] = await viewsOf(caller, [{ index: 0, draft }], [result!]);
      return { status: item!.status, body: item!.member };
    },
    async enrolBulk(caller, items) {
      const { sent, refused } = draftsOf(caller.program, items);
      const enrolled = await enrolment.enrol(
        caller.program,
        sent.map(({ draft }) => draft),
      );
      const data = [...refused, ...(await viewsOf(caller, sent, enrolled))].sort((a, b) => a.index - b.index);
      return { status: 200, body: { object: 'list', data, nextCursor: null } };
    },
    async get(caller, ref, waitMs) {
      const deadlineMs = Date.now() + waitMs;
      const { number } = await namedMember(pool, identity, caller.program, ref);
      await wallet.readBarrier(wallet.shardOf(number), waitUntil(deadlineMs));
      return readView(pool, identity, caller.program, number, seesPersonal(caller.role));
    },
    async find(caller, identifier) {
      const { program } = caller;
      const current = await currentMember(operations, identity, program, identifier, programNow(program));
      if (!current) throw new Problem('member_not_found');
      const member: MemberNumber = current.facts.member;
      const view = await readView(pool, identity, program, member, seesPersonal(caller.role));
      const { balances, timeZone, ledger } = balancesView(program, current.reading, member);
      return {
        ...view,
        status: current.reading.status,
        member: memberId(member),
        timeZone,
        balances,
        ledger,
      };
    },
  };
}
