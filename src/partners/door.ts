/**
 * Who is let in by a signature. In this order: the headers' form, the key and the time (from memory), the signature over the
 * bytes as they came, and last the nonce, which only a call that its partner has signed can use up.
 *
 * To the caller every fault is `signature_invalid` with a `reason`, so that its engineer knows what to look for. That a key
 * is unknown is no secret: keys' names are not.
 */
import { Problem } from '#src/errors.ts';
import type { Caller } from '#src/http/route.ts';
import { clockIsBelieved } from '#src/platform/clock.ts';
import type { Nonces } from './nonces.ts';
import type { Refusals } from './refusals.ts';
import type { Sealing } from './sealing.ts';
import { placeOf, type SealedSecret } from './secrets.ts';
import {
  type Claim,
  claimOf,
  isSignedBy,
  isTimely,
  type SignatureFault,
  signatureHeaders,
  toleranceSeconds,
} from './signature.ts';

/** Whoever names no key that there is: one name for all of them, so that their lines are bounded together, and no program. */
const nobody = 'unknown';
const nobodys = 0;

/** A key that signs. */
export interface Signer {
  readonly caller: Caller;
  readonly secrets: readonly SealedSecret[];
}

export interface Knock {
  readonly method: string;
  /** The path with its query as it came. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** Somebody whose headers look like those of a partner. */
export interface Visitor {
  /** Lets in whoever has signed the bytes; throws `signature_invalid`. */
  admit(body: Uint8Array): Promise<Caller>;
  /** Counts a call that was refused for anything else, and leaves a line in the audit log. */
  refused(word: string): Promise<void>;
}
/** Looks at the headers before the body is read; throws `signature_invalid` for what no body can cure. */
export type Door = (knock: Knock) => Promise<Visitor>;

const details: Readonly<Record<SignatureFault, string>> = {
  headers_missing: `Send ${Object.values(signatureHeaders).join(', ')}.`,
  headers_malformed: 'One of the headers of the signature does not have its form.',
  key_unknown: 'The key is unknown, revoked or expired, or has no secret.',
  stale: `The timestamp is more than ${toleranceSeconds} seconds off. Sign each send anew.`,
  mismatch: 'The signature does not fit method, path with query and body as they came.',
  replayed: 'The nonce was used before. Sign each send anew.',
};

export interface DoorContext {
  /** The key of a name, as long as it is in force. */
  signer(keyId: string): Signer | undefined;
  readonly sealing: Sealing;
  readonly nonces: Nonces;
  readonly refusals: Refusals;
}

export function createDoor({ signer, sealing, nonces, refusals }: DoorContext): Door {
  // Opened once for as long as a key stays as it was read.
  const opened = new WeakMap<Buffer, string>();

  function secretsOf(keyId: string, secrets: readonly SealedSecret[], now: number): string[] {
    return secrets
      .filter(({ endsAt }) => endsAt === null || endsAt > now)
      .map(({ sealed }) => {
        const secret = opened.get(sealed) ?? sealing.open(placeOf(keyId), sealed);
        opened.set(sealed, secret);
        return secret;
      });
  }

  function note(word: string, { method, target }: Knock, known: Signer | undefined): Promise<void> {
    const call = `${method} ${target.split('?')[0]!.slice(0, 200)}`;
    const { program, keyId } = known?.caller ?? {};
    const who = { program: program?.number ?? nobodys, keyId: keyId ?? nobody };
    return refusals.note({ area: 'partner', ...who, word, call });
  }

  async function refuse(fault: SignatureFault, knock: Knock, known?: Signer): Promise<never> {
    await note(`signature_${fault}`, knock, known);
    throw new Problem('signature_invalid', details[fault], { reason: fault });
  }

  async function admit(knock: Knock, known: Signer, claim: Claim, body: Uint8Array): Promise<Caller> {
    const { keyId } = known.caller;
    const { method, target } = knock;
    const secrets = secretsOf(keyId, known.secrets, Date.now());
    if (!isSignedBy(secrets, { method, target, body }, claim)) return refuse('mismatch', knock, known);
    const untilMs = (claim.timestamp + toleranceSeconds) * 1000;
    let isFirst: boolean;
    try {
      isFirst = await nonces.use({ key: keyId, nonce: claim.stamp.nonce, untilMs });
    } catch (error) {
      throw new Problem('not_ready', 'whether the call is a copy cannot be looked up', {}, { cause: error });
    }
    return isFirst ? known.caller : refuse('replayed', knock, known);
  }

  return async (knock) => {
    const claim = claimOf(knock.headers);
    if (typeof claim === 'string') return refuse(claim, knock);
    const known = signer(claim.keyId);
    if (!known || known.secrets.length === 0) return refuse('key_unknown', knock, known);
    // By a wrong clock honest calls would be refused and old ones let in.
    if (!clockIsBelieved()) throw new Problem('clock_skew');
    if (!isTimely(claim, Date.now())) return refuse('stale', knock, known);
    return {
      admit: (body) => admit(knock, known, claim, body),
      refused: (word) => note(word, knock, known),
    };
  };
}
