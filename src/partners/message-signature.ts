/**
 * PURE. HTTP Message Signatures (RFC 9421) with `hmac-sha256`, and Content-Digest (RFC 9530): what partners may sign with whose
 * gateways know the standard, in place of our own headers (`signature.ts`). The same secret, the same bounds of time, each nonce once.
 *
 * Of the standard only what a call between partners needs: one signature, the derived components of a request and plain fields, no
 * parameters of components. Covered have to be `@method`, the path with its query, and `content-digest` where there is a body;
 * `created`, `nonce` and `keyid` have to be there. Beside them anything may be covered that the called side sees as it was sent.
 *
 * The RFC's own vectors stand in `test/message-signature.pure.test.ts`.
 */
import { createHmac, hash } from 'node:crypto';

export interface MessageRequest {
  readonly method: string;
  /** The path with its query exactly as sent. */
  readonly target: string;
  readonly body: Uint8Array | string;
}

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What the headers say of a signature, before anything of it is believed. */
export interface MessageClaim {
  readonly components: readonly string[];
  /** As it came: what stands behind the label, and in the last line of what is signed. */
  readonly parameters: string;
  readonly created: number;
  readonly expires: number | undefined;
  readonly nonce: string;
  readonly keyId: string;
  readonly mac: Buffer;
}

const digests = { 'sha-256': 'sha256', 'sha-512': 'sha512' } as const;

/** `Content-Digest` of a body. */
export function contentDigest(body: Uint8Array | string): string {
  return `sha-256=:${hash('sha256', body, 'base64')}:`;
}

/** Whether a Content-Digest is of these bytes: one of the digests that are known, and none of them another's. */
export function isDigestOf(field: string, body: Uint8Array | string): boolean {
  let known = 0;
  for (const member of field.split(',')) {
    const [, name, value] = /^\s*([a-z0-9-]+)=:([A-Za-z0-9+/=]*):\s*$/.exec(member) ?? [];
    const algorithm = digests[name as keyof typeof digests];
    if (algorithm === undefined) continue;
    if (hash(algorithm, body, 'base64') !== value) return false;
    known += 1;
  }
  return known > 0;
}

function fieldOf(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  return (typeof value === 'string' ? [value] : value).map((each) => each.trim()).join(', ');
}

function componentOf(name: string, { method, target }: MessageRequest, headers: Headers): string | undefined {
  const mark = target.indexOf('?');
  switch (name) {
    case '@method':
      return method;
    case '@path':
      return mark < 0 ? target : target.slice(0, mark);
    case '@query':
      return mark < 0 ? '?' : target.slice(mark);
    case '@request-target':
      return target;
    case '@authority':
      return fieldOf(headers, 'host')?.toLowerCase();
    default:
      return name.startsWith('@') ? undefined : fieldOf(headers, name);
  }
}

/** The signature base (§2.5); undefined where something is covered that is not there. */
export function signedText(
  { components, parameters }: Pick<MessageClaim, 'components' | 'parameters'>,
  request: MessageRequest,
  headers: Headers,
): string | undefined {
  const lines: string[] = [];
  for (const name of components) {
    const value = componentOf(name, request, headers);
    if (value === undefined) return undefined;
    lines.push(`"${name}": ${value}`);
  }
  return [...lines, `"@signature-params": ${parameters}`].join('\n');
}

export function messageMac(secret: string | Uint8Array, base: string): Buffer {
  return createHmac('sha256', secret).update(base).digest();
}

const inputForm =
  /^([a-z*][\w.*-]{0,63})=(\(("[^"\\]{1,64}"(?: "[^"\\]{1,64}")*)?\)((?:;[a-z]+=(?:\d{1,12}|"[^"\\]{0,128}"))*))$/;
const lengthMax = 2_048;

/** What `Signature-Input` and `Signature` say; undefined where they do not have the form of one signature that we take. */
export function messageClaimOf(headers: Headers): MessageClaim | undefined {
  const [input, signature] = [headers['signature-input'], headers.signature];
  if (typeof input !== 'string' || typeof signature !== 'string' || input.length > lengthMax)
    return undefined;
  const [, label, parameters, listed = '', tail = ''] = inputForm.exec(input) ?? [];
  if (label === undefined || parameters === undefined) return undefined;
  const components = listed === '' ? [] : listed.slice(1, -1).split('" "');
  const named = new Map<string, string>();
  for (const [, name, text, digits] of tail.matchAll(/;([a-z]+)=(?:"([^"]*)"|(\d+))/g)) {
    if (named.has(name!)) return undefined;
    named.set(name!, text ?? digits!);
  }
  const mac = signature.startsWith(`${label}=`)
    ? /^:([A-Za-z0-9+/]{43}=):$/.exec(signature.slice(label.length + 1))?.[1]
    : undefined;
  const [created, nonce, keyId, expires] = ['created', 'nonce', 'keyid', 'expires'].map((name) =>
    named.get(name),
  );
  const isFormed =
    mac !== undefined &&
    new Set(components).size === components.length &&
    /^\d{1,11}$/.test(created ?? '') &&
    /^\d{0,12}$/.test(expires ?? '') &&
    /^[\w-]{16,64}$/.test(nonce ?? '') &&
    /^[\w.-]{1,64}$/.test(keyId ?? '') &&
    (named.get('alg') ?? 'hmac-sha256') === 'hmac-sha256';
  if (!isFormed) return undefined;
  return {
    ...{ components, parameters, nonce: nonce!, keyId: keyId! },
    created: Number(created),
    expires: expires === undefined ? undefined : Number(expires),
    mac: Buffer.from(mac, 'base64'),
  };
}

/** What has to be signed for this request is covered, and the digest is that of the body. */
function isCovered(
  components: readonly string[],
  { target, body }: MessageRequest,
  headers: Headers,
): boolean {
  const has = (name: string) => components.includes(name);
  const isTarget = has('@request-target') || (has('@path') && (has('@query') || !target.includes('?')));
  if (!has('@method') || !isTarget) return false;
  if (body.length === 0 && !has('content-digest')) return true;
  return has('content-digest') && isDigestOf(fieldOf(headers, 'content-digest') ?? '', body);
}

/** The text that a claim has to have signed; undefined where it does not cover the request. */
export function claimedText(
  claim: MessageClaim,
  request: MessageRequest,
  headers: Headers,
): string | undefined {
  return isCovered(claim.components, request, headers) ? signedText(claim, request, headers) : undefined;
}

/** The headers that sign a request by the standard. */
export function messageHeaders(
  keyId: string,
  secret: string,
  request: MessageRequest,
  { timestamp, nonce }: { readonly timestamp: number | string; readonly nonce: string },
): Record<string, string> {
  const hasBody = request.body.length > 0;
  const components = ['@method', '@path', '@query', ...(hasBody ? ['content-digest'] : [])];
  const listed = components.map((name) => `"${name}"`).join(' ');
  const parameters = `(${listed});created=${timestamp};nonce="${nonce}";keyid="${keyId}";alg="hmac-sha256"`;
  const headers = hasBody ? { 'content-digest': contentDigest(request.body) } : {};
  const base = signedText({ components, parameters }, request, headers)!;
  return {
    ...headers,
    'signature-input': `loyalty=${parameters}`,
    signature: `loyalty=:${messageMac(secret, base).toString('base64')}:`,
  };
}
