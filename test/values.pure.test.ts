/** What the hot path makes by hand: ids of operations, and arguments in Redis's protocol. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newOperation, shardOfOperation, timeOfOperation } from '#src/values.ts';
import { scriptArguments } from '#src/wallet/script-call.ts';

const instants = fc.integer({ min: 0, max: 2 ** 48 - 1 });

describe('the id of an operation', () => {
  test('is a UUIDv7 that carries its time and its shard', () => {
    const check = (at: number, shard: number) => {
      const operation = newOperation(shard, at);
      expect(operation).toMatch(/^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
      expect([timeOfOperation(operation), shardOfOperation(operation)]).toEqual([at, shard]);
    };
    fc.assert(fc.property(instants, fc.nat(4095), check));
  });

  test('is never made twice, also within one millisecond and beyond the numbers drawn at once', () => {
    const made = new Set(Array.from({ length: 20_000 }, () => newOperation(7, 1_763_800_000_000)));
    expect(made.size).toBe(20_000);
    const digits = [...'89ab'].map((digit) => [...made].filter((each) => each[16] === digit).length);
    for (const count of digits) expect(count).toBeGreaterThan(4_000);
  });
});

/** Reads RESP's bulk strings back, by bytes as Redis does. */
function readBack(bytes: Buffer): string[] {
  const values: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    expect(bytes[at]).toBe('$'.charCodeAt(0));
    const length = Number(bytes.subarray(at + 1, lineEnd).toString());
    values.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + length).toString());
    expect(bytes.subarray(lineEnd + 2 + length, lineEnd + 4 + length).toString()).toBe('\r\n');
    at = lineEnd + 4 + length;
  }
  return values;
}

describe('arguments of a script', () => {
  test('come out of the protocol as they went in, whatever characters they hold', () => {
    const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer());
    const check = (values: (string | number)[]) => {
      const { text, count } = scriptArguments(values);
      expect(count).toBe(values.length);
      expect(readBack(Buffer.from(text))).toEqual(values.map(String));
    };
    fc.assert(fc.property(fc.array(value), check));
  });
});
