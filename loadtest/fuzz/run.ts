/**
 * The fuzzer's loop: one call after the other from seed and step, each answer judged, and at the end the books. A step
 * depends on what was answered before it, so a finding is seen again by the same seed with `--steps`.
 */
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { audit, auditConnection } from '#src/ledger/audit.ts';
import { renderReport } from '#src/ledger/audit-report.ts';
import { keys } from '#src/wallet/keys.ts';
import { enrol } from '../setup/members.ts';
import { callOf, type FuzzCall, operationsOf } from './call.ts';
import { chanceOf } from './chance.ts';
import type { FuzzEngine } from './engine.ts';
import { grammarOf, type Schema } from './grammar.ts';
import { type Finding, type FuzzAnswer, faultOf, idsIn, lineOf } from './judge.ts';

interface FuzzSettings {
  readonly seed: number;
  readonly seconds: number;
  /** Ends after so many steps, whatever the time. */
  readonly stepsMax: number;
}

export interface FuzzReport {
  readonly seed: number;
  readonly steps: number;
  readonly seconds: number;
  readonly answers: Readonly<Record<string, number>>;
  /** Routes that were answered with a success at least once, of all. */
  readonly routesReached: number;
  readonly routes: number;
  readonly operations: number;
  readonly drift: number;
  readonly findings: readonly Finding[];
}

const answerMs = 20_000;
const findingsMax = 50;
const pooledMax = 400;
const drainMs = 60_000;
const populationSize = 30;

function send(
  port: number,
  call: Pick<FuzzCall, 'method' | 'path' | 'headers' | 'body'>,
): Promise<FuzzAnswer | Error> {
  return new Promise((resolve) => {
    const { method, path, body } = call;
    const headers = { ...call.headers, ...(body ? { 'Content-Length': String(body.length) } : {}) };
    const sent = request({ host: '127.0.0.1', port, method, path, headers, timeout: answerMs }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', resolve);
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          type: answer.headers['content-type'] ?? '',
          text: Buffer.concat(parts).toString('utf8'),
        }),
      );
    });
    sent.on('timeout', () => sent.destroy(new Error(`nothing within ${answerMs} ms`)));
    sent.on('error', resolve);
    sent.end(body);
  });
}

async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/readyz`, {
    signal: AbortSignal.timeout(answerMs),
  }).catch(() => undefined);
  return answer?.status === 200;
}

/** What was answered so far, bounded: the newest of each sort. */
function createMemory() {
  const known = {
    members: [] as string[],
    ids: [] as string[],
    references: [] as string[],
    keyIds: [] as string[],
  };
  const answered = new Set<string>();
  const keep = (pool: string[], more: readonly string[]) => {
    for (const each of more) if (!pool.includes(each)) pool.push(each);
    pool.splice(0, Math.max(0, pool.length - pooledMax));
  };
  return {
    known,
    answered,
    learn(call: Pick<FuzzCall, 'method' | 'body'>, { status, text }: FuzzAnswer) {
      for (const operation of idsIn.operations(text)) answered.add(operation);
      if (status >= 300) return;
      keep(known.members, idsIn.members(text));
      keep(known.ids, idsIn.ids(text));
      // Only keys that it made itself: a list shows those that the run needs.
      if (call.method === 'POST') keep(known.keyIds, idsIn.keys(text));
      keep(known.references, idsIn.references(call.body?.toString('utf8') ?? ''));
    },
  };
}

/** Waits until the books hold every record of the journals. */
async function drained({ pool, nodes }: FuzzEngine): Promise<boolean> {
  const deadline = performance.now() + drainMs;
  for (;;) {
    const { rows } = await pool.query<{ shard: number; epoch: number; seq: number }>(
      'select shard, epoch, seq from position',
    );
    const behind = await Promise.all(
      rows.map(async ({ shard, epoch, seq }) => {
        const [last] = await nodes.of(shard).xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1);
        return last?.[0] !== `${epoch}-${seq}`;
      }),
    );
    if (!behind.includes(true)) return true;
    if (performance.now() > deadline) return false;
    await delay(50);
  }
}

/** What the books say at the end: nothing that nobody was answered, nothing in quarantine, no drift. */
async function judgeBooks(
  engine: FuzzEngine,
  answered: ReadonlySet<string>,
  unanswered: number,
  step: number,
): Promise<{ findings: Finding[]; operations: number; drift: number }> {
  const findings: Finding[] = [];
  const found = (what: string) => findings.push({ step, what, call: '' });
  if (!(await drained(engine))) found('the books did not take everything within a minute');
  const { rows } = await engine.pool.query<{ operation: string; kind: string; request: string }>(
    `select replace(operation::text, '-', '') as operation, kind, left(request::text, 400) as request from operation where client <> 0`,
  );
  const silent = rows.filter(({ operation }) => !answered.has(operation));
  const others = silent.filter(({ kind }) => kind !== 'status');
  // A change of status answers with the member and not with an operation; every other change names its own.
  if (others.length > unanswered) {
    // The reference in the request names the step.
    for (const { kind, operation, request: asked } of others.slice(0, 5))
      found(`nobody was answered about ${kind} ${operation}: ${asked}`);
  }
  const quarantine = await engine.pool.query<{ reason: string }>('select reason from quarantine limit 5');
  for (const { reason } of quarantine.rows) found(`a record went into quarantine: ${reason}`);
  const connection = auditConnection(engine.databaseUrl);
  await connection.connect();
  try {
    const report = await audit({ connection, nodes: engine.nodes });
    if (!report.clean) found(`the audit: ${renderReport(report).slice(-1_500)}`);
    return { findings, operations: rows.length, drift: report.driftPoints };
  } finally {
    await connection.end();
  }
}

interface Loop {
  readonly findings: Finding[];
  readonly answers: Record<string, number>;
  readonly reached: Set<string>;
  readonly barred: Set<string>;
  readonly memory: ReturnType<typeof createMemory>;
  /** Calls whose outcome nobody was told: no answer, or `outcome_unknown`. */
  unanswered: number;
}

async function takeStep(engine: FuzzEngine, loop: Loop, step: number, call: FuzzCall): Promise<void> {
  const got = await Promise.all(Array.from({ length: call.copies }, () => send(engine.port, call)));
  for (const answer of got) {
    const name = answer instanceof Error ? 'none' : String(answer.status);
    loop.answers[name] = (loop.answers[name] ?? 0) + 1;
    const fault = faultOf(
      call,
      answer,
      answer instanceof Error || answer.status < 500 || (await isReady(engine.url)),
    );
    if (fault !== undefined && loop.findings.length < findingsMax)
      loop.findings.push({ step, what: fault, call: lineOf(call) });
    if (answer instanceof Error || answer.status === 504) loop.unanswered += 1;
    if (answer instanceof Error) continue;
    loop.memory.learn(call, answer);
    const { meantFor, token } = call;
    const route = `${meantFor.method} ${meantFor.template}`;
    if (answer.status === 403 && call.method === meantFor.method) loop.barred.add(`${route} ${token}`);
    if (answer.status < 300 && call.method === meantFor.method) loop.reached.add(route);
  }
}

/** Members with points to spend, so that most calls have somebody to be about. */
async function populate(engine: FuzzEngine, memory: Loop['memory']): Promise<void> {
  for (const token of engine.tokens) {
    const postBulk = async (path: string, items: readonly object[]) => {
      const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
      const body = Buffer.from(JSON.stringify({ items }));
      const answer = await send(engine.port, { method: 'POST', path, headers, body });
      if (answer instanceof Error) throw answer;
      memory.learn({ method: 'POST', body: undefined }, answer);
    };
    const memberAt = (index: number) => `fuzz-${index}`;
    const receipt = { money: 'EUR', amount: 1_000_000, run: 'start' };
    await enrol({ ...receipt, members: populationSize, memberAt, postBulk });
  }
}

/** Runs until the time is up, the steps are done or a process has died. */
export async function fuzz(
  engine: FuzzEngine,
  settings: FuzzSettings,
  abort: AbortSignal,
): Promise<FuzzReport> {
  const { seed, seconds, stepsMax } = settings;
  const document = (await (await fetch(`${engine.url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, Schema>>;
    components?: { schemas?: Record<string, Schema> };
  };
  const operations = operationsOf(document);
  const loop: Loop = {
    findings: [],
    answers: {},
    reached: new Set(),
    barred: new Set(),
    memory: createMemory(),
    unanswered: 0,
  };
  await populate(engine, loop.memory);
  const startedAt = performance.now();
  let step = 0;
  for (; step < stepsMax && performance.now() - startedAt < seconds * 1_000 && !abort.aborted; step += 1) {
    const chance = chanceOf(seed, step);
    let made = 0;
    const reference = () => {
      made += 1;
      return `fuzz/${seed}/${step}/${made}`;
    };
    const around = { chance, known: loop.memory.known, nowMs: Date.now(), reference };
    const grammar = grammarOf(document.components?.schemas ?? {}, around);
    const tokens = { all: engine.tokens, barred: loop.barred };
    await takeStep(engine, loop, step, callOf(operations, chance, grammar, loop.memory.known, tokens));
    const dead = engine.dead();
    if (dead !== undefined) {
      loop.findings.push({ step, what: `the process ${dead} has ended`, call: '' });
      break;
    }
  }
  const took = (performance.now() - startedAt) / 1_000;
  const books = await judgeBooks(engine, loop.memory.answered, loop.unanswered, step);
  return {
    seed,
    steps: step,
    seconds: Math.round(took),
    answers: loop.answers,
    routesReached: loop.reached.size,
    routes: operations.length,
    operations: books.operations,
    drift: books.drift,
    findings: [...loop.findings, ...books.findings],
  };
}
