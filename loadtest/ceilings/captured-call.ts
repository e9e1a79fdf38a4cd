/**
 * A call of the accrual script as the API sends it, seen on the wire, and the same call for redis-benchmark: what belongs to
 * one movement alone is replaced by its random places. So the ceiling is of the very call, whatever its layout is: nothing
 * here knows the order of its arguments.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { type JournalRecord, parseRecord } from '#src/journal.ts';
import { keys } from '#src/wallet/keys.ts';

export interface CapturedCall {
  readonly sha: string;
  readonly journal: string;
  /** What follows the name of the journal. */
  readonly args: readonly string[];
  /** What it appended. */
  readonly records: readonly JournalRecord[];
  readonly atMs: number;
}

const captureMsMax = 20_000;

/** The words of a line of MONITOR, which shows what is not printable escaped. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) =>
    word!.replace(/\\(x[0-9a-f]{2}|.)/g, (_, code: string) => {
      if (code.startsWith('x')) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
      return { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' }[code] ?? code;
    }),
  );
}

/**
 * A connection that is shown every command from when it resolves. By hand, because ioredis takes the first commands that it is
 * shown for answers to its own when the server is busy.
 */
async function monitored(adminUrl: string, onWords: (words: string[]) => void): Promise<Socket> {
  const { hostname, port, password } = new URL(adminUrl);
  const socket = connect(Number(port), hostname);
  let rest = '';
  let answers = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.setTimeout(captureMsMax, () => socket.destroy(new Error('MONITOR said nothing')));
  socket.on('error', reject);
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\r\n');
    rest = lines.pop()!;
    for (const line of lines) {
      if (answers < 2 && line !== '+OK') reject(new Error(`MONITOR was answered with ${line}`));
      answers += 1;
      if (answers === 2) resolve();
      if (answers > 2) onWords(wordsOf(line));
    }
  });
  socket.write(`AUTH ${password}\r\nMONITOR\r\n`);
  try {
    await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return socket;
}

/** The records of a journal that a call's arguments name. */
async function recordsOf(redis: Redis, journal: string, args: readonly string[]): Promise<JournalRecord[]> {
  const entries = await redis.xrevrange(journal, '+', '-', 'COUNT', 2_000);
  const named = new Set(args);
  return entries
    .map(([id, fields]) => parseRecord(id, fields))
    .filter((record) => record.kind !== 'opened')
    .filter((record) => named.has(record.operation));
}

/** Watches Redis while `act` makes the API call scripts; answers the call with the most items. */
export async function captureCall(
  redis: Redis,
  adminUrl: string,
  shardCount: number,
  act: () => Promise<void>,
): Promise<CapturedCall> {
  const seen: CapturedCall[] = [];
  const journals = new Set(Array.from({ length: shardCount }, (_, shard) => keys.journal(shard)));
  const monitor = await monitored(adminUrl, ([name, sha, , journal, ...args]) => {
    if (name?.toLowerCase() !== 'evalsha' || !journals.has(journal!)) return;
    seen.push({ sha: sha!, journal: journal!, args, records: [], atMs: Date.now() });
  });
  try {
    await act();
    for (const endMs = performance.now() + captureMsMax; performance.now() < endMs; await delay(20)) {
      const longest = seen.toSorted((a, b) => b.args.length - a.args.length)[0];
      const records = longest && (await recordsOf(redis, longest.journal, longest.args));
      if (records && records.length > 0) return { ...longest, records };
    }
  } finally {
    monitor.destroy();
  }
  throw new Error('no call of a script was seen on Redis');
}

/** Twelve digits, of which each call gets new ones. */
const place = '__rand_int__';

/**
 * The arguments with random places: a member of those that stand under twelve digits, and an operation and a reference that
 * no other call has (with 10,000 members one in 10^8 meets another). Times are those of `nowMs`.
 */
export function withRandomPlaces(call: CapturedCall, run: string, nowMs: number): string[] {
  const tag = run.padStart(8, '0').slice(-8);
  const unique = `${tag}${place}${place}`;
  const replacements = new Map<string, string>();
  for (const record of call.records) {
    replacements.set(String(record.member), place);
    replacements.set(record.operation, unique);
    replacements.set(record.referenceKey, unique);
  }
  return call.args.map((arg) => {
    if (/^1\d{12}$/.test(arg) && Math.abs(Number(arg) - call.atMs) < 120_000)
      return String(Number(arg) - call.atMs + nowMs);
    return replacements.get(arg) ?? arg;
  });
}
