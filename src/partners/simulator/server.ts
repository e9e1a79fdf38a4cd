/**
 * The simulator's door: HTTP, the signature over the bytes as they came, each nonce once, and the calls of the protocol. Beside them,
 * for whoever runs it and unsigned, `GET /simulator/sums` (its books, added up) and `PUT /simulator/accounts/ACCOUNT`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { partnerCalls, partnerPath } from '#src/partners/protocol/calls.ts';
import { dayCalls } from '#src/partners/protocol/days.ts';
import type { MovementKind } from '#src/partners/protocol/schemas.ts';
import { type Claim, type SignatureFault, toleranceSeconds, verify } from '#src/partners/signature.ts';
import { type Books, openBooks } from './books.ts';
import { type Callee, type CalleeSettings, createCallee, type LateMovement } from './callee.ts';
import { behaviourOf } from './magic.ts';
import { type Answer, problemOf, Refusal } from './refusal.ts';

export interface SimulatorSettings extends CalleeSettings {
  readonly folder: string;
  readonly keyId: string;
  /** Those that are live; two while one is replaced. */
  readonly secrets: readonly string[];
  readonly slowMs: number;
}

interface Knock {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** What a simulator is made of. */
export interface SimulatorParts {
  readonly books: Books;
  readonly callee: Callee;
  readonly admit: (knock: Knock, nowMs: number) => Claim | SignatureFault;
  readonly slowMs: number;
}

export interface Simulator {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

const bodyBytesMax = 65_536;
const requestMsMax = 30_000;
const sweepEveryMs = 60_000;

export function simulatorParts(settings: SimulatorSettings): SimulatorParts {
  const books = openBooks(settings.folder);
  const secretsOf = (keyId: string) => (keyId === settings.keyId ? settings.secrets : undefined);
  return {
    books,
    callee: createCallee(books, settings),
    admit: (knock, nowMs) => verify(knock.headers, knock, secretsOf, nowMs),
    slowMs: settings.slowMs,
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > bodyBytesMax) throw new Refusal('body_too_large', `a body has at most ${bodyBytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const slowBody = z.object({ reference: z.string(), points: z.int() });

function jsonOrNothing(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

function jsonOf(body: Buffer): unknown {
  const value = jsonOrNothing(body);
  if (value === undefined) throw new Refusal('validation_failed', 'the body is not JSON');
  return value;
}

function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Refusal('validation_failed', `/${issue!.path.join('/')}: ${issue!.message}`);
}

const calls = { ...partnerCalls, day: dayCalls.tree, dayMovements: dayCalls.movements };
type CallName = keyof typeof calls;

function callOf(method: string, path: string): CallName {
  const names = Object.keys(calls) as CallName[];
  const name = names.find((each) => calls[each].method === method && calls[each].path === path);
  if (!name) throw new Refusal('not_found', 'the protocol has no such call');
  return name;
}

/** The call, bound to what was sent. */
function boundTo(callee: Callee, knock: Knock, url: URL): (caller: string, now: number) => Answer {
  const call = callOf(knock.method, url.pathname);
  const given = calls[call].method === 'GET' ? Object.fromEntries(url.searchParams) : jsonOf(knock.body);
  switch (call) {
    case 'validate': {
      const body = parsed(partnerCalls.validate.request, given);
      return (caller, now) => callee.validate(caller, body, now);
    }
    case 'accrue': {
      const body = parsed(partnerCalls.accrue.request, given);
      return (caller, now) => callee.accrue(caller, body, now);
    }
    case 'redeem': {
      const body = parsed(partnerCalls.redeem.request, given);
      return (caller, now) => callee.redeem(caller, body, now);
    }
    case 'reverse': {
      const body = parsed(partnerCalls.reverse.request, given);
      return (caller, now) => callee.reverse(caller, body, now);
    }
    case 'inquire': {
      const query = parsed(partnerCalls.inquire.request, given);
      return (caller, now) => callee.inquire(caller, query, now);
    }
    case 'day': {
      const query = parsed(calls.day.request, given);
      return (caller, now) => callee.day(caller, query, now);
    }
    case 'dayMovements': {
      const query = parsed(calls.dayMovements.request, given);
      return (caller, now) => callee.dayMovements(caller, query, now);
    }
  }
}

/** A refusal is an answer; everything else that is thrown is a fault of the simulator. */
function answered(work: () => Answer): Answer {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) return problemOf(error);
    throw error;
  }
}

/** Whether a movement is to be kept waiting before it is booked. */
function isSlow(books: Books, { keyId }: Claim, knock: Knock): boolean {
  const kinds: Readonly<Record<string, MovementKind>> = {
    [partnerCalls.accrue.path]: 'accrual',
    [partnerCalls.redeem.path]: 'redemption',
  };
  const kind = knock.method === 'POST' ? kinds[knock.target] : undefined;
  if (!kind) return false;
  const body = slowBody.safeParse(jsonOrNothing(knock.body));
  if (!body.success || behaviourOf(body.data.points) !== 'slow') return false;
  return !books.find(keyId, kind, body.data.reference);
}

/** The movement that a call asks for. */
function movementOf({ target, body }: Knock): LateMovement {
  const given = jsonOf(body);
  return target === partnerCalls.accrue.path
    ? { kind: 'accrual', body: parsed(partnerCalls.accrue.request, given) }
    : { kind: 'redemption', body: parsed(partnerCalls.redeem.request, given) };
}

/** What nobody was told of arrives; a network that is gone by then has lost it. */
async function arriveLate(
  { books, callee, slowMs }: SimulatorParts,
  { keyId }: Claim,
  knock: Knock,
): Promise<void> {
  const late = movementOf(knock);
  await delay(slowMs, undefined, { ref: false });
  await books.commit(() => answered(() => callee.arrive(keyId, late, Date.now())));
}

async function partnerAnswer(parts: SimulatorParts, knock: Knock): Promise<Answer> {
  const { books, callee, admit, slowMs } = parts;
  const claim = admit(knock, Date.now());
  const refuse = (reason: SignatureFault) =>
    problemOf(new Refusal('signature_invalid', `the signature is refused: ${reason}`, { reason }));
  if (typeof claim === 'string') return refuse(claim);
  const url = new URL(knock.target, 'http://simulator');
  const work = () =>
    answered(() => books.attempt(() => boundTo(callee, knock, url)(claim.keyId, Date.now())));
  // The nonce is used up by whatever was signed, also where the call itself is refused.
  const until = claim.timestamp + toleranceSeconds;
  const first = await books.commit(() => {
    if (!books.useNonce(claim.keyId, claim.stamp.nonce, until)) return refuse('replayed');
    return isSlow(books, claim, knock) ? 'slow' : work();
  });
  if (first !== 'slow') {
    if (first.isLate) arriveLate(parts, claim, knock).catch(() => {});
    return first;
  }
  await delay(slowMs);
  return books.commit(work);
}

const accountDraft = z.strictObject({
  name: z.string().min(1).default('LI/XIAOMING'),
  status: z.enum(['active', 'suspended', 'closed']).default('active'),
  linked: z.boolean().default(true),
  points: z.int().min(0).default(0),
  code: z.string().nullable().default(null),
});

/** Calls of whoever runs the simulator. */
async function ownAnswer({ books }: SimulatorParts, { method, target, body }: Knock): Promise<Answer> {
  if (method === 'GET' && target === '/simulator/sums')
    return { httpStatus: 200, body: await books.commit(() => books.sums()) };
  const account = /^\/simulator\/accounts\/([\w.-]{1,128})$/.exec(target)?.[1];
  if (method !== 'PUT' || account === undefined)
    throw new Refusal('not_found', 'the simulator has no such call');
  const draft = parsed(accountDraft, body.length === 0 ? {} : jsonOf(body));
  const memberSince = new Date().toISOString().slice(0, 10);
  await books.commit(() => books.open({ account, ...draft, memberSince }));
  return { httpStatus: 200, body: { account, ...draft } };
}

async function answerOf(parts: SimulatorParts, request: IncomingMessage): Promise<Answer> {
  const { method = 'GET', url: target = '/', headers } = request;
  try {
    const knock: Knock = { method, target, headers, body: await readBody(request) };
    if (target.startsWith(`${partnerPath}/`)) return await partnerAnswer(parts, knock);
    return await ownAnswer(parts, knock);
  } catch (error) {
    return problemOf(error instanceof Refusal ? error : new Refusal('internal', String(error)));
  }
}

function send(response: ServerResponse, { httpStatus, body, isReplay, isDropped }: Answer): void {
  if (isDropped) {
    response.destroy();
    return;
  }
  const type = httpStatus < 400 ? 'application/json' : 'application/problem+json';
  response.writeHead(httpStatus, {
    'content-type': `${type}; charset=utf-8`,
    ...(isReplay ? { 'idempotent-replayed': 'true' } : {}),
  });
  response.end(JSON.stringify(body));
}

/** Listens on the loopback interface; port 0 takes a free one. */
export async function serve(parts: SimulatorParts, port: number): Promise<Simulator> {
  const server = createServer({ requestTimeout: requestMsMax }, (request, response) => {
    answerOf(parts, request).then((answer) => send(response, answer));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const sweep = setInterval(() => {
    const before = Math.floor(Date.now() / 1_000) - toleranceSeconds;
    parts.books.commit(() => parts.books.forgetNonces(before)).catch(() => {});
  }, sweepEveryMs);
  const at = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${at}`,
    port: at,
    async close() {
      clearInterval(sweep);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      parts.books.close();
    },
  };
}
