/** Exchanges whose own steps go wrong: two processes at one step, answers that say something else, and steps that fail for good. */
import { afterAll, describe, expect, test } from 'vitest';
import { Problem } from '#src/errors.ts';
import { startExchanges } from '#src/jobs/exchanges.ts';
import { takeStep } from '#src/members/engine.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { checkEnded } from '#src/partners/exchange/checking.ts';
import type { Exchanging } from '#src/partners/exchange/exchanges.ts';
import { resolveExchange, type Verdict } from '#src/partners/exchange/resolving.ts';
import { tellExchanges } from '#src/partners/exchange/telling.ts';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { type OperationHex, parseMemberId } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import type { Draft, Operations } from '#src/wallet/operations.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { type Ally, type AllyOptions, ally, partnerAccount } from './house/alliance.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool, redis } = engine;
const shop = await engine.shop();
const quick = {
  ...{ timeoutMs: 400, retryMs: 5, retryMsMax: 20, doubtsMax: 4, openMs: 10, openMsMax: 20 },
  ...{ faultsMax: 3, waitsMax: 50 },
};
const worker: Exchanging = createExchanging(app, quick);
const drive = (id: string, by = worker) => by.saga.drive(parseExchangeId(id)!, Date.now() + 5_000);

const allies: Ally[] = [];
async function newAlly(options: AllyOptions = {}): Promise<Ally> {
  const made = await ally(app, shop, options);
  allies.push(made);
  return made;
}
afterAll(() => Promise.all(allies.map(({ far }) => far.close())));

const exchange = (who: Ally, member: string, direction: 'out' | 'in', points: number) =>
  shop.checkout('POST', '/v1/exchanges', {
    ...{ member, partner: who.name, direction, points, reference: reference() },
  });

/** Of a member: what is there, and what the books and the partner say went there. */
async function standing(who: Ally, member: string) {
  await engine.drained();
  const { available, held, debt } = await shop.balances(member);
  const went = await partnerAccount(pool, shop, who.number);
  return { available, held, debt, went, there: who.far.points() };
}

const life = (member: string, what: string) =>
  shop.admin('POST', `/v1/members/${member}/${what}`, { reference: reference(), reason: 'looked at' });

/** A process that stands still at the first movement of this kind, until it is let go. */
function standstill(stands: (draft: Pick<Draft, 'kind' | 'request'>) => boolean, at: 'known' | 'attempt') {
  const [reached, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let isOver = false;
  async function pass(draft: Pick<Draft, 'kind' | 'request'>): Promise<void> {
    if (isOver || !stands(draft)) return;
    isOver = true;
    reached.resolve();
    await go.promise;
  }
  const { operations } = app;
  const known: Operations['known'] = async (draft) => {
    if (at === 'known') await pass(draft);
    return operations.known(draft);
  };
  const attempt: Operations['attempt'] = async (draft, lookedUpAt) => {
    if (at === 'attempt') await pass(draft);
    return operations.attempt(draft, lookedUpAt);
  };
  const process = createExchanging({ ...app, operations: { ...operations, known, attempt } }, quick);
  return { process, reached: reached.promise, letGo: () => go.resolve() };
}

const isCredit = ({ kind, request }: Pick<Draft, 'kind' | 'request'>) =>
  kind === 'exchange_in' && !('refused' in (request.body as object));
const isVoid = ({ kind, request }: Pick<Draft, 'kind' | 'request'>) =>
  kind === 'exchange_in' && 'refused' in (request.body as object);

/** Forty points taken at the partner, and not yet credited here as a hundred and twenty. */
async function taken(who: Ally) {
  const member = await who.member(100);
  who.far.next('pending');
  const { id } = await exchange(who, member, 'in', 40);
  who.far.succeed(id);
  return { member, id };
}

async function merged(member: string): Promise<string> {
  const survivor = await shop.enrol();
  const body = { reference: reference(), reason: 'twice', into: survivor };
  const answer = await shop.admin('POST', `/v1/members/${member}/merge`, body, {
    headers: { prefer: 'wait=10' },
  });
  expect(answer.status).toBe(200);
  await waitFor('the merge is through', async () => {
    return (await shop.care('GET', `/v1/members/${member}`)).body.mergedInto !== undefined;
  });
  return survivor;
}

/** Redis remembers a refusal for twenty minutes; then it is as if it had never been. */
async function memoryEnds(id: string, member: string): Promise<void> {
  const key = referenceKeyOf(shop.program.number, 0, 'exchange_in', `${id}/credit`);
  const shard = app.operations.wallet.shardOf(parseMemberId(member)!);
  await redis.del(keys.idempotency(shard, key));
}

describe('a credit that one process is refused while another makes it', () => {
  test.each(['forgotten', 'merged'] as const)(
    'is never made once the points were given back there (%s)',
    async (how) => {
      const who = await newAlly();
      const { member, id } = await taken(who);
      await life(member, 'suspend');
      const slow = standstill(isCredit, 'known');
      const late = drive(id, slow.process);
      await slow.reached;
      expect((await drive(id)).state).toBe('reversed');
      await life(member, 'resume');
      const owner = how === 'merged' ? await merged(member) : member;
      if (how === 'forgotten') await memoryEnds(id, member);
      slow.letGo();
      expect((await late).state).toBe('reversed');
      expect(await standing(who, owner)).toEqual({ available: 100, held: 0, debt: 0, went: 0, there: 0 });
    },
  );

  test('is what both go on with where it came first, also to the survivor of a merge', async () => {
    const who = await newAlly();
    const { member, id } = await taken(who);
    await life(member, 'suspend');
    const slow = standstill(isVoid, 'attempt');
    const late = drive(id, slow.process);
    await slow.reached;
    await life(member, 'resume');
    const survivor = await merged(member);
    expect((await drive(id)).state).toBe('completed');
    slow.letGo();
    expect((await late).state).toBe('completed');
    expect(await standing(who, survivor)).toEqual({
      ...{ available: 220, held: 0, debt: 0, went: -120, there: -40 },
    });
  });
});

async function breaksOf(id: string) {
  const { rows } = await pool.query<{ kind: string; open: boolean }>(
    'select kind, resolved_at is null as open from exchange_break where exchange = $1',
    [parseExchangeId(id)],
  );
  return rows;
}
const decide = (id: string, verdict: Verdict) =>
  resolveExchange(pool, app.identity, parseExchangeId(id)!, { verdict, actor: 'anna', reason: 'asked' });

describe('what a partner answers to a reversal', () => {
  test.each(['other_points', 'no_points', 'other_kind'] as const)(
    'is not believed where it does not say that exactly these points were given back (%s)',
    async (behaviour) => {
      const who = await newAlly();
      const { member, id } = await taken(who);
      await life(member, 'suspend');
      who.far.next(behaviour);
      expect((await drive(id)).state).toBe('in_review');
      expect(await breaksOf(id)).toEqual([{ kind: 'reply_differs', open: true }]);
      // The same answer again is the same break again, also after a person has closed it.
      await decide(id, 'retry');
      expect((await drive(id)).state).toBe('in_review');
      expect(await breaksOf(id)).toEqual([{ kind: 'reply_differs', open: true }]);
      await decide(id, 'refused');
      expect((await drive(id)).state).toBe('reversed');
      expect(await breaksOf(id)).toEqual([{ kind: 'reply_differs', open: false }]);
      expect((await standing(who, member)).went).toBe(0);
    },
  );

  test('keeps points that go out held where it tells of others', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next('late', 'refuse_now', 'other_points');
    const { id } = await exchange(who, member, 'out', 80);
    await waitFor('a person has to look', async () => (await drive(id)).state === 'in_review');
    expect(await breaksOf(id)).toEqual([{ kind: 'reply_differs', open: true }]);
    expect(await shop.balances(member)).toMatchObject({ available: 20, held: 80 });
    await decide(id, 'refused');
    await waitFor('they are back', async () => (await drive(id)).state === 'refused');
    expect(await shop.balances(member)).toMatchObject({ available: 100, held: 0 });
  });
});

describe('a step that fails', () => {
  /** Drives it on, whatever it answers, until it is there. */
  const until = (id: string, state: string) =>
    waitFor(`${id} is ${state}`, async () => (await drive(id).catch(() => undefined))?.state === state);
  const lastStep = async (id: string) => {
    const { body } = await shop.checkout('GET', `/v1/exchanges/${id}`);
    const { action, outcome } = (body.history as { action: string; outcome: string }[]).at(-1)!;
    return `${action} ${outcome}`;
  };

  /** Points that the partner has, and whose hold something else has released, as nothing should. */
  async function heldNoMore(who: Ally) {
    const member = await who.member(100);
    who.far.next('pending');
    const { id } = await exchange(who, member, 'out', 80);
    await engine.drained();
    const { rows } = await pool.query<{ hold: OperationHex }>(
      `select replace(hold::text, '-', '') as hold from exchange where exchange = $1`,
      [parseExchangeId(id)],
    );
    const { hold } = rows[0]!;
    const program = app.programs.get(shop.program.number)!;
    await takeStep(app.operations, {
      ...{
        program,
        member: parseMemberId(member)!,
        script: 'settle',
        kind: 'release',
        reference: reference(),
      },
      ...{ input: { hold, mode: 'release', parts: [] }, request: { body: {} }, origins: [hold] },
    });
    await engine.drained();
    who.far.succeed(id);
    await until(id, 'in_review');
    return { member, id };
  }

  test('for good is left to a person with its reason, who has it taken back there', async () => {
    const who = await newAlly();
    const { member, id } = await heldNoMore(who);
    expect(await lastStep(id)).toBe('capture hold_not_open');
    await tellExchanges(pool, app.programs);
    const events = await shop.admin('GET', '/v1/events?types=exchange.in_review&limit=200');
    const told = (events.body.data as { exchange: string; reason: string }[]).find(
      (each) => each.exchange === id,
    );
    expect(told).toMatchObject({ reason: 'hold_not_open' });
    expect(await app.telemetry.registry.metrics()).toMatch(
      /loyalty_exchange_faults_total\{action="capture",outcome="in_review"\} 1/,
    );
    await decide(id, 'retry');
    await until(id, 'in_review');
    await decide(id, 'undo');
    await until(id, 'reversed');
    expect(await standing(who, member)).toEqual({ available: 100, held: 0, debt: 0, went: 0, there: 0 });
  });

  test('for good ends as a person says who has put it right by hand, and not while the points are held', async () => {
    const who = await newAlly();
    const { id } = await heldNoMore(who);
    await decide(id, 'settled');
    expect((await drive(id)).state).toBe('completed');
    const other = await who.member(100);
    who.far.next('dropped', 'lost', 'lost', 'lost', 'lost', 'lost');
    who.far.inquiries('lost');
    const held = await exchange(who, other, 'out', 80);
    await until(held.id, 'in_review');
    who.far.inquiries('as_booked');
    await expect(decide(held.id, 'settled')).rejects.toThrow('for what went out');
    await pool.query(`update exchange set review_of = 'capturing' where exchange = $1`, [
      parseExchangeId(held.id),
    ]);
    await expect(decide(held.id, 'settled')).rejects.toThrow('the points are held');
    await expect(decide(held.id, 'undo')).rejects.toThrow('the hold is there');
    await decide(held.id, 'completed');
    expect((await drive(held.id)).state).toBe('completed');
    expect((await standing(who, other)).went).toBe(80);
  });

  test('for good does not credit what a person has given back there', async () => {
    const who = await newAlly();
    const { member, id } = await taken(who);
    await pool.query(
      `update exchange set state = 'in_review', review_of = 'crediting', partner_operation = 'far_1', due_at = null where exchange = $1`,
      [parseExchangeId(id)],
    );
    await expect(decide(id, 'refused')).rejects.toThrow('it may be credited here by now');
    await decide(id, 'undo');
    expect((await drive(id)).state).toBe('reversed');
    expect(await standing(who, member)).toEqual({ available: 100, held: 0, debt: 0, went: 0, there: 0 });
  });

  test('because a store is away is waited for, and longer, but not without end', async () => {
    const who = await newAlly();
    const { id } = await taken(who);
    const away: Operations['attempt'] = () => Promise.reject(new Problem('shard_recovering'));
    const operations = { ...app.operations, attempt: away };
    const cut = createExchanging({ ...app, operations }, { ...quick, faultsMax: 2, waitsMax: 5 });
    for (let tries = 1; tries <= 5; tries += 1) {
      await expect(drive(id, cut)).rejects.toThrow('shard_recovering');
      const { rows } = await pool.query<{ state: string; faults: number }>(
        'select state, faults from exchange where exchange = $1',
        [parseExchangeId(id)],
      );
      expect(rows).toEqual([{ state: tries < 5 ? 'crediting' : 'in_review', faults: tries }]);
    }
    expect(await lastStep(id)).toBe('credit shard_recovering');
    await decide(id, 'retry');
    expect((await drive(id)).state).toBe('completed');
  });

  test('because its row cannot be read is left to a person as well', async () => {
    const who = await newAlly();
    const { id } = await taken(who);
    await pool.query(`update exchange set account_sealed = '\\x01' where exchange = $1`, [
      parseExchangeId(id),
    ]);
    await waitFor('a person has to look', async () => {
      await drive(id).catch(() => undefined);
      const { rows } = await pool.query<{ state: string }>('select state from exchange where exchange = $1', [
        parseExchangeId(id),
      ]);
      return rows[0]!.state === 'in_review';
    });
  });
});

describe('a partner that is to be asked once more', () => {
  /** Says that it is to be asked now about what it refused so many days ago. */
  const due = (id: string, days: number) =>
    pool.query(
      `update exchange set check_at = now(), changed_at = now() - $2 * interval '1 day' where exchange = $1`,
      [parseExchangeId(id), days],
    );
  async function refusedBefore(who: Ally, days: number): Promise<string> {
    who.far.next('refuse');
    const { body } = await exchange(who, await who.member(100), 'out', 80);
    await due(String(body.id), days);
    return String(body.id);
  }
  const isAskedAgain = async (id: string) => {
    const { rows } = await pool.query<{ again: boolean }>(
      'select check_at is not null as again from exchange where exchange = $1',
      [parseExchangeId(id)],
    );
    return rows[0]!.again;
  };
  const unasked = { kind: 'unasked', open: true };

  test('and does not answer is asked for days, and then a person is', async () => {
    const who = await newAlly();
    const id = await refusedBefore(who, 3);
    who.far.inquiries('lost');
    await checkEnded(worker, 100);
    expect([await breaksOf(id), await isAskedAgain(id)]).toEqual([[], true]);
    await due(id, 5);
    await checkEnded(worker, 100);
    expect([await breaksOf(id), await isAskedAgain(id)]).toEqual([[unasked], false]);
  });

  test('is asked first, also where nobody has asked it for days', async () => {
    const who = await newAlly({ callsAtOnce: 1 });
    // All but the first find its only line busy: of none of them anything is said.
    const ids = [];
    for (let i = 0; i < 3; i += 1) ids.push(await refusedBefore(who, 5));
    await checkEnded(worker, 100);
    for (const id of ids) expect([await breaksOf(id), await isAskedAgain(id)]).toEqual([[], true]);
  });

  test('is not forgotten where a process ends before a person could hear of it', async () => {
    const who = await newAlly();
    const id = await refusedBefore(who, 5);
    who.far.inquiries('lost');
    await pool.query(
      `alter table exchange_break add constraint no_break check (kind <> 'unasked') not valid`,
    );
    await checkEnded(worker, 100).catch(() => undefined);
    await pool.query('alter table exchange_break drop constraint no_break');
    expect([await breaksOf(id), await isAskedAgain(id)]).toEqual([[], true]);
    await due(id, 5);
    await checkEnded(worker, 100);
    expect(await breaksOf(id)).toEqual([unasked]);
  });
});

test('an answer about another movement says nothing of ours: it is given up as one that never arrived', async () => {
  const who = await newAlly();
  expect((await exchange(who, await who.member(100), 'out', 20)).status).toBe(201);
  const member = await who.member(100);
  who.far.next('other_movement');
  const { id } = await exchange(who, member, 'out', 80);
  expect(await breaksOf(id)).toEqual([{ kind: 'reply_differs', open: true }]);
  await decide(id, 'undo');
  expect((await drive(id)).state).toBe('reversed');
  expect(await standing(who, member)).toEqual({ available: 100, held: 0, debt: 0, went: 20, there: 10 });
});

test('what is called off is called off for whoever asks again, also while the books are behind', async () => {
  const who = await newAlly();
  const member = await who.member(100);
  await who.far.away();
  const { id } = await exchange(who, member, 'out', 80);
  const cancel = () =>
    shop.checkout('POST', `/v1/exchanges/${id}/cancel`, {}, { headers: { prefer: 'wait=0' } });
  await engine.withoutWriter(async () => {
    for (const answer of [await cancel(), await cancel()])
      expect([answer.status, answer.body.status]).toEqual([200, 'pending']);
  });
  await waitFor('it is called off', async () => (await cancel()).body.status === 'reversed');
  const { body } = await shop.checkout('GET', `/v1/exchanges/${id}`);
  const actions = (body.history as { action: string }[]).map(({ action }) => action);
  expect(actions.filter((action) => action === 'cancel')).toHaveLength(1);
  expect((await standing(who, member)).available).toBe(100);
});

test('what cannot be tended keeps nothing else from being tended', async () => {
  const who = await newAlly();
  const { id } = await exchange(who, await who.member(100), 'out', 80);
  const other = String((await exchange(who, await who.member(100), 'out', 10)).body.id);
  await engine.drained();
  await pool.query(`insert into exchange_break (exchange, kind, detail) values ($1, 'late_refusal', '{}')`, [
    parseExchangeId(id),
  ]);
  await pool.query(`update exchange_use set made_at = now() - interval '401 days' where exchange = $1`, [
    parseExchangeId(other),
  ]);
  const work = startExchanges(app);
  // Breaks cannot be told, and holds without an exchange cannot be looked for.
  await pool.query(`alter table event add constraint no_break check (type <> 'exchange.break') not valid`);
  await pool.query('alter table hold rename to hold_away');
  try {
    const failed: AggregateError = await work.tend().then(
      () => new AggregateError([]),
      (error: AggregateError) => error,
    );
    expect(failed.errors.map(String)).toEqual([
      expect.stringContaining('no_break'),
      expect.stringContaining('"hold" does not exist'),
    ]);
  } finally {
    await pool.query('alter table hold_away rename to hold');
    await pool.query('alter table event drop constraint no_break');
    await work.stop();
  }
  const { rows } = await pool.query(
    `select (select told from exchange where exchange = $1) as told,
       (select count(*)::int from exchange_use where exchange = $2) as uses`,
    [id, other].map(parseExchangeId),
  );
  expect(rows).toEqual([{ told: 'completed', uses: 0 }]);
});

describe('each step is told and counted', () => {
  const told = async (id: string) => {
    await tellExchanges(pool, app.programs);
    const types = 'exchange.begun,exchange.held,exchange.sent,exchange.completed,exchange.in_review';
    const { body } = await shop.admin('GET', `/v1/events?types=${types}&limit=200`);
    const events = body.data as { type: string; exchange: string }[];
    return events.filter((each) => each.exchange === id).map(({ type }) => type.replace('exchange.', ''));
  };
  const rested = (id: string) =>
    pool.query(`update exchange set changed_at = now() - interval '3 seconds' where exchange = $1`, [
      parseExchangeId(id),
    ]);
  const counted = async (action: string, outcome: string) => {
    const text = await app.telemetry.registry.metrics();
    const found = new RegExp(`steps_total\\{action="${action}",outcome="${outcome}"\\} (\\d+)`).exec(text);
    return Number(found?.[1] ?? 0);
  };

  test('in its order: begun, held, sent and what became of it, each once', async () => {
    const who = await newAlly();
    const steps = [
      ['begin', 'begun'],
      ['hold', 'held'],
      ['call', 'sent'],
      ['capture', 'completed'],
    ] as const;
    const before = await Promise.all(steps.map(([action, outcome]) => counted(action, outcome)));
    const { id } = await exchange(who, await who.member(100), 'out', 80);
    expect(await told(id)).toEqual(['begun', 'held', 'sent', 'completed']);
    expect(await told(id)).toHaveLength(4);
    const after = await Promise.all(steps.map(([action, outcome]) => counted(action, outcome)));
    expect(after).toEqual(before.map((count) => count + 1));
  });

  test('also while it lasts, and each time that a person has to look', async () => {
    const who = await newAlly();
    who.far.next('pending');
    const { id } = await exchange(who, await who.member(100), 'in', 40);
    // What is through in a moment is told at its end, and nobody who works on it waits for that.
    expect(await told(id)).toEqual([]);
    await rested(id);
    expect(await told(id)).toEqual(['begun', 'sent']);
    const park = `update exchange set state = 'in_review', review_of = 'waiting', changed_at = now() where exchange = $1`;
    await pool.query(park, [parseExchangeId(id)]);
    expect(await told(id)).toEqual(['begun', 'sent', 'in_review']);
    await decide(id, 'retry');
    await rested(id);
    expect(await told(id)).toHaveLength(3);
    await pool.query(park, [parseExchangeId(id)]);
    expect(await told(id)).toHaveLength(4);
    await decide(id, 'retry');
    who.far.succeed(id);
    expect((await drive(id)).state).toBe('completed');
    expect((await told(id)).at(-1)).toBe('completed');
  });
});
