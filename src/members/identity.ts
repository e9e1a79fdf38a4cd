/**
 * How the values that name a person are kept. A value is found by a keyed hash and read by decrypting it; PostgreSQL,
 * its log and its backups hold neither the value nor anything that a dictionary of phone numbers could be tried against.
 *
 * Both keys are derived from the installation's one identity key, so losing that key loses every identifier, and a copy
 * of the database without it names nobody.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hash, hkdfSync, randomBytes } from 'node:crypto';
import type { MemberNumber } from '#src/values.ts';
import type { IdentifierKey } from '#src/wallet/lookup.ts';

/** A name of a member: the caller's own member id is the type `id`. */
export interface Identifier {
  readonly type: string;
  readonly value: string;
}

export interface Identity {
  /** Under which an identifier is found; undefined for what cannot be one: too long, or nothing but separators. */
  keyOf(program: number, identifier: Identifier): IdentifierKey | undefined;
  encrypt(program: number, member: MemberNumber, text: string): Buffer;
  /** Throws where the text was encrypted for another member, under another key, or was changed. */
  decrypt(program: number, member: MemberNumber, sealed: Buffer): string;
}

export const identityKeyBytes = 32;

const versionByte = 1;
const nonceBytes = 12;
const tagBytes = 16;

/** One form for all spellings of a value, so that `+49 (30) 12-34` and `+49301234` are the same phone. */
export function normalized({ type, value }: Identifier): string {
  const text = value.normalize('NFKC').trim();
  switch (type) {
    case 'phone':
      return text.replace(/[\s\-‐-―().[\]/]/g, '');
    case 'email':
      return text.toLowerCase();
    case 'card':
    case 'plate':
    case 'code':
    case 'partner':
      return text.replace(/\s/g, '').toUpperCase();
    default:
      return text;
  }
}

/** Longest value; its normalized form is at most eighteen times as long (NFKC of U+FDFA). */
export const valueLengthMax = 128;
const messageBytesMax = 16_384;
const blockBytes = 64;

/**
 * HMAC-SHA256 (RFC 2104) by two one-shot hashes: 1.8 µs on Node 24 where createHmac takes 23, and every accrual needs one.
 */
function createMac(key: Buffer): (message: string) => string {
  const inner = Buffer.alloc(blockBytes + messageBytesMax);
  const outer = Buffer.alloc(blockBytes + 32);
  for (let i = 0; i < blockBytes; i += 1) {
    inner[i] = (key[i] ?? 0) ^ 0x36;
    outer[i] = (key[i] ?? 0) ^ 0x5c;
  }
  return (message) => {
    const written = inner.write(message, blockBytes, 'utf8');
    // write() cuts off silently, and two long values must not become one.
    if (written > messageBytesMax - 4) throw new Error('a value to hash is too long');
    outer.write(hash('sha256', inner.subarray(0, blockBytes + written), 'hex'), blockBytes, 'hex');
    return hash('sha256', outer, 'hex');
  };
}

function derived(key: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), purpose, identityKeyBytes));
}

/** The hashes and the encryption of one installation. */
export function createIdentity(key: Buffer): Identity {
  if (key.length !== identityKeyBytes)
    throw new Error(`the identity key has ${key.length} bytes, not ${identityKeyBytes}`);
  const mac = createMac(derived(key, 'loyalty identifier hash, version 1'));
  const encryptionKey = createSecretKey(derived(key, 'loyalty personal values, version 1'));
  // Binding the text to its member keeps a row that was copied to another member from being read there.
  const bound = (program: number, member: MemberNumber) => Buffer.from(`${program}:${member}`);

  return {
    keyOf(program, identifier) {
      if (identifier.value.length > valueLengthMax) return undefined;
      const value = normalized(identifier);
      if (value === '') return undefined;
      return { type: identifier.type, hash: mac(`${program}\0${identifier.type}\0${value}`) };
    },
    encrypt(program, member, text) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', encryptionKey, nonce).setAAD(bound(program, member));
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(versionByte), nonce, body, cipher.getAuthTag()]);
    },
    decrypt(program, member, sealed) {
      if (sealed[0] !== versionByte) throw new Error(`personal value of an unknown version ${sealed[0]}`);
      const nonce = sealed.subarray(1, 1 + nonceBytes);
      const decipher = createDecipheriv('aes-256-gcm', encryptionKey, nonce, { authTagLength: tagBytes });
      decipher.setAAD(bound(program, member)).setAuthTag(sealed.subarray(-tagBytes));
      return Buffer.concat([
        decipher.update(sealed.subarray(1 + nonceBytes, -tagBytes)),
        decipher.final(),
      ]).toString('utf8');
    },
  };
}

/** Enough of a value to recognize it by: its last two to four characters. */
export function masked(value: string): string {
  const shown = value.length >= 8 ? 4 : value.length >= 4 ? 2 : 0;
  return `••••${shown === 0 ? '' : value.slice(-shown)}`;
}
