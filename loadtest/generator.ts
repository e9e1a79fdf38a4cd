/**
 * The load generator, a process of its own: so many keep-alive connections, each with one request under way, each request
 * with a reference and an order number of its own. It writes bytes to sockets and reads bytes back, because on two cores
 * whatever it uses is taken from the contestant; one that builds each request anew spends several times as much.
 *
 * A request is one text with places of a fixed width, so that a connection's buffer is patched and sent again:
 *   {{reference}}  a new UUIDv7               {{member}}  one of the members, m-0000000 upwards
 *   {{natural}}    a new till, day and number {{now}}     the time, RFC 3339
 *   {{order}}      a new number               {{id}}      the id in the connection's last reply
 *
 * Settings come as its parent's first message. It tells its parent `measuring` and `over` at the ends of the window, then
 * the `Measured`.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { percentileOfSorted } from './apart-figures.ts';
import { natural, now, order, reference } from './places.ts';
import { memberName, type Share } from './requests.ts';
import { replyEnd, type Template, templateOf } from './wire.ts';

export interface LoadSettings {
  readonly port: number;
  readonly connections: number;
  readonly members: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly traffic: readonly Share[];
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

const [settings] = (await once(process, 'message')) as [LoadSettings];
/** A reply that takes longer ends the run: something hangs. */
const replyMsMax = 20_000;
function member(): string {
  return memberName(Math.floor(Math.random() * settings.members));
}

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

/** The status line is `HTTP/1.1 201 …`: byte 9 is the class of the status. */
function isAccepted(reply: Buffer): boolean {
  return reply[9] === 0x32;
}

function note(reply: Buffer, startedAt: number): void {
  if (isAccepted(reply)) accepted += 1;
  else {
    refused += 1;
    firstRefusal ??= reply.toString('utf8', 0, 600);
  }
  if (isMeasuring && measured < latencies.length) latencies[measured++] = performance.now() - startedAt;
}

/** The steps to begin next, by the shares of the load. */
function drawn(): number {
  let rest = Math.random() * 100;
  for (const [index, { percent }] of settings.traffic.entries()) {
    if (rest < percent) return index;
    rest -= percent;
  }
  return 0;
}

function idOf(reply: Buffer): string {
  const id = /"id":"([^"]+)"/.exec(reply.toString('utf8'))?.[1];
  return id ?? stopWith(`a reply without an id: ${reply.toString('utf8', 0, 600)}`);
}

interface Steps {
  next(): Buffer;
  /** Takes what the following step needs from the reply to the last one; a step that was refused has none after it. */
  answered(reply: Buffer): void;
  hasEnded(): boolean;
}

/** What a connection sends next: its own copies of the requests, each taken apart when it is first needed. */
function stepsOf(): Steps {
  const templates = new Map<string, Template>();
  let id = '';
  let steps: readonly string[] = [];
  let done = 0;
  const places = { reference, natural, member, order, now, id: () => id };
  return {
    next() {
      if (done === steps.length) {
        steps = settings.traffic[drawn()]!.steps;
        done = 0;
      }
      const text = steps[done]!;
      done += 1;
      const template = templates.get(text) ?? templateOf(text, places);
      templates.set(text, template);
      for (const { at, next } of template.patches) template.bytes.write(next(), at, 'latin1');
      return template.bytes;
    },
    hasEnded: () => done === steps.length,
    answered(reply) {
      if (!isAccepted(reply)) done = steps.length;
      if (done === steps.length) return;
      const found = idOf(reply);
      if (id !== '' && found.length !== id.length) stopWith(`ids differ in length: ${id} and ${found}`);
      id = found;
    },
  };
}

/** Sends one request after the other over a connection; resolves when the run ends and the last step's reply is there. */
function drive(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const steps = stepsOf();
  let startedAt = 0;
  let pending: Buffer | undefined;
  const send = () => {
    const bytes = steps.next();
    startedAt = performance.now();
    socket.write(bytes);
  };
  socket.on('data', (chunk: Buffer) => {
    const received = pending ? Buffer.concat([pending, chunk]) : chunk;
    const end = replyEnd(received);
    pending = end === 0 ? received : undefined;
    if (end === 0) return;
    note(received, startedAt);
    steps.answered(received);
    if (isEnding && steps.hasEnded()) resolve();
    else send();
  });
  socket.setNoDelay();
  socket.setTimeout(replyMsMax, () => stopWith(`no reply within ${replyMsMax / 1_000} s`));
  socket.on('error', (error) => stopWith(`a connection failed: ${error.message}`));
  socket.on('close', () => isEnding || stopWith('the server closed a connection'));
  socket.on('connect', send);
  return promise;
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
    p50Ms: percentileOfSorted(sorted, 0.5),
    p99Ms: percentileOfSorted(sorted, 0.99),
    longestMs: sorted.at(-1) ?? 0,
    refused,
    firstRefusal,
    accepted,
    cores: (cpu.user + cpu.system) / 1_000_000 / seconds,
  } satisfies Measured,
  () => process.exit(0),
);
