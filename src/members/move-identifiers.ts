/** Last step of a merge: the source's identifiers name the survivor from now on, and its codes are the survivor's. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import type { MemberNumber } from '#src/values.ts';
import type { Lookup } from '#src/wallet/lookup.ts';
import { moveCodes } from './codes.ts';
import type { Identity } from './identity.ts';
import { type IdentifierRow, shortTransaction } from './records.ts';
import { wipeMember } from './wipe.ts';

async function moveRows(
  tx: pg.PoolClient,
  identity: Identity,
  program: Program,
  source: MemberNumber,
  into: MemberNumber,
): Promise<IdentifierRow[]> {
  const result = await tx.query<IdentifierRow>(
    'select member, type, value_encrypted, value_hash, linked_at from identifier where program = $1 and member = $2 order by type, value_hash for update',
    [program.number, source],
  );
  const { rows } = result;
  if (rows.length === 0) return rows;
  // A value is encrypted for its member, so it is encrypted anew for the survivor.
  await tx.query(
    `update identifier i set member = $2, value_encrypted = k.e from unnest($3::text[], $4::bytea[], $5::bytea[]) as k(t, h, e)
     where i.program = $1 and i.type = k.t and i.value_hash = k.h`,
    [
      program.number,
      into,
      rows.map((row) => row.type),
      rows.map((row) => row.value_hash),
      rows.map((row) =>
        identity.encrypt(program.number, into, identity.decrypt(program.number, source, row.value_encrypted)),
      ),
    ],
  );
  return rows;
}

/** Moves what is there; where the survivor was erased meanwhile, the source is part of that person and is erased too. */
export async function moveIdentifiers(
  pool: pg.Pool,
  identity: Identity,
  lookup: Lookup,
  program: Program,
  source: MemberNumber,
  into: MemberNumber,
): Promise<void> {
  const moved = await shortTransaction(pool, async (tx) => {
    const survivor = await tx.query<{ erased_at: Date | null }>(
      'select erased_at from member where number = $1 and program = $2 for share',
      [into, program.number],
    );
    const row = survivor.rows[0];
    if (!row) throw new Error(`survivor ${into} of a merge is not in program ${program.number}`);
    if (row.erased_at !== null) return undefined;
    await moveCodes(tx, source, into);
    return moveRows(tx, identity, program, source, into);
  });
  if (!moved) return wipeMember(pool, lookup, program, source);
  for (const row of moved) {
    lookup.forgetIdentifier(program.number, { type: row.type, hash: row.value_hash.toString('hex') });
  }
  lookup.forget(source);
}
