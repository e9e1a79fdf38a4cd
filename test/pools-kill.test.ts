/**
 * kill -9 of APIs at every step of what moves points of a pool, and a standstill of them there: the worker finishes what was begun,
 * nothing is spent twice or held for ever, and whoever repeats the request is told what became of it.
 *
 * All steps are harmed at once: every case has a household of its own, its request waits at its own step in one of the victims, and then all
 * victims die together. Standstills take the API's own deadlines and run with `POOL_HARMS=all`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, reference, waitFor } from './harness.ts';
import {
  availableOf,
  figuresOf,
  give,
  type Household,
  household,
  householdFile,
  leave,
} from './house/household.ts';
import { type Spawned, type SpawnedApi, spawnEngine } from './house/spawn.ts';
import { type Stall, type Step, stallAt } from './house/stall.ts';

const victimCount = 3;
const engine = await spawnEngine({ apis: 1 + victimCount });
afterAll(() => engine.end());
const { stores } = engine;
const shop = await engine.shop({ definition: householdFile });

/** What is asked for, and what there is once it is done. */
interface Case {
  readonly what: string;
  readonly steps: readonly Step[];
  /** Points of the members before. */
  readonly points: readonly number[];
  request(house: Household): Promise<{ readonly path: string; readonly body: object }>;
  /** Between the first step and the second. */
  between?(house: Household): Promise<unknown>;
  /** Status, and the word of status or refusal. */
  readonly answer: readonly [number, string];
  /** What members have in the end, or the sum of it. */
  readonly left: number | readonly number[];
}

const planned: Step = { on: 'insert on pool_part' };
const held: Step = { on: 'update on pool_part', when: `new.state = 'held'` };
const captured: Step = { on: 'update on pool_part', when: `new.state = 'captured'` };
const returned: Step = { on: 'update on pool_part', when: `new.state = 'returned'` };
const redemptionIs = (state: string): Step => ({
  on: 'update on pool_redemption',
  when: `new.state = '${state}'`,
});
const refundIs = (state: string): Step => ({ on: 'update on pool_refund', when: `new.state = '${state}'` });

const redeeming = (name: string, step: Step): Case => ({
  what: `a redemption ${name}`,
  steps: [step],
  points: [40, 40, 40],
  request: async ({ pool, residents: [head] }) => ({
    path: `/v1/pools/${pool}/redemptions`,
    body: { member: head!.card, reference: reference(), points: 100 },
  }),
  answer: [201, 'redeemed'],
  left: 20,
});

/** The spender leaves while the points are held, so they go back. */
const refusing = (name: string, step: Step): Case => ({
  what: `a redemption that is refused ${name}`,
  steps: [held, step],
  points: [40, 40, 40],
  request: async ({ pool, residents }) => ({
    path: `/v1/pools/${pool}/redemptions`,
    body: { member: residents[1]!.card, reference: reference(), points: 100 },
  }),
  between: async ({ pool, residents }) => expect((await leave(shop, pool, residents[1]!)).status).toBe(200),
  answer: [409, 'spender_not_allowed'],
  left: [40, 40, 40],
});

const refunding = (name: string, step: Step): Case => ({
  what: `a refund ${name}`,
  steps: [step],
  points: [40, 0],
  async request({ pool, residents }) {
    await give(shop, residents[1]!, 40, 'month');
    const redemptions = `/v1/pools/${pool}/redemptions`;
    const body = { member: residents[0]!.card, reference: reference(), points: 80 };
    const spent = await repeated(redemptions, body);
    return { path: `${redemptions}/${spent.id}/refunds`, body: { reference: reference(), points: 60 } };
  },
  answer: [201, 'refunded'],
  left: [40, 20],
});

const returning = (name: string, step: Step): Case => ({
  what: `a return of an order ${name}`,
  steps: [step],
  points: [40, 40, 40],
  async request({ pool, residents }) {
    const order = reference('order');
    const [{ card, member }] = residents as [Household['residents'][number]];
    const lines = [{ line: 1, amount: 1_000 }];
    await shop.accrue(member, 10, {
      purchase: { currency: 'EUR', store: 'forever', order, lines },
      durability: 'ledger',
    });
    const body = { member: card, reference: reference(), points: 100, order };
    expect((await repeated(`/v1/pools/${pool}/redemptions`, body)).status).toBe(201);
    return { path: '/v1/returns', body: { reference: reference(), occurredAt: shop.time(), order } };
  },
  answer: [201, 'returned'],
  left: [40, 40, 40],
});

const ending = (name: string, mode: 'capture' | 'release', step: Step): Case => ({
  what: `a hold ${name}`,
  steps: [step],
  points: [40, 40, 40],
  async request({ pool, residents }) {
    const holds = `/v1/pools/${pool}/holds`;
    const body = { member: residents[0]!.card, reference: reference(), points: 100 };
    const made = await repeated(holds, body);
    const points = mode === 'capture' ? { points: 50 } : {};
    return { path: `${holds}/${made.id}/${mode}`, body: { reference: reference(), ...points } };
  },
  answer: [200, mode === 'capture' ? 'captured' : 'released'],
  left: mode === 'capture' ? [0, 30, 40] : [40, 40, 40],
});

/** Another redemption of the same pool is asked for before the worker has anything to do with it. */
const behindAnother: Case = {
  ...redeeming('of a pool that others want to spend of', held),
  points: [40, 40],
  request: async ({ pool, residents: [head] }) => ({
    path: `/v1/pools/${pool}/redemptions`,
    body: { member: head!.card, reference: reference(), points: 30 },
  }),
};

const cases: readonly Case[] = [
  redeeming('before it is begun', { on: 'insert on pool_redemption' }),
  redeeming('before it is planned', planned),
  redeeming('with points held and not noted', held),
  redeeming('at the decision', redemptionIs('capturing')),
  redeeming('with points captured and not noted', captured),
  redeeming('at its end', redemptionIs('redeemed')),
  refusing('at the decision', redemptionIs('giving_back')),
  refusing('with points given back and not noted', returned),
  refusing('at its end', redemptionIs('refused')),
  refunding('before it is begun', { on: 'insert on pool_refund' }),
  refunding('with points back and not noted', { on: 'insert on pool_refund_part' }),
  refunding('at its end', refundIs('refunded')),
  returning('before it is begun', { on: 'insert on pool_refund' }),
  returning('with its record made and its refund not decided', refundIs('refunding')),
  returning('with points back and not noted', { on: 'insert on pool_refund_part' }),
  ending('before its capture is decided', 'capture', redemptionIs('capturing')),
  ending('with points captured and not noted', 'capture', captured),
  ending('with points released and not noted', 'release', returned),
  behindAnother,
];

/** The step, of rows of this pool alone. */
function inPool(step: Step, pool: string): Step {
  const number = Number.parseInt(pool.slice(5), 36);
  const redemptions = `(select redemption from pool_redemption where pool = ${number})`;
  const of: Readonly<Record<string, string>> = {
    pool_redemption: `($1).pool = ${number}`,
    pool_part: `($1).redemption in ${redemptions}`,
    pool_refund: `($1).redemption in ${redemptions}`,
    pool_refund_part: `($1).refund in (select refund from pool_refund where redemption in ${redemptions})`,
  };
  return { ...step, of: of[step.on.split(' ').at(-1)!]! };
}

type Harm = (victim: SpawnedApi) => Promise<() => void>;
/** Each answers what puts the API right again, where that can be. */
const harms: Readonly<Record<string, Harm>> = {
  async standstill({ pid }) {
    process.kill(pid, 'SIGSTOP');
    return () => void process.kill(pid, 'SIGCONT');
  },
  async 'kill -9'(victim) {
    await victim.kill();
    return () => {};
  },
};

/** Nothing of any pool is under way, and nothing is held but what its caller has still to capture. */
function settled(): Promise<true> {
  return waitFor(
    'the worker has finished what was begun',
    async () => {
      const { rows } = await stores.pool.query<{ open: number }>(
        `select (select count(*) from pool_redemption where state in ('collecting', 'giving_back', 'capturing', 'releasing'))::int
           + (select count(*) from pool_refund where state <> 'refunded')::int
           + (select count(*) from hold h where h.status = 'held' and not exists (
               select from pool_part p join pool_redemption r using (redemption) where p.hold = h.hold and r.state = 'held'))::int as open`,
      );
      return rows[0]!.open === 0 ? true : undefined;
    },
    60_000,
  );
}

/** What the rows say of a pool's redemptions, for whoever reads a failure. */
async function toldOf(pool: string): Promise<string> {
  const { rows } = await stores.pool.query(
    `select r.redemption, r.state, r.refusal, (select json_agg(p) from pool_part p where p.redemption = r.redemption) as parts
     from pool_redemption r where r.pool = $1`,
    [Number.parseInt(pool.slice(5), 36)],
  );
  return JSON.stringify(rows);
}

/** Repeats a request at the API that lives until it is answered for good. */
function repeated(path: string, body: object): Promise<Answer> {
  return waitFor(
    'the request is answered',
    async () => {
      const answer = await shop.admin('POST', path, body);
      const isFinal = [200, 201, 409].includes(answer.status) && answer.code !== 'reference_in_progress';
      return isFinal ? answer : undefined;
    },
    30_000,
  );
}

interface Sent {
  readonly house: Household;
  readonly path: string;
  readonly body: object;
  /** What everybody had when the worker had nothing left to do. */
  available: readonly number[];
  /** What a repeat was told before a victim that stood still went on. */
  answer: Answer | undefined;
  /** Of another redemption of the pool, asked for while there was no worker. */
  other: Answer | undefined;
}

async function prepared({ points, request }: Case): Promise<Sent> {
  const house = await household(shop, points);
  return { house, ...(await request(house)), available: [], answer: undefined, other: undefined };
}

/** Brings the requests to their steps; answers when all of them are there. Nobody may ever answer them. */
async function sentToVictims(
  requests: readonly Sent[],
  stallsOf: readonly Stall[][],
): Promise<Promise<unknown>[]> {
  const answers: Promise<unknown>[] = [];
  const reached = cases.map(async ({ between }, i) => {
    const { house, path, body } = requests[i]!;
    const victim = engine.apis[1 + (i % victimCount)]!;
    const options = { key: shop.tokens.admin, timeoutMs: 120_000 };
    let isThere = false;
    // On a slow machine a request is answered that the books do not have it yet, and nobody goes on before it is repeated.
    const send = async () => {
      while (!isThere) await victim.http('POST', path, body, options).catch(() => undefined);
    };
    answers.push(send());
    const [first, second] = stallsOf[i]!;
    try {
      await first!.reached();
      if (second) {
        await between!(house);
        await first!.letGo();
        await second.reached();
      }
    } finally {
      isThere = true;
    }
  });
  await Promise.all(reached);
  return answers;
}

const chosen = process.env.POOL_HARMS === 'all' ? Object.keys(harms) : ['kill -9'];
let worker: Spawned | undefined;

describe.each(chosen)('%s of an API', (harm) => {
  let requests: readonly Sent[] = [];
  let leaveNobody = async () => {};
  afterAll(() => leaveNobody());

  beforeAll(async () => {
    await worker?.stop();
    requests = await Promise.all(cases.map(prepared));
    const steps = cases.map((each, i) => each.steps.map((step) => inPool(step, requests[i]!.house.pool)));
    const stalls = await stallAt(stores.databaseUrl, steps.flat(), (remove) => {
      leaveNobody = remove;
    });
    const at = [...stalls.at];
    const sent = await sentToVictims(
      requests,
      steps.map((own) => at.splice(0, own.length)),
    );
    const heal = await Promise.all(engine.apis.slice(1).map((victim) => harms[harm]!(victim)));
    await stalls.remove();
    const last = requests.at(-1)!;
    last.other = await repeated(last.path, { ...last.body, reference: reference() });
    worker = await engine.startUpkeep();
    await settled();
    for (const each of requests) each.available = await availableOf(shop, each.house.residents);
    for (const each of requests) each.answer = await repeated(each.path, each.body);
    for (const each of heal) each();
    await Promise.all(sent);
    await settled();
  }, 180_000);

  test.each(cases.map(({ what }, i) => [what, i] as const))('%s', async (what, i) => {
    const { answer: wanted, left } = cases[i]!;
    const { house, path, body, available, answer } = requests[i]!;
    const told = await toldOf(house.pool);
    expect([answer!.status, answer!.code || answer!.body.status], told).toEqual(wanted);
    const { requestId: _, ...first } = answer!.body;
    expect((await repeated(path, body)).body).toMatchObject(first);
    const figures = await figuresOf(shop, house.residents);
    expect(figures.every(({ held, pending, debt }) => held + pending + debt === 0)).toBe(true);
    const now = figures.map(({ available: points }) => points);
    const sum = now.reduce((a, b) => a + b, 0);
    expect(typeof left === 'number' ? sum : now, told).toEqual(left);
    // Where it was begun, the worker alone has finished it.
    if (!/before (it is begun|its capture is decided)$/.test(what)) expect(available).toEqual(now);
  });

  test('keeps no other redemption of the pool waiting for the worker', () => {
    expect(requests.at(-1)!.other).toMatchObject({ status: 201, body: { status: 'redeemed' } });
  });
});
