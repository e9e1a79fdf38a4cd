/**
 * PURE. The file of movements that two partners give each other, version 1: UTF-8, lines that end in a line feed, values between
 * commas, those with a comma or a quote in double quotes.
 *
 *   H,1,SENDER,SEQUENCE,FROM,UNTIL,CREATED
 *   D,LINE,MADE_BY,KIND,REFERENCE,POINTS,CURRENCY,OCCURRED_AT,STATUS      LINE counts from 1; MADE_BY is sender or receiver
 *   T,DETAILS,ACCRUED,REDEEMED,REVERSED,SHA256                            three sums of points; digest of every byte before this line
 *
 * The period is that in which the sender has booked the movements; each may have happened at any time before.
 *
 * Each file has one right form: no leading zeros, one form of a time, quotes only where they are needed. So whatever was changed on the
 * way, by a byte, is refused, with the line and the reason. Read in pieces of any size; nothing is kept but the line that
 * is not complete yet.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import {
  instantText,
  type Maker,
  type Movement,
  type MovementKind,
  type MovementStatus,
  movementKinds,
  movementStatuses,
  type Period,
  secondsOf,
} from './movement.ts';

export const formatVersion = 1;
const lineBytesMax = 2_048;
/** Six million movements are more than half a gigabyte. */
export const detailsMax = 6_000_000;
export const sequenceMax = 999_999_999;
const lineFeed = 0x0a;

export interface Header extends Period {
  /** The name under which the reader knows whoever wrote the file. */
  readonly sender: string;
  readonly sequence: number;
  readonly createdAt: number;
}

export interface Detail extends Movement {
  readonly line: number;
}

export interface Trailer {
  readonly details: number;
  readonly sums: Readonly<Record<MovementKind, bigint>>;
  readonly digest: string;
}

export type FaultWord =
  | 'not_utf8'
  | 'line_too_long'
  | 'too_many_lines'
  | 'header_malformed'
  | 'version_unknown'
  | 'sender_differs'
  | 'period_not_over'
  | 'detail_malformed'
  | 'line_number_differs'
  | 'trailer_malformed'
  | 'trailer_missing'
  | 'count_differs'
  | 'sum_differs'
  | 'digest_differs'
  | 'after_trailer';

/** Why a file is refused, and in which of its lines, counted from 1 with the header. */
export class FileFault extends Error {
  readonly line: number;
  readonly word: FaultWord;

  constructor(line: number, word: FaultWord, detail: string) {
    super(`line ${line}: ${detail}`);
    this.name = 'FileFault';
    this.line = line;
    this.word = word;
  }
}

const fileMakers = { us: 'receiver', them: 'sender' } as const satisfies Record<Maker, string>;
const written = { us: 'sender', them: 'receiver' } as const satisfies Record<Maker, string>;

const wholeForm = /^(?:0|[1-9]\d{0,15})$/;
const sumForm = /^(?:0|[1-9]\d{0,29})$/;
const nameForm = /^[^\p{Cc}\p{Cs}]{1,64}$/u;
const referenceForm = /^[^\p{Cc}\p{Cs}]{1,128}$/u;
const plainForm = /^[\x20-\x7e]{1,128}$/;
const currencyForm = /^[a-z][a-z0-9_-]{0,31}$/;
const digestForm = /^[0-9a-f]{64}$/;

function quoted(value: string): string {
  return /[",]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

/** The values of a line with quotes; undefined where it is not written as `quoted` writes. */
function valuesWithQuotes(line: string): string[] | undefined {
  const values: string[] = [];
  let at = 0;
  while (at <= line.length) {
    if (line[at] !== '"') {
      const end = line.indexOf(',', at);
      const value = line.slice(at, end < 0 ? undefined : end);
      if (value.includes('"')) return undefined;
      values.push(value);
      if (end < 0) return values;
      at = end + 1;
      continue;
    }
    const close = /^"((?:[^"]|"")*)"(,|$)/.exec(line.slice(at));
    if (!close) return undefined;
    const value = close[1]!.replaceAll('""', '"');
    if (!/[",]/.test(value)) return undefined;
    values.push(value);
    at += close[0].length;
    if (close[2] === '') return values;
  }
  // A comma was the last character: an empty value follows it.
  values.push('');
  return values;
}

function valuesOf(line: string): string[] | undefined {
  return line.includes('"') ? valuesWithQuotes(line) : line.split(',');
}

function wholeOf(text: string | undefined): number | undefined {
  if (text === undefined || !wholeForm.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

function headerOf(line: string): Header {
  const refuse = (detail: string, word: FaultWord = 'header_malformed') => new FileFault(1, word, detail);
  const values = valuesOf(line);
  if (values?.[0] !== 'H') throw refuse('the header is missing');
  if (values[1] !== String(formatVersion))
    throw refuse(`the version is not ${formatVersion}`, 'version_unknown');
  const [, , sender = '', sequenceText, fromText = '', untilText = '', createdText = ''] = values;
  const sequence = wholeOf(sequenceText);
  const [from, until, createdAt] = [secondsOf(fromText), secondsOf(untilText), secondsOf(createdText)];
  if (values.length !== 7) throw refuse('the header has seven values');
  if (!nameForm.test(sender)) throw refuse('the third value is the name of who wrote the file');
  if (sequence === undefined || sequence < 1 || sequence > sequenceMax)
    throw refuse('the fourth value is the number of the file, from 1');
  if (from === undefined || until === undefined || createdAt === undefined)
    throw refuse('times have the form 2026-11-22T00:00:00Z');
  if (from >= until) throw refuse('the period ends before it begins');
  return { sender, sequence, from, until, createdAt };
}

function detailOf(text: string, line: number, number: number): Detail {
  const refuse = (detail: string, word: FaultWord = 'detail_malformed') => new FileFault(line, word, detail);
  const values = valuesOf(text);
  if (values?.[0] !== 'D') throw refuse('neither a detail nor the trailer');
  if (values.length !== 9) throw refuse('a detail has nine values');
  const [, numberText, maker, kind, reference, pointsText, currency, instant, status] = values as string[];
  if (numberText !== String(number)) throw refuse(`the detail is number ${number}`, 'line_number_differs');
  const madeBy = maker === fileMakers.them ? 'them' : maker === fileMakers.us ? 'us' : undefined;
  if (madeBy === undefined) throw refuse('the third value is sender or receiver');
  if (!movementKinds.includes(kind as MovementKind))
    throw refuse(`the fourth value is one of ${movementKinds.join(', ')}`);
  if (!plainForm.test(reference!) && !referenceForm.test(reference!))
    throw refuse('the fifth value is a reference of 1 to 128 characters');
  const points = wholeOf(pointsText);
  if (points === undefined) throw refuse('the sixth value is a whole number of points');
  if (!currencyForm.test(currency!)) throw refuse('the seventh value is the code of a currency');
  const occurredAt = secondsOf(instant!);
  if (occurredAt === undefined) throw refuse('times have the form 2026-11-22T00:00:00Z');
  if (!movementStatuses.includes(status as MovementStatus))
    throw refuse(`the ninth value is one of ${movementStatuses.join(', ')}`);
  return {
    line,
    madeBy,
    kind: kind as MovementKind,
    reference: reference!,
    points,
    currency: currency!,
    occurredAt,
    status: status as MovementStatus,
  };
}

function trailerOf(text: string, line: number): Trailer {
  const [mark, countText, accrued = '', redeemed = '', reversed = '', digest = '', ...more] = text.split(',');
  const count = wholeOf(countText);
  const isFormed =
    mark === 'T' &&
    count !== undefined &&
    [accrued, redeemed, reversed].every((sum) => sumForm.test(sum)) &&
    digestForm.test(digest) &&
    more.length === 0;
  if (!isFormed)
    throw new FileFault(line, 'trailer_malformed', 'the trailer has a count, three sums and a digest');
  const sums = { accrual: BigInt(accrued), redemption: BigInt(redeemed), reversal: BigInt(reversed) };
  return { details: count, sums, digest };
}

function noSums(): Record<MovementKind, bigint> {
  return { accrual: 0n, redemption: 0n, reversal: 0n };
}

/** Adds up without making a big number of each: 2^53 may be passed only by the sum. */
function createSums() {
  const small: Record<MovementKind, number> = { accrual: 0, redemption: 0, reversal: 0 };
  const large = noSums();
  return {
    add(kind: MovementKind, points: number) {
      const sum = small[kind] + points;
      if (Number.isSafeInteger(sum)) small[kind] = sum;
      else {
        large[kind] += BigInt(small[kind]);
        small[kind] = points;
      }
    },
    all(): Record<MovementKind, bigint> {
      return {
        accrual: large.accrual + BigInt(small.accrual),
        redemption: large.redemption + BigInt(small.redemption),
        reversal: large.reversal + BigInt(small.reversal),
      };
    },
  };
}

export interface FileReader {
  /** Takes the next bytes, and answers the details that are complete. Throws a `FileFault`. */
  take(bytes: Buffer): Detail[];
  /** To be called after the last bytes; throws where the file is not whole. */
  end(): Trailer;
}

/** Reads one file. `onHeader` may refuse it at once. */
export function createFileReader(onHeader: (header: Header) => void): FileReader {
  const hash = createHash('sha256');
  const sums = createSums();
  let rest: Buffer = Buffer.alloc(0);
  let lines = 0;
  let details = 0;
  let header: Header | undefined;
  let trailer: Trailer | undefined;

  function lineOf(text: string): Detail | undefined {
    lines += 1;
    if (trailer) throw new FileFault(lines, 'after_trailer', 'something follows the trailer');
    if (!header) {
      header = headerOf(text);
      onHeader(header);
      return undefined;
    }
    if (text.startsWith('T')) {
      trailer = trailerOf(text, lines);
      return undefined;
    }
    if (details >= detailsMax)
      throw new FileFault(lines, 'too_many_lines', `a file has at most ${detailsMax} details`);
    const detail = detailOf(text, lines, details + 1);
    details += 1;
    sums.add(detail.kind, detail.points);
    return detail;
  }

  /** Where the trailer begins in whole lines: it alone begins with a T. */
  function endOfDetails(piece: Buffer): number {
    if (piece[0] === 0x54) return 0;
    const at = piece.indexOf('\nT');
    return at < 0 ? piece.length : at + 1;
  }

  function takeLines(piece: Buffer): Detail[] {
    if (!isUtf8(piece)) throw new FileFault(lines + 1, 'not_utf8', 'from here on it is not UTF-8');
    if (!trailer) hash.update(piece.subarray(0, endOfDetails(piece)));
    const found: Detail[] = [];
    const texts = piece.toString('utf8').split('\n');
    // What follows the last line feed is nothing.
    for (let i = 0; i < texts.length - 1; i += 1) {
      const text = texts[i]!;
      if (text.length > lineBytesMax)
        throw new FileFault(lines + 1, 'line_too_long', `has more than ${lineBytesMax} bytes`);
      const detail = lineOf(text);
      if (detail) found.push(detail);
    }
    return found;
  }

  return {
    take(bytes) {
      const end = bytes.lastIndexOf(lineFeed) + 1;
      const known = rest.length + (end === 0 ? bytes.length : bytes.indexOf(lineFeed));
      if (known > lineBytesMax)
        throw new FileFault(lines + 1, 'line_too_long', `has more than ${lineBytesMax} bytes`);
      if (end === 0) {
        rest = Buffer.concat([rest, bytes]);
        return [];
      }
      const piece =
        rest.length === 0 ? bytes.subarray(0, end) : Buffer.concat([rest, bytes.subarray(0, end)]);
      // The piece belongs to whoever reads; what is kept is a copy.
      rest = Buffer.from(bytes.subarray(end));
      return takeLines(piece);
    },
    end() {
      if (rest.length > 0 || !trailer)
        throw new FileFault(lines + 1, 'trailer_missing', 'the file ends before its trailer does');
      const refuse = (word: FaultWord, detail: string) => new FileFault(lines, word, detail);
      if (trailer.details !== details)
        throw refuse('count_differs', `the trailer counts ${trailer.details} details, there are ${details}`);
      const added = sums.all();
      for (const kind of movementKinds) {
        if (trailer.sums[kind] !== added[kind])
          throw refuse('sum_differs', `the ${kind}s sum to ${added[kind]}, not to ${trailer.sums[kind]}`);
      }
      if (hash.digest('hex') !== trailer.digest)
        throw refuse('digest_differs', 'the digest is not that of the lines before it');
      return trailer;
    },
  };
}

export interface FileWriter {
  header(header: Header): string;
  /** Lines of further movements, in the order in which they are given. */
  details(movements: readonly Movement[]): string;
  trailer(): { readonly text: string; readonly trailer: Trailer };
}

/** Writes one file; the texts are to be written one behind the other. */
export function createFileWriter(): FileWriter {
  const hash = createHash('sha256');
  const sums = createSums();
  let details = 0;
  const hashed = (text: string) => {
    hash.update(text);
    return text;
  };
  return {
    header({ sender, sequence, from, until, createdAt }) {
      const times = [from, until, createdAt].map(instantText);
      return hashed(`H,${formatVersion},${quoted(sender)},${sequence},${times.join(',')}\n`);
    },
    details(movements) {
      const lines = movements.map(({ madeBy, kind, reference, points, currency, occurredAt, status }) => {
        details += 1;
        sums.add(kind, points);
        return `D,${details},${written[madeBy]},${kind},${quoted(reference)},${points},${currency},${instantText(occurredAt)},${status}\n`;
      });
      return hashed(lines.join(''));
    },
    trailer() {
      const trailer = { details, sums: sums.all(), digest: hash.digest('hex') };
      const { accrual, redemption, reversal } = trailer.sums;
      return {
        text: `T,${details},${accrual},${redemption},${reversal},${trailer.digest}\n`,
        trailer,
      };
    },
  };
}
