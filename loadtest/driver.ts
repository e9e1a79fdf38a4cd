/**
 * Requests over keep-alive connections from inside this process: as fast as replies come, or at a constant rate. At a rate a
 * latency counts from the moment when the request was due, so a server that stands still is charged with everybody who
 * would have come meanwhile (no coordinated omission).
 */
import { connect, type Socket } from 'node:net';
import { replyEnd } from './wire.ts';

export interface Reply {
  readonly index: number;
  /** When it was due, on the clock of `performance.now()`. */
  readonly dueMs: number;
  readonly tookMs: number;
  /** How long after it was due this process got to it; waiting for a free connection is the server's. */
  readonly lateMs: number;
  /** 0 where the connection broke. */
  readonly status: number;
}

export interface Drive {
  readonly port: number;
  readonly connections: number;
  /** The bytes of the n-th request. */
  request(index: number): Buffer;
}

/** Requests that are due and not sent; beyond it the server is not one that this rate can be measured on. */
const dueMax = 200_000;
const replyMsMax = 30_000;

interface Line {
  /** Resolves with the status of the reply; 0 where the connection broke. */
  send(bytes: Buffer): Promise<number>;
  close(): void;
}

function openLine(port: number): Line {
  let socket: Socket | undefined;
  let pending: Buffer | undefined;
  let answer: ((status: number) => void) | undefined;
  const end = (status: number) => {
    const resolve = answer;
    answer = undefined;
    resolve?.(status);
  };
  const opened = () => {
    const own = connect(port, '127.0.0.1');
    own.setNoDelay();
    own.setTimeout(replyMsMax, () => own.destroy());
    own.on('error', () => undefined);
    own.on('close', () => {
      if (socket === own) socket = undefined;
      pending = undefined;
      end(0);
    });
    own.on('data', (chunk: Buffer) => {
      const received = pending ? Buffer.concat([pending, chunk]) : chunk;
      pending = replyEnd(received) === 0 ? received : undefined;
      if (!pending) end(Number(received.toString('latin1', 9, 12)));
    });
    return own;
  };
  return {
    send(bytes) {
      socket ??= opened();
      socket.write(bytes);
      return new Promise((resolve) => {
        answer = resolve;
      });
    },
    close: () => void socket?.destroy(),
  };
}

/** A request that is due, and when this process noticed. */
interface Due {
  readonly index: number;
  readonly dueMs: number;
  readonly noticedMs: number;
}

async function through(line: Line, { request }: Drive, { index, dueMs, noticedMs }: Due): Promise<Reply> {
  const status = await line.send(request(index));
  return { index, dueMs, tookMs: performance.now() - dueMs, lateMs: noticedMs - dueMs, status };
}

/** Sends `count` requests, each as soon as a connection is free. */
export async function sendAll(drive: Drive, count: number): Promise<Reply[]> {
  const replies: Reply[] = [];
  let next = 0;
  const work = async () => {
    const line = openLine(drive.port);
    while (next < count) {
      const index = next;
      next += 1;
      const dueMs = performance.now();
      replies.push(await through(line, drive, { index, dueMs, noticedMs: dueMs }));
    }
    line.close();
  };
  await Promise.all(Array.from({ length: drive.connections }, work));
  return replies;
}

/** How finely an open loop keeps its time. */
const tickMs = 0.2;

/**
 * Calls again and again. The timers of Node have a grain of a millisecond, which is more than bare Express takes for a
 * request: what is due would wait for the timer. This sleeps a fifth of that with the event loop standing still, which costs
 * a twentieth of a core; asking without a pause would cost all of it.
 */
function tickFinely(onTick: () => void): () => void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  let isOver = false;
  const turn = () => {
    if (isOver) return;
    onTick();
    Atomics.wait(cell, 0, 0, tickMs);
    setImmediate(turn);
  };
  setImmediate(turn);
  return () => {
    isOver = true;
  };
}

/** Sends so many requests a second until `until` resolves, and waits for the last reply. */
export async function sendAtRate(drive: Drive, perSecond: number, until: Promise<unknown>): Promise<Reply[]> {
  const replies: Reply[] = [];
  const free = Array.from({ length: drive.connections }, () => openLine(drive.port));
  const underWay = new Set<Promise<void>>();
  const due: Due[] = [];
  const startedMs = performance.now();
  let count = 0;
  const dispatch = (isTick: boolean) => {
    while (free.length > 0 && due.length > 0) {
      const line = free.pop()!;
      const next = due.shift()!;
      // The tick's own requests are sent one after the other; what waited for a connection was noticed long ago.
      const noticedMs = isTick ? performance.now() : next.noticedMs;
      const sent = through(line, drive, { ...next, noticedMs }).then((reply) => {
        replies.push(reply);
        free.push(line);
        underWay.delete(sent);
        dispatch(false);
      });
      underWay.add(sent);
    }
  };
  const { promise: overrun, reject } = Promise.withResolvers<never>();
  overrun.catch(() => undefined);
  const stop = tickFinely(() => {
    const now = performance.now();
    for (; startedMs + (count * 1_000) / perSecond <= now; count += 1)
      due.push({ index: count, dueMs: startedMs + (count * 1_000) / perSecond, noticedMs: now });
    if (due.length > dueMax) reject(new Error(`${dueMax} requests are due and not sent`));
    dispatch(true);
  });
  try {
    await Promise.race([until, overrun]);
  } finally {
    stop();
  }
  due.length = 0;
  await Promise.all(underWay);
  for (const line of free) line.close();
  return replies;
}
