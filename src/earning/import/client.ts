// The HTTP client of the import and the demo: fetch over kept-alive connections, a timeout on every attempt, and
// one retry rule. A connection that broke says nothing about whether the call was applied, so it is repeated with
// the same body; the references in it make the repeat harmless.
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { isTransient, retryAfterMs, retryWaitMs } from './retry.ts';

export type ApiReply = { status: number; body: unknown; replayed: boolean };

export type ApiClient = {
  readonly url: string;
  /** Attempts sent, and how many of them were repeats. */
  readonly sent: { requests: number; repeats: number };
  get(path: string): Promise<ApiReply>;
  /** Reads what is not JSON (the metrics); not repeated. */
  getText(path: string): Promise<string>;
  post(path: string, json: string): Promise<ApiReply>;
};

export type ApiClientOptions = { url: string; key: string; timeoutMs?: number; patienceMs?: number };

/** The API did not answer although the call was repeated for as long as the caller's patience lasts. */
export class ApiUnreachable extends Error {
  override name = 'ApiUnreachable';
}

const program = z.looseObject({
  name: z.string().optional(),
  mode: z.string().optional(),
  timeZone: z.string(),
});
export type Program = z.infer<typeof program>;

const problem = z.looseObject({
  code: z.string().optional(),
  title: z.string().optional(),
  detail: z.string().optional(),
  errors: z
    .array(z.looseObject({ pointer: z.string().optional(), detail: z.string().optional() }))
    .optional(),
});

type Attempt = { reply: ApiReply; askedMs: number | undefined } | { broke: string };

/** Makes a client for one API and one key. */
export function apiClient(options: ApiClientOptions): ApiClient {
  const { url, key, timeoutMs = 30_000, patienceMs = 60_000 } = options;
  const sent = { requests: 0, repeats: 0 };

  async function attemptOnce(method: string, path: string, json: string | undefined): Promise<Attempt> {
    sent.requests += 1;
    try {
      const headers: Record<string, string> = { authorization: `Bearer ${key}` };
      if (json !== undefined) headers['content-type'] = 'application/json';
      const response = await fetch(url + path, {
        method,
        headers,
        signal: AbortSignal.timeout(timeoutMs),
        ...(json === undefined ? {} : { body: json }),
      });
      const body = readBody(await response.text());
      const replayed = response.headers.get('idempotent-replayed') === 'true';
      const askedMs = retryAfterMs(response.headers.get('retry-after'), Date.now());
      return { reply: { status: response.status, body, replayed }, askedMs };
    } catch (error) {
      return { broke: brokenBecause(error) };
    }
  }

  async function call(method: string, path: string, json?: string): Promise<ApiReply> {
    // Bounded by the patience: every wait grows towards five seconds, or is what the server asked for.
    const deadline = performance.now() + patienceMs;
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await attemptOnce(method, path, json);
      const reply = 'reply' in outcome ? outcome.reply : undefined;
      if (reply !== undefined && !isTransient(reply.status, readProblem(reply.body).code)) return reply;
      const waitMs = retryWaitMs(attempt, 'reply' in outcome ? outcome.askedMs : undefined, Math.random());
      if (performance.now() + waitMs > deadline) {
        if (reply !== undefined) return reply;
        const reason = 'broke' in outcome ? outcome.broke : '';
        throw new ApiUnreachable(
          `${url} did not answer ${method} ${path} after ${attempt} attempts: ${reason}`,
        );
      }
      await wait(waitMs);
      sent.repeats += 1;
    }
  }

  async function getText(path: string): Promise<string> {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url + path, { headers: { authorization: `Bearer ${key}` }, signal });
    return response.text();
  }

  return {
    url,
    sent,
    getText,
    get: (path) => call('GET', path),
    post: (path, json) => call('POST', path, json),
  };
}

/**
 * The first call of a command: the program behind the key. It is not repeated, so that a machine where nothing
 * listens gets its one sentence at once.
 */
export async function readProgram(options: ApiClientOptions): Promise<Program> {
  let reply: ApiReply;
  try {
    reply = await apiClient({ ...options, patienceMs: 0 }).get('/v1/program');
  } catch {
    throw new ApiUnreachable(
      `No API is listening at ${options.url}: start it with npm start, or name another with --url.`,
    );
  }
  if (reply.status !== 200) throw new ApiRefusal('GET /v1/program', reply);
  const parsed = program.safeParse(reply.body);
  if (!parsed.success) throw new ApiUnreachable(`${options.url} answered, but it is not this service's API.`);
  return parsed.data;
}

/** The API answered, and the answer is no. */
export class ApiRefusal extends Error {
  override name = 'ApiRefusal';
  readonly status: number;
  constructor(call: string, reply: ApiReply) {
    super(`${call} answered ${reply.status} ${describeProblem(reply.body)}`);
    this.status = reply.status;
  }
}

/** The parts of a problem document that a person or a retry rule needs; an empty object when it is none. */
export function readProblem(body: unknown): z.infer<typeof problem> {
  const parsed = problem.safeParse(body);
  return parsed.success ? parsed.data : {};
}

/** A problem document in one line, its code first. */
export function describeProblem(body: unknown): string {
  return [readProblem(body).code ?? '', problemSentence(body)].join(' ').trim();
}

/** What a problem document says to people, with the places of up to five faults. */
export function problemSentence(body: unknown): string {
  const { title, detail, errors } = readProblem(body);
  const faults = (errors ?? [])
    .slice(0, 5)
    .map((fault) => `${fault.pointer ?? ''} ${fault.detail ?? ''}`.trim());
  const sentence = detail ?? title ?? '';
  return faults.length === 0 ? sentence : `${sentence} (${faults.join('; ')})`.trim();
}

function readBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function brokenBecause(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? error.cause : error;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
}
