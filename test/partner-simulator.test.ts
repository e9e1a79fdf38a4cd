/** `npm run partner-simulator` as a process: each behaviour that an amount chooses, and books that hold through kills. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { operationTarget, partnerCalls } from '#src/partners/protocol/calls.ts';
import { type CallOutcome, type Inquiry, inquiryOf, outcomeOf } from '#src/partners/protocol/outcomes.ts';
import type { MovementKind } from '#src/partners/protocol/schemas.ts';
import { farDay, findDiffering } from '#src/partners/reconciliation/comparing-days.ts';
import { createTree } from '#src/partners/reconciliation/tree.ts';
import { signedHeaders } from '#src/partners/signature.ts';
import type { Sums } from '#src/partners/simulator/books.ts';
import { commandOf } from './house/command.ts';
import { keyId, type PartnerProcess, secret, startSimulator } from './house/partner-processes.ts';
import { waitFor } from './house/waiting.ts';

const folder = await mkdtemp(join(tmpdir(), 'simulator-'));
const books = join(folder, 'books');
const settings = [
  '--accounts',
  '3',
  '--points',
  '100000',
  '--linked',
  '--pending-ms',
  '300',
  '--slow-ms',
  '1500',
];
let partner: PartnerProcess;
beforeAll(async () => {
  partner = await startSimulator(books, ...settings);
});
afterAll(async () => {
  await partner.end();
  await rm(folder, { recursive: true, force: true });
});

interface Headers {
  readonly bySeconds?: number;
  readonly nonce?: string;
}

async function send(
  method: 'GET' | 'POST',
  target: string,
  content?: object,
  headers: Headers = {},
): Promise<Response> {
  const body = content === undefined ? '' : JSON.stringify(content);
  const timestamp = Math.floor(Date.now() / 1_000) + (headers.bySeconds ?? 0);
  const stamp = { timestamp, nonce: headers.nonce ?? randomUUID() };
  return fetch(partner.url + target, {
    method,
    headers: signedHeaders(keyId, secret, { method, target, body }, stamp),
    signal: AbortSignal.timeout(10_000),
    ...(content === undefined ? {} : { body }),
  });
}

type Outcome = CallOutcome | { readonly outcome: 'unknown'; readonly code: 'no_answer' };

async function move(call: 'accrue' | 'redeem' | 'reverse', body: object): Promise<Outcome> {
  try {
    const response = await send('POST', partnerCalls[call].path, body);
    return outcomeOf(response.status, await response.json());
  } catch {
    return { outcome: 'unknown', code: 'no_answer' };
  }
}

async function inquire(kind: string, reference: string): Promise<Inquiry> {
  const response = await send('GET', operationTarget(kind, reference));
  return inquiryOf(response.status, await response.json());
}

const statusOf = ({ found }: Inquiry) => (typeof found === 'string' ? found : found.status);
const sums = async () => (await (await fetch(`${partner.url}/simulator/sums`)).json()) as Sums;
const movement = (points: number) => ({
  ...{ reference: randomUUID(), account: 'FF000001', points },
  occurredAt: new Date().toISOString(),
});

/** What callers moved by now, and that the books balance. */
async function net(): Promise<number> {
  const { net: moved, balanced } = await sums();
  expect(balanced).toBe(true);
  return moved;
}

interface Course {
  readonly points: number;
  /** Of the first send, of the inquiry after it, of the second send, and of what it is in the end. */
  readonly first: Outcome['outcome'];
  readonly asked: string;
  readonly second: Outcome['outcome'];
  readonly last: string;
}

const courses: readonly (readonly [string, Course])[] = [
  [
    'succeeds',
    { points: 1_234, first: 'succeeded', asked: 'succeeded', second: 'succeeded', last: 'succeeded' },
  ],
  ['never tells', { points: 90, first: 'unknown', asked: 'unknown', second: 'unknown', last: 'unknown' }],
  [
    'fails before booking',
    { points: 91, first: 'unknown', asked: 'nothing', second: 'succeeded', last: 'succeeded' },
  ],
  [
    'fails after booking',
    { points: 92, first: 'unknown', asked: 'succeeded', second: 'succeeded', last: 'succeeded' },
  ],
  [
    'arrives twice',
    { points: 93, first: 'succeeded', asked: 'succeeded', second: 'succeeded', last: 'succeeded' },
  ],
  ['stays pending', { points: 94, first: 'pending', asked: 'pending', second: 'pending', last: 'pending' }],
  [
    'drops the reply',
    { points: 97, first: 'unknown', asked: 'succeeded', second: 'succeeded', last: 'succeeded' },
  ],
  [
    'arrives late, behind what was sent again',
    { points: 89, first: 'unknown', asked: 'nothing', second: 'succeeded', last: 'succeeded' },
  ],
  ['refuses', { points: 99, first: 'refused', asked: 'nothing', second: 'refused', last: 'nothing' }],
  [
    'refuses a thousand times',
    { points: 99_000, first: 'refused', asked: 'nothing', second: 'refused', last: 'nothing' },
  ],
];

describe.each([
  ['an accrual', 'accrual', 'accrue', 1],
  ['a redemption', 'redemption', 'redeem', -1],
] as const)('of %s', (_named, kind, call, sign) => {
  test.each(courses)('the amount chooses: %s', async (_, { points, first, asked, second, last }) => {
    const before = await net();
    const body = movement(points);
    expect((await move(call, body)).outcome).toBe(first);
    expect(statusOf(await inquire(kind, body.reference))).toBe(asked);
    expect((await move(call, body)).outcome).toBe(second);
    expect(statusOf(await inquire(kind, body.reference))).toBe(last);
    expect((await net()) - before).toBe(last === 'succeeded' ? sign * points : 0);
  });

  test.each([
    [95, 'succeeded'],
    [96, 'failed'],
  ])('what is pending with %i points has %s at last', async (points, last) => {
    const before = await net();
    const body = movement(points);
    expect((await move(call, body)).outcome).toBe('pending');
    await waitFor(`it has ${last}`, async () => statusOf(await inquire(kind, body.reference)) === last);
    expect((await net()) - before).toBe(last === 'succeeded' ? sign * points : 0);
    const again = await move(call, body);
    expect(again).toMatchObject(
      last === 'failed' ? { outcome: 'failed', code: 'simulated' } : { outcome: last },
    );
  });

  test('a slow one is booked at the end of its time, and by then may have been voided', async () => {
    const before = await net();
    const [slow, late] = [movement(98), movement(98)];
    const answers = [move(call, slow), move(call, late)];
    const original = { originalKind: kind, originalReference: late.reference, account: late.account };
    const body = { reference: randomUUID(), ...original, occurredAt: late.occurredAt, voidIfMissing: true };
    expect(statusOf(await inquire(kind, slow.reference))).toBe('nothing');
    expect((await move('reverse', body)).outcome).toBe('succeeded');
    expect((await Promise.all(answers)).map(({ outcome }) => outcome)).toEqual(['succeeded', 'stands']);
    expect((await net()) - before).toBe(sign * 98);
  });
});

describe.each([
  ['an accrual', 'accrual', 'accrue', 1],
  ['a redemption', 'redemption', 'redeem', -1],
] as const)('the late first copy of %s', (_named, kind, call, sign) => {
  test('is booked where nothing became of it meanwhile, and not where it was voided', async () => {
    const before = await net();
    const [left, voided] = [movement(88), movement(88)];
    for (const body of [left, voided]) {
      expect((await move(call, body)).outcome).toBe('unknown');
      expect((await move(call, body)).outcome).toBe('refused');
    }
    const original = { originalKind: kind, originalReference: voided.reference, account: voided.account };
    const body = { reference: randomUUID(), ...original, occurredAt: voided.occurredAt, voidIfMissing: true };
    expect((await move('reverse', body)).outcome).toBe('succeeded');
    await waitFor('both have arrived', async () => (await sums()).late === 0);
    expect(statusOf(await inquire(kind, left.reference))).toBe('succeeded');
    expect(statusOf(await inquire(kind, voided.reference))).toBe('failed');
    expect((await net()) - before).toBe(sign * 88);
  });
});

test('a day is told of by its tree and its movements, as another engine asks for it', async () => {
  const name = '2026-01-15';
  const on = (points: number) => ({ ...movement(points), occurredAt: `${name}T10:00:00.500+00:00` });
  const [given, taken, back] = [on(1_500), on(300), { ...on(200), originalKind: 'accrual' }];
  const reversal = { ...back, account: undefined, originalReference: given.reference };
  expect((await move('accrue', given)).outcome).toBe('succeeded');
  expect((await move('redeem', taken)).outcome).toBe('succeeded');
  expect((await move('reverse', reversal)).outcome).toBe('succeeded');
  expect((await move('accrue', on(99))).outcome).toBe('refused');
  const occurredAt = Date.parse(`${name}T10:00:00Z`) / 1_000;
  const treeOf = (points: number) => {
    const builder = createTree();
    const add = (kind: MovementKind, { reference }: { reference: string }, of: number) =>
      builder.add('caller', {
        kind,
        reference,
        points: of,
        currency: 'miles',
        occurredAt,
        status: 'succeeded',
      });
    add('accrual', given, 1_500);
    add('redemption', taken, 300);
    add('reversal', back, points);
    return () => Promise.resolve(builder.tree());
  };
  const endpoint = { partner: 1, name: 'far', url: new URL(partner.url), keyId, secret } as const;
  const calls = { callsAtOnce: 1, signature: 'v1', delivery: 'calls' } as const;
  const traffic = { calls: 0, bytes: 0 };
  const far = farDay({ ...endpoint, ...calls }, name, 5_000, traffic);
  expect(await findDiffering(treeOf(200), far)).toMatchObject({ far: { movements: 3 }, buckets: [] });
  expect(traffic.calls).toBe(1);
  const { theirs } = await findDiffering(treeOf(201), far);
  expect(theirs).toMatchObject([{ kind: 'reversal', reference: back.reference, points: 200, madeBy: 'us' }]);
  expect((await send('GET', '/v1/partner/days?day=2026-02-30')).status).toBe(400);
});

describe('the door', () => {
  test('refuses a copy, also after a kill, and what is stale', async () => {
    const nonce = randomUUID();
    const target = operationTarget('accrual', 'nothing');
    expect((await send('GET', target, undefined, { nonce })).status).toBe(404);
    const reasonOf = async (answer: Response) => ((await answer.json()) as { reason: string }).reason;
    expect(await reasonOf(await send('GET', target, undefined, { nonce }))).toBe('replayed');
    await partner.end('SIGKILL');
    partner = await startSimulator(books, ...settings);
    expect(await reasonOf(await send('GET', target, undefined, { nonce }))).toBe('replayed');
    expect(await reasonOf(await send('GET', target, undefined, { bySeconds: -301 }))).toBe('stale');
  });

  test('links an account by its code, once', async () => {
    const account = 'FF000777';
    const opened = { linked: false, points: 500, code: 'CODE-777777', name: 'ZHANG/WEI' };
    await fetch(`${partner.url}/simulator/accounts/${account}`, {
      method: 'PUT',
      body: JSON.stringify(opened),
    });
    const redemption = { ...movement(10), account };
    expect(await move('redeem', redemption)).toMatchObject({ outcome: 'refused', code: 'member_not_linked' });
    const link = { account, code: 'CODE-777777', callerAccount: 'mem_1' };
    const answer = await send('POST', partnerCalls.validate.path, link);
    expect(await answer.json()).toMatchObject({ object: 'partnerMember', account, linked: true });
    expect((await send('POST', partnerCalls.validate.path, link)).status).toBe(409);
    expect((await move('redeem', redemption)).outcome).toBe('succeeded');
  });
});

test('a kill in the middle loses nothing that was answered and doubles nothing that is sent again', async () => {
  const before = await net();
  const bodies = Array.from({ length: 60 }, () => movement(7));
  const answers = bodies.map((body) => move('accrue', body));
  await Promise.race(answers);
  await partner.end('SIGKILL');
  const first = await Promise.all(answers);
  partner = await startSimulator(books, ...settings);
  for (const [i, body] of bodies.entries()) {
    if (first[i]!.outcome === 'succeeded')
      expect(statusOf(await inquire('accrual', body.reference))).toBe('succeeded');
    expect((await move('accrue', body)).outcome).toBe('succeeded');
  }
  expect((await net()) - before).toBe(60 * 7);
});

test('sums are printed from its folder, and account for every point', async () => {
  const printed = await commandOf('partners/simulator/command.ts', process.env)('sums', '--data', books);
  expect([printed.code, JSON.parse(printed.out)]).toEqual([0, await sums()]);
  const { points, opened, net: moved, pendingRedemptions } = await sums();
  expect(points).toBe(opened + moved - pendingRedemptions);
});
