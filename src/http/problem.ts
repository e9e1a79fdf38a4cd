/** The one place where a refusal becomes an RFC 9457 problem document. */
import { type ErrorCode, errorTable, type Fault, Problem, validationProblem } from '#src/errors.ts';
import { isStoreAway } from '#src/platform/away.ts';

/** A refusal, rendered: what goes on the wire. */
export interface RenderedProblem {
  readonly status: number;
  readonly text: string;
  /** Extra header names and values, alternating. */
  readonly headers: readonly string[];
}

const challenges: Partial<Record<ErrorCode, string>> = {
  key_missing: 'Bearer realm="points"',
  key_unknown: 'Bearer realm="points", error="invalid_token"',
  signature_invalid: 'Loyalty-Signature realm="points"',
};

/** Where a code is explained, relative to the service (RFC 9457 allows a relative reference). */
export function problemType(code: ErrorCode): string {
  return `/docs/problems#${code}`;
}

function headersOf(problem: Problem): string[] {
  const headers: string[] = [];
  const { retryAfterSeconds } = errorTable[problem.code];
  if (retryAfterSeconds !== undefined) headers.push('Retry-After', String(retryAfterSeconds));
  const challenge = challenges[problem.code];
  if (challenge !== undefined) headers.push('WWW-Authenticate', challenge);
  const allow = problem.fields.allow;
  if (Array.isArray(allow)) headers.push('Allow', allow.join(', '));
  // A remembered refusal is a replay like any other; the domain says so by the field of that name.
  if (problem.fields.replayed === true) headers.push('Idempotent-Replayed', 'true');
  return headers;
}

/** Renders a refusal for the wire. */
export function renderProblem(problem: Problem, requestId: string): RenderedProblem {
  const { status, title, applied } = errorTable[problem.code];
  const own = {
    type: problemType(problem.code),
    title,
    status,
    detail: problem.detail,
    code: problem.code,
    requestId,
    applied: applied ?? 'no',
  };
  // A domain's fields stand behind RFC 9457's own members and can never overwrite them.
  const text = JSON.stringify({ ...own, ...problem.fields, ...own });
  return { status, text, headers: headersOf(problem) };
}

/** Any thrown value as a refusal; what is not one is our fault, and its details stay inside. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  // Express's router throws this for a path such as `/v1/members/%ZZ`.
  if (error instanceof URIError) return faultProblem('path', 'is not valid percent-encoded UTF-8');
  // How far it came before the store went is not known here.
  const code = isStoreAway(error) ? 'outcome_unknown' : 'internal';
  return new Problem(code, undefined, {}, { cause: error });
}

/** A refusal for one fault outside or inside the body. */
export function faultProblem(pointer: string, detail: string): Problem {
  const fault: Fault = { pointer, detail };
  return validationProblem([fault]);
}
