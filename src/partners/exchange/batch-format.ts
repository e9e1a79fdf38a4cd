/**
 * PURE. The files of exchanges with a partner that takes no calls, version 1: UTF-8, lines that end in a line feed, values between
 * commas, none of which holds a comma, a quote or a control character; an account that does has them, and `%`, percent-encoded.
 *
 *   H,1,request,PARTNER,SEQUENCE,CREATED
 *   D,LINE,accrual|redemption|reversal,REFERENCE,ACCOUNT,POINTS,CURRENCY,OCCURRED_AT      of a reversal REFERENCE is the original's
 *   T,DETAILS,POINTS,SHA256                                                              digest of every byte before this line
 *
 *   H,1,reply,PARTNER,SEQUENCE,CREATED
 *   D,LINE,KIND,REFERENCE,succeeded|failed,POINTS,CURRENCY,ID_OR_REASON
 *   T,DETAILS,POINTS,SHA256
 *
 * As in the files of reconciliation: numbers have no leading zeros, LINE counts from 1, and there is one right form, so that a byte that was
 * changed on the way is found. A file is taken whole or not at all.
 */
import { hash } from 'node:crypto';
import type { MovementKind } from '#src/partners/protocol/schemas.ts';

export const detailsMax = 10_000;
const lineLengthMax = 1_024;
const plain = /^[^\p{Cc}\p{Cs},"]{1,384}$/u;
const whole = /^(?:0|[1-9]\d{0,15})$/;
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/;
const kinds: readonly string[] = ['accrual', 'redemption', 'reversal'] satisfies readonly MovementKind[];

export interface Head {
  readonly partner: string;
  readonly sequence: number;
  readonly created: string;
}

export interface RequestLine {
  readonly kind: MovementKind;
  readonly reference: string;
  readonly account: string;
  readonly points: number;
  readonly currency: string;
  readonly occurredAt: string;
}

export interface ReplyLine {
  readonly kind: MovementKind;
  readonly reference: string;
  readonly status: 'succeeded' | 'failed';
  readonly points: number;
  readonly currency: string;
  /** The partner's own name of the movement, or the word for why it failed. */
  readonly word: string;
}

/** Why a file is refused, and in which of its lines, counted from 1 with the header. */
export class FileFault extends Error {
  readonly line: number;
  constructor(line: number, detail: string) {
    super(`line ${line}: ${detail}`);
    this.name = 'FileFault';
    this.line = line;
  }
}

export interface Written {
  readonly text: string;
  readonly digest: string;
}

/** A value that a file can hold. Throws where it cannot. */
function value(text: string): string {
  if (!plain.test(text)) throw new Error(`${JSON.stringify(text)} cannot stand in a file of exchanges`);
  return text;
}

/** An account as a file can hold it, whatever the partner calls its accounts: what cannot stand there is percent-encoded, as is `%`. */
function fileable(account: string): string {
  return account.replace(/[\p{Cc}\p{Cs},"%]/gu, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`)
      .join(''),
  );
}

function written(
  type: 'request' | 'reply',
  { partner, sequence, created }: Head,
  details: readonly (readonly [points: number, values: readonly string[]])[],
): Written {
  const lines = [
    `H,1,${type},${value(partner)},${sequence},${created}`,
    ...details.map(([, values], i) => `D,${i + 1},${values.map(value).join(',')}`),
  ];
  const body = `${lines.join('\n')}\n`;
  const digest = hash('sha256', body, 'hex');
  const points = details.reduce((sum, [each]) => sum + BigInt(each), 0n);
  return { text: `${body}T,${details.length},${points},${digest}\n`, digest };
}

export function writeRequest(head: Head, details: readonly RequestLine[]): Written {
  const values = ({ kind, reference, account, points, currency, occurredAt }: RequestLine) =>
    [points, [kind, reference, fileable(account), String(points), currency, occurredAt]] as const;
  return written('request', head, details.map(values));
}

/** What a partner answers; here for tests and for whoever writes a partner. */
export function writeReply(head: Head, details: readonly ReplyLine[]): Written {
  const values = ({ kind, reference, status, points, currency, word }: ReplyLine) =>
    [points, [kind, reference, status, String(points), currency, word]] as const;
  return written('reply', head, details.map(values));
}

function wholeOf(text: string, line: number, what: string): number {
  const number = whole.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw new FileFault(line, `${what} is not a whole number`);
  return number;
}

function headOf(values: readonly string[], partner: string): Head {
  const [mark, version, type, name, sequence, created, ...more] = values;
  if (mark !== 'H' || created === undefined || more.length > 0)
    throw new FileFault(1, 'the header has six values');
  if (version !== '1') throw new FileFault(1, 'the version is not 1');
  if (type !== 'reply') throw new FileFault(1, 'the file is not a reply');
  if (name !== partner) throw new FileFault(1, `the file is of ${name}, not of ${partner}`);
  if (!instant.test(created)) throw new FileFault(1, 'times have the form 2026-11-22T00:00:00Z');
  return { partner, sequence: wholeOf(sequence!, 1, 'the number of the file'), created };
}

function replyLineOf(values: readonly string[], line: number): ReplyLine {
  const [mark, number, kind, reference, status, points, currency, word, ...more] = values;
  if (mark !== 'D' || word === undefined || more.length > 0)
    throw new FileFault(line, 'a detail has eight values');
  if (number !== String(line - 1)) throw new FileFault(line, `the detail is number ${line - 1}`);
  if (!kinds.includes(kind!)) throw new FileFault(line, `the third value is one of ${kinds.join(', ')}`);
  if (status !== 'succeeded' && status !== 'failed')
    throw new FileFault(line, 'the fifth value is succeeded or failed');
  for (const each of [reference!, currency!, word])
    if (!plain.test(each))
      throw new FileFault(line, 'a value is empty, too long or has a character that no value has');
  const moved = wholeOf(points!, line, 'the sixth value');
  return {
    kind: kind as MovementKind,
    reference: reference!,
    status,
    points: moved,
    currency: currency!,
    word,
  };
}

/** Reads a reply as a whole; throws a `FileFault`. */
export function readReply(
  bytes: Buffer,
  partner: string,
): { head: Head; details: ReplyLine[]; digest: string } {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) throw new FileFault(1, 'the file is not UTF-8');
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new FileFault(lines.length + 1, 'the file ends in the middle of a line');
  const long = lines.findIndex((line) => line.length > lineLengthMax);
  if (long >= 0) throw new FileFault(long + 1, `a line has more than ${lineLengthMax} characters`);
  if (lines.length > detailsMax + 2)
    throw new FileFault(detailsMax + 2, `a file has at most ${detailsMax} details`);
  const [first = '', ...rest] = lines;
  const head = headOf(first.split(','), partner);
  const trailer = rest.pop()?.split(',');
  const at = lines.length;
  if (trailer?.[0] !== 'T' || trailer.length !== 4) throw new FileFault(at, 'the trailer is missing');
  const details = rest.map((line, i) => replyLineOf(line.split(','), i + 2));
  if (trailer[1] !== String(details.length))
    throw new FileFault(at, `the trailer counts ${trailer[1]} details, there are ${details.length}`);
  const points = details.reduce((sum, each) => sum + BigInt(each.points), 0n);
  if (trailer[2] !== String(points))
    throw new FileFault(at, `the points sum to ${points}, not to ${trailer[2]}`);
  const digest = hash('sha256', text.slice(0, text.lastIndexOf('\nT,') + 1), 'hex');
  if (trailer[3] !== digest) throw new FileFault(at, 'the digest is not that of the lines before it');
  const named = new Set<string>();
  for (const [i, { kind, reference }] of details.entries())
    if (named.size === named.add(`${kind} ${reference}`).size)
      throw new FileFault(i + 2, 'the movement stands in the file twice');
  return { head, details, digest };
}
