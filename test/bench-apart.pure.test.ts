/** What the benchmark measures apart from its contestants: figures and marks, requests as bytes, the open loop's clock. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { JournalRecord } from '#src/journal.ts';
import { percentile, ratios, spreadText } from '../loadtest/apart-figures.ts';
import { type CapturedCall, withRandomPlaces, wordsOf } from '../loadtest/ceilings/captured-call.ts';
import { sendAtRate } from '../loadtest/driver.ts';
import { stagesUpTo } from '../loadtest/grow.ts';
import { markOf } from '../loadtest/marks.ts';
import { requestsOf } from '../loadtest/places.ts';
import { marksText } from '../loadtest/report.ts';
import { accrualByReceipt, bulkOf, memberName } from '../loadtest/requests.ts';
import { waitFor } from './house/waiting.ts';

describe('figures', () => {
  test('a mark is judged by the median of its rounds, from below or from above', () => {
    const least = markOf('a / b', [0.4, 0.6, 0.5], { atLeast: 0.5, aim: 0.7 });
    expect(least).toEqual({
      measure: 'a / b',
      median: 0.5,
      smallest: 0.4,
      largest: 0.6,
      bound: 'at least 0.5',
      aim: '0.7',
      isMet: true,
    });
    expect(markOf('a / b', [0.4, 0.6, 0.49], { atLeast: 0.5, aim: 1 }).isMet).toBe(false);
    expect(markOf('p99', [3, 5, 4], { atMost: 4, aim: 2 })).toMatchObject({
      bound: 'at most 4',
      isMet: true,
    });
    expect(markOf('p99', [3, 5, 4.1], { atMost: 4, aim: 2 }).isMet).toBe(false);
  });

  test('a missed mark is called missed in the table', () => {
    const text = marksText([markOf('rows', [0.2], { atLeast: 0.5, aim: 1 })]);
    expect(text.split('\n')[1]).toMatch(/^rows .*0\.20 .*at least 0\.5 .*missed$/);
  });

  test('ratios are of the same rounds, and rounds without a partner are no ratio', () => {
    expect(ratios([1, 9], [2, 3])).toEqual([0.5, 3]);
    expect(() => ratios([1, 2], [1])).toThrow('did not run together');
  });

  test('a percentile is the value below which that share stayed', () => {
    const values = Array.from({ length: 1_000 }, (_, i) => 1_000 - i);
    expect([percentile(values, 0.5), percentile(values, 0.99), percentile(values, 0.999)]).toEqual([
      501, 991, 1_000,
    ]);
    expect(percentile([], 0.5)).toBe(0);
  });

  test('one round is shown without a spread', () => {
    expect(spreadText([1_234.5])).toBe('1,235');
    expect(spreadText([1, 3, 2.25], 1)).toBe('2.3 (1.0-3.0)');
  });

  test('books grow by a factor of ten with a member for every ten entries', () => {
    expect(stagesUpTo(10_000_000)).toEqual([
      { entries: 1_000_000, members: 100_000 },
      { entries: 10_000_000, members: 1_000_000 },
    ]);
  });
});

describe('requests', () => {
  test('a bulk call of a thousand says its length and names every member and every reference once', () => {
    const next = requestsOf(bulkOf(1_000), memberName);
    const references = new Set<string>();
    for (const expected of [0, 1_000]) {
      const [head, body] = next().toString('latin1').split('\r\n\r\n') as [string, string];
      expect(Number(/Content-Length: (\d+)/.exec(head)?.[1])).toBe(body.length);
      const { items } = JSON.parse(body) as { items: { member: string; reference: string }[] };
      expect(items.map(({ member }) => member)).toEqual(items.map((_, i) => memberName(expected + i)));
      for (const { reference } of items) references.add(reference);
    }
    expect(references.size).toBe(2_000);
  });

  test('a request made before is not changed by the next one', () => {
    const next = requestsOf(accrualByReceipt, () => memberName(7));
    const first = next();
    const before = first.toString('latin1');
    expect(next().toString('latin1')).not.toBe(before);
    expect(first.toString('latin1')).toBe(before);
  });
});

test('a line of MONITOR is taken apart into what was sent, quotation marks, tabs and bytes included', () => {
  const line = String.raw`+1795362442.466629 [0 127.0.0.1:51382] "EVALSHA" "a\\b" "{\"x\":[1,\"\"]}" "1\t2\n" "" "\x00\xff"`;
  expect(wordsOf(line)).toEqual(['EVALSHA', 'a\\b', '{"x":[1,""]}', '1\t2\n', '', '\0\xff']);
});

test("in a captured call a member's number, operation and reference become random places, and times move on", () => {
  const record = {
    member: 4_711,
    operation: 'a'.repeat(32),
    referenceKey: 'b'.repeat(32),
  } as unknown as JournalRecord;
  const atMs = 1_790_000_000_000;
  const args = [
    String(atMs),
    String(atMs + 30_000),
    'accrual',
    '4711',
    'a'.repeat(32),
    'b'.repeat(32),
    '1500000000000',
  ];
  const call: CapturedCall = { sha: 'c', journal: '{s00}:journal', args, records: [record], atMs };
  const unique = '0000000f__rand_int____rand_int__';
  expect(withRandomPlaces(call, 'f', atMs + 500)).toEqual([
    String(atMs + 500),
    String(atMs + 30_500),
    'accrual',
    '__rand_int__',
    unique,
    unique,
    '1500000000000',
  ]);
});

test('a server that stands still is charged with everybody who came meanwhile, and the driver only with its own lateness', async () => {
  const server = createServer();
  const held: ServerResponse[] = [];
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  let isHolding = true;
  let served = 0;
  const answer = (response: ServerResponse) => response.writeHead(201, { 'content-length': 0 }).end();
  server.on('request', (request, response) => {
    request.resume();
    served += 1;
    if (isHolding) held.push(response);
    else answer(response);
    if (served === 60) end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const text = 'POST / HTTP/1.1\r\nHost: a\r\n\r\n{"reference":"{{reference}}"}';
  const startedMs = performance.now();
  const replying = sendAtRate({ port, connections: 2, request: requestsOf(text, memberName) }, 500, over);
  await waitFor('both connections wait', () => Promise.resolve(held.length === 2));
  await waitFor('fifty are due', () => Promise.resolve(performance.now() > startedMs + 100));
  const releasedMs = performance.now();
  isHolding = false;
  for (const response of held) answer(response);
  const replies = await replying;
  server.close();
  server.closeAllConnections();
  const meanwhile = replies.filter(({ index, dueMs }) => index >= 2 && dueMs < releasedMs);
  expect(meanwhile.length).toBeGreaterThan(20);
  for (const { dueMs, tookMs, lateMs } of meanwhile) {
    expect(dueMs + tookMs).toBeGreaterThanOrEqual(releasedMs);
    // Nothing was free, so what it waited for is the server's.
    expect(lateMs).toBeLessThan(tookMs);
  }
});
