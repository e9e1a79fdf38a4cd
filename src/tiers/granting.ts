/**
 * Tiers that people give: grants, their end, and protection from going down. Each is an edit of what is stored of the member,
 * followed by a review in the same database transaction; then the change is announced like any other.
 *
 * A reference stands for one edit of one client for ever. Its row is inserted first, so of two calls at once the second waits
 * for the first and gives its answer.
 */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import type { Identity } from '#src/members/identity.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { seesPersonal, shortTransaction, survivingMember } from '#src/members/records.ts';
import type { MemberNumber } from '#src/values.ts';
import { fault } from '#src/wallet/fields.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { type AnnouncerContext, announceOf } from './announcing.ts';
import { applyReviews } from './applying.ts';
import { dayOf, dayOfText } from './days.ts';
import { withGrant } from './granted.ts';
import type { Day, Ladder } from './ladder/types.ts';
import { laddersAt } from './ladders.ts';
import { sealedReason, tierView } from './reading.ts';
import { reviewingOf } from './recalculating.ts';
import type { EndGrantBody, GrantBody, ProtectionBody } from './schemas.ts';
import { type LadderState, type Person, readPeople } from './store.ts';

export interface GrantingContext extends AnnouncerContext {
  readonly operations: Operations;
  readonly identity: Identity;
}

/** An edit that somebody asks for. */
interface Asked {
  readonly member: MemberRef;
  readonly reference: string;
  /** What the reference stands for. */
  readonly named: Record<string, unknown>;
  readonly ladder: Ladder;
  edit(program: Program, person: Person, state: LadderState): LadderState;
  /** Done in the same database transaction, for whom it is done is known by then. */
  also?(tx: pg.ClientBase, person: Person): Promise<void>;
}

interface OrderRow {
  readonly fingerprint: string;
  readonly member: MemberNumber;
  readonly answer: { body?: unknown };
}

/** Takes the reference; answers what it was used for, where it was. */
async function takeReference(
  tx: pg.ClientBase,
  caller: Caller,
  reference: string,
  fingerprint: string,
  member: MemberNumber,
): Promise<OrderRow | undefined> {
  const key = [caller.program.number, caller.client, reference];
  const { rowCount } = await tx.query(
    `insert into tier_order (program, client, reference, fingerprint, member, answer) values ($1, $2, $3, $4, $5, '{}')
     on conflict do nothing`,
    [...key, fingerprint, member],
  );
  if (rowCount === 1) return undefined;
  const { rows } = await tx.query<OrderRow>(
    'select fingerprint, member, answer from tier_order where program = $1 and client = $2 and reference = $3',
    key,
  );
  return rows[0];
}

/** The ladder that has a tier, as it is now. */
export function ladderWith(program: Program, tier: string): Ladder {
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

async function personOf(tx: pg.ClientBase, program: Program, member: MemberNumber): Promise<Person> {
  const [person] = await readPeople(tx, program.number, [member]);
  if (!person) throw new Problem('member_not_active');
  return person;
}

/** Does an edit once, and answers where the member stands then. */
export async function editTier(context: GrantingContext, caller: Caller, asked: Asked): Promise<Reply> {
  const { pool, identity, operations } = context;
  const { program } = caller;
  const fingerprint = operations.fingerprint(asked.named);
  const { number: member } = await survivingMember(pool, identity, program, asked.member);
  const reader = { identity, program, member, isPersonal: seesPersonal(caller.role) };
  const before = await shortTransaction(pool, async (tx) => {
    const used = await takeReference(tx, caller, asked.reference, fingerprint, member);
    if (used) return used;
    const person = await personOf(tx, program, member);
    const edit = (ladder: string, state: LadderState) =>
      ladder === asked.ladder.name ? asked.edit(program, person, state) : state;
    await asked.also?.(tx, person);
    await applyReviews(tx, { ...reviewingOf(program), edit }, [person]);
    const body = await tierView(tx, { ...reader, isPersonal: false }, person);
    await tx.query(
      'update tier_order set answer = $4 where program = $1 and client = $2 and reference = $3',
      [program.number, caller.client, asked.reference, JSON.stringify({ body })],
    );
    await tx.query('insert into audit_log (program, actor, action, subject) values ($1, $2, $3, $4)', [
      program.number,
      caller.keyId,
      `member.tier ${asked.reference}`,
      `${member}`,
    ]);
    return { body };
  });
  if ('fingerprint' in before) {
    if (before.fingerprint !== fingerprint) throw new Problem('reference_reused', undefined, { pointer: '' });
    await announceOf(context, before.member);
    return { status: 200, replayed: true, body: before.answer.body };
  }
  const isKnown = await announceOf(context, member);
  return { status: isKnown ? 200 : 202, body: before.body };
}

function untilOf(text: string | undefined, today: Day, pointer: string): Day | undefined {
  if (text === undefined) return undefined;
  const day = dayOfText(text);
  if (day < today) throw fault(pointer, 'lies in the past');
  return day;
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
  const today = dayOf(programNow(program), program.timeZone);
  const untilDay = untilOf(until, today, '/until');
  return editTier(context, caller, {
    member,
    reference,
    named: { member, action: 'grant', tier, reason, until, origin },
    ladder: ladderWith(program, tier),
    edit: (_, person, state) =>
      withGrant(state, {
        id: reference,
        tier,
        origin,
        reason: sealedReason(context.identity, program, person.member, reason),
        fromDay: today,
        ...(untilDay === undefined ? {} : { untilDay }),
      }),
  });
}

/** `POST /v1/members/:member/tier/grants/:grant/end` */
export async function endGrant(
  context: GrantingContext,
  caller: Caller,
  member: MemberRef,
  grant: string,
  reference: string,
  { reason }: EndGrantBody,
): Promise<Reply> {
  const { program } = caller;
  const today = dayOf(programNow(program), program.timeZone);
  const { number } = await survivingMember(context.pool, context.identity, program, member);
  const { rows } = await context.pool.query<{ ladder: string }>(
    `select ladder from tier_standing where member = $1
     and exists (select from json_array_elements(standing -> 'grants') g where g ->> 'id' = $2)`,
    [number, grant],
  );
  if (!rows[0]) throw new Problem('not_found');
  return editTier(context, caller, {
    member,
    reference,
    named: { member, action: 'end', grant, reason },
    ladder: ladderNamed(program, rows[0].ladder),
    edit: (_, _person, state) => ({
      ...state,
      grants: state.grants.map((each) =>
        each.id === grant && (each.untilDay ?? today) >= today ? { ...each, untilDay: today - 1 } : each,
      ),
    }),
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
  const today = dayOf(programNow(program), program.timeZone);
  const throughDay = untilOf(through ?? undefined, today, '/through');
  return editTier(context, caller, {
    member,
    reference,
    named: { member, action: 'protect', ladder, reason, through },
    ladder: ladderNamed(program, ladder),
    edit: (_, _person, { protectedThroughDay: _before, ...state }) =>
      throughDay === undefined ? state : { ...state, protectedThroughDay: throughDay },
  });
}
