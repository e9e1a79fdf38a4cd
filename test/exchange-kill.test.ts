/**
 * kill -9 at every step of an exchange, both ways, of the API and of the process `alliance`: whoever comes after finishes what was begun,
 * and points held, away and there are together what there were before, also while nobody works on them.
 *
 * Several exchanges stand each at a step of their own when their process is killed: what is written of exchanges goes in one statement
 * for all, two at once, so at most two stand where a state is written, and two where a call begins.
 */
import { afterAll, expect, test } from 'vitest';
import { createIdentity } from '#src/members/identity.ts';
import { resolveExchange } from '#src/partners/exchange/resolving.ts';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { reference, waitFor } from './harness.ts';
import { type Ally, ally, partnerAccount } from './house/alliance.ts';
import type { Behaviour } from './house/far-partner.ts';
import { spawnEngine } from './house/spawn.ts';
import { type Stall, type Step, stallAt } from './house/stall.ts';

const engine = await spawnEngine({ apis: 2, env: { PARTNER_TIMEOUT_MS: '500' } });
afterAll(() => engine.end());
let alliance = await engine.startAlliance();
const { stores } = engine;
const { pool } = stores;
const shop = await engine.shop();
const identity = createIdentity(Buffer.from(engine.env.IDENTITY_KEY!, 'base64'));
const allies: Ally[] = [];
afterAll(() => Promise.all(allies.map(({ far }) => far.close())));

type End = 'completed' | 'refused' | 'reversed';
interface Case {
  readonly direction: 'out' | 'in';
  /** Where it stands, in the rows of its partner alone. */
  readonly on?: 'insert' | 'update';
  readonly when: string;
  readonly plan?: readonly Behaviour[];
  readonly points?: number;
  /** What happens once the first process has done with it what it can, and leads to the step. */
  readonly next?: 'cancel' | 'succeed' | 'suspend and succeed';
  readonly ends: End;
}

const to = (state: string, from?: string) =>
  `new.state = '${state}' and old.state <> '${state}'${from === undefined ? '' : ` and old.state = '${from}'`}`;
const sentBack = `new.state = 'undoing' and old.state = 'undoing' and new.tries > old.tries`;
const out = (when: string, ends: End, more: Partial<Case> = {}): Case => ({
  ...{ direction: 'out', when, ends },
  ...more,
});
const into = (when: string, ends: End, more: Partial<Case> = {}): Case => ({
  ...out(when, ends, more),
  direction: 'in',
});

const untouched = { available: 100, held: 0, went: 0, there: 0 };
const ended = (direction: Case['direction'], end: End) => {
  if (end !== 'completed') return untouched;
  if (direction === 'out') return { available: 20, held: 0, went: 80, there: 40 };
  return { available: 220, held: 0, went: -120, there: -40 };
};

/** An exchange with a partner of its own. */
interface Standing {
  readonly wanted: Case;
  readonly who: Ally;
  readonly member: string;
  readonly request: object;
  readonly stall: Stall;
  id: string;
}

async function standing({ who, member }: Pick<Standing, 'who' | 'member'>) {
  const { available, held } = await shop.balances(member);
  return { available, held, went: await partnerAccount(pool, shop, who.number), there: who.far.points() };
}

const exchangeOf = async ({ number }: Ally): Promise<string> => {
  const { rows } = await pool.query<{ id: string }>(
    `select 'exc_' || replace(exchange::text, '-', '') as id from exchange where partner = $1`,
    [number],
  );
  return rows[0]?.id ?? '';
};

/** Puts off, or brings forward, whoever goes on with an exchange next. */
const due = (who: Ally, inMs: number) =>
  pool.query(
    `update exchange set due_at = now() + $2 * interval '1 millisecond' where partner = $1 and due_at is not null`,
    [who.number, inMs],
  );

/** Makes members and partners of cases, and the places where they will stand. */
async function prepared(
  cases: readonly Case[],
  limits: Record<string, unknown>,
): Promise<{ all: Standing[]; remove: () => Promise<void> }> {
  const made = [];
  for (const wanted of cases) {
    const who = await ally({ pool, identity }, shop, { limits });
    allies.push(who);
    const member = await who.member(100);
    const points = wanted.points ?? (wanted.direction === 'out' ? 80 : 40);
    const body = { member, partner: who.name, direction: wanted.direction, points };
    made.push({ wanted, who, member, request: { ...body, reference: reference() }, id: '' });
  }
  const steps = made.map(
    ({ wanted: { on = 'update', when }, who }): Step => ({
      on: `${on} on exchange`,
      when: `new.partner = ${who.number} and ${when}`,
    }),
  );
  const stalls = await stallAt(stores.databaseUrl, steps);
  return { all: made.map((each, i) => ({ ...each, stall: stalls.at[i]! })), remove: () => stalls.remove() };
}

/** What was written is in the books, what was not is nowhere: nothing is created or lost while nobody works on it. */
async function conserved(all: readonly Standing[]): Promise<void> {
  await engine.drained();
  for (const each of all) {
    const { available, held, went } = await standing(each);
    expect(available + held + went, each.wanted.when).toBe(100);
  }
}

/** Waits for the ends, which whoever is left brings about. */
async function finished(all: readonly Standing[]): Promise<void> {
  for (const { who } of all) await due(who, 0);
  for (const each of all) {
    const { wanted, who, request } = each;
    each.id = await waitFor(
      `${wanted.direction}, ${wanted.when}: ${wanted.ends}`,
      async () => {
        const { body } = await shop.admin('POST', '/v1/exchanges', request);
        const id = await exchangeOf(who);
        const { body: shown } = await shop.admin('GET', `/v1/exchanges/${id}`);
        if (shown.status !== wanted.ends) throw new Error(JSON.stringify([body, shown]).slice(0, 2_000));
        return id;
      },
      30_000,
      50,
    );
  }
  await engine.drained();
  for (const each of all) {
    each.who.far.arrive(each.id);
    expect(await standing(each), each.wanted.when).toEqual(ended(each.wanted.direction, each.wanted.ends));
  }
}

const victimCall = (path: string, body: object) =>
  engine.apis[1]!.http('POST', path, body, { key: shop.tokens.admin, timeoutMs: 60_000 }).catch(
    () => undefined,
  );

/** The exchanges come to their steps one after the other, in an API that is killed then. */
async function killApi(cases: readonly Case[]): Promise<void> {
  const { all, remove } = await prepared(cases, {});
  const open: Promise<unknown>[] = [];
  for (const { wanted, who, request, stall } of all) {
    who.far.next(...(wanted.plan ?? []));
    if (wanted.next === 'cancel') {
      await who.far.away();
      await victimCall('/v1/exchanges', request);
      await due(who, 3_600_000);
      open.push(victimCall(`/v1/exchanges/${await exchangeOf(who)}/cancel`, {}));
    } else open.push(victimCall('/v1/exchanges', request));
    await stall.reached();
  }
  await engine.apis[1]!.kill();
  for (const { stall } of all) await stall.cut();
  await remove();
  await Promise.all(open);
  const back = engine.startApi();
  await conserved(all);
  for (const { wanted, who } of all) {
    if (wanted.next === 'cancel') {
      await shop.admin('POST', `/v1/exchanges/${await exchangeOf(who)}/cancel`, {});
      await who.far.listen();
    }
    if (wanted.next === 'succeed') who.far.succeed(await exchangeOf(who));
  }
  await finished(all);
  engine.apis[1] = await back;
}

/** Leaves an exchange to the process `alliance` from its very first step, or the first that the API does not have to do. */
async function leftToAlliance({ wanted, who, request, member }: Standing): Promise<void> {
  const isOut = wanted.direction === 'out';
  if (!isOut) await who.far.away();
  const answer = await shop.admin('POST', '/v1/exchanges', request);
  expect([answer.status, answer.body.status]).toEqual([202, isOut ? 'in_review' : 'pending']);
  who.far.next(...(wanted.plan ?? []));
  const id = parseExchangeId(answer.id)!;
  const decision = { verdict: 'retry', actor: 'anna', reason: 'known to us' } as const;
  if (isOut) await resolveExchange(pool, identity, id, decision);
  else await who.far.listen();
  await due(who, 0);
  if (wanted.next === undefined) return;
  await waitFor('it is pending there', async () => {
    const { rows } = await pool.query('select from exchange where exchange = $1 and state = $2', [
      id,
      'waiting',
    ]);
    return rows.length === 1;
  });
  const why = { reference: reference(), reason: 'looked at' };
  if (wanted.next === 'suspend and succeed') await shop.admin('POST', `/v1/members/${member}/suspend`, why);
  who.far.succeed(answer.id);
  await due(who, 0);
}

/** The same in the process `alliance`. */
async function killAlliance(cases: readonly Case[]): Promise<void> {
  const { all, remove } = await prepared(cases, { accountAge: { days: 30, action: 'review' } });
  for (const each of all) {
    await leftToAlliance(each);
    await each.stall.reached();
  }
  await alliance.kill();
  for (const { stall } of all) await stall.cut();
  await remove();
  const back = engine.startAlliance();
  await conserved(all);
  for (const { wanted, who } of all)
    if (wanted.next !== undefined || wanted.plan?.includes('pending')) who.far.succeed(await exchangeOf(who));
  alliance = await back;
  await finished(all);
}

const pending = { plan: ['pending'] } as const;
const refuse = { plan: ['refuse'] } as const;
const repeated = { plan: ['late', 'refuse_now'] } as const;
const cancel = { next: 'cancel' } as const;

/** In the order in which they can come to stand: a state, a call, a state, a call, and what is begun. */
const inApi: Readonly<Record<string, readonly Case[]>> = {
  'held; before the call; the answer; before the call; begun': [
    out(to('ready'), 'completed'),
    out(to('calling'), 'completed'),
    out(to('capturing'), 'completed'),
    into(to('calling'), 'completed'),
    out(`new.state = 'holding'`, 'completed', { on: 'insert' }),
    into(`new.state = 'ready'`, 'completed', { on: 'insert' }),
  ],
  'captured; taken there': [out(to('completed'), 'completed'), into(to('crediting'), 'completed')],
  'pending, both ways': [
    out(to('waiting'), 'completed', { ...pending, next: 'succeed' }),
    into(to('waiting'), 'completed', { ...pending, next: 'succeed' }),
  ],
  'refused, both ways': [out(to('releasing'), 'refused', refuse), into(to('refused'), 'refused', refuse)],
  'released; too few points': [
    out(to('refused'), 'refused', refuse),
    out(to('refused', 'holding'), 'refused', { points: 120 }),
  ],
  'credited; called off': [into(to('completed'), 'completed'), out(to('releasing'), 'reversed', cancel)],
  'called off and released': [out(to('reversed'), 'reversed', cancel)],
};

const inAlliance: Readonly<Record<string, readonly Case[]>> = {
  'held; before the call; the answer; before the call': [
    out(to('ready'), 'completed'),
    out(to('calling'), 'completed'),
    out(to('capturing'), 'completed'),
    // The first call is the API's, to a partner that does not listen.
    into(`${to('calling')} and new.tries > 1`, 'completed'),
  ],
  'captured; before it is taken back; taken there': [
    out(to('completed'), 'completed'),
    out(sentBack, 'refused', repeated),
    into(to('crediting'), 'completed'),
  ],
  'pending; before it is given back; the answer to an inquiry': [
    out(to('waiting'), 'completed', pending),
    into(sentBack, 'reversed', { ...pending, next: 'suspend and succeed' }),
    out(to('capturing', 'waiting'), 'completed', { ...pending, next: 'succeed' }),
  ],
  'refused, both ways': [out(to('releasing'), 'refused', refuse), into(to('refused'), 'refused', refuse)],
  'released; credited': [out(to('refused'), 'refused', refuse), into(to('completed'), 'completed')],
  'a repeat refused; a credit made impossible': [
    out(to('undoing'), 'refused', { plan: ['late', 'refuse_now', 'refuse_now'] }),
    into(to('undoing'), 'reversed', { ...pending, next: 'suspend and succeed' }),
  ],
  'taken back there; given back there': [
    out(to('releasing', 'undoing'), 'refused', repeated),
    into(to('reversed'), 'reversed', { ...pending, next: 'suspend and succeed' }),
  ],
};

test.each(Object.keys(inApi))(
  'no point is created or lost where the API is killed with it: %s',
  (name) => killApi(inApi[name]!),
  120_000,
);

test.each(Object.keys(inAlliance))(
  'no point is created or lost where the process alliance is killed with it: %s',
  (name) => killAlliance(inAlliance[name]!),
  120_000,
);
