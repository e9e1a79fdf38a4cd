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
import { callOf, type Document, type FuzzCall, type FuzzProgram, operationsOf } from './call.ts';
import { chanceOf } from './chance.ts';
import { type FuzzEngine, partnerAccounts } from './engine.ts';
import { partnerName } from './files.ts';
import { type Finding, type FuzzAnswer, faultOf, idsIn, lineOf, reasonOf } from './judge.ts';
import { createMemory, type Memory } from './known.ts';

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
  /** Those that were not, and what they answered how often. */
  readonly unreached: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly operations: number;
  readonly drift: number;
  readonly findings: readonly Finding[];
}

const answerMs = 20_000;
const findingsMax = 50;
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
    // What a reversal made void before it came was answered as the reversal.
    `select replace(operation::text, '-', '') as operation, kind, left(request::text, 400) as request from operation
     where client <> 0 and request -> 'body' ->> 'void' is null`,
  );
  const silent = rows.filter(({ operation }) => !answered.has(operation));
  // These answer with the member and with the hold, not with an operation; every other change names its own.
  const others = silent.filter(({ kind }) => kind !== 'status' && kind !== 'release');
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
  /** What each route refused, and how often. */
  readonly refused: Map<string, Record<string, number>>;
  readonly answered: Set<string>;
  readonly memories: ReadonlyMap<FuzzProgram, Memory>;
  /** Calls whose outcome nobody was told: no answer, or `outcome_unknown`. */
  unanswered: number;
}

function learn(
  { answered, memories }: Loop,
  program: FuzzProgram,
  call: Pick<FuzzCall, 'method' | 'body'>,
  answer: FuzzAnswer,
): void {
  for (const operation of idsIn.operations(answer.text)) answered.add(operation);
  memories.get(program)!.learn(call, answer);
}

function noteRoute({ reached, refused }: Loop, { method, meantFor }: FuzzCall, answer: FuzzAnswer): void {
  if (method !== meantFor.method) return;
  const route = `${method} ${meantFor.template}`;
  if (answer.status < 300) {
    reached.add(route);
    return;
  }
  const counts = refused.get(route) ?? {};
  refused.set(route, counts);
  const reason = reasonOf(answer);
  counts[reason] = (counts[reason] ?? 0) + 1;
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
    learn(loop, call.program, call, answer);
    noteRoute(loop, call, answer);
  }
}

/** One of what calls are about that comes about by several steps: pools with what moved their points, a tier that was given, a key. */
async function beginWith(
  post: (path: string, content: object) => Promise<string>,
  run: string,
): Promise<void> {
  for (const first of [0, 4]) {
    const card = (index: number) => ({ type: 'card', value: `card-${first + index}` });
    const pool = await post('/v1/pools', { head: card(0), reference: `${run}/${first}/pool` });
    for (const index of [1, 2]) await post(`/v1/pools/${pool}/members`, { card: card(index) });
    const movement = (name: string) => ({
      member: card(0),
      reference: `${run}/${first}/${name}`,
      points: 300,
    });
    await post(`/v1/pools/${pool}/redemptions`, movement('redemption'));
    for (const name of ['hold', 'another']) await post(`/v1/pools/${pool}/holds`, movement(name));
    for (const path of ['redemptions', 'holds']) await post(`/v1/${path}`, movement(path));
    const grant = { tier: 'silver', reason: 'to begin with', reference: `${run}/${first}/grant` };
    await post(`/v1/members/fuzz-${first}/tier`, grant);
  }
  await post('/v1/keys', { client: 'another-partner', role: 'partner' });
}

/** Members with a card and points to spend, some of them linked with the partner, so that most calls have somebody to be about. */
async function populate(engine: FuzzEngine, loop: Loop): Promise<void> {
  for (const [at, program] of engine.programs.entries()) {
    const { token } = program.keys.find(({ role }) => role === 'admin')!;
    const post = async (path: string, content: object) => {
      const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
      const body = Buffer.from(JSON.stringify(content));
      const answer = await send(engine.port, { method: 'POST', path, headers, body });
      if (answer instanceof Error) throw answer;
      if (answer.status >= 300) throw new Error(`POST ${path}: ${answer.status} ${answer.text}`);
      learn(loop, program, { method: 'POST', body: undefined }, answer);
      return String((JSON.parse(answer.text) as { id?: unknown }).id);
    };
    const memberAt = (index: number) => `fuzz-${index}`;
    const items = Array.from({ length: populationSize }, (_, i) => ({
      member: memberAt(i),
      identifiers: [{ type: 'card', value: `card-${i}` }],
    }));
    await post('/v1/members/bulk', { items });
    const receipt = { money: 'EUR', amount: 1_000_000, run: 'start' };
    const postBulk = async (path: string, more: readonly object[]) =>
      void (await post(path, { items: more }));
    await enrol({ ...receipt, members: populationSize, memberAt, postBulk });
    await beginWith(post, `begin/${program.name}`);
    // The first two accounts are left for calls.
    for (let account = 3 + at; account <= partnerAccounts; account += 2) {
      const digits = String(account).padStart(6, '0');
      const member = memberAt(account);
      const link = { partner: partnerName, account: `FF${digits}`, code: `CODE-${digits}` };
      await post(`/v1/members/${member}/links`, link);
      loop.memories.get(program)!.link(member);
    }
  }
}

/** Runs until the time is up, the steps are done or a process has died. */
export async function fuzz(
  engine: FuzzEngine,
  settings: FuzzSettings,
  abort: AbortSignal,
): Promise<FuzzReport> {
  const { seed, seconds, stepsMax } = settings;
  const document = (await (await fetch(`${engine.url}/openapi.json`)).json()) as Document;
  const components = document.components?.schemas ?? {};
  const operations = operationsOf(document);
  const loop: Loop = {
    findings: [],
    answers: {},
    reached: new Set(),
    refused: new Map(),
    answered: new Set(),
    memories: new Map(engine.programs.map((program) => [program, createMemory()])),
    unanswered: 0,
  };
  await populate(engine, loop);
  const knownOf = (program: FuzzProgram) => loop.memories.get(program)!;
  const startedAt = performance.now();
  let step = 0;
  for (; step < stepsMax && performance.now() - startedAt < seconds * 1_000 && !abort.aborted; step += 1) {
    let made = 0;
    const reference = () => {
      made += 1;
      return `fuzz/${seed}/${step}/${made}`;
    };
    const chance = chanceOf(seed, step);
    const around = { chance, programs: engine.programs, knownOf, components, nowMs: Date.now(), reference };
    await takeStep(engine, loop, step, callOf(operations, around));
    const dead = engine.dead();
    if (dead !== undefined) {
      loop.findings.push({ step, what: `the process ${dead} has ended`, call: '' });
      break;
    }
  }
  const took = (performance.now() - startedAt) / 1_000;
  const books = await judgeBooks(engine, loop.answered, loop.unanswered, step);
  return {
    seed,
    steps: step,
    seconds: Math.round(took),
    answers: loop.answers,
    routesReached: loop.reached.size,
    routes: operations.length,
    unreached: Object.fromEntries(
      operations
        .map(({ method, template }) => `${method} ${template}`)
        .filter((route) => !loop.reached.has(route))
        .map((route) => [route, loop.refused.get(route) ?? {}]),
    ),
    operations: books.operations,
    drift: books.drift,
    findings: [...loop.findings, ...books.findings],
  };
}
