/**
 * Values that every domain shares: branded numbers, identifiers and their text forms.
 *
 * An operation is named by a UUIDv7 whose twelve `rand_a` bits carry the shard (RFC 9562 leaves them to the
 * generator), so that any later call on it (capture, refund, read) is routed without a look-up. The journal position is
 * deliberately not part of the id: re-sequencing after a recovery changes positions, never ids.
 */
import { randomFillSync } from 'node:crypto';

/** Internal number of a member: the only name of a member in Redis, journal and ledger. */
export type MemberNumber = number & { readonly brand: 'MemberNumber' };
/** Thirty-two lower-case hex digits of an operation's UUID, without dashes. */
export type OperationHex = string & { readonly brand: 'OperationHex' };
/** Whole points. Always an integer between -(2^53-1) and 2^53-1. */
export type Points = number;
/** Milliseconds since 1970 UTC. */
export type EpochMs = number;

/** What a program's `mode` may be. A test program has a clock that can be moved. */
export type Mode = 'live' | 'test';

/** Where a record stands in a shard's journal. Comparable only within one epoch. */
export interface Position {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

export const pointsMax = Number.MAX_SAFE_INTEGER;

/** Every kind of operation and the prefix of its public id. A capture makes an ordinary redemption. */
export const operationPrefix = {
  accrual: 'acc',
  redemption: 'red',
  capture: 'red',
  hold: 'hold',
  release: 'rel',
  reversal: 'rev',
  refund: 'ref',
  return: 'ret',
  adjustment: 'adj',
  extension: 'ext',
  unlock: 'unl',
  transfer: 'trf',
  transfer_credit: 'tcr',
  transfer_refusal: 'trx',
  transfer_return: 'trb',
  expiry: 'exp',
  status: 'sts',
  recovery: 'rec',
  correction: 'cor',
  tier: 'tier',
  exchange_out: 'exo',
  exchange_in: 'exi',
} as const;
export type OperationKind = keyof typeof operationPrefix;

const randomPoolBytes = 8192;
const randomPool = Buffer.alloc(randomPoolBytes);
/** The pool in hex, of which every operation takes the next sixteen digits. */
let randomHex = '';
let randomHexUsed = 0;
/** The first digit after the shard carries the variant of RFC 9562 in its upper two bits. */
const variantDigits = '89ab';
/** The last millisecond in hex: making it costs 1.5 µs, and many operations share one. */
let stampedMs = -1;
let stampHex = '';

/**
 * A value that is there or comes: functions on the hot path answer what memory knows without a promise, and callers wait
 * only for a promise. `await` takes both; `isSoon` tells them apart where the wait itself is the cost.
 */
export type Soon<T> = T | Promise<T>;

export function isSoon<T>(value: Soon<T>): value is Promise<T> {
  return value instanceof Promise;
}

/** Mints the id of a new operation: 48 bits of time, the shard in `rand_a`, 62 random bits. */
export function newOperation(shard: number, nowMs: EpochMs): OperationHex {
  if (randomHexUsed + 16 > randomHex.length) {
    randomHex = randomFillSync(randomPool).toString('hex');
    randomHexUsed = 0;
  }
  if (nowMs !== stampedMs) {
    stampedMs = nowMs;
    stampHex = nowMs.toString(16).padStart(12, '0');
  }
  const variant = variantDigits[Number.parseInt(randomHex[randomHexUsed]!, 16) & 3]!;
  const random = randomHex.slice(randomHexUsed + 1, randomHexUsed + 16);
  randomHexUsed += 16;
  return `${stampHex}${(0x7000 | shard).toString(16)}${variant}${random}` as OperationHex;
}

/** The shard that an operation's id carries. */
export function shardOfOperation(operation: OperationHex): number {
  return Number.parseInt(operation.slice(13, 16), 16);
}

/** When an operation's id was made. */
export function timeOfOperation(operation: OperationHex): EpochMs {
  return Number.parseInt(operation.slice(0, 12), 16);
}

/** The public id of an operation, such as `acc_0197…`. */
export function operationId(kind: OperationKind, operation: OperationHex): string {
  return `${operationPrefix[kind]}_${operation}`;
}

const operationIdPattern = /^([a-z]{3,4})_([0-9a-f]{12}[789][0-9a-f]{19})$/;

/** Splits a public operation id into prefix and hex; undefined when it is not one. */
export function parseOperationId(id: string): { prefix: string; operation: OperationHex } | undefined {
  const match = operationIdPattern.exec(id);
  if (!match) return undefined;
  return { prefix: match[1]!, operation: match[2] as OperationHex };
}

/** `mem_` and the internal number in base 36. The number says nothing about the person. */
export function memberId(member: MemberNumber): string {
  return `mem_${member.toString(36).padStart(8, '0')}`;
}

const memberIdPattern = /^mem_([0-9a-z]{8,11})$/;

/** The internal number behind a `mem_` id; undefined when it is not one. */
export function parseMemberId(id: string): MemberNumber | undefined {
  const match = memberIdPattern.exec(id);
  if (!match) return undefined;
  const number = Number.parseInt(match[1]!, 36);
  return Number.isSafeInteger(number) && number > 0 ? (number as MemberNumber) : undefined;
}

/** The shard that owns a member. Fixed by the installation's shard count. */
export function shardOfMember(member: MemberNumber, shardCount: number): number {
  return member % shardCount;
}

/** Opaque text form of a position, such as `7.12.3456` (shard, epoch, sequence). */
export function positionText(position: Position): string {
  return `${position.shard}.${position.epoch}.${position.seq}`;
}

/** Fails loudly where a union that should be exhausted is not. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}
