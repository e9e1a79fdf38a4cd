/**
 * Secrets of calls between partners at rest: AES-256-GCM under a key of their own, derived from the installation's identity key.
 * A copy of the database alone signs nothing.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

export interface Sealing {
  /** `place` is what the secret belongs to: sealed for one place it cannot be opened at another. */
  seal(place: string, text: string): Buffer;
  /** Throws where the text was sealed for another place, under another key, or was changed. */
  open(place: string, sealed: Buffer): string;
}

const versionByte = 1;
const nonceBytes = 12;
const tagBytes = 16;

export function createSealing(identityKey: Buffer): Sealing {
  const key = Buffer.from(
    hkdfSync('sha256', identityKey, Buffer.alloc(0), 'loyalty partner secrets, version 1', 32),
  );
  return {
    seal(place, text) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(place));
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(versionByte), nonce, body, cipher.getAuthTag()]);
    },
    open(place, sealed) {
      if (sealed[0] !== versionByte) throw new Error(`a secret of an unknown version ${sealed[0]}`);
      const nonce = sealed.subarray(1, 1 + nonceBytes);
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes });
      decipher.setAAD(Buffer.from(place)).setAuthTag(sealed.subarray(-tagBytes));
      const text = decipher.update(sealed.subarray(1 + nonceBytes, -tagBytes));
      return Buffer.concat([text, decipher.final()]).toString('utf8');
    },
  };
}
