/** Every statement on `api_key` and `client`. Creating and revoking leave a row in `audit_log` in the same statement. */
import type pg from 'pg';
import { z } from 'zod';
import { type SealedSecret, secretsColumn } from '#src/partners/secrets.ts';
import { type Role, roles } from './route.ts';

/** A key as it is stored: all but its token, of which only the hash is kept. */
export interface StoredKey {
  readonly id: string;
  readonly program: number;
  readonly client: number;
  readonly clientName: string;
  readonly role: Role;
  readonly keyHash: Buffer;
  readonly stores: readonly string[] | undefined;
  readonly pointsPerMovementMax: number | undefined;
  readonly pointsPerDayMax: number | undefined;
  readonly backdateDaysMax: number | undefined;
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  readonly changedAt: Date;
  /** What it signs with: of the role partner alone. */
  readonly secrets: readonly SealedSecret[];
}

export interface NewKey {
  readonly id: string;
  readonly program: number;
  readonly client: string;
  readonly role: Role;
  readonly keyHash: Buffer;
  readonly stores?: readonly string[] | undefined;
  readonly pointsPerMovementMax?: number | undefined;
  readonly pointsPerDayMax?: number | undefined;
  readonly backdateDaysMax?: number | undefined;
  readonly expiresAt?: Date | undefined;
  /** Who creates it: a key's id, or the word for a command. */
  readonly actor: string;
}

const columns = `k.id, k.program, k.client, c.name as client_name, k.role, k.key_hash, k.stores,
  k.points_per_movement::float8 as points_per_movement, k.points_per_day::float8 as points_per_day, k.backdate_days,
  k.created_at, k.expires_at, k.revoked_at, k.changed_at, ${secretsColumn}`;

const limit = z
  .int()
  .nullable()
  .transform((value) => value ?? undefined);
const instant = z
  .date()
  .nullable()
  .transform((value) => value ?? undefined);

const rowSchema = z
  .object({
    id: z.string(),
    program: z.int(),
    client: z.int(),
    client_name: z.string(),
    role: z.enum(roles),
    key_hash: z.instanceof(Buffer),
    stores: z
      .array(z.string())
      .nullable()
      .transform((value) => value ?? undefined),
    points_per_movement: limit,
    points_per_day: limit,
    backdate_days: limit,
    created_at: z.date(),
    expires_at: instant,
    revoked_at: instant,
    changed_at: z.date(),
    secrets: z.array(z.tuple([z.string(), z.int().nullable()])).nullable(),
  })
  .transform(
    (row): StoredKey => ({
      id: row.id,
      program: row.program,
      client: row.client,
      clientName: row.client_name,
      role: row.role,
      keyHash: row.key_hash,
      stores: row.stores,
      pointsPerMovementMax: row.points_per_movement,
      pointsPerDayMax: row.points_per_day,
      backdateDaysMax: row.backdate_days,
      createdAt: row.created_at,
      expiresAt: row.expires_at,
      revokedAt: row.revoked_at,
      changedAt: row.changed_at,
      secrets: (row.secrets ?? []).map(([hex, endsAt]) => ({ sealed: Buffer.from(hex, 'hex'), endsAt })),
    }),
  );

function keysOf(result: pg.QueryResult): StoredKey[] {
  return result.rows.map((row) => rowSchema.parse(row));
}

/** Stores a key, and its client where that is new. Undefined when a key with this token exists already. */
export async function insertKey(pool: pg.Pool, key: NewKey): Promise<StoredKey | undefined> {
  const result = await pool.query(
    `with c as (
       insert into client (program, name) values ($2, $3)
       on conflict (program, name) do update set name = excluded.name returning number, name
     ), k as (
       insert into api_key (id, program, client, role, key_hash, stores, points_per_movement, points_per_day, backdate_days, expires_at)
       select $1, $2, c.number, $4, $5, $6, $7, $8, $9, $10 from c
       on conflict (key_hash) do nothing returning *
     ), noted as (
       insert into audit_log (program, actor, action, subject) select k.program, $11, 'key.create', k.id from k
     )
     select ${columns} from k join c on c.number = k.client`,
    [
      key.id,
      key.program,
      key.client,
      key.role,
      key.keyHash,
      key.stores,
      key.pointsPerMovementMax,
      key.pointsPerDayMax,
      key.backdateDaysMax,
      key.expiresAt,
      key.actor,
    ],
  );
  return keysOf(result)[0];
}

/** Revokes a key of the program; a second time changes nothing. Undefined when the program has no such key. */
export async function revokeKey(
  pool: pg.Pool,
  program: number,
  id: string,
  actor: string,
): Promise<StoredKey | undefined> {
  await pool.query(
    `with revoked as (
       update api_key set revoked_at = clock_timestamp(), changed_at = clock_timestamp()
       where id = $1 and program = $2 and revoked_at is null returning id, program
     )
     insert into audit_log (program, actor, action, subject) select program, $3, 'key.revoke', id from revoked`,
    [id, program, actor],
  );
  const result = await pool.query(
    `select ${columns} from api_key k join client c on c.number = k.client where k.id = $1 and k.program = $2`,
    [id, program],
  );
  return keysOf(result)[0];
}

/** Keys of a program, newest first, after the given id. Ids begin with their time, so they are in order themselves. */
export async function listKeys(
  pool: pg.Pool,
  program: number,
  page: { after: string | undefined; limit: number },
): Promise<StoredKey[]> {
  const result = await pool.query(
    `select ${columns} from api_key k join client c on c.number = k.client
     where k.program = $1 and ($2::text is null or k.id collate "C" < $2) order by k.id collate "C" desc limit $3`,
    [program, page.after, page.limit],
  );
  return keysOf(result);
}

/** The key that a token's hash belongs to. */
export async function findKeyByHash(pool: pg.Pool, keyHash: Buffer): Promise<StoredKey | undefined> {
  const result = await pool.query(
    `select ${columns} from api_key k join client c on c.number = k.client where k.key_hash = $1`,
    [keyHash],
  );
  return keysOf(result)[0];
}

/** Keys of all programs that changed since a time, or all of them. */
export async function changedKeys(
  pool: pg.Pool,
  since: Date | undefined,
  timeoutMs: number,
): Promise<StoredKey[]> {
  const query: pg.QueryConfig & { query_timeout: number } = {
    text: `select ${columns} from api_key k join client c on c.number = k.client where $1::timestamptz is null or k.changed_at >= $1`,
    values: [since],
    query_timeout: timeoutMs,
  };
  return keysOf(await pool.query(query));
}
