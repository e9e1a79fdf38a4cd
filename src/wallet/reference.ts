/**
 * PURE. References: the key under which one is unique for ever, the fingerprint of the request that used it, and the time
 * that a reference carries by itself.
 *
 * A reference that is a UUIDv7 or a ULID says when it was made. While that is younger than half the window for which Redis
 * remembers references, PostgreSQL need not be asked: an older use would still stand in Redis (DESIGN §7). Never a field
 * of the body: tills stamp a receipt anew when they send it again.
 */
import { hash } from 'node:crypto';
import type { EpochMs, OperationHex } from '#src/values.ts';
import { idempotencyWindowMs } from './limits.ts';

const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const ulid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** Milliseconds that a self-dated reference carries; undefined for any other. RFC 9562 §5.7; the ULID specification. */
export function timeOfReference(reference: string): EpochMs | undefined {
  if (reference.length === 36 && uuidV7.test(reference)) {
    return Number.parseInt(reference.slice(0, 8) + reference.slice(9, 13), 16);
  }
  if (reference.length === 26 && ulid.test(reference)) {
    let time = 0;
    for (let i = 0; i < 10; i += 1) time = time * 32 + crockford.indexOf(reference[i]!);
    return time;
  }
  return undefined;
}

/** Clocks of callers may run ahead by this much and their references still count as fresh. */
const aheadMsMax = 120_000;

/** Whether a reference is fresh by its own time, so that Redis alone can say whether it was used. */
export function isFresh(reference: string, now: EpochMs): boolean {
  const time = timeOfReference(reference);
  return time !== undefined && time > now - idempotencyWindowMs / 2 && time < now + aheadMsMax;
}

/**
 * The key of (program, client, kind, reference): 32 hex digits. A self-dated reference's own time stands in front, so that
 * references of the same hour share index pages in PostgreSQL.
 */
export function referenceKeyOf(program: number, client: number, kind: string, reference: string): string {
  const digest = hash('sha256', `${program}\0${client}\0${kind}\0${reference}`, 'hex');
  const time = timeOfReference(reference);
  return time === undefined ? digest.slice(0, 32) : time.toString(16).padStart(12, '0') + digest.slice(0, 20);
}

/**
 * Sixteen hex digits over the request as it was parsed. The secret keeps a stolen ledger from being searched for known
 * phone numbers. Objects inside come in the schema's key order already; the outermost keys are sorted here, because some
 * of them (the reference from its header, a currency that was left out) are filled in by their domain.
 */
export function fingerprintOf(secret: string, canonical: object): string {
  let text = secret;
  const fields = canonical as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(fields).sort()) {
    const value = fields[name];
    if (value !== undefined) text += `\0${name}\0${JSON.stringify(value)}`;
  }
  return hash('sha256', text, 'hex').slice(0, 16);
}

/** What Redis remembers of a reference that was used: the operation, the fingerprint, the record's stream id (`run.lua`). */
export function parseEntry(
  entry: string | null,
): { readonly operation: OperationHex; readonly fingerprint: string; readonly streamId: string } | undefined {
  // A remembered refusal begins with '!': nothing was applied under its reference.
  if (entry === null || entry.startsWith('!')) return undefined;
  return {
    operation: entry.slice(0, 32) as OperationHex,
    fingerprint: entry.slice(32, 48),
    streamId: entry.slice(48),
  };
}
