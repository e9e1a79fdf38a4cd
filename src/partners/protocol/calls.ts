/** PURE. The five calls of the protocol, where they are and what they take: for whoever makes them and whoever answers them. */
import {
  accrualRequest,
  movementReply,
  operationQuery,
  redemptionRequest,
  reversalRequest,
  validationReply,
  validationRequest,
} from './schemas.ts';

/** The first number stands in the path and changes only with what older callers could not cope with. */
export const protocolVersion = '1.0';

/** Below the partner's own address. */
export const partnerPath = '/v1/partner';

export const partnerCalls = {
  validate: {
    method: 'POST',
    path: `${partnerPath}/members/validate`,
    request: validationRequest,
    reply: validationReply,
  },
  accrue: { method: 'POST', path: `${partnerPath}/accruals`, request: accrualRequest, reply: movementReply },
  redeem: {
    method: 'POST',
    path: `${partnerPath}/redemptions`,
    request: redemptionRequest,
    reply: movementReply,
  },
  reverse: {
    method: 'POST',
    path: `${partnerPath}/reversals`,
    request: reversalRequest,
    reply: movementReply,
  },
  /** 404 `not_found` says for certain that the reference was never used up to now. */
  inquire: {
    method: 'GET',
    path: `${partnerPath}/operations`,
    request: operationQuery,
    reply: movementReply,
  },
} as const;
export type PartnerCall = keyof typeof partnerCalls;

/** The path with its query exactly as it is sent and signed. */
export function operationTarget(kind: string, reference: string): string {
  return `${partnerCalls.inquire.path}?${new URLSearchParams({ kind, reference }).toString()}`;
}
