/**
 * Exchanges with a partner, which does to every call what a partner can do: points held, in flight and there are together what there
 * were before, whatever it does.
 */
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { createMembers } from '#src/members/members.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { checkEnded } from '#src/partners/exchange/checking.ts';
import type { Exchanging } from '#src/partners/exchange/exchanges.ts';
import { measure } from '#src/partners/exchange/figures.ts';
import { NotResolvable, resolveExchange, type Verdict } from '#src/partners/exchange/resolving.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { tellBreaks, tellExchanges } from '#src/partners/exchange/telling.ts';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { type Answer, reference, startEngine, waitFor } from './harness.ts';
import { type Ally, type AllyOptions, ally, partnerAccount } from './house/alliance.ts';
import type { Behaviour } from './house/far-partner.ts';
import { startTierHouse, tieredDefinition, yearly } from './house/tiers.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const shop = await engine.shop();
const quick = {
  timeoutMs: 400,
  retryMs: 5,
  retryMsMax: 20,
  doubtsMax: 4,
  openMs: 10,
  openMsMax: 20,
  checksMs: [1, 1],
};
const worker: Exchanging = createExchanging(app, quick);

const allies: Ally[] = [];
async function newAlly(options: AllyOptions = {}): Promise<Ally> {
  const made = await ally(app, shop, options);
  allies.push(made);
  return made;
}
afterAll(() => Promise.all(allies.map(({ far }) => far.close())));

const out = (who: Ally, member: string, points: number, more: object = {}) =>
  shop.checkout(
    'POST',
    '/v1/exchanges',
    { member, partner: who.name, direction: 'out', points, reference: reference(), ...more },
    { headers: { prefer: 'wait=5' } },
  );
const into = (who: Ally, member: string, points: number, more: object = {}) =>
  out(who, member, points, { direction: 'in', ...more });
const show = (id: string) => shop.checkout('GET', `/v1/exchanges/${id}`);

/** What the worker process does, until the exchange has come to one of these. */
function driven(id: string, partner: Ally, wanted: readonly string[]): Promise<Answer> {
  return waitFor(
    `${id} is ${wanted.join(' or ')}`,
    async () => {
      for (const each of await claimDue(pool, partner.number, 10, 1))
        await worker.saga.drive(each, Date.now() + 5_000);
      const answer = await show(id);
      if (wanted.includes(String(answer.body.status))) return answer;
      throw new Error(JSON.stringify(answer.body.history));
    },
    20_000,
  );
}

/** Of a member who had 100: what is left, and what the books and the partner say went there. */
async function standing(who: Ally, member: string) {
  await engine.drained();
  const { available, held, debt } = await shop.balances(member);
  return {
    available,
    held,
    debt,
    went: await partnerAccount(pool, shop, who.number),
    there: who.far.points(),
  };
}
const untouched = { available: 100, held: 0, debt: 0, went: 0, there: 0 };
const sent = { available: 20, held: 0, debt: 0, went: 80, there: 40 };

async function refusedOnce(who: Ally, member: string) {
  const body = { reference: reference() };
  const first = await out(who, member, 80, body);
  expect([first.status, first.code]).toEqual([409, 'exchange_refused']);
  const again = await out(who, member, 80, body);
  expect([again.status, again.code, again.replayed]).toEqual([409, 'exchange_refused', false]);
  return first;
}

describe('points that go out', () => {
  test('leave the member for the account of the partner, and are there', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    const body = { reference: reference() };
    const answer = await out(who, member, 80, body);
    expect([answer.status, answer.body.status]).toEqual([201, 'completed']);
    expect(answer.body).toMatchObject({
      give: { points: 80, currency: 'points' },
      receive: { points: 40, currency: 'miles' },
      rate: { numerator: 1, denominator: 2 },
    });
    const history = answer.body.history as { action: string; outcome: string }[];
    expect(history.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      'begin begun',
      'hold held',
      'call succeeded',
      'capture completed',
    ]);
    const late = await shop.checkout('POST', `/v1/exchanges/${answer.id}/cancel`, {});
    expect(late.code).toBe('exchange_not_cancellable');
    const again = await out(who, member, 80, body);
    expect([again.id, again.replayed]).toEqual([answer.id, true]);
    // Of what was not done nothing stands in the history.
    expect(again.body.history).toEqual(history);
    expect(await standing(who, member)).toEqual(sent);
    const other = await out(who, member, 60, body);
    expect([other.status, other.code, other.body.id]).toEqual([422, 'reference_reused', answer.id]);
  });

  test('are no more in a day than the rate allows, and what is refused moves nothing', async () => {
    const who = await newAlly({ caps: [{ period: 'day', of: 'give', points: 60 }] });
    const member = await who.member(200);
    expect((await out(who, member, 40)).status).toBe(201);
    const beyond = await out(who, member, 40);
    expect([beyond.status, beyond.code, beyond.body.left]).toEqual([409, 'cap_reached', 20]);
    expect((await out(who, member, 20)).status).toBe(201);
    expect((await shop.balances(member)).available).toBe(140);
  });

  test('are no more than the cap where a member asks for many at once, beside others, and one reference is one exchange', async () => {
    const who = await newAlly({ caps: [{ period: 'day', of: 'give', points: 60 }] });
    const [eager, other] = [await who.member(1_000), await who.member(1_000)];
    const body = { reference: reference() };
    const [many, same] = await Promise.all([
      Promise.all(Array.from({ length: 12 }, () => out(who, eager, 10))),
      Promise.all(Array.from({ length: 5 }, () => out(who, other, 20, body))),
    ]);
    const went = many.filter(({ status }) => status === 201 || status === 202);
    expect(went).toHaveLength(6);
    for (const { id } of went) await driven(id, who, ['completed']);
    expect(many.filter(({ code }) => code === 'exchange_not_allowed' || code === 'cap_reached')).toHaveLength(
      6,
    );
    const ids = new Set(same.map(({ id }) => id));
    expect(ids.size).toBe(1);
    await driven([...ids][0]!, who, ['completed']);
    await engine.drained();
    expect(await partnerAccount(pool, shop, who.number)).toBe(80);
    expect(who.far.points()).toBe(40);
  }, 90_000);

  test('have their fee in the books, as it was quoted, beside the points it is for', async () => {
    const who = await newAlly({ fee: { currency: 'EUR', fixed: 50, amount: 1, perPoints: 10 } });
    const member = await who.member(100);
    const answer = await out(who, member, 80);
    expect(answer.body.fee).toEqual({ amount: 58, currency: 'EUR' });
    await engine.drained();
    const { rows } = await pool.query<{ fee: unknown }>(
      `select request -> 'body' -> 'fee' as fee from operation
       where kind = 'exchange_out' and request -> 'body' ->> 'exchange' = $1`,
      [answer.id],
    );
    expect(rows).toEqual([{ fee: answer.body.fee }]);
  });

  test('stay where the member has too few, or the partner refuses', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    const poor = await out(who, member, 120);
    expect([poor.status, poor.code]).toEqual([409, 'insufficient_points']);
    expect(who.far.sends.size).toBe(0);
    who.far.next('refuse');
    const refusal = await refusedOnce(who, member);
    expect(refusal.body.reason).toBe('member_not_active');
    expect(await standing(who, member)).toEqual(untouched);
  });

  test.each<[string, Behaviour[], 'as_booked' | 'fault' | 'lost']>([
    ['never arrived', ['lost'], 'as_booked'],
    ['was booked and its answer lost', ['dropped'], 'as_booked'],
    ['was booked and answered too late', ['silent'], 'as_booked'],
    ['was answered with a fault', ['fault'], 'as_booked'],
    ['was answered by somebody else', ['proxy_page'], 'as_booked'],
    ['was booked, and inquiries are not answered', ['dropped'], 'lost'],
    ['was lost again and again', ['lost', 'dropped', 'fault'], 'fault'],
    ['was not done, as the partner says', ['busy', 'forbidden'], 'as_booked'],
  ])('arrive once where the call %s', async (_, behaviours, inquiries) => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next(...behaviours);
    who.far.inquiries(inquiries);
    const answer = await out(who, member, 80);
    expect([answer.status, answer.body.status]).toEqual([202, 'pending']);
    expect((await driven(answer.id, who, ['completed'])).body.status).toBe('completed');
    expect(await standing(who, member)).toEqual(sent);
  });

  test('that are pending there stay held until the partner says what became of them', async () => {
    for (const [verdict, status, expected] of [
      ['succeed', 'completed', sent],
      ['fail', 'refused', untouched],
    ] as const) {
      const who = await newAlly();
      const member = await who.member(100);
      who.far.next('pending');
      const answer = await out(who, member, 80);
      expect(answer.status).toBe(202);
      expect(await shop.balances(member)).toMatchObject({ available: 20, held: 80 });
      expect((await shop.checkout('POST', `/v1/exchanges/${answer.id}/cancel`, {})).code).toBe(
        'exchange_not_cancellable',
      );
      who.far[verdict](answer.id);
      await driven(answer.id, who, [status]);
      expect(await standing(who, member)).toEqual(expected);
    }
  });

  test('are parked for a person where the partner never answers, and go where the person says', async () => {
    const cases: [Verdict, string, typeof sent][] = [
      ['completed', 'completed', sent],
      ['retry', 'completed', sent],
      ['undo', 'reversed', untouched],
    ];
    for (const [verdict, status, expected] of cases) {
      const who = await newAlly();
      const member = await who.member(100);
      who.far.inquiries('lost');
      who.far.next('dropped', 'lost', 'lost', 'lost', 'lost', 'lost');
      const answer = await out(who, member, 80);
      await driven(answer.id, who, ['in_review']);
      expect(await shop.balances(member)).toMatchObject({ available: 20, held: 80 });
      who.far.next();
      who.far.inquiries('as_booked');
      const id = parseExchangeId(answer.id)!;
      const decision = { verdict, actor: 'anna', reason: 'asked by telephone' };
      await resolveExchange(pool, app.identity, id, decision);
      await expect(resolveExchange(pool, app.identity, id, decision)).rejects.toThrow(NotResolvable);
      await driven(answer.id, who, [status]);
      expect(await standing(who, member)).toEqual(expected);
    }
  }, 90_000);

  test('stay held where the partner has booked them and has archived what it booked', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next('dropped', ...Array.from({ length: 6 }, () => 'archived' as const));
    who.far.inquiries('archived');
    const answer = await out(who, member, 80);
    await driven(answer.id, who, ['in_review']);
    expect(await standing(who, member)).toEqual({ ...untouched, available: 20, held: 80, there: 40 });
  });

  test('are held for a person where the partner says that it booked others', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next('other_points');
    const answer = await out(who, member, 80);
    expect(answer.body.status).toBe('in_review');
    expect(await shop.balances(member)).toMatchObject({ available: 20, held: 80 });
    const { rows } = await pool.query<{ kind: string }>(
      'select kind from exchange_break where exchange = $1',
      [parseExchangeId(answer.id)],
    );
    expect(rows).toEqual([{ kind: 'reply_differs' }]);
    const [named, actor, reason] = [parseExchangeId(answer.id)!, 'anna', 'asked by telephone'];
    await resolveExchange(pool, app.identity, named, { verdict: 'undo', actor, reason });
    // What it takes back is no more what was asked for than what it booked.
    await driven(answer.id, who, ['in_review']);
    await resolveExchange(pool, app.identity, named, { verdict: 'refused', actor, reason });
    await driven(answer.id, who, ['refused']);
    expect(await standing(who, member)).toMatchObject({ available: 100, held: 0, went: 0 });
  });

  test('that a partner books after it refused them are a break, and never a second credit', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next('refuse');
    const refusal = await refusedOnce(who, member);
    const id = String(refusal.body.id);
    who.far.bookLate(id);
    await pool.query('update exchange set check_at = now() where exchange = $1', [parseExchangeId(id)]);
    await checkEnded(worker, 10);
    const { rows } = await pool.query<{ kind: string }>(
      'select kind from exchange_break where exchange = $1',
      [parseExchangeId(id)],
    );
    expect(rows).toEqual([{ kind: 'late_success' }]);
    expect((await measure(pool, 60_000)).breaks).toBeGreaterThan(0);
    expect(await standing(who, member)).toEqual({ ...untouched, there: 40 });
    await tellBreaks(pool);
    await tellExchanges(pool, app.programs);
    const events = await shop.admin('GET', '/v1/events?types=exchange.break,exchange.refused&limit=200');
    const told = (events.body.data as { type: string; exchange: string }[]).filter(
      ({ exchange }) => exchange === id,
    );
    expect(told.map(({ type }) => type).toSorted()).toEqual(['exchange.break', 'exchange.refused']);
  });

  test('are stuck where the partner refuses to listen, however often they are sent', async () => {
    const who = await newAlly();
    who.far.next('forbidden', 'forbidden');
    const { id } = await out(who, await who.member(100), 80);
    const exchange = parseExchangeId(id);
    const ago = (minutes: number) =>
      pool.query(
        `update exchange set changed_at = now() - $2 * interval '1 minute', due_at = now() where exchange = $1`,
        [exchange, minutes],
      );
    await ago(20);
    const before = (await measure(pool, 900_000)).stuck;
    const sent = () => who.far.sends.get(id) ?? 0;
    const sends = sent();
    await waitFor('it is sent again', async () => {
      await worker.saga.drive(exchange!, Date.now() + 5_000);
      return sent() > sends;
    });
    expect((await measure(pool, 900_000)).stuck).toBe(before);
    await ago(0);
    expect((await measure(pool, 900_000)).stuck).toBe(before - 1);
  });

  test('that were called off after a send, or refused by a person, are asked about once more', async () => {
    const isChecked = async (id: string) => {
      const { rows } = await pool.query<{ checked: boolean }>(
        'select check_at is not null as checked from exchange where exchange = $1',
        [parseExchangeId(id)],
      );
      return rows[0]!.checked;
    };
    const who = await newAlly();
    who.far.next('busy', 'busy');
    const [first, second] = [
      await out(who, await who.member(100), 80),
      await out(who, await who.member(100), 80),
    ];
    const cancelled = await shop.checkout('POST', `/v1/exchanges/${first.id}/cancel`, {});
    expect([cancelled.body.status, await isChecked(first.id)]).toEqual(['reversed', true]);
    const parked = parseExchangeId(second.id)!;
    await pool.query(
      `update exchange set state = 'in_review', review_of = 'ready', due_at = null where exchange = $1`,
      [parked],
    );
    const decision = { verdict: 'refused' as const, actor: 'anna', reason: 'asked by telephone' };
    await resolveExchange(pool, app.identity, parked, decision);
    expect(await isChecked(second.id)).toBe(true);
  });

  test('can be called off as long as nothing was sent', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    await who.far.away();
    const answer = await out(who, member, 80);
    expect([answer.status, answer.body.status]).toEqual([202, 'pending']);
    const cancel = () =>
      shop.checkout('POST', `/v1/exchanges/${answer.id}/cancel`, { reason: 'changed my mind' });
    const cancelled = await cancel();
    expect([cancelled.status, cancelled.body.status]).toEqual([200, 'reversed']);
    expect((await cancel()).body.status).toBe('reversed');
    await who.far.listen();
    expect(await standing(who, member)).toEqual(untouched);
    expect(who.far.sends.size).toBe(0);
  });
});

describe('points that come in', () => {
  const came = { available: 220, held: 0, debt: 0, went: -120, there: -40 };

  test.each<[string, Behaviour[], 'as_booked' | 'lost']>([
    ['is answered', [], 'as_booked'],
    ['never arrived', ['lost'], 'as_booked'],
    ['was booked and its answer lost', ['dropped'], 'as_booked'],
    ['was booked, and inquiries are not answered', ['silent'], 'lost'],
    ['was answered with a fault', ['fault', 'busy'], 'as_booked'],
  ])('are credited once where the call %s', async (_, behaviours, inquiries) => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next(...behaviours);
    who.far.inquiries(inquiries);
    const answer = await into(who, member, 40);
    await driven(answer.id, who, ['completed']);
    expect(await standing(who, member)).toEqual(came);
  });

  test('are not credited where the partner refuses', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next('refuse');
    const answer = await into(who, member, 40);
    expect([answer.status, answer.code]).toEqual([409, 'exchange_refused']);
    expect(await standing(who, member)).toEqual(untouched);
  });

  test('wait for a merge of the member, and are credited to the survivor', async () => {
    const who = await newAlly();
    const [member, survivor] = [await who.member(100), await shop.enrol()];
    who.far.next('pending');
    const { id } = await into(who, member, 40);
    const merge = { reference: reference(), reason: 'twice', into: survivor };
    const begun = await shop.admin('POST', `/v1/members/${member}/merge`, merge, {
      headers: { prefer: 'wait=0' },
    });
    expect(begun.body.status).toBe('merging');
    who.far.succeed(id);
    const exchange = parseExchangeId(id)!;
    const { state } = await worker.saga.drive(exchange, Date.now() + 5_000);
    expect(state).toBe('crediting');
    const { merges } = createMembers(app);
    await waitFor('the merge is through', async () => {
      await engine.drained();
      await merges.resume(50);
      return (await shop.care('GET', `/v1/members/${begun.id}`)).body.mergedInto !== undefined;
    });
    await pool.query('update exchange set due_at = now() where exchange = $1', [exchange]);
    await driven(id, who, ['completed']);
    expect(await standing(who, survivor)).toEqual(came);
  });

  test('end as the program lets points of the member end: by the tier, and by the month of birth', async () => {
    const expiry = {
      kind: 'tier' as const,
      tiers: { gold: { kind: 'days' as const, days: 100 } },
      otherwise: { kind: 'birthday_month' as const, years: 1 },
    };
    const currencies = [{ code: 'points', expiry }, { code: 'bonus' }];
    const tiered = await engine.shop({ definition: tieredDefinition([yearly], { currencies }) });
    const house = startTierHouse(app, engine.drained);
    onTestFinished(() => house.stop());
    const who = await ally(app, tiered);
    allies.push(who);
    const [plain, golden] = [await who.member(0), await who.member(0)];
    const birthMonth = ((new Date().getUTCMonth() + 5) % 12) + 1;
    const birthday = `--${String(birthMonth).padStart(2, '0')}-15`;
    await tiered.admin('PATCH', `/v1/members/${plain}`, { birthday });
    const grant = { reference: reference(), tier: 'gold', reason: 'a friend' };
    expect((await tiered.care('POST', `/v1/members/${golden}/tier`, grant)).status).toBeLessThan(300);
    await house.settled();
    const endsOn = async (member: string) => {
      const body = { member, partner: who.name, direction: 'in', points: 10, reference: reference() };
      const { status, at } = await tiered.checkout('POST', '/v1/exchanges', body);
      expect(status).toBe(201);
      const { body: shown } = await tiered.care('GET', `/v1/members/${member}/balances`);
      const { lots } = (shown.balances as Record<string, { lots: { expiresOn: string }[] }>).points!;
      return { today: Date.parse(String(at('history.0.at'))), ends: lots.map(({ expiresOn }) => expiresOn) };
    };
    const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
    const gold = await endsOn(golden);
    expect(gold.ends).toEqual([dayOf(gold.today + 100 * 86_400_000)]);
    const { today, ends } = await endsOn(plain);
    expect(ends).toEqual([dayOf(Date.UTC(new Date(today).getUTCFullYear() + 1, birthMonth, 0))]);
  });

  test('are given back there where the member has left meanwhile', async () => {
    const who = await newAlly();
    const member = await who.member(0);
    who.far.next('pending');
    const answer = await into(who, member, 40);
    const closed = await shop.admin('POST', `/v1/members/${member}/close`, {
      reference: reference(),
      reason: 'left',
    });
    expect(closed.status).toBe(200);
    who.far.succeed(answer.id);
    await driven(answer.id, who, ['reversed']);
    await engine.drained();
    expect(who.far.points()).toBe(0);
    expect(await partnerAccount(pool, shop, who.number)).toBe(0);
  });
});

describe('a repeat that is refused, where what was sent before may still arrive', () => {
  test.each([
    ['out', out, 80],
    ['in', into, 40],
  ] as const)('is undone there before points that go %s come back', async (_, exchange, points) => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next('late', 'refuse_now', 'lost');
    const { id } = await exchange(who, member, points);
    const { body } = await driven(id, who, ['refused']);
    const history = body.history as { action: string; outcome: string }[];
    expect(history.map(({ action, outcome }) => `${action} ${outcome}`)).toContain('undo succeeded');
    who.far.arrive(id);
    expect(await standing(who, member)).toEqual(untouched);
  });

  test('leaves the points to a person where the partner does not undo it', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    who.far.next('late', 'refuse_now', 'refuse_now');
    const { id } = await out(who, member, 80);
    await driven(id, who, ['in_review']);
    who.far.arrive(id);
    expect(await standing(who, member)).toEqual({ ...untouched, available: 20, held: 80, there: 40 });
  });
});

describe('a quote', () => {
  test('is what is exchanged, once, until it ends', async () => {
    const clocked = await engine.shop({ mode: 'test' });
    const who = await ally(app, clocked);
    allies.push(who);
    const member = await who.member(100);
    const ask = { member, partner: who.name, direction: 'out', points: 80 };
    const quote = await clocked.checkout('POST', '/v1/exchanges/quote', ask);
    expect([quote.status, quote.body.status]).toEqual([200, 'quoted']);
    const by = (id: string) =>
      clocked.checkout('POST', '/v1/exchanges', { quote: id, reference: reference() });
    const done = await by(quote.id);
    expect([done.status, done.id, done.body.rate]).toEqual([201, quote.id, quote.body.rate]);
    expect((await by(quote.id)).code).toBe('quote_expired');
    const late = await clocked.checkout('POST', '/v1/exchanges/quote', { ...ask, points: 10 });
    await clocked.advance(301);
    expect((await by(late.id)).code).toBe('quote_expired');
  });

  test('is refused for a step, a partner or a member that does not fit', async () => {
    const who = await newAlly();
    const member = await who.member(100);
    const quote = (more: object) =>
      shop.checkout('POST', '/v1/exchanges/quote', {
        ...{ member, partner: who.name, direction: 'out', points: 80 },
        ...more,
      });
    expect((await quote({ points: 3 })).code).toBe('exchange_limit');
    expect((await quote({ partner: 'nobody' })).code).toBe('validation_failed');
    expect((await quote({ member: await shop.enrol() })).code).toBe('member_not_linked');
    expect((await quote({ currency: 'gold' })).code).toBe('currency_unknown');
  });
});

describe('limits against abuse', () => {
  test('refuse what the contract does not allow, and what came to nothing does not count', async () => {
    const who = await newAlly({ limits: { member: { count: 1, hours: 24, action: 'refuse' } } });
    const member = await who.member(100);
    who.far.next('refuse');
    expect((await out(who, member, 10)).code).toBe('exchange_refused');
    expect((await out(who, member, 10)).status).toBe(201);
    const third = await out(who, member, 10);
    expect([third.status, third.code]).toEqual([409, 'exchange_not_allowed']);
    expect(await standing(who, member)).toMatchObject({ available: 90, held: 0, went: 10, there: 5 });
  });

  test('leave it to a person before anything is held or sent', async () => {
    const who = await newAlly({ limits: { member: { count: 1, hours: 24, action: 'review' } } });
    const member = await who.member(100);
    expect((await out(who, member, 10)).status).toBe(201);
    const second = await out(who, member, 10);
    expect([second.status, second.body.status]).toEqual([202, 'in_review']);
    const reasons = [{ limit: 'member_velocity', bound: 1, value: 2, until: expect.any(String) }];
    expect(second.at('history.0')).toMatchObject({ outcome: 'in_review', detail: { reasons } });
    expect(await shop.balances(member)).toMatchObject({ available: 90, held: 0 });
    const [actor, reason] = ['anna', 'known to us'];
    const id = parseExchangeId(second.id)!;
    const tooSoon = resolveExchange(pool, app.identity, id, { verdict: 'completed', actor, reason });
    await expect(tooSoon).rejects.toThrow(NotResolvable);
    await resolveExchange(pool, app.identity, id, { verdict: 'retry', actor, reason });
    await driven(second.id, who, ['completed']);
    expect(await standing(who, member)).toMatchObject({ available: 80, held: 0, went: 20, there: 10 });
  });
});

test('amounts that nobody can count are refused, and counted by the name of their bound', async () => {
  const who = await newAlly({ fee: { currency: 'EUR', amount: 1_000, perPoints: 1 } });
  const member = await who.member(100);
  for (const exchange of [
    await out(who, member, Number.MAX_SAFE_INTEGER - 1),
    await into(who, member, Number.MAX_SAFE_INTEGER),
  ])
    expect(exchange.body).toMatchObject({ status: 409, code: 'exchange_limit', limit: 'uncountable' });
  const metric = await app.telemetry.metrics.exchangeJudgements.get();
  expect(metric.values.map(({ labels }) => labels.limit)).toContain('uncountable');
  expect(await standing(who, member)).toEqual(untouched);
});

test('a partner that is down delays only its own exchanges', async () => {
  const [down, up] = [await newAlly({ callsAtOnce: 2 }), await newAlly()];
  const stranded = await down.member(1_000);
  down.far.next(...Array.from({ length: 60 }, () => 'silent' as const));
  down.far.inquiries('lost');
  const waiting = await Promise.all(Array.from({ length: 6 }, () => out(down, stranded, 10)));
  expect(new Set(waiting.map(({ body }) => body.status))).toEqual(new Set(['pending']));
  const member = await up.member(100);
  const answer = await out(up, member, 80);
  expect([answer.status, answer.body.status]).toEqual([201, 'completed']);
  down.far.next();
  down.far.inquiries('as_booked');
  for (const { id } of waiting) await driven(id, down, ['completed']);
  await engine.drained();
  expect(await partnerAccount(pool, shop, down.number)).toBe(60);
  expect(down.far.points()).toBe(30);
});
