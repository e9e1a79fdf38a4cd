/** The partner's file and the hash tree of a day, without any server: what is written is read, and whatever is changed is found. */
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createFileReader,
  createFileWriter,
  type FaultWord,
  FileFault,
  type Header,
} from '#src/partners/reconciliation/format.ts';
import { type Movement, movementKinds, movementStatuses } from '#src/partners/reconciliation/movement.ts';
import { createTree, differingIn, leafText, nodeName, treeSide } from '#src/partners/reconciliation/tree.ts';

const from = Date.UTC(2026, 10, 22) / 1_000;
const until = from + 86_400;
const header: Header = { sender: 'air, "the" one', sequence: 7, from, until, createdAt: until + 60 };

const reference = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
    fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom('a', ',', '"', '\\', 'é', '李') }),
  )
  .filter((text) => text.length > 0 && text.length <= 128 && !/[\p{Cc}\p{Cs}]/u.test(text));
const movement: fc.Arbitrary<Movement> = fc.record({
  madeBy: fc.constantFrom('us', 'them'),
  kind: fc.constantFrom(...movementKinds),
  reference,
  points: fc.oneof(fc.nat(100_000), fc.maxSafeNat()),
  currency: fc.constantFrom('points', 'miles'),
  occurredAt: fc.integer({ min: from, max: until - 1 }),
  status: fc.constantFrom(...movementStatuses),
});
const movements = fc.uniqueArray(movement, {
  maxLength: 40,
  selector: ({ madeBy, kind, reference: name }) => `${madeBy} ${kind} ${name}`,
});

function fileOf(of: readonly Movement[]): Buffer {
  const writer = createFileWriter();
  return Buffer.from(writer.header(header) + writer.details(of) + writer.trailer().text);
}

/** Reads a file in pieces that end where `cuts` say. */
function read(file: Buffer, cuts: readonly number[] = []): Movement[] {
  const reader = createFileReader(() => {});
  const ends = [...cuts.map((cut) => cut % (file.length + 1)), file.length].toSorted((a, b) => a - b);
  const found: Movement[] = [];
  let at = 0;
  for (const end of ends) {
    for (const { line: _, ...rest } of reader.take(file.subarray(at, end))) found.push(rest);
    at = end;
  }
  reader.end();
  return found;
}

/** The file as the other side reads it: what the sender made, the reader calls theirs. */
function mirrored({ madeBy, ...rest }: Movement): Movement {
  return { ...rest, madeBy: madeBy === 'us' ? 'them' : 'us' };
}

function faultOf(work: () => unknown): FileFault {
  try {
    work();
  } catch (error) {
    if (error instanceof FileFault) return error;
    throw error;
  }
  throw new Error('the file was taken');
}

describe('the file', () => {
  test('is read as it was written, in pieces of any size', () => {
    fc.assert(
      fc.property(movements, fc.array(fc.nat(), { maxLength: 30 }), (of, cuts) => {
        expect(read(fileOf(of), cuts)).toEqual(of.map(mirrored));
      }),
      { numRuns: 200 },
    );
  });

  test('is refused with line and reason wherever a byte is changed, lost, doubled or put in', () => {
    const damage = fc.record({
      at: fc.nat(),
      byte: fc.nat(255),
      what: fc.constantFrom('change', 'lose', 'put', 'cut', 'double'),
    });
    fc.assert(
      fc.property(movements, damage, (of, { at: anywhere, byte, what }) => {
        const file = fileOf(of);
        const at = anywhere % file.length;
        const [head, tail] = [file.subarray(0, at), file.subarray(at)];
        const damaged = {
          change: () => Buffer.concat([head, Buffer.of(byte), tail.subarray(1)]),
          lose: () => Buffer.concat([head, tail.subarray(1)]),
          put: () => Buffer.concat([head, Buffer.of(byte), tail]),
          cut: () => head,
          double: () => Buffer.concat([file, file.subarray(at)]),
        }[what]();
        fc.pre(!damaged.equals(file));
        const { line, word, message } = faultOf(() => read(damaged));
        expect(line).toBeGreaterThanOrEqual(1);
        expect(line).toBeLessThanOrEqual(damaged.toString('latin1').split('\n').length + 1);
        expect(word).toMatch(/^[a-z0-9_]+$/);
        expect(message).toMatch(/^line \d+: \S/);
      }),
      { numRuns: 1_000 },
    );
  });

  test('is refused when two of its lines change places, or one is there twice', () => {
    fc.assert(
      fc.property(movements, fc.nat(), fc.nat(), (of, one, other) => {
        const lines = fileOf(of).toString('utf8').split('\n').slice(0, -1);
        const [i, j] = [one % lines.length, other % lines.length];
        fc.pre(i !== j);
        const swapped = lines.with(i, lines[j]!).with(j, lines[i]!);
        faultOf(() => read(Buffer.from(`${swapped.join('\n')}\n`)));
        const doubled = lines.toSpliced(i, 0, lines[i]!);
        faultOf(() => read(Buffer.from(`${doubled.join('\n')}\n`)));
      }),
      { numRuns: 200 },
    );
  });

  const one: Movement = {
    madeBy: 'us',
    kind: 'accrual',
    reference: 'r-1',
    points: 10,
    currency: 'points',
    occurredAt: from,
    status: 'succeeded',
  };
  const changes: [FaultWord, number, (text: string) => string][] = [
    ['header_malformed', 1, (text) => text.replace('H,', 'X,')],
    ['header_malformed', 1, (text) => text.replace(',7,', ',0,')],
    ['header_malformed', 1, (text) => text.replace('2026-11-22T00', '2026-11-24T00')],
    ['version_unknown', 1, (text) => text.replace('H,1,', 'H,2,')],
    ['detail_malformed', 2, (text) => text.replace(',10,', ',010,')],
    ['detail_malformed', 2, (text) => text.replace(',10,', ',-10,')],
    ['detail_malformed', 2, (text) => text.replace(',10,', ',9007199254740992,')],
    ['detail_malformed', 2, (text) => text.replace('r-1', '"r-1"')],
    ['detail_malformed', 2, (text) => text.replace('r-1', '')],
    ['detail_malformed', 2, (text) => text.replace('accrual', 'gift')],
    ['detail_malformed', 2, (text) => text.replace(',succeeded', ',succeeded,')],
    ['detail_malformed', 2, (text) => text.replaceAll('\n', '\r\n').replace('\r', '')],
    ['line_number_differs', 2, (text) => text.replace('D,1,', 'D,2,')],
    ['line_too_long', 2, (text) => text.replace('r-1', 'r'.repeat(3_000))],
    ['not_utf8', 1, (text) => `${text}\xff\n`],
    ['trailer_malformed', 3, (text) => text.replace('T,1,', 'T,01,')],
    ['trailer_missing', 3, (text) => text.slice(0, text.indexOf('T,'))],
    ['trailer_missing', 3, (text) => text.slice(0, -1)],
    ['count_differs', 3, (text) => text.replace('T,1,', 'T,2,')],
    ['sum_differs', 3, (text) => text.replace('T,1,10,', 'T,1,11,')],
    ['digest_differs', 3, (text) => text.replace('r-1', 'r-2')],
    ['after_trailer', 4, (text) => `${text}T\n`],
  ];
  test.each(changes)('says %s of line %i', (word, line, change) => {
    const text = fileOf([one]).toString('latin1');
    const changed = change(text);
    expect(changed).not.toBe(text);
    const fault = faultOf(() => read(Buffer.from(changed, 'latin1')));
    expect([fault.word, fault.line]).toEqual([word, line]);
  });

  test('has movements of any time: its period is that in which they were booked', () => {
    const claimed = [{ ...one, occurredAt: from - 300 * 86_400 }];
    expect(read(fileOf(claimed))).toEqual(claimed.map(mirrored));
  });

  test('sums beyond 2^53 are exact', () => {
    const large = Array.from({ length: 5 }, (_, i) => ({
      ...one,
      reference: `r-${i}`,
      points: Number.MAX_SAFE_INTEGER,
    }));
    const writer = createFileWriter();
    writer.header(header);
    writer.details(large);
    expect(writer.trailer().trailer.sums.accrual).toBe(5n * BigInt(Number.MAX_SAFE_INTEGER));
    expect(read(fileOf(large))).toHaveLength(5);
  });
});

describe('the tree', () => {
  function treeOf(of: readonly Movement[], asks = true) {
    const builder = createTree();
    for (const each of of) builder.add(treeSide(each.madeBy, asks), each);
    return builder.tree();
  }

  test('is the same on both sides, in whatever order movements come', () => {
    fc.assert(
      fc.property(movements, (of) => {
        const other = of.map(mirrored).toReversed();
        expect(treeOf(other, false).digest).toBe(treeOf(of).digest);
        expect(treeOf(of).movements).toBe(of.length);
      }),
      { numRuns: 40 },
    );
    expect(treeOf([]).digest).toBe('');
  });

  test('any single change is found in exactly one bucket, or two where the key changes', () => {
    const change = fc.constantFrom<(one: Movement) => Movement | undefined>(
      () => undefined,
      (one) => ({ ...one, points: one.points === 0 ? 1 : one.points - 1 }),
      (one) => ({ ...one, occurredAt: one.occurredAt === from ? from + 1 : one.occurredAt - 1 }),
      (one) => ({ ...one, status: one.status === 'failed' ? 'pending' : 'failed' }),
      (one) => ({ ...one, currency: `${one.currency}x` }),
      (one) => ({ ...one, reference: `${one.reference}x` }),
      (one) => ({ ...one, kind: one.kind === 'accrual' ? 'redemption' : 'accrual' }),
      mirrored,
    );
    fc.assert(
      fc.property(movements, fc.nat(), change, (of, which, alter) => {
        fc.pre(of.length > 0);
        const at = which % of.length;
        const altered = alter(of[at]!);
        const others = of.toSpliced(at, 1, ...(altered ? [altered] : []));
        const [mine, theirs] = [treeOf(of), treeOf(others)];
        expect(theirs.digest).not.toBe(mine.digest);
        const nodes = differingIn(mine.nodes, theirs.nodes);
        const buckets = nodes.flatMap((node) => differingIn(mine.bucketsOf(node), theirs.bucketsOf(node)));
        expect(buckets.length).toBeGreaterThanOrEqual(1);
        expect(buckets.length).toBeLessThanOrEqual(2);
      }),
      { numRuns: 60 },
    );
  });

  test('a movement that is there twice is found', () => {
    fc.assert(
      fc.property(movement, (one) => {
        expect(treeOf([one, one]).digest).not.toBe(treeOf([one]).digest);
        expect(treeOf([one, one]).digest).not.toBe(treeOf([]).digest);
      }),
      { numRuns: 20 },
    );
  });

  test('has the digests that the protocol publishes', async () => {
    const published: Movement = {
      madeBy: 'us',
      kind: 'accrual',
      reference: 'exc_0123456789abcdef0123456789abcdef',
      points: 40,
      currency: 'miles',
      occurredAt: from,
      status: 'succeeded',
    };
    const tree = treeOf([published]);
    const node = tree.nodes.findIndex((digest) => digest !== '');
    const bucket = tree.bucketsOf(node).findIndex((digest) => digest !== '');
    const digests = [tree.bucketsOf(node)[bucket]!, tree.nodes[node]!, tree.digest];
    const page = await readFile(new URL('../src/http/docs/partner-protocol.md', import.meta.url), 'utf8');
    for (const value of [nodeName(node) + nodeName(bucket), published.reference, ...digests])
      expect(page).toContain(`\`${value}\``);
    // The sum of one leaf is its beginning.
    expect(digests[0]).toBe(hash('sha256', leafText('caller', published), 'hex').slice(0, 32));
  });
});
