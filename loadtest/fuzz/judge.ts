/** PURE. What an answer may be, and what the books may hold afterwards. */
import type { FuzzCall } from './call.ts';

export interface FuzzAnswer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

export interface Finding {
  readonly step: number;
  readonly what: string;
  readonly call: string;
}

/** The call in one line, short enough for a report. */
export function lineOf({ method, path, headers, body }: FuzzCall): string {
  return `${method} ${path.slice(0, 200)} ${JSON.stringify(headers).slice(0, 300)} ${body?.toString('latin1').slice(0, 500) ?? ''}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The code of a refusal, with the first fault of a body. */
export function reasonOf({ status, text }: FuzzAnswer): string {
  const body = parsed(text) as
    | { code?: string; errors?: { pointer?: string; detail?: string }[] }
    | undefined;
  const { pointer = '', detail = '' } = body?.errors?.[0] ?? {};
  return `${body?.code ?? status} ${pointer} ${detail}`.trim().slice(0, 100);
}

/** Why an answer is a finding; undefined when it is none. `isReady` is what /readyz says. */
export function faultOf(call: FuzzCall, answer: FuzzAnswer | Error, isReady: boolean): string | undefined {
  if (answer instanceof Error) return `no answer: ${answer.message}`;
  const { status, type, text } = answer;
  const body = parsed(text) as { code?: unknown } | undefined;
  if (status >= 500) {
    if (status === 504 && body?.code === 'outcome_unknown') return undefined;
    // Who does not want to wait may find the books behind.
    const isImpatient = body?.code === 'not_ready' && call.headers.Prefer !== undefined;
    const isTold = status === 503 && (!isReady || isImpatient);
    return isTold ? undefined : `${status} ${String(body?.code)}: ${text.slice(0, 300)}`;
  }
  if (status >= 400 && call.method !== 'HEAD') {
    if (!type.startsWith('application/problem+json'))
      return `${status} is no problem document: ${text.slice(0, 200)}`;
    if (typeof body?.code !== 'string') return `${status} without a code: ${text.slice(0, 200)}`;
  }
  if (
    status >= 200 &&
    status < 300 &&
    type.startsWith('application/json') &&
    call.method !== 'HEAD' &&
    body === undefined
  )
    return `${status} with a body that is no JSON: ${text.slice(0, 200)}`;
  return undefined;
}

const operationPattern = /"[a-z]{3,4}_([0-9a-f]{32})"/g;
const memberPattern = /"(mem_[0-9a-z]{8,11})"/g;
const idPattern = /"id":"([a-z]{3,4}_[0-9a-f]{32})"/g;
const referencePattern = /"reference":"([^"]{1,64})"/g;
const keyPattern = /"id":"(key_[^"]+)"/g;

function* matches(text: string, pattern: RegExp): Generator<string> {
  for (const match of text.matchAll(pattern)) yield match[1]!;
}

export const idsIn = {
  /** Every operation that an answer names. */
  operations: (text: string) => [...matches(text, operationPattern)],
  members: (text: string) => [...matches(text, memberPattern)],
  ids: (text: string) => [...matches(text, idPattern)],
  /** The first one of a body. */
  references: (text: string) => [...matches(text, referencePattern)].slice(0, 1),
  keys: (text: string) => [...matches(text, keyPattern)],
} as const;
