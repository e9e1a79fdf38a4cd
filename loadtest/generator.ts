/**
 * The load generator, a process of its own: so many keep-alive connections, each with one request under way, each request
 * with a reference and an order number of its own. It writes bytes to sockets and reads bytes back, because on two cores
 * whatever it uses is taken from the contestant: autocannon spends several times as much on building each request.
 *
 * A request is one text with places of a fixed width, so that a connection's buffer is patched and sent again:
 *   {{reference}}  a new UUIDv7    {{member}}  one of the members, m-00000 upwards
 *   {{order}}      a new number    {{now}}     the time, RFC 3339
 *
 * Settings come as one JSON argument. It tells its parent `measuring` and `over` at the ends of the window, then
 * the `Measured`.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { memberName } from './requests.ts';
import { replyEnd, templateOf } from './wire.ts';

export interface LoadSettings {
  readonly port: number;
  readonly connections: number;
  readonly members: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly request: string;
}

export interface Measured {
  readonly requests: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
  /** Replies other than 2xx over the whole run, warm-up included, and the first of them. */
  readonly refused: number;
  readonly firstRefusal: string | undefined;
  /** 2xx replies over the whole run. */
  readonly accepted: number;
  /** The share of one core that this process used in the window: near 1 it would be the limit. */
  readonly cores: number;
}

const settings = JSON.parse(process.argv[2] ?? '') as LoadSettings;
/** A reply that takes longer ends the run: something hangs. */
const replyMsMax = 20_000;
const places: Readonly<Record<string, () => string>> = { reference, member, order, now };

let count = 0;
const runPart = randomBytes(4).readUInt32LE().toString(16).padStart(8, '0');
function reference(): string {
  const time = Date.now().toString(16).padStart(12, '0');
  const number = count.toString(16).padStart(8, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${runPart.slice(0, 3)}-8${runPart.slice(3, 6)}-${runPart.slice(4)}${number}`;
}
function order(): string {
  return runPart + count.toString(36).padStart(8, '0');
}
function member(): string {
  return memberName(Math.floor(Math.random() * settings.members));
}
function now(): string {
  return new Date().toISOString();
}

const { bytes, patches } = templateOf(settings.request, places);
/** Latencies of the measured window; typed, so that the collector has nothing to do. */
const latencies = new Float32Array(4_000_000);
let measured = 0;
let accepted = 0;
let refused = 0;
let firstRefusal: string | undefined;
let isMeasuring = false;
let isEnding = false;

function stopWith(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

function note(reply: Buffer, startedAt: number): void {
  // The status line is `HTTP/1.1 201 …`: byte 9 is the class of the status.
  if (reply[9] === 0x32) accepted += 1;
  else {
    refused += 1;
    firstRefusal ??= reply.toString('utf8', 0, 600);
  }
  if (isMeasuring && measured < latencies.length) latencies[measured++] = performance.now() - startedAt;
}

/** Sends one request after the other over a connection; resolves when the run ends and the last reply is there. */
function drive(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const own = Buffer.from(bytes);
  let startedAt = 0;
  let pending: Buffer | undefined;
  const send = () => {
    count += 1;
    for (const { at, next } of patches) own.write(next(), at, 'latin1');
    startedAt = performance.now();
    socket.write(own);
  };
  socket.on('data', (chunk: Buffer) => {
    const received = pending ? Buffer.concat([pending, chunk]) : chunk;
    const end = replyEnd(received);
    pending = end === 0 ? received : undefined;
    if (end === 0) return;
    note(received, startedAt);
    if (isEnding) resolve();
    else send();
  });
  socket.setNoDelay();
  socket.setTimeout(replyMsMax, () => stopWith(`no reply within ${replyMsMax / 1_000} s`));
  socket.on('error', (error) => stopWith(`a connection failed: ${error.message}`));
  socket.on('close', () => isEnding || stopWith('the server closed a connection'));
  socket.on('connect', send);
  return promise;
}

function percentile(sorted: Float32Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

process.on('disconnect', () => process.exit(1));
const connections = Array.from({ length: settings.connections }, () =>
  drive(connect(settings.port, '127.0.0.1')),
);
await delay(settings.warmupMs);
process.send?.('measuring');
isMeasuring = true;
const startedAt = performance.now();
const cpuBefore = process.cpuUsage();
await delay(settings.measureMs);
isMeasuring = false;
const seconds = (performance.now() - startedAt) / 1_000;
const cpu = process.cpuUsage(cpuBefore);
process.send?.('over');
isEnding = true;
await Promise.all(connections);
const sorted = latencies.subarray(0, measured).sort();
process.send?.(
  {
    requests: measured,
    seconds,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    longestMs: sorted.at(-1) ?? 0,
    refused,
    firstRefusal,
    accepted,
    cores: (cpu.user + cpu.system) / 1_000_000 / seconds,
  } satisfies Measured,
  () => process.exit(0),
);
