/**
 * PURE. The signature of calls between partners, version 1.
 *
 * HMAC-SHA256 over five lines, each followed by a newline: timestamp (seconds since 1970), nonce, method, path with query
 * exactly as sent, hex SHA-256 of the body's bytes exactly as sent. The key is the secret's text in UTF-8. Vectors stand in
 * `/docs/partner` and in `test/signature.pure.test.ts`.
 *
 * What it keeps out: a body or path changed by one byte and a call sent elsewhere (both are signed), an old call (300 s), and,
 * together with the memory of nonces (`nonces.ts`), a copy of a call. While a secret is replaced two are live.
 *
 * In place of the four headers a call may be signed by RFC 9421 (`message-signature.ts`); what is below decides about both alike.
 */
import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import { claimedText, messageClaimOf, messageHeaders } from './message-signature.ts';

export const signatureHeaders = {
  key: 'loyalty-key',
  timestamp: 'loyalty-timestamp',
  nonce: 'loyalty-nonce',
  signature: 'loyalty-signature',
} as const;

/** How far the timestamp may be off, either way. */
export const toleranceSeconds = 300;

export interface SignedRequest {
  /** As sent, in capitals. */
  readonly method: string;
  /** The path with its query exactly as sent: `/v1/partner/operations?kind=accrual&reference=x`. */
  readonly target: string;
  /** The bytes as sent; empty where there is no body. */
  readonly body: Uint8Array | string;
}

export interface Stamp {
  readonly timestamp: number | string;
  readonly nonce: string;
}

/** The text that is signed. */
export function signingText(request: SignedRequest, { timestamp, nonce }: Stamp): string {
  const digest = hash('sha256', request.body, 'hex');
  return `${timestamp}\n${nonce}\n${request.method}\n${request.target}\n${digest}\n`;
}

function macOf(secret: string, text: string): Buffer {
  return createHmac('sha256', secret).update(text).digest();
}

export const schemes = ['v1', 'rfc9421'] as const;
export type Scheme = (typeof schemes)[number];

/** The headers that sign a request. Each send, also a repeat, takes a new nonce and the time of now. */
export function signedHeaders(
  keyId: string,
  secret: string,
  request: SignedRequest,
  stamp: Stamp,
  scheme: Scheme = 'v1',
): Record<string, string> {
  if (scheme === 'rfc9421') return messageHeaders(keyId, secret, request, stamp);
  return {
    [signatureHeaders.key]: keyId,
    [signatureHeaders.timestamp]: String(stamp.timestamp),
    [signatureHeaders.nonce]: stamp.nonce,
    [signatureHeaders.signature]: `v1=${macOf(secret, signingText(request, stamp)).toString('hex')}`,
  };
}

/** Why a signature is refused. */
export type SignatureFault =
  | 'headers_missing'
  | 'headers_malformed'
  | 'key_unknown'
  | 'stale'
  | 'mismatch'
  | 'replayed';

/** What headers say; believed once a secret of the key has signed it. */
export interface Claim {
  readonly keyId: string;
  readonly timestamp: number;
  /** Seconds since 1970, where the caller has set an end. */
  readonly expires?: number | undefined;
  readonly stamp: Stamp;
  readonly mac: Buffer;
  /** What has to be signed of a request; undefined where the claim does not cover it. */
  textOf(request: SignedRequest): string | undefined;
}

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A claim by RFC 9421. */
function standardClaimOf(headers: Headers): Claim | SignatureFault {
  const claim = messageClaimOf(headers);
  if (!claim) return 'headers_malformed';
  const { keyId, created: timestamp, expires, nonce, mac } = claim;
  const textOf = (request: SignedRequest) => claimedText(claim, request, headers);
  return { keyId, timestamp, expires, stamp: { timestamp, nonce }, mac, textOf };
}

/** What the headers claim, before anything of it is believed. Headers that came twice are joined and fit no form. */
export function claimOf(headers: Headers): Claim | SignatureFault {
  const keyId = headers[signatureHeaders.key];
  const timestamp = headers[signatureHeaders.timestamp];
  const nonce = headers[signatureHeaders.nonce];
  const signature = headers[signatureHeaders.signature];
  if (signature === undefined && headers['signature-input'] !== undefined) return standardClaimOf(headers);
  if (keyId === undefined || timestamp === undefined || nonce === undefined || signature === undefined)
    return 'headers_missing';
  const mac = /^v1=([0-9a-f]{64})$/.exec(String(signature))?.[1];
  const isFormed =
    /^[\w.-]{1,64}$/.test(String(keyId)) &&
    /^\d{1,11}$/.test(String(timestamp)) &&
    /^[\w-]{16,64}$/.test(String(nonce)) &&
    mac !== undefined;
  if (!isFormed) return 'headers_malformed';
  // The text as it came is what was signed: `007` is not `7`.
  const stamp = { timestamp: String(timestamp), nonce: String(nonce) };
  return {
    keyId: String(keyId),
    timestamp: Number(timestamp),
    stamp,
    mac: Buffer.from(mac, 'hex'),
    textOf: (request) => signingText(request, stamp),
  };
}

/** Whether the time of a claim is near enough to now. */
export function isTimely(
  { timestamp, expires }: Pick<Claim, 'timestamp' | 'expires'>,
  nowMs: number,
): boolean {
  if (expires !== undefined && nowMs / 1000 > expires) return false;
  return Math.abs(nowMs / 1000 - timestamp) <= toleranceSeconds;
}

/** Whether one of the live secrets has signed the request. Each comparison takes as long whatever is compared. */
export function isSignedBy(secrets: readonly string[], request: SignedRequest, claim: Claim): boolean {
  const text = claim.textOf(request);
  if (text === undefined) return false;
  let isSigned = false;
  for (const secret of secrets) if (timingSafeEqual(macOf(secret, text), claim.mac)) isSigned = true;
  return isSigned;
}

/** Headers, time and signature together; the nonce is left to whoever remembers them. */
export function verify(
  headers: Headers,
  request: SignedRequest,
  secretsOf: (keyId: string) => readonly string[] | undefined,
  nowMs: number,
): Claim | SignatureFault {
  const claim = claimOf(headers);
  if (typeof claim === 'string') return claim;
  const secrets = secretsOf(claim.keyId);
  if (secrets === undefined) return 'key_unknown';
  if (!isTimely(claim, nowMs)) return 'stale';
  return isSignedBy(secrets, request, claim) ? claim : 'mismatch';
}
