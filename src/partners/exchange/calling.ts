/**
 * Calls on partners. Each has its own breaker and its own few calls at once, so that one which is slow or down keeps nobody
 * else waiting, and every call is signed anew and has an end. What an answer means is said in `protocol/outcomes.ts`; here is
 * added what no answer means: a connection that was never made has certainly sent nothing, everything else may have.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { operationTarget, partnerCalls } from '#src/partners/protocol/calls.ts';
import { type CallOutcome, inquiryOf, outcomeOf, problemReply } from '#src/partners/protocol/outcomes.ts';
import {
  type AccrualRequest,
  type MovementKind,
  type MovementReply,
  type RedemptionRequest,
  type ReversalRequest,
  type ValidationReply,
  type ValidationRequest,
  validationReply,
} from '#src/partners/protocol/schemas.ts';
import { signedHeaders } from '#src/partners/signature.ts';
import type { Metrics } from '#src/platform/telemetry.ts';
import { type Breaker, createBreaker } from './breaker.ts';
import type { Endpoint } from './endpoints.ts';
import type { Patience } from './policy.ts';

/** What is known of a call beside what it means. */
export interface Trace {
  readonly httpStatus?: number;
  readonly ms: number;
}

export type MovementAnswer = Trace & CallOutcome;

export type InquiryAnswer = Trace &
  (
    | { readonly outcome: 'found'; readonly reply: MovementReply }
    | { readonly outcome: 'nothing' }
    | { readonly outcome: 'unknown'; readonly code: string }
  );

export type Movement =
  | { readonly call: 'accrue'; readonly body: AccrualRequest }
  | { readonly call: 'redeem'; readonly body: RedemptionRequest }
  | { readonly call: 'reverse'; readonly body: ReversalRequest };

export type ValidationAnswer = Trace &
  (
    | { readonly outcome: 'validated'; readonly reply: ValidationReply }
    | { readonly outcome: 'refused' | 'unknown'; readonly code: string }
  );

/** The right to make one call after the other on a partner; to be given back. */
export interface Slot {
  move(movement: Movement): Promise<MovementAnswer>;
  inquire(kind: MovementKind, reference: string): Promise<InquiryAnswer>;
  validate(body: ValidationRequest): Promise<ValidationAnswer>;
  leave(): void;
}

export interface Calls {
  /** Where this process leaves the partner alone or has enough to do with it: how long to wait. */
  take(endpoint: Endpoint): Slot | { readonly waitMs: number };
}

/** What came of one request. */
export type Sent =
  | { readonly status: number; readonly body: unknown; readonly ms: number; readonly bytes: number }
  | { readonly failed: 'not_connected' | 'no_answer'; readonly code: string; readonly ms: number };

interface Line {
  readonly breaker: Breaker;
  running: number;
}

const answerBytesMax = 65_536;
const busyMs = 200;
/** Nobody looks more often whether an exchange by files has gone out. */
const filesMs = 60_000;

/** What was being done when it failed, where nothing was sent yet: the same code of another call, such as EHOSTUNREACH of a `read`, comes of a connection that was made. */
const beforeSending = new Set(['connect', 'getaddrinfo']);

/** Whether no connection was made, by any of the addresses that were tried. */
export function isNotConnected(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { syscall, code, errors, cause } = error as Record<'syscall' | 'code' | 'errors' | 'cause', unknown>;
  if (Array.isArray(errors) && errors.length > 0) return errors.every(isNotConnected);
  if (typeof syscall === 'string') return beforeSending.has(syscall);
  return code === 'UND_ERR_CONNECT_TIMEOUT' || isNotConnected(cause);
}

function codeOfError(error: unknown): string {
  const { name, code, cause } = error as { name?: string; code?: unknown; cause?: unknown };
  if (name === 'TimeoutError') return 'timeout';
  if (typeof code === 'string') return code;
  return cause === undefined ? 'no_answer' : codeOfError(cause);
}

/** The answer's text; throws where it is longer than any answer of the protocol. */
async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (bytes > answerBytesMax) throw new Error('the answer is too long');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Signs a request and makes it once. */
export async function send(
  { url, keyId, secret, signature }: Endpoint,
  method: 'GET' | 'POST',
  path: string,
  body: string,
  timeoutMs: number,
): Promise<Sent> {
  const startedAt = performance.now();
  const since = () => Math.round(performance.now() - startedAt);
  const at = new URL(url.pathname.replace(/\/$/, '') + path, url);
  const target = at.pathname + at.search;
  const stamp = { timestamp: Math.floor(Date.now() / 1_000), nonce: randomUUID() };
  try {
    const response = await fetch(at, {
      method,
      headers: {
        ...signedHeaders(keyId, secret, { method, target, body }, stamp, signature),
        ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
        accept: 'application/json',
      },
      ...(method === 'POST' ? { body } : {}),
      // A signature holds for one address; what answers at another knows nothing of it.
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await textOf(response);
    return { status: response.status, body: parsed(text), ms: since(), bytes: Buffer.byteLength(text) };
  } catch (error) {
    const failed = isNotConnected(error) ? 'not_connected' : 'no_answer';
    return { failed, code: codeOfError(error), ms: since() };
  }
}

function movementAnswer(sent: Sent): MovementAnswer {
  const { ms } = sent;
  if ('failed' in sent)
    return { outcome: sent.failed === 'not_connected' ? 'not_done' : 'unknown', code: sent.code, ms };
  return { ...outcomeOf(sent.status, sent.body), httpStatus: sent.status, ms };
}

function inquiryAnswer(sent: Sent): InquiryAnswer {
  const { ms } = sent;
  if ('failed' in sent) return { outcome: 'unknown', code: sent.code, ms };
  const inquiry = inquiryOf(sent.status, sent.body);
  const trace = { httpStatus: sent.status, ms };
  if (inquiry.found === 'nothing') return { outcome: 'nothing', ...trace };
  if (inquiry.found === 'unknown') return { outcome: 'unknown', code: inquiry.code, ...trace };
  return { outcome: 'found', reply: inquiry.found, ...trace };
}

function validationAnswer(sent: Sent): ValidationAnswer {
  const { ms } = sent;
  if ('failed' in sent) return { outcome: 'unknown', code: sent.code, ms };
  const trace = { httpStatus: sent.status, ms };
  const reply = sent.status === 200 ? validationReply.safeParse(sent.body).data : undefined;
  if (reply) return { outcome: 'validated', reply, ...trace };
  const code = problemReply.safeParse(sent.body).data?.code;
  const isRefused = code !== undefined && sent.status >= 400 && sent.status < 500;
  return { outcome: isRefused ? 'refused' : 'unknown', code: code ?? `http_${sent.status}`, ...trace };
}

/** Whether the partner is in a state to answer: a refusal is an answer, a broken connection or a fault of the server is none. */
function hasAnswered(sent: Sent): boolean {
  return !('failed' in sent) && sent.status < 500;
}

export type CallMetrics = Pick<Metrics, 'partnerRequests' | 'partnerRequestDuration' | 'partnerCircuitOpen'>;

export function createCalls(patience: Patience, metrics: CallMetrics): Calls {
  const lines = new Map<number, Line>();

  function lineOf(partner: number): Line {
    const known = lines.get(partner);
    if (known) return known;
    const line = { breaker: createBreaker(patience), running: 0 };
    lines.set(partner, line);
    return line;
  }

  async function made<Answer extends { readonly outcome: string } & Trace>(
    endpoint: Endpoint,
    operation: string,
    request: Promise<Sent>,
    answerOf: (sent: Sent) => Answer,
  ): Promise<Answer> {
    const { breaker } = lineOf(endpoint.partner);
    const sent = await request;
    if (hasAnswered(sent)) breaker.answered();
    else breaker.failed(Date.now(), Math.random());
    metrics.partnerCircuitOpen.set({ partner: endpoint.name }, breaker.isOpen ? 1 : 0);
    const answer = answerOf(sent);
    const labels = { partner: endpoint.name, operation };
    metrics.partnerRequests.inc({ ...labels, outcome: answer.outcome });
    metrics.partnerRequestDuration.observe(labels, sent.ms / 1_000);
    return answer;
  }

  return {
    take(endpoint) {
      if (endpoint.delivery === 'files') return { waitMs: filesMs };
      const line = lineOf(endpoint.partner);
      if (line.running >= endpoint.callsAtOnce) return { waitMs: busyMs };
      const waitMs = line.breaker.waitMs(Date.now());
      if (waitMs > 0) return { waitMs };
      line.running += 1;
      return {
        move({ call, body }) {
          const { method, path } = partnerCalls[call];
          const request = send(endpoint, method, path, JSON.stringify(body), patience.timeoutMs);
          return made(endpoint, call, request, movementAnswer);
        },
        inquire(kind, reference) {
          const target = operationTarget(kind, reference);
          const request = send(endpoint, 'GET', target, '', patience.timeoutMs);
          return made(endpoint, 'inquire', request, inquiryAnswer);
        },
        validate(body) {
          const { method, path } = partnerCalls.validate;
          const request = send(endpoint, method, path, JSON.stringify(body), patience.timeoutMs);
          return made(endpoint, 'validate', request, validationAnswer);
        },
        leave() {
          line.running -= 1;
        },
      };
    },
  };
}

/** Waits for work to end, at most so long; what goes on afterwards goes on by itself. */
export async function atMost<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const end = new AbortController();
  try {
    return await Promise.race([work, delay(ms, undefined, { signal: end.signal, ref: false })]);
  } finally {
    end.abort();
  }
}
