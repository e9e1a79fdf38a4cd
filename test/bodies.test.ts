/** A body is the same in whatever pieces it comes, and the next request on its connection is found behind it. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { startEngine } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop();
const token = shop.tokens.pos;

/** A question what so many points' worth of goods would earn; in chunks where the length is not announced. */
function quoteOf({ points, isChunked }: { points: number; isChunked: boolean }): Buffer {
  const purchase = { currency: 'EUR', store: 'Zürich ✈', lines: [{ line: 1, amount: points * 100 }] };
  const body = Buffer.from(JSON.stringify({ purchase }));
  const head = `POST /v1/accruals/quote HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n`;
  const parts = isChunked
    ? [`Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`, body, '\r\n0\r\n\r\n']
    : [`Content-Length: ${body.length}\r\n\r\n`, body];
  return Buffer.concat([head, ...parts].map((part) => Buffer.from(part)));
}

/** Each piece leaves alone: the next one is only written when the kernel has taken it. */
async function sendInPieces(socket: Socket, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  const places = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b);
  for (const [i, from] of [0, ...places].entries()) {
    const piece = bytes.subarray(from, places[i] ?? bytes.length);
    await new Promise<void>((resolve) => socket.write(piece, () => setImmediate(resolve)));
  }
}

/** The points of every reply that the connection brings until there are so many. */
async function pointsAnswered(socket: Socket, count: number): Promise<number[]> {
  let text = '';
  const found = () => [...text.matchAll(/"points":(\d+),"rule"/g)].map((match) => Number(match[1]));
  const signal = AbortSignal.timeout(20_000);
  while (found().length < count) {
    const [chunk] = (await once(socket, 'data', { signal })) as [Buffer];
    text += chunk.toString('latin1');
  }
  expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(count);
  return found();
}

const questions = fc.array(fc.record({ points: fc.integer({ min: 1, max: 999 }), isChunked: fc.boolean() }), {
  minLength: 1,
  maxLength: 4,
});

/** Sends the questions over a connection of their own; answers the points of each reply. */
async function asked(bytes: Buffer, cuts: readonly number[], count: number): Promise<number[]> {
  const { hostname, port } = new URL(engine.url);
  const socket = connect(Number(port), hostname);
  socket.setNoDelay(true);
  try {
    const answered = pointsAnswered(socket, count);
    await sendInPieces(socket, bytes, cuts);
    return await answered;
  } finally {
    socket.destroy();
  }
}

test('requests that come one behind the other, cut anywhere, are all answered in their order', async () => {
  const property = fc.asyncProperty(
    questions,
    fc.array(fc.nat(5_000), { maxLength: 12 }),
    async (of, cuts) => {
      const bytes = Buffer.concat(of.map(quoteOf));
      expect(await asked(bytes, cuts, of.length)).toEqual(of.map(({ points }) => points));
    },
  );
  await fc.assert(property, { numRuns: 60 });
});
