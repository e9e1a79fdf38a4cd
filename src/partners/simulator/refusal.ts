/** PURE. How the simulator says no: problem documents (RFC 9457) with the words of the protocol. */

const statuses = {
  validation_failed: 400,
  currency_unknown: 400,
  occurred_at_in_future: 400,
  occurred_at_too_old: 400,
  signature_invalid: 401,
  limit_exceeded: 403,
  member_not_found: 404,
  not_found: 404,
  insufficient_points: 409,
  member_not_active: 409,
  member_not_linked: 409,
  link_code_invalid: 409,
  original_not_found: 409,
  reversal_exceeds_original: 409,
  reference_in_progress: 409,
  body_too_large: 413,
  reference_reused: 422,
  internal: 500,
} as const;
export type RefusalCode = keyof typeof statuses;

export interface Answer {
  readonly httpStatus: number;
  readonly body: object;
  /** The first answer of this reference again. */
  readonly isReplay?: boolean;
  /** Nobody is told. */
  readonly isDropped?: boolean;
  /** Nothing has come of it yet: it arrives once more, later. */
  readonly isLate?: boolean;
}

export class Refusal extends Error {
  readonly code: RefusalCode;
  readonly fields: Readonly<Record<string, unknown>>;
  constructor(code: RefusalCode, detail: string, fields: Readonly<Record<string, unknown>> = {}) {
    super(detail);
    this.code = code;
    this.fields = fields;
  }
}

export function problemOf({ code, message, fields }: Refusal): Answer {
  const httpStatus = statuses[code];
  const applied = code === 'internal' ? 'unknown' : 'no';
  const title = code.replaceAll('_', ' ');
  return {
    httpStatus,
    body: { type: 'about:blank', title, status: httpStatus, code, detail: message, applied, ...fields },
  };
}
