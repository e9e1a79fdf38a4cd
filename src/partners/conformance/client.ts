/** Calls of the conformance run on the endpoint under test: signed as the protocol says, or wrongly on purpose. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { operationTarget, partnerCalls } from '#src/partners/protocol/calls.ts';
import { problemReply } from '#src/partners/protocol/outcomes.ts';
import { signedHeaders } from '#src/partners/signature.ts';

export interface Target {
  readonly url: URL;
  readonly keyId: string;
  readonly secret: string;
  readonly timeoutMs: number;
}

export interface Sent {
  readonly httpStatus: number;
  /** The parsed JSON, undefined where it was none. */
  readonly body: unknown;
  /** The word of a problem document. */
  readonly code: string | undefined;
  readonly isReplay: boolean;
}

export interface Message {
  readonly method: 'GET' | 'POST';
  /** Path with query, without what the address of the endpoint itself has. */
  readonly path: string;
  readonly body: string;
}

/** What is wrong with a send on purpose. */
export interface Tampering {
  /** What is signed in place of what is sent. */
  readonly signed?: Partial<Message>;
  readonly secret?: string;
  readonly keyId?: string;
  /** Added to the time of now. */
  readonly bySeconds?: number;
  readonly isUnsigned?: boolean;
}

/** A request as it goes over the wire; it can be sent twice. */
export interface Prepared {
  readonly message: Message;
  readonly headers: Readonly<Record<string, string>>;
}

/** What the endpoint did against the protocol, in a sentence. */
export class Fault extends Error {}

export type MovementCall = 'accrue' | 'redeem' | 'reverse';

export interface Client {
  prepare(message: Message, tampering?: Tampering): Prepared;
  send(prepared: Prepared): Promise<Sent>;
  call(call: MovementCall | 'validate', body: object): Promise<Sent>;
  inquire(kind: string, reference: string): Promise<Sent>;
  /** Path with its query. */
  read(path: string): Promise<Sent>;
}

const answerBytesMax = 262_144;
const busyTriesMax = 20;
const busyMs = 250;

export function messageOf(call: MovementCall | 'validate', body: object): Message {
  const { method, path } = partnerCalls[call];
  return { method, path, body: JSON.stringify(body) };
}

async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (bytes > answerBytesMax) throw new Error(`its answer is longer than ${answerBytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function jsonOrNothing(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function whyNot(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string } };
  return cause?.message || message || String(error);
}

/** Answers that say nothing yet: too many calls, or a copy of the same call is still at work. */
function isBusy({ httpStatus, code }: Sent): boolean {
  return httpStatus === 429 || httpStatus === 503 || code === 'reference_in_progress';
}

export function createClient({ url, keyId, secret, timeoutMs }: Target): Client {
  const prefix = url.pathname.replace(/\/$/, '');
  const at = (path: string) => new URL(prefix + path, url);

  function prepare(message: Message, tampering: Tampering = {}): Prepared {
    const type: Record<string, string> =
      message.method === 'POST' ? { 'content-type': 'application/json' } : {};
    const accept = { ...type, accept: 'application/json' };
    if (tampering.isUnsigned) return { message, headers: accept };
    const signed = { ...message, ...tampering.signed };
    const { pathname, search } = at(signed.path);
    const timestamp = Math.floor(Date.now() / 1_000) + (tampering.bySeconds ?? 0);
    const request = { method: signed.method, target: pathname + search, body: signed.body };
    const stamp = { timestamp, nonce: randomUUID() };
    const [key, sharedSecret] = [tampering.keyId ?? keyId, tampering.secret ?? secret];
    return { message, headers: { ...signedHeaders(key, sharedSecret, request, stamp), ...accept } };
  }

  async function send({ message: { method, path, body }, headers }: Prepared): Promise<Sent> {
    const where = `${method} ${path.split('?')[0]}`;
    try {
      const content = method === 'POST' ? { body } : {};
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await fetch(at(path), { method, headers, redirect: 'error', signal, ...content });
      const answer = jsonOrNothing(await textOf(response));
      const problem = problemReply.safeParse(answer);
      return {
        httpStatus: response.status,
        body: answer,
        code: response.status >= 400 && problem.success ? problem.data.code : undefined,
        isReplay: response.headers.get('idempotent-replayed') === 'true',
      };
    } catch (error) {
      throw new Fault(`${where} was not answered: ${whyNot(error)}`);
    }
  }

  /** Signed anew for each try. */
  async function patiently(message: Message): Promise<Sent> {
    let sent = await send(prepare(message));
    for (let tries = 1; isBusy(sent) && tries < busyTriesMax; tries += 1) {
      await delay(busyMs);
      sent = await send(prepare(message));
    }
    return sent;
  }

  const read = (path: string) => patiently({ method: 'GET', path, body: '' });

  return {
    prepare,
    send,
    call: (call, body) => patiently(messageOf(call, body)),
    inquire: (kind, reference) => read(operationTarget(kind, reference)),
    read,
  };
}
