/**
 * The HTTP server: mounts the routes of all domains and the pages on Express, and is the only place that writes a reply.
 *
 * Express sets the prototype of every request and response, which turns V8's fast objects into slow ones and costs two
 * thirds of the throughput. Here the server creates its messages from two classes that carry Express's methods and that
 * Express is told to set, so the change is none (12k requests/s before, 47k after, two cores with the load generator beside).
 *
 * One request: route found → key → role → headers, query and body checked → handler → reply. Each ends in `respond`,
 * which writes one reply and counts it. Errors of any kind pass through `problemOf`.
 */
import { createServer as createHttpServer, IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import express, {
  type ErrorRequestHandler,
  type Express,
  type NextFunction,
  type RequestHandler,
} from 'express';
import { Problem } from '#src/errors.ts';
import type { Door } from '#src/partners/door.ts';
import { moreOf, type Refusals } from '#src/partners/refusals.ts';
import type { RequestMeter, Telemetry } from '#src/platform/telemetry.ts';
import { announcedBytes, type BodyRequest, discardBytesMax, readBytes } from './body.ts';
import type { Page } from './page.ts';
import { faultProblem, problemOf, renderProblem } from './problem.ts';
import { type Checks, callOf, checksOf } from './request.ts';
import { newRequestId, requestIdOf } from './request-id.ts';
import { type Caller, isSigned, type Reply, type Route } from './route.ts';

const requestTimeoutMs = 30_000;
/** Node refuses a value above the request's; idle keep-alive connections are not counted here. */
const headersTimeoutMs = 15_000;
/** Above the 60 s of the usual load balancers, so that they close first and never send into a closing connection. */
const keepAliveTimeoutMs = 65_000;
const headerBytesMax = 16 * 1024;
const headerCountMax = 100;
/** Each waits for Redis or PostgreSQL; more than these at once only grow the memory and everybody's wait. */
const requestsInFlightMax = 4096;

const jsonType = 'application/json; charset=utf-8';
const problemMediaType = 'application/problem+json';

/** Throws `key_missing` or `key_unknown`. Never waits: all keys are in memory. */
export type Authenticate = (authorization: string | undefined) => Caller;

export interface ServerOptions {
  readonly routes: readonly Route[];
  readonly pages: readonly Page[];
  readonly authenticate: Authenticate;
  /** Lets in the callers of signed routes. */
  readonly door: Door;
  readonly refusals: Refusals;
  readonly telemetry: Telemetry;
}

/** What is written for any request: exactly one of these. */
interface Outcome {
  readonly status: number;
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly headers: readonly string[];
  readonly problem?: Problem;
}

interface Inbound extends BodyRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly startedAt: number;
}

interface Mounted {
  readonly route: Route;
  readonly checks: Checks;
  readonly meter: RequestMeter;
}

/** Two classes that carry Express's methods, whose prototypes Express is told to set: they already have them. */
function messageClasses(app: Express): {
  IncomingMessage: typeof IncomingMessage;
  ServerResponse: typeof ServerResponse;
} {
  class InboundRequest extends IncomingMessage {
    readonly startedAt = performance.now();
    isBodyTaken = false;
  }
  class OutboundResponse<Of extends IncomingMessage> extends ServerResponse<Of> {}
  const own = { app: { configurable: true, enumerable: true, writable: true, value: app } };
  Object.defineProperties(InboundRequest.prototype, {
    ...Object.getOwnPropertyDescriptors(express.request),
    ...own,
  });
  Object.defineProperties(OutboundResponse.prototype, {
    ...Object.getOwnPropertyDescriptors(express.response),
    ...own,
  });
  Object.assign(app, { request: InboundRequest.prototype, response: OutboundResponse.prototype });
  return { IncomingMessage: InboundRequest, ServerResponse: OutboundResponse };
}

/** Writes a reply. Nothing is written to a caller who is gone. */
function write(
  server: Server,
  request: Inbound,
  response: ServerResponse,
  requestId: string,
  outcome: Outcome,
): void {
  if (response.headersSent || response.destroyed || !request.socket.writable) return;
  const { type, body } = outcome;
  const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
  const headers = [
    'Content-Type',
    type,
    'Content-Length',
    String(bytes),
    'Request-Id',
    requestId,
    ...outcome.headers,
  ];
  // A server that drains does not listen any more; the caller's next request shall find another one.
  if (!server.listening || (announcedBytes(request) ?? 0) > discardBytesMax)
    headers.push('Connection', 'close');
  response.writeHead(outcome.status, headers);
  // As many bytes as characters: plain ASCII, which Node writes faster under this name.
  if (typeof body === 'string' && bytes === body.length) response.end(body, 'latin1');
  else response.end(body);
}

const noStore = ['Cache-Control', 'no-store'];
const noStoreReplayed = [...noStore, 'Idempotent-Replayed', 'true'];

function outcomeOfReply(reply: Reply): Outcome {
  const headers = reply.replayed === true ? noStoreReplayed : noStore;
  return { status: reply.status, type: jsonType, body: JSON.stringify(reply.body), headers };
}

function outcomeOfError(error: unknown, requestId: string): Outcome {
  const problem = problemOf(error);
  const { status, text, headers } = renderProblem(problem, requestId);
  return { status, type: problemMediaType, body: text, headers: [...noStore, ...headers], problem };
}

/** Runs the work of one request and ends it: the one error handler of the server. */
async function respond(
  server: Server,
  meter: RequestMeter,
  request: Inbound,
  response: ServerResponse,
  work: (requestId: string) => Outcome | Promise<Outcome>,
): Promise<void> {
  const requestId = requestIdOf(request.headers['x-request-id']);
  meter.begin();
  let outcome: Outcome;
  try {
    outcome = await work(requestId);
    write(server, request, response, requestId, outcome);
  } catch (error) {
    outcome = outcomeOfError(error, requestId);
    write(server, request, response, requestId, outcome);
  }
  if (request.isBodyTaken) request.read();
  const { status, problem } = outcome;
  const { startedAt } = request;
  if (problem === undefined) meter.end({ status, startedAt, requestId });
  else meter.end({ status, startedAt, requestId, code: problem.code, error: problem.cause });
}

function checkLoad(telemetry: Telemetry): void {
  if (telemetry.requestsInFlight() > requestsInFlightMax) {
    throw new Problem('not_ready', 'Too many requests are being worked on.');
  }
}

function checkRole(route: Route, caller: Caller): void {
  if (!route.roles.includes(caller.role)) {
    throw new Problem('role_not_allowed', `This call is for the roles ${route.roles.join(', ')}.`);
  }
}

async function answerRoute(
  { route, checks }: Mounted,
  { authenticate, telemetry }: ServerOptions,
  request: Inbound,
  requestId: string,
): Promise<Outcome> {
  checkLoad(telemetry);
  const caller = authenticate(request.headers.authorization);
  checkRole(route, caller);
  return outcomeOfReply(await route.handle(await callOf(checks, caller, request, requestId)));
}

/** What is broken on our side is no refusal. */
function isRefusal(error: unknown): error is Problem {
  return error instanceof Problem && error.status < 500;
}

/** A call whose refusals somebody may ask for later. */
async function answerNoted(
  { route, checks }: Mounted,
  { authenticate, telemetry, refusals }: ServerOptions,
  request: Inbound,
  requestId: string,
): Promise<Outcome> {
  checkLoad(telemetry);
  const caller = authenticate(request.headers.authorization);
  try {
    checkRole(route, caller);
    return outcomeOfReply(await route.handle(await callOf(checks, caller, request, requestId)));
  } catch (error) {
    if (isRefusal(error)) {
      const [area, call] = [route.refusalsOf!, `${route.method} ${route.path}`];
      const who = { program: caller.program.number, keyId: caller.keyId };
      await refusals.note({ area, ...who, word: error.code, more: moreOf(error), call });
    }
    throw error;
  }
}

/** A call of a partner: the signature covers method, path and body as they came, so the body is read before it is believed. */
async function answerSigned(
  { route, checks }: Mounted,
  { door, telemetry }: ServerOptions,
  request: Inbound,
  requestId: string,
): Promise<Outcome> {
  checkLoad(telemetry);
  const { method = '', url = '', headers } = request;
  const visitor = await door({ method, target: url, headers });
  try {
    const bytes = await readBytes(request, checks.bodyBytesMax);
    const caller = await visitor.admit(bytes);
    checkRole(route, caller);
    return outcomeOfReply(await route.handle(await callOf(checks, caller, request, requestId, bytes)));
  } catch (error) {
    // The door has noted its own refusals.
    if (isRefusal(error) && error.code !== 'signature_invalid') await visitor.refused(error.code);
    throw error;
  }
}

async function answerPage(page: Page): Promise<Outcome> {
  const { status, type, body, headers } = await page.content();
  return { status, type, body, headers: headers ?? noStore };
}

type Handler = (request: Inbound, response: ServerResponse) => Promise<void>;
type Methods = Map<string, Handler>;

/** `/v1/holds/:id` and `/v1/holds/:hold` are the same place and must be one mount, or one would shadow the other. */
function shapeOf(path: string): string {
  return path.replaceAll(/:[A-Za-z]+/g, ':');
}

function handlersByPath(options: ServerOptions, server: Server): Map<string, Methods> {
  const byPath = new Map<string, Methods>();
  const pathByShape = new Map<string, string>();
  const add = (path: string, method: string, handler: Handler) => {
    const known = pathByShape.get(shapeOf(path)) ?? path;
    if (known !== path)
      throw new Error(`routes ${known} and ${path} differ only in the names of their parameters`);
    pathByShape.set(shapeOf(path), path);
    const methods = byPath.get(path) ?? new Map<string, Handler>();
    if (methods.has(method)) throw new Error(`route ${method} ${path} is there twice`);
    byPath.set(path, methods.set(method, handler));
  };
  for (const route of options.routes) {
    const meter = options.telemetry.requestMeter(route.method, route.path);
    const mounted = { route, checks: checksOf(route), meter };
    const answer = isSigned(route) ? answerSigned : route.refusalsOf ? answerNoted : answerRoute;
    add(route.path, route.method, (request, response) =>
      respond(server, meter, request, response, (requestId) => answer(mounted, options, request, requestId)),
    );
  }
  for (const page of options.pages) {
    const meter = options.telemetry.requestMeter('GET', page.path);
    add(page.path, 'GET', (request, response) =>
      respond(server, meter, request, response, () => answerPage(page)),
    );
  }
  return byPath;
}

/** Mounts paths without parameters first, so that `/v1/members/lookup` is never taken for a member's id. */
function mount(app: Express, options: ServerOptions, server: Server): void {
  const unmatched = options.telemetry.requestMeter('any', 'unmatched');
  const refuse = (request: Inbound, response: ServerResponse, error: unknown) =>
    respond(server, unmatched, request, response, () => {
      throw error;
    });
  const paths = [...handlersByPath(options, server)];
  const fixedFirst = [
    ...paths.filter(([path]) => !path.includes(':')),
    ...paths.filter(([path]) => path.includes(':')),
  ];
  for (const [path, methods] of fixedFirst) {
    const place = app.route(path);
    const allow = [...methods.keys()].flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    for (const [method, handler] of methods) {
      place[method.toLowerCase() as 'get'](handler as unknown as RequestHandler);
    }
    const wrongMethod: Handler = (request, response) =>
      refuse(
        request,
        response,
        new Problem('method_not_allowed', `Allowed here: ${allow.join(', ')}.`, { allow }),
      );
    place.all(wrongMethod as unknown as RequestHandler);
  }
  const unknownPath: Handler = (request, response) =>
    refuse(request, response, new Problem('not_found', 'There is no such resource.'));
  app.use(unknownPath as unknown as RequestHandler);
  const brokenRequest = (error: unknown, request: Inbound, response: ServerResponse, _next: NextFunction) =>
    refuse(request, response, error);
  app.use(brokenRequest as unknown as ErrorRequestHandler);
}

function problemOfParser(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW')
    return faultProblem('header', `the headers are larger than ${headerBytesMax} bytes`);
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new Problem(
      'body_malformed',
      `The request did not arrive within ${requestTimeoutMs / 1000} seconds.`,
    );
  }
  return new Problem('body_malformed', 'The request is not well-formed HTTP, or it ended early.');
}

/** Answers what Node's parser refuses before there is a request. */
function answerMalformed(
  error: NodeJS.ErrnoException,
  socket: Socket & { _httpMessage?: ServerResponse | null },
): void {
  // A 400 promises that nothing was applied. Where a complete earlier request on this connection still waits for its
  // reply, the caller would take it for that one's, so the connection just ends. Node keeps that reply only here.
  const pending = socket._httpMessage;
  const mayBeApplied = pending?.req.complete;
  if (!socket.writable || mayBeApplied || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const { status, text } = renderProblem(problemOfParser(error.code), newRequestId());
  socket.end(
    `HTTP/1.1 ${status} Bad Request\r\nConnection: close\r\nContent-Type: ${problemMediaType}\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    () => socket.destroy(),
  );
}

/** Builds the server; the caller lets it listen. */
export function createServer(options: ServerOptions): Server {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.enable('case sensitive routing');
  const server = createHttpServer(
    {
      ...messageClasses(app),
      requestTimeout: requestTimeoutMs,
      headersTimeout: headersTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      maxHeaderSize: headerBytesMax,
    },
    app,
  );
  server.maxHeadersCount = headerCountMax;
  server.on('clientError', answerMalformed);
  // An expectation that nobody knows is ignored, as HTTP allows; Node would answer 417 without a document.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  mount(app, options, server);
  return server;
}

/** How often connections that became idle are looked for while the server drains. */
const idleCheckMs = 50;

/**
 * Stops accepting, lets requests in flight end, closes connections as they become idle, and after `timeoutMs` the rest.
 * True when nothing had to be cut off.
 */
export async function drain(server: Server, timeoutMs: number): Promise<boolean> {
  if (!server.listening) return true;
  let clean = true;
  const idleCheck = setInterval(() => server.closeIdleConnections(), idleCheckMs);
  const deadline = setTimeout(() => {
    clean = false;
    server.closeAllConnections();
  }, timeoutMs);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  clearInterval(idleCheck);
  clearTimeout(deadline);
  return clean;
}
