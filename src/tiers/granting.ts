/**
 * Tiers that people give: grants, their end, and protection from going down. Each is an edit of what is stored of the member,
 * followed by a review in the same database transaction; then the change is announced like any other.
 *
 * A reference stands for one edit of its kind and client for ever. Its row is inserted first, so of two calls at once the second
 * waits for the first and gives its answer; only a new one is looked at by the ladders, offers and days of now. Then the member
 * is locked: of two edits of one member the second sees what the first has done.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import { noteEditInAudit } from '#src/members/audit-note.ts';
import type { Identity } from '#src/members/identity.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { shortTransaction, survivingMember } from '#src/members/records.ts';
import type { MemberNumber } from '#src/values.ts';
import { fault } from '#src/wallet/fields.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { type AnnouncerContext, announceOf } from './announcing.ts';
import { applyReviews } from './applying.ts';
import { dayOf, dayOfText } from './days.ts';
import { grantsMax, withGrant } from './granted.ts';
import type { Day, Grant, Ladder } from './ladder/types.ts';
import { laddersAt } from './ladders.ts';
import { sealedReason, tierView } from './reading.ts';
import { reviewingOf } from './recalculating.ts';
import type { EndGrantBody, GrantBody, ProtectionBody } from './schemas.ts';
import { type Db, type LadderState, type Person, readPeople } from './store.ts';

export interface GrantingContext extends AnnouncerContext {
  readonly operations: Operations;
  readonly identity: Identity;
}

/** What is asked for by hand; the path of the call says it. */
type OrderKind = 'grant' | 'end' | 'protect' | 'match';

/** What is done to the ladder of a member. */
export interface Edit {
  readonly ladder: Ladder;
  edit(state: LadderState): LadderState;
}

/** An edit that somebody asks for. */
interface Asked {
  readonly member: MemberRef;
  readonly kind: OrderKind;
  readonly reference: string;
  readonly reason: string;
  /** What the reference stands for. */
  readonly named: Record<string, unknown>;
  /** What is to be done, or why not; asked once, with the member locked, and may write in the same database transaction. */
  plan(tx: pg.ClientBase, person: Person): Promise<Edit> | Edit;
}

interface OrderRow {
  readonly fingerprint: string;
  readonly member: MemberNumber;
  readonly answer: { readonly status?: number; readonly body?: unknown };
}

type OrderKey = readonly [program: number, client: number, kind: OrderKind, reference: string];

/** Rows without a kind were written by older code, which did not tell kinds apart. */
const ofReference = `program = $1 and client = $2 and kind in ($3, '') and reference = $4`;

/** Takes the reference; answers what it was used for, where it was. */
async function takeReference(
  tx: pg.ClientBase,
  key: OrderKey,
  fingerprint: string,
  member: MemberNumber,
): Promise<OrderRow | undefined> {
  const { rowCount } = await tx.query(
    `insert into tier_order (program, client, kind, reference, fingerprint, member, answer)
     select $1::int, $2::int, $3::text, $4::text, $5::text, $6::bigint, '{}' where not exists (select from tier_order where ${ofReference})
     on conflict do nothing`,
    [...key, fingerprint, member],
  );
  if (rowCount === 1) return undefined;
  const { rows } = await tx.query<OrderRow>(
    `select fingerprint, member, answer from tier_order where ${ofReference}`,
    [...key],
  );
  return rows[0];
}

async function keepAnswer(db: Db, key: OrderKey, answer: Required<OrderRow['answer']>): Promise<void> {
  await db.query(
    'update tier_order set answer = $5 where program = $1 and client = $2 and kind = $3 and reference = $4',
    [...key, JSON.stringify(answer)],
  );
}

/** The ladder that has a tier, as it is now. */
function ladderWith(program: Program, tier: string): Ladder {
  const { ladders } = laddersAt(program, programNow(program));
  const found = ladders.find(({ tiers }) => tiers.some(({ name }) => name === tier));
  if (!found) throw fault('/tier', 'is not a tier of the program');
  return found;
}

function ladderNamed(program: Program, name: string | undefined): Ladder {
  const { ladders } = laddersAt(program, programNow(program));
  const found = name === undefined ? ladders[0] : ladders.find((each) => each.name === name);
  if (!found) throw fault('/ladder', 'is not a ladder of the program');
  return found;
}

/** The member, locked until the commit. */
async function personOf(tx: pg.ClientBase, program: Program, member: MemberNumber): Promise<Person> {
  await tx.query('select from member where number = $1 for no key update', [member]);
  const [person] = await readPeople(tx, program.number, [member]);
  if (!person) throw new Problem('member_not_active');
  return person;
}

/** Does what is asked for in a database transaction, and answers where the member stands then. */
async function performed(
  tx: pg.PoolClient,
  context: GrantingContext,
  caller: Caller,
  asked: Asked,
  member: MemberNumber,
): Promise<unknown> {
  const { identity } = context;
  const { program, keyId } = caller;
  const person = await personOf(tx, program, member);
  const { ladder, edit } = await asked.plan(tx, person);
  await applyReviews(
    tx,
    { ...reviewingOf(program), edit: (name, state) => (name === ladder.name ? edit(state) : state) },
    [person],
  );
  const { kind, reference, reason } = asked;
  const note = { program, actor: keyId, action: `member.tier.${kind}`, member, reason };
  await noteEditInAudit(tx, identity, { ...note, reference });
  return tierView(tx, { identity, program, member, isPersonal: false }, person);
}

/** Does an edit once, and answers where the member stands then. */
export async function editTier(context: GrantingContext, caller: Caller, asked: Asked): Promise<Reply> {
  const { pool, identity, operations } = context;
  const { program, client } = caller;
  const fingerprint = operations.fingerprint(asked.named);
  const { number: member } = await survivingMember(pool, identity, program, asked.member);
  const key: OrderKey = [program.number, client, asked.kind, asked.reference];
  const first = await shortTransaction(pool, async (tx) => {
    const used = await takeReference(tx, key, fingerprint, member);
    if (used) return used;
    const body = await performed(tx, context, caller, asked, member);
    await keepAnswer(tx, key, { status: 200, body });
    return { body };
  });
  if ('fingerprint' in first) {
    if (first.fingerprint !== fingerprint) throw new Problem('reference_reused', undefined, { pointer: '' });
    await announceOf(context, first.member);
    return { status: first.answer.status ?? 200, replayed: true, body: first.answer.body };
  }
  const isKnown = await announceOf(context, member);
  if (!isKnown) await keepAnswer(pool, key, { status: 202, body: first.body });
  return { status: isKnown ? 200 : 202, body: first.body };
}

function untilOf(text: string | undefined, today: Day, pointer: string): Day | undefined {
  if (text === undefined) return undefined;
  const day = dayOfText(text);
  if (day < today) throw fault(pointer, 'lies in the past');
  return day;
}

/** The grants with one more; fifty at a time are enough for anybody. */
export function granted(state: LadderState, grant: Grant, today: Day): LadderState {
  const after = withGrant(state, grant, today);
  if (!after) throw new Problem('tier_limit', undefined, { limit: grantsMax });
  return after;
}

/** `POST /v1/members/:member/tier` */
export function grantTier(
  context: GrantingContext,
  caller: Caller,
  member: MemberRef,
  reference: string,
  body: GrantBody,
): Promise<Reply> {
  const { program } = caller;
  const { tier, reason, until, origin } = body;
  return editTier(context, caller, {
    member,
    kind: 'grant',
    reference,
    reason,
    named: { member, action: 'grant', tier, reason, until, origin },
    plan(_, person) {
      const today = dayOf(programNow(program), program.timeZone);
      const untilDay = untilOf(until, today, '/until');
      const grant = {
        ...{ id: randomUUID(), reference, tier, origin, fromDay: today },
        reason: sealedReason(context.identity, program, person.member, reason),
        ...(untilDay === undefined ? {} : { untilDay }),
      };
      return { ladder: ladderWith(program, tier), edit: (state) => granted(state, grant, today) };
    },
  });
}

/** `POST /v1/members/:member/tier/grants/:grant/end` */
export function endGrant(
  context: GrantingContext,
  caller: Caller,
  member: MemberRef,
  grant: string,
  reference: string,
  { reason }: EndGrantBody,
): Promise<Reply> {
  const { program } = caller;
  return editTier(context, caller, {
    member,
    kind: 'end',
    reference,
    reason,
    named: { member, action: 'end', grant, reason },
    async plan(tx, person) {
      const today = dayOf(programNow(program), program.timeZone);
      const { rows } = await tx.query<{ ladder: string }>(
        `select ladder from tier_standing where member = $1
         and exists (select from json_array_elements(standing -> 'grants') g where g ->> 'id' = $2)`,
        [person.member, grant],
      );
      if (!rows[0]) throw new Problem('not_found');
      const ended = (each: Grant) =>
        each.id === grant && (each.untilDay ?? today) >= today ? { ...each, untilDay: today - 1 } : each;
      const { ladder } = rows[0];
      return {
        ladder: ladderNamed(program, ladder),
        edit: (state) => ({ ...state, grants: state.grants.map(ended) }),
      };
    },
  });
}

/** `PUT /v1/members/:member/tier/protection` */
export function protectTier(
  context: GrantingContext,
  caller: Caller,
  member: MemberRef,
  reference: string,
  { ladder, reason, through }: ProtectionBody,
): Promise<Reply> {
  const { program } = caller;
  return editTier(context, caller, {
    member,
    kind: 'protect',
    reference,
    reason,
    named: { member, action: 'protect', ladder, reason, through },
    plan() {
      const today = dayOf(programNow(program), program.timeZone);
      // In what is stored, null is for ever.
      const throughDay = through === 'for_ever' ? null : untilOf(through ?? undefined, today, '/through');
      return {
        ladder: ladderNamed(program, ladder),
        edit: ({ protectedThroughDay: _before, ...state }) =>
          throughDay === undefined ? state : { ...state, protectedThroughDay: throughDay },
      };
    },
  });
}
