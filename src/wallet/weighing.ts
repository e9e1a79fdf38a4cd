/** What the script that only weighs is asked with: an accrual of nobody's, which is never written. */
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import type { Movement } from './wallet.ts';

export function weighing(
  member: MemberNumber,
  input: string,
  at: EpochMs,
  operation: OperationHex,
): Movement {
  const now = Date.now();
  return {
    script: 'accrue',
    kind: 'accrual',
    program: 0,
    client: 0,
    member,
    operation,
    origins: [],
    order: '',
    referenceKey: '',
    fingerprint: '',
    occurredAt: at,
    at,
    judgedAt: now,
    lookedUpAt: now,
    isAwaited: false,
    input,
    request: '',
    factsVersion: undefined,
  };
}
