/**
 * API keys: who may call.
 *
 * A key's token is shown once and stored as its SHA-256, which is enough because a token is 32 random bytes. Every process
 * keeps all keys in memory and reads the changed ones every 400 ms and whenever a change is announced, so that a revoked
 * key is refused everywhere within a second and no request waits for the database. While PostgreSQL is away the last known
 * keys go on working; `staleMs` says for how long they have not been read, for the readiness check.
 */
import { createHash, randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { Programs } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Signer } from '#src/partners/door.ts';
import type { Sealing } from '#src/partners/sealing.ts';
import { addSecret } from '#src/partners/secrets.ts';
import { clockIsBelieved } from '#src/platform/clock.ts';
import type { Logger } from '#src/platform/telemetry.ts';
import { changedKeys, findKeyByHash, insertKey, type NewKey, type StoredKey } from './key-queries.ts';
import type { Caller } from './route.ts';

const refreshEveryMs = 400;
const refreshTimeoutMs = 2000;
/** A row becomes visible when its database transaction commits, which may be this much later than its `changed_at`. */
const overlapMs = 10_000;
/** So often everything is read again, which also finds rows that were deleted by hand: once a minute. */
const fullRefreshEvery = 150;
/** Authorization headers whose key is known without hashing. Only those of real keys; when there are so many, all are forgotten. */
const recentMax = 10_000;
const tokenLengthMax = 256;

const tokenPrefix = 'lk_';

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** `key_`, the time in base 36 and random characters: ids sort by age. */
function newKeyId(): string {
  const random = randomBytes(8).readBigUInt64LE().toString(36).padStart(13, '0');
  return `key_${Date.now().toString(36).padStart(9, '0')}${random}`;
}

export interface CreatedKey {
  readonly key: StoredKey;
  readonly token: string;
  /** False when a key with the given token was there before. */
  readonly created: boolean;
}

export type KeyDraft = Omit<NewKey, 'id' | 'keyHash'> & {
  /** Only for the fixed keys of a bare machine. */
  readonly token?: string;
};

/** Creates a key; with a fixed token that its program has already, answers that key. The caller announces the change. */
export async function createKey(pool: pg.Pool, draft: KeyDraft): Promise<CreatedKey> {
  const token = draft.token ?? tokenPrefix + randomBytes(32).toString('base64url');
  const keyHash = hashOf(token);
  const created = await insertKey(pool, { ...draft, id: newKeyId(), keyHash });
  if (created) return { key: created, token, created: true };
  const existing = await findKeyByHash(pool, keyHash);
  if (existing?.program !== draft.program) throw new Error('this token belongs to another program');
  return { key: existing, token, created: false };
}

/**
 * Creates a key of role partner, with the secret that signs its calls. It has no token: whoever knows the secret can sign, and
 * can do nothing else. The caller announces the change.
 */
export async function createPartnerKey(
  pool: pg.Pool,
  sealing: Sealing,
  draft: Omit<KeyDraft, 'role' | 'token'>,
): Promise<{ readonly key: StoredKey; readonly secret: string }> {
  const { key } = await createKey(pool, { ...draft, role: 'partner' });
  const to = { program: draft.program, keyId: key.id, overlapSeconds: 0, actor: draft.actor };
  const added = await addSecret(pool, sealing, to);
  if (!added) throw new Error(`the key ${key.id} was revoked while it was made`);
  return { key, secret: added.secret };
}

/** A key in memory. Changed in place, so that what remembers it sees its revocation. */
interface KnownKey {
  caller: Caller | undefined;
  stored: StoredKey;
}

export interface Keys {
  /** The caller behind an Authorization header. Throws `key_missing` or `key_unknown`. */
  authenticate(authorization: string | undefined): Caller;
  /** A partner's key by its id, with what it signs with; undefined unless it is in force. */
  signer(keyId: string): Signer | undefined;
  /** Reads what changed. Call it when a change of `api_key` is announced. */
  refresh(): Promise<void>;
  /** How long the keys have not been read. */
  staleMs(): number;
  stop(): void;
}

export interface KeysOptions {
  readonly pool: pg.Pool;
  readonly programs: Programs;
  readonly log: Logger;
  /** Whether tokens that this service did not make are accepted: the demo keys of a bare machine. */
  readonly fixedTokensAllowed: boolean;
}

function tokenOf(authorization: string | undefined): string {
  if (authorization === undefined || authorization === '') throw new Problem('key_missing');
  const space = authorization.indexOf(' ');
  if (authorization.slice(0, space).toLowerCase() !== 'bearer') {
    throw new Problem('key_missing', 'Send the key as `Authorization: Bearer KEY`.');
  }
  return authorization.slice(space + 1).trim();
}

/** Keys by the hash of their token, kept equal to the table. */
function knownKeys() {
  const byHash = new Map<string, KnownKey>();
  /** Those of partners, who name their key and never send it. */
  const byId = new Map<string, KnownKey>();
  let newestChange = 0;
  return {
    named: (id: string) => byId.get(id),
    find: (token: string) => byHash.get(hashOf(token).toString('base64')),
    since: () => new Date(newestChange - overlapMs),
    take(rows: readonly StoredKey[], areAll: boolean) {
      for (const stored of rows) {
        const hash = stored.keyHash.toString('base64');
        const known = byHash.get(hash);
        newestChange = Math.max(newestChange, stored.changedAt.getTime());
        if (known === undefined) {
          const added = { stored, caller: undefined };
          byHash.set(hash, added);
          if (stored.role === 'partner') byId.set(stored.id, added);
        } else if (known.stored.changedAt.getTime() !== stored.changedAt.getTime())
          Object.assign(known, { stored, caller: undefined });
      }
      if (!areAll) return;
      const live = new Set(rows.map((stored) => stored.keyHash.toString('base64')));
      for (const [hash, known] of byHash) {
        if (live.has(hash)) continue;
        known.stored = { ...known.stored, revokedAt: new Date() };
        byHash.delete(hash);
        byId.delete(known.stored.id);
      }
    },
  };
}

function callerOf(known: KnownKey, programs: Programs): Caller {
  const { stored, caller } = known;
  const program = programs.get(stored.program);
  const mayEnd = stored.expiresAt !== undefined;
  // By a wrong clock a key would be refused for good that is valid, or accepted after its end.
  if (mayEnd && !clockIsBelieved()) throw new Problem('clock_skew');
  const isExpired = mayEnd && stored.expiresAt.getTime() <= Date.now();
  if (program === undefined || stored.revokedAt !== undefined || isExpired) throw new Problem('key_unknown');
  if (caller?.program === program) return caller;
  known.caller = {
    keyId: stored.id,
    program,
    client: stored.client,
    clientName: stored.clientName,
    role: stored.role,
    stores: stored.stores,
    pointsPerMovementMax: stored.pointsPerMovementMax,
    pointsPerDayMax: stored.pointsPerDayMax,
    backdateDaysMax: stored.backdateDaysMax,
  };
  return known.caller;
}

function signerOf(known: KnownKey | undefined, programs: Programs): Signer | undefined {
  if (known === undefined) return undefined;
  try {
    return { caller: callerOf(known, programs), secrets: known.stored.secrets };
  } catch (error) {
    if (error instanceof Problem && error.code === 'key_unknown') return undefined;
    throw error;
  }
}

/** Reads all keys and keeps them current until `stop`. */
export async function watchKeys({ pool, programs, log, fixedTokensAllowed }: KeysOptions): Promise<Keys> {
  const known = knownKeys();
  const recent = new Map<string, KnownKey>();
  let readAt = 0;
  let refreshes = 0;
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;

  async function readChanges(): Promise<void> {
    const isFull = refreshes % fullRefreshEvery === 0;
    refreshes += 1;
    const startedAt = Date.now();
    known.take(await changedKeys(pool, isFull ? undefined : known.since(), refreshTimeoutMs), isFull);
    readAt = startedAt;
  }

  // One after the other: an older answer that came in later would bring a revoked key back.
  let latest: Promise<void> = Promise.resolve();
  function refresh(): Promise<void> {
    latest = latest.then(readChanges, readChanges);
    return latest;
  }

  let isFailing = false;
  async function refreshOnTimer(): Promise<void> {
    try {
      await refresh();
      isFailing = false;
    } catch (error) {
      if (!isFailing) log.warn({ err: error }, 'API keys cannot be read; the last known ones stay in force');
      isFailing = true;
    }
    if (!isStopped) timer = setTimeout(refreshOnTimer, refreshEveryMs).unref();
  }

  await refresh();
  timer = setTimeout(refreshOnTimer, refreshEveryMs).unref();
  return {
    authenticate(authorization) {
      const remembered = authorization === undefined ? undefined : recent.get(authorization);
      if (remembered !== undefined) return callerOf(remembered, programs);
      const token = tokenOf(authorization);
      const isOurs = token.startsWith(tokenPrefix) || fixedTokensAllowed;
      const found = isOurs && token.length <= tokenLengthMax ? known.find(token) : undefined;
      if (found === undefined) throw new Problem('key_unknown');
      const caller = callerOf(found, programs);
      if (recent.size >= recentMax) recent.clear();
      if (authorization !== undefined) recent.set(authorization, found);
      return caller;
    },
    signer: (keyId) => signerOf(known.named(keyId), programs),
    refresh,
    staleMs: () => Date.now() - readAt,
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
