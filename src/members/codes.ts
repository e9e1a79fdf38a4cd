/**
 * Codes of promotions that a member has activated beforehand, in an app or at the counter; a code that comes with a receipt
 * (`purchase.codes`) needs none of it.
 *
 * A code holds from the day of the program's zone on which it was activated, so that a till whose clock is slow, or that sends
 * its receipts in the evening, does not take from a member what the app has promised. What was decided before the activation stays
 * what it was: a return and an explanation see the codes that were known then.
 */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { momentOf } from '#src/earning/rules/calendar.ts';
import { Problem, validationProblem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import { epochMsOf, type Queryable } from '#src/platform/postgres.ts';
import { type EpochMs, type MemberNumber, memberId } from '#src/values.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { raiseFacts } from './engine.ts';
import type { Identity } from './identity.ts';
import type { MemberRef } from './member-ref.ts';
import { shortTransaction, survivingMember } from './records.ts';

/** As many as the members of a file's examples may have. */
const codesMax = 100;

export interface ActivatedCode {
  readonly code: string;
  readonly at: EpochMs;
}

/** Promotions of the version in force, and of those that wait for their day, that a code activates. */
function promotionsBy({ versions }: Program, code: string, now: EpochMs): string[] {
  const last = versions.findLastIndex(({ effectiveFrom }) => effectiveFrom <= now);
  const names = versions
    .slice(Math.max(0, last))
    .flatMap(({ definition }) => definition.promotions.filter((each) => each.code === code))
    .map(({ name }) => name);
  return [...new Set(names)].toSorted();
}

/** Whether any version has promotions by code: nobody is asked about the members of other programs. */
export function hasCodes({ versions }: Pick<Program, 'versions'>): boolean {
  return versions.some(({ definition }) => definition.promotions.some(({ code }) => code !== undefined));
}

interface CodeRow extends ActivatedCode {
  readonly member: MemberNumber;
  readonly activated_by: string;
}

async function rowsOf(db: Queryable, members: readonly MemberNumber[]): Promise<CodeRow[]> {
  const { rows } = await db.query<CodeRow>({
    name: 'member-codes',
    text: `select member, code, ${epochMsOf('activated_at')} as at, activated_by from member_code
      where member = any($1::bigint[]) order by member, activated_at, code`,
    values: [members],
  });
  return rows;
}

/** The codes that hold for what occurred at a time; `decidedAt`: for what was decided then, when later ones were not known. */
export function codesAt(
  { timeZone }: Pick<Program, 'timeZone'>,
  codes: readonly ActivatedCode[],
  occurredAt: EpochMs,
  decidedAt = Number.POSITIVE_INFINITY,
): string[] {
  if (codes.length === 0) return [];
  const day = momentOf(occurredAt, timeZone).date;
  return codes
    .filter(({ at }) => at <= decidedAt && momentOf(at, timeZone).date <= day)
    .map(({ code }) => code);
}

/** The codes of members; who has none is not there. */
export async function codesOf(
  db: Queryable,
  members: readonly MemberNumber[],
): Promise<Map<MemberNumber, readonly ActivatedCode[]>> {
  const rows = await rowsOf(db, members);
  return Map.groupBy(rows, ({ member }) => member);
}

function codeView(program: Program, { code, at }: ActivatedCode, now: EpochMs): Record<string, unknown> {
  return {
    object: 'memberCode',
    code,
    activatedAt: new Date(at).toISOString(),
    promotions: promotionsBy(program, code, now),
  };
}

/** What is held about a member's codes. */
export async function codesHeld(db: Queryable, member: MemberNumber): Promise<Record<string, unknown>[]> {
  return (await rowsOf(db, [member])).map(({ code, at, activated_by }) => ({
    ...{ code, activatedAt: new Date(at).toISOString(), activatedBy: activated_by },
  }));
}

/** Last step of a merge: the survivor has what either had, since the earlier of both times. */
export async function moveCodes(tx: pg.ClientBase, source: MemberNumber, into: MemberNumber): Promise<void> {
  await tx.query(
    `with gone as (delete from member_code where member = $1 returning *)
     insert into member_code (member, code, activated_at, activated_by)
     select $2, code, activated_at, activated_by from gone
     on conflict (member, code) do update set activated_at = least(member_code.activated_at, excluded.activated_at)`,
    [source, into],
  );
}

interface Added extends ActivatedCode {
  readonly isNew: boolean;
}

async function add(
  tx: pg.PoolClient,
  member: MemberNumber,
  code: string,
  activation: { readonly at: EpochMs; readonly by: string },
): Promise<Added> {
  const { rows } = await tx.query<{ status: string; erased: boolean }>(
    'select status, erased_at is not null as erased from member where number = $1 for no key update',
    [member],
  );
  const row = rows[0];
  if (!row || row.erased || row.status === 'closed') throw new Problem('member_not_active');
  if (row.status === 'merging' || row.status === 'merged') throw new Problem('member_merging');
  const activated = await codesOf(tx, [member]).then((all) => all.get(member) ?? []);
  const known = activated.find((each) => each.code === code);
  if (known) return { code, at: known.at, isNew: false };
  if (activated.length >= codesMax)
    throw validationProblem([{ pointer: '/code', detail: `would be more than ${codesMax} of this member` }]);
  await tx.query(
    'insert into member_code (member, code, activated_at, activated_by) values ($1, $2, $3, $4)',
    [member, code, new Date(activation.at), activation.by],
  );
  return { code, at: activation.at, isNew: true };
}

export interface Codes {
  /** Activates a code for a member; again, it says since when. */
  activate(caller: Caller, member: MemberRef, code: string, waitMs: number): Promise<Reply>;
  list(caller: Caller, member: MemberRef): Promise<Reply>;
}

export function createCodes(operations: Operations, pool: pg.Pool, identity: Identity): Codes {
  return {
    async activate({ program, keyId }, ref, code, waitMs) {
      const now = programNow(program);
      if (promotionsBy(program, code, now).length === 0)
        throw validationProblem([{ pointer: '/code', detail: 'activates no promotion of this program' }]);
      const { number } = await survivingMember(pool, identity, program, ref);
      const added = await shortTransaction(pool, (tx) => add(tx, number, code, { at: now, by: keyId }));
      // What was judged without it must not be applied any more. A repeat does it too: the first may have died before.
      await raiseFacts(operations, program, [number], waitMs);
      return {
        status: added.isNew ? 201 : 200,
        body: { mode: program.mode, member: memberId(number), ...codeView(program, added, now) },
      };
    },
    async list({ program }, ref) {
      const { number } = await survivingMember(pool, identity, program, ref);
      const codes = (await codesOf(pool, [number])).get(number) ?? [];
      const now = programNow(program);
      return {
        status: 200,
        body: { object: 'list', data: codes.map((each) => codeView(program, each, now)) },
      };
    },
  };
}
