/**
 * Who did what to a member, for people who ask later. The reason is free text and may hold names, so it never reaches
 * journal or ledger: it is encrypted here, and erasure removes it.
 */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { memberId, operationId } from '#src/values.ts';
import type { Identity } from './identity.ts';

export interface AuditNote {
  readonly program: Program;
  /** Id of the key that was used. */
  readonly actor: string;
  /** Such as `member.suspend`. */
  readonly action: string;
  readonly member: MemberNumber;
  /** The status record that the note belongs to; it is noted once however often the request is repeated. */
  readonly operation: OperationHex;
  readonly reason?: string | undefined;
}

/** Writes a note as `action operation [sealed reason]`; the same operation again changes nothing. */
export async function noteInAudit(pool: pg.Pool, identity: Identity, note: AuditNote): Promise<void> {
  const { program, actor, action, member, operation, reason } = note;
  const head = `${action} ${operationId('status', operation)}`;
  const sealed =
    reason === undefined ? '' : ` ${identity.encrypt(program.number, member, reason).toString('base64url')}`;
  await pool.query(
    `insert into audit_log (program, actor, action, subject) select $1::int, $2::text, $3::text, $4::text
     where not exists (select 1 from audit_log where subject = $4 and program = $1 and starts_with(action, $5::text))`,
    [program.number, actor, head + sealed, memberId(member), head],
  );
}

/** Something that was done to a member by a reference and has no record in its journal. */
export interface EditNote extends Omit<AuditNote, 'operation' | 'reason'> {
  readonly reference: string;
  readonly reason: string;
}

/** Writes a note in the database transaction in which it is done, as `action reference sealed`; blanks of references are encoded. */
export async function noteEditInAudit(tx: pg.ClientBase, identity: Identity, note: EditNote): Promise<void> {
  const { program, actor, action, member, reference, reason } = note;
  const sealed = identity.encrypt(program.number, member, reason).toString('base64url');
  await tx.query('insert into audit_log (program, actor, action, subject) values ($1, $2, $3, $4)', [
    program.number,
    actor,
    `${action} ${encodeURIComponent(reference)} ${sealed}`,
    memberId(member),
  ]);
}

export interface AuditEntry {
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly operation?: string;
  readonly reason?: string;
}

const entriesMax = 1_000;

/** The newest notes about a member, with their reasons in clear. */
export async function auditOf(
  pool: pg.Pool,
  identity: Identity,
  program: Program,
  member: MemberNumber,
): Promise<AuditEntry[]> {
  const result = await pool.query<{ at: Date; actor: string; action: string }>(
    'select at, actor, action from audit_log where program = $1 and subject = $2 order by number desc limit $3',
    [program.number, memberId(member), entriesMax],
  );
  return result.rows.map((row) => {
    const [action = '', operation, sealed] = row.action.split(' ');
    return {
      at: row.at.toISOString(),
      actor: row.actor,
      action,
      ...(operation === undefined ? {} : { operation }),
      ...(sealed === undefined
        ? {}
        : { reason: identity.decrypt(program.number, member, Buffer.from(sealed, 'base64url')) }),
    };
  });
}

/** Removes the reasons of all notes about a member; that something was done, by whom and when, stays. */
export async function forgetReasons(pool: pg.Pool, program: Program, member: MemberNumber): Promise<void> {
  await pool.query(
    `update audit_log set action = split_part(action, ' ', 1) || ' ' || split_part(action, ' ', 2)
     where program = $1 and subject = $2 and split_part(action, ' ', 3) <> ''`,
    [program.number, memberId(member)],
  );
}
