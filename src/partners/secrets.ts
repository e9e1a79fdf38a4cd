/**
 * The secrets with which partners sign their calls to us. One is made with the key and shown once. While it is replaced two
 * are live: the new one from now on, the old one until its end; a third would end the oldest at once.
 */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { inTransaction } from '#src/platform/postgres.ts';
import type { Sealing } from './sealing.ts';

/** A live secret of a key, as processes keep it in memory. */
export interface SealedSecret {
  readonly sealed: Buffer;
  /** Epoch ms; null: until another one follows. */
  readonly endsAt: number | null;
}

const prefix = 'ls_';
/** Long enough for a partner to install the new secret at all of its places, over a weekend. */
export const overlapSecondsDefault = 7 * 86_400;
export const overlapSecondsMax = 90 * 86_400;

/** What a secret of a key is sealed for. */
export function placeOf(keyId: string): string {
  return `key:${keyId}`;
}

/** Live secrets of a key of role partner, as a column beside `api_key k`: [[hex, end in epoch ms or null], …]. */
export const secretsColumn = `case when k.role = 'partner' then (
    select json_agg(json_build_array(encode(s.sealed, 'hex'), (extract(epoch from s.ends_at) * 1000)::bigint) order by s.number desc)
    from partner_secret s where s.key = k.id and (s.ends_at is null or s.ends_at > now())) end as secrets`;

export interface NewSecret {
  readonly secret: string;
  /** When the one before it ends; undefined where there was none. */
  readonly previousEndsAt: Date | undefined;
}

/**
 * Makes a secret for a key of the program, live from now on; what was live before ends after the overlap. Undefined where the
 * program has no such key, or it is not a partner's, or is revoked. The caller announces the change.
 */
export function addSecret(
  pool: pg.Pool,
  sealing: Sealing,
  to: {
    readonly program: number;
    readonly keyId: string;
    readonly overlapSeconds: number;
    readonly actor: string;
  },
): Promise<NewSecret | undefined> {
  const { program, keyId, overlapSeconds, actor } = to;
  const secret = prefix + randomBytes(32).toString('base64url');
  return inTransaction(pool, async (tx) => {
    const key = await tx.query(
      `update api_key set changed_at = clock_timestamp()
       where id = $1 and program = $2 and role = 'partner' and revoked_at is null returning id`,
      [keyId, program],
    );
    if (key.rowCount !== 1) return undefined;
    await tx.query('update partner_secret set ends_at = now() where key = $1 and ends_at > now()', [keyId]);
    const before = await tx.query<{ ends_at: Date }>(
      `update partner_secret set ends_at = now() + $2 * interval '1 second' where key = $1 and ends_at is null returning ends_at`,
      [keyId, overlapSeconds],
    );
    await tx.query(
      `insert into partner_secret (key, number, sealed)
       select $1, coalesce(max(number), 0) + 1, $2 from partner_secret where key = $1`,
      [keyId, sealing.seal(placeOf(keyId), secret)],
    );
    await tx.query(
      `insert into audit_log (program, actor, action, subject) values ($1, $2, 'key.secret', $3)`,
      [program, actor, keyId],
    );
    return { secret, previousEndsAt: before.rows[0]?.ends_at };
  });
}
