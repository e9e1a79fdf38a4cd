/**
 * Freezes the spending of a member whose balance cannot be trusted, and lifts the freeze when every cause has gone. Both are
 * steps of the engine with a record: whatever runs them again changes nothing. Earning stays open.
 *
 * A freeze is lifted only where the engine itself set it last and no other cause is left: neither an open record in
 * quarantine nor an open finding of the audit.
 */
import type { App } from '#src/app.ts';
import { stepTaken, takeStep } from '#src/members/engine.ts';
import type { MemberNumber } from '#src/values.ts';

const membersPerRunMax = 200;

/** The step that freezes or lifts; `cause` names what it is for, such as `quarantine/3-1-17` or `drift/5`. */
function stepOf(app: App, member: MemberNumber, number: number, cause: string, frozen: boolean) {
  const program = app.programs.get(number);
  if (!program) return undefined;
  return {
    program,
    member,
    script: 'status',
    kind: 'status',
    reference: frozen ? cause : `${cause}/lift`,
    input: { frozen },
    request: { body: { action: frozen ? 'freeze' : 'lift', cause } },
  } as const;
}

/** Freezes a member's spending for a cause, once. */
export async function freezeFor(
  app: App,
  member: MemberNumber,
  program: number,
  cause: string,
): Promise<boolean> {
  const step = stepOf(app, member, program, cause, true);
  if (!step || (await stepTaken(app.operations, step))) return false;
  await takeStep(app.operations, step);
  app.operations.lookup.forget(member);
  return true;
}

const standingQuery = `
  select m.frozen, m.program,
    exists (select from quarantine q where q.member = m.number and q.resolution is null)
      or exists (select from audit_finding f where f.member = m.number and f.settled_at is null) as other_cause,
    -- Whoever said last whether the member is frozen. The engine is client 0.
    (select o.client = 0 and o.request -> 'body' ->> 'action' = 'freeze' from operation o
      where o.member = m.number and o.kind = 'status' and o.request -> 'body' ->> 'action' in ('freeze', 'unfreeze', 'lift')
      order by o.operation desc limit 1) as engine_froze
  from member m where m.number = $1`;

/** Lifts the freeze of a member whose cause has gone; answers whether spending is open now. */
export async function liftFor(app: App, member: MemberNumber, cause: string): Promise<boolean> {
  const { wallet } = app.operations;
  await wallet.readBarrier(wallet.shardOf(member), 5_000);
  const { rows } = await app.pool.query<{
    frozen: boolean;
    program: number;
    other_cause: boolean;
    engine_froze: boolean | null;
  }>(standingQuery, [member]);
  const row = rows[0];
  if (!row?.frozen) return row !== undefined;
  if (row.other_cause || row.engine_froze !== true) return false;
  const step = stepOf(app, member, row.program, cause, false);
  if (!step) return false;
  await takeStep(app.operations, step);
  app.operations.lookup.forget(member);
  return true;
}

/** Freezes the spending of members with an open record in quarantine. Answers how many were frozen. */
export async function freezeQuarantined(app: App): Promise<number> {
  const found = await app.pool.query<{ member: MemberNumber; program: number; record: string }>(
    `select q.member, m.program, q.shard || '-' || q.epoch || '-' || q.seq as record
     from quarantine q join member m on m.number = q.member where q.resolution is null and not m.frozen limit $1`,
    [membersPerRunMax],
  );
  let frozen = 0;
  for (const { member, program, record } of found.rows)
    if (await freezeFor(app, member, program, `quarantine/${record}`)) frozen += 1;
  return frozen;
}
