/** The suite's HTTP client: remembers every error code it sees and holds every exchange against the OpenAPI document. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect } from 'vitest';
import type { Contract } from './contract.ts';
import { codesFolder } from './folders.ts';

export interface CallOptions {
  readonly key?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** The request is wrong on purpose, so it is not held against the document. */
  readonly invalid?: boolean;
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
  /** The body's id. */
  readonly id: string;
  /** The code of a problem; empty for a success. */
  readonly code: string;
  readonly replayed: boolean;
  /** A value inside the body by its path, such as `balances.points.available`. */
  at(path: string): unknown;
}

export type Http = (method: string, path: string, body?: unknown, options?: CallOptions) => Promise<Answer>;

const seenCodes = new Set<string>();

/** Takes note of a code that did not come through `http`, such as one from a raw socket. */
export function noteCode(code: string): void {
  seenCodes.add(code);
}

function noteCodesOf(body: Readonly<Record<string, unknown>>): void {
  if (typeof body.code === 'string') seenCodes.add(body.code);
  const items = Array.isArray(body.data) ? (body.data as { error?: { code?: unknown } }[]) : [];
  for (const item of items) if (typeof item?.error?.code === 'string') seenCodes.add(item.error.code);
}

/** What a test file saw: error codes, the calls that it made and all calls there are. */
export interface Seen {
  readonly codes: readonly string[];
  readonly made: readonly string[];
  readonly calls: readonly string[];
}

/** Keeps what this file has seen for `error-codes.test.ts`. */
export async function keepSeen(contract: Contract): Promise<void> {
  const file = expect.getState().testPath;
  if (file === undefined) return;
  await mkdir(codesFolder, { recursive: true });
  const seen: Seen = {
    codes: [...seenCodes].toSorted(),
    made: [...contract.made].toSorted(),
    calls: contract.calls,
  };
  await writeFile(join(codesFolder, `${basename(file)}.json`), JSON.stringify(seen));
}

function valueAt(body: unknown, path: string): unknown {
  let value = body;
  for (const part of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[part];
  return value;
}

async function send(url: string, method: string, path: string, body: unknown, options: CallOptions) {
  const { key, headers, timeoutMs = 20_000 } = options;
  const raw = typeof body === 'string' || body instanceof Uint8Array;
  const reply = await fetch(url + path, {
    method,
    signal: AbortSignal.timeout(timeoutMs),
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined
      ? {}
      : { body: raw ? (body as string | Uint8Array<ArrayBuffer>) : JSON.stringify(body) }),
  });
  const text = await reply.text();
  return { reply, json: JSON.parse(text) as Record<string, unknown> };
}

/** A client of the engine at `url`. A fetch that fails (connection refused, time up) throws as fetch does. */
export function clientOf(url: string, contract: () => Contract | undefined): Http {
  return async (method, path, body, options = {}) => {
    const judge = contract();
    const parsed = typeof body === 'string' || body instanceof Uint8Array ? undefined : (body as unknown);
    const sendable: unknown = parsed === undefined ? undefined : JSON.parse(JSON.stringify(parsed));
    const requestFaults = judge?.requestFaults(method, path, sendable) ?? [];
    if (!options.invalid && requestFaults.length > 0) {
      throw new Error(
        `request ${method} ${path} is against the document:\n${requestFaults.join('\n')}\n${JSON.stringify(body)}`,
      );
    }
    const { reply, json } = await send(url, method, path, body, options);
    noteCodesOf(json);
    const mediaType = (reply.headers.get('content-type') ?? '').split(';')[0]!;
    const faults = judge?.replyFaults(method, path, reply.status, mediaType, json) ?? [];
    if (reply.ok && options.invalid && parsed !== undefined && requestFaults.length > 0)
      faults.push(`accepted what the document forbids: ${requestFaults.join('; ')}`);
    if (path.startsWith('/v1/') && reply.headers.get('request-id') === null) faults.push('no Request-Id');
    if (faults.length > 0) {
      throw new Error(
        `reply ${reply.status} to ${method} ${path} is against the document:\n${faults.join('\n')}\n${JSON.stringify(json)}`,
      );
    }
    return {
      status: reply.status,
      headers: reply.headers,
      body: json,
      id: String(json.id),
      code: typeof json.code === 'string' ? json.code : '',
      replayed: reply.headers.get('idempotent-replayed') === 'true',
      at: (where) => valueAt(json, where),
    };
  };
}
