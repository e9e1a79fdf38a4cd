/** Partners that have bought points in advance: what they give is drawn from their blocks before it is given, and billed no more. */
import { afterAll, describe, expect, test } from 'vitest';
import { createProgramFor } from '#src/diary/programs.ts';
import { checkSettlement } from '#src/partners/clearing/check.ts';
import { coverAll, returnStrays } from '#src/partners/clearing/covering.ts';
import type { Entry } from '#src/partners/clearing/entries.ts';
import { clearTurn } from '#src/partners/clearing/follower.ts';
import { tendPrepaid } from '#src/partners/clearing/tending.ts';
import { drawBefore } from '#src/partners/contracts/drawing.ts';
import { readPartners } from '#src/partners/contracts/store.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { partnerCalls } from '#src/partners/protocol/calls.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { ally } from './house/alliance.ts';
import { allEntries, clearAll, clearingOf } from './house/clearing.ts';
import { linked, openPartner } from './house/partner.ts';
import { listen, scansOf } from './house/plans.ts';

const asked = listen();
const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const shop = await engine.shop();
const follower = clearingOf(app);
const prepaid = { kind: 'prepaid', alertPoints: 50, usesReserve: true } as const;

const buy = (partner: string, points: number, more: object = {}) =>
  shop.finance('POST', `/v1/partners/${partner}/blocks`, {
    reference: reference('block'),
    points,
    from: '2020-01-01',
    ...more,
  });
async function left(partner: string): Promise<number[]> {
  const blocks = await shop.finance('GET', `/v1/partners/${partner}/blocks`);
  return (blocks.body.data as { left: number }[]).map((block) => block.left);
}

async function prepaidPartner() {
  const name = reference('sky').replaceAll('/', '-').toLowerCase();
  const sky = await openPartner(engine, shop, { name, contract: { billing: prepaid } });
  const member = await shop.enrol('guest');
  return { sky, member, account: await linked(shop, sky, member, reference('FF')) };
}

async function cleared(partner: number) {
  await engine.drained();
  await clearAll(pool, follower);
  return (await allEntries(pool, partner)).map(({ kind, points, prepaid: paid }) => [kind, points, paid]);
}

describe('a partner that bought points in advance', () => {
  test('draws what it gives from the earliest block, then from the reserve, and is refused when all are empty', async () => {
    const { sky, account } = await prepaidPartner();
    await buy(sky.name, 100);
    await buy(sky.name, 60, { from: '2021-01-01' });
    await buy(sky.name, 40, { reserve: true });
    const occurredAt = shop.time();
    const give = (points: number, of = reference('flight')) =>
      sky.accrue({ reference: of, account, points, occurredAt });
    const first = reference('flight');
    expect((await give(120, first)).status).toBe(201);
    expect((await give(120, first)).body.points).toBe(120);
    expect(await left(sky.name)).toEqual([0, 40, 40]);
    expect((await give(70)).status).toBe(201);
    expect(await left(sky.name)).toEqual([0, 0, 10]);
    const refused = await give(11);
    expect([refused.status, refused.code]).toEqual([403, 'limit_exceeded']);
    const alert = await shop.finance('GET', `/v1/partners/${sky.name}/blocks`);
    expect(alert.body).toMatchObject({ left: 0, reserve: 10, alert: true });
    expect(await cleared(sky.number)).toEqual([
      ['accrual', -120, -120],
      ['accrual', -70, -70],
    ]);
  });

  test('gets back into its blocks what it takes back, and owes nothing for any of it', async () => {
    const { sky, account } = await prepaidPartner();
    await buy(sky.name, 100);
    const flight = reference('flight');
    await sky.accrue({ reference: flight, account, points: 90 });
    await sky.reverse({
      reference: reference('back'),
      originalKind: 'accrual',
      originalReference: flight,
      points: 30,
    });
    expect(await cleared(sky.number)).toEqual([
      ['accrual', -90, -90],
      ['reversal', 30, 30],
    ]);
    expect(await left(sky.name)).toEqual([40]);
    const drafts = await shop.finance('GET', `/v1/settlements/drafts?partner=${sky.name}`);
    expect(drafts.body.data).toMatchObject([{ total: 0, lines: [{ amount: 0 }, { amount: 0 }] }]);
    await pool.query('update clearing_position set epoch = 0, seq = 0, operation = null');
    await cleared(sky.number);
    expect(await left(sky.name)).toEqual([40]);
  });

  test('gets back what was drawn for a call that was refused after it, and not what is under way or done', async () => {
    const { sky, member, account } = await prepaidPartner();
    await buy(sky.name, 100);
    await sky.accrue({ reference: reference('flight'), account, points: 10 });
    await shop.admin('POST', `/v1/members/${member}/suspend`, { reference: reference(), reason: 'test' });
    expect((await sky.accrue({ reference: reference('flight'), account, points: 40 })).status).toBe(409);
    expect(await left(sky.name)).toEqual([50]);
    await cleared(sky.number);
    expect(await returnStrays(pool)).toBe(0);
    await pool.query("update partner_draw set drawn_at = now() - interval '11 minutes' where partner = $1", [
      sky.number,
    ]);
    await tendPrepaid({ pool, programs: app.programs, ...app.telemetry });
    expect(await left(sky.name)).toEqual([90]);
    expect(await app.telemetry.registry.metrics()).toMatch(/loyalty_partner_alerts\{billing="prepaid"\} 2/);
  });

  test('pays for what was booked, whatever was asked for under the same reference before', async () => {
    const { sky, account } = await prepaidPartner();
    await buy(sky.name, 2_000);
    const made = await shop.admin('POST', '/v1/keys', {
      client: sky.name,
      role: 'partner',
      limits: { pointsPerDay: 500 },
    });
    const key = { keyId: made.id, secret: String(made.body.secret) };
    const occurredAt = shop.time();
    const give = (of: string, points: number, more: object = {}) =>
      sky.call('POST', partnerCalls.accrue.path, { reference: of, account, points, occurredAt }, more);
    const overTheDay = async (of: string, points: number) => {
      const { status, body } = await give(of, points, { key });
      expect([status, body.limit]).toEqual([403, 500]);
    };
    const [fewer, more, beyond] = [reference('flight'), reference('flight'), reference('flight')];
    await overTheDay(fewer, 1_000);
    expect((await give(fewer, 500, { key })).status).toBe(201);
    expect(await cleared(sky.number)).toEqual([['accrual', -500, -500]]);
    expect(await left(sky.name)).toEqual([1_500]);
    await overTheDay(more, 10);
    expect((await give(more, 1_000)).status).toBe(201);
    expect(await left(sky.name)).toEqual([500]);
    await overTheDay(beyond, 400);
    expect((await give(beyond, 501)).code).toBe('limit_exceeded');
    expect((await give(beyond, 500)).status).toBe(201);
    expect((await give(beyond, 500)).body.points).toBe(500);
    expect((await cleared(sky.number)).map(([, , paid]) => paid)).toEqual([-500, -1_000, -500]);
    expect(await left(sky.name)).toEqual([0]);
  });

  test('does not get back what clearing counts on at the same moment', async () => {
    const { sky } = await prepaidPartner();
    await buy(sky.name, 100);
    await cleared(sky.number);
    const [number, of] = [sky.number, reference('flight')];
    const partner = (await readPartners(pool)).find((each) => each.number === number)!;
    const contract = partner.contracts[0]!;
    const at = Date.now();
    await drawBefore(pool, {
      ...{ partner: number, contract, kind: 'accrual', reference: of, points: 10, at },
    });
    await pool.query("update partner_draw set drawn_at = now() - interval '11 minutes' where partner = $1", [
      number,
    ]);
    const entry = { partner: number, kind: 'accrual', price: 'issue', account: 'partner', points: -10, at };
    let returned: Promise<number> | undefined;
    const prepaidPoints = await inTransaction(pool, async (tx) => {
      await tx.query('select from partner where partner = $1 for no key update', [number]);
      returned = returnStrays(pool);
      await waitFor('the draw is to go back', async () => {
        const { rows } = await pool.query<{ waits: boolean }>(
          "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') as waits",
        );
        return rows[0]!.waits;
      });
      const given = { ...entry, reference: of } as Entry;
      return (await coverAll(tx, [{ entry: given, contract }])).get(given);
    });
    expect(prepaidPoints).toBe(-10);
    expect(await returned).toBe(0);
    expect(await left(sky.name)).toEqual([90]);
  });

  test('waits for a turn of clearing no longer where it has given much than where it has given little', async () => {
    const { sky, account } = await prepaidPartner();
    await buy(sky.name, 10_000);
    const programFor = createProgramFor(app.programs);
    /** The statements of a turn from that on which holds the partner. */
    const heldFor = async (flights: number) => {
      await cleared(sky.number);
      for (let i = 0; i < flights; i += 1) {
        const flight = reference('flight');
        await sky.accrue({ reference: flight, account, points: 5 });
        const original = { originalKind: 'accrual', originalReference: flight };
        await sky.reverse({ reference: reference('back'), ...original, points: 2 });
      }
      await engine.drained();
      const texts: string[] = [];
      await inTransaction(pool, async (tx) => {
        const query = tx.query.bind(tx);
        const noting = (...args: Parameters<typeof query>) => {
          const [first] = args as unknown as [string | { text: string }];
          texts.push(typeof first === 'string' ? first : first.text);
          return query(...args);
        };
        Object.assign(tx, { query: noting });
        try {
          expect((await clearTurn(tx, programFor)).entries).toHaveLength(2 * flights);
        } finally {
          Object.assign(tx, { query });
        }
      });
      const from = texts.findIndex((text) => text.includes('for no key update'));
      expect(from).toBeGreaterThan(0);
      return texts.length - from;
    };
    const few = await heldFor(1);
    expect(await heldFor(12)).toBe(few);
    expect(few).toBeLessThan(12);
    expect(await left(sky.name)).toEqual([10_000 - 13 * 3]);
  });

  test('is not exchanged from beyond what it bought; what comes to nothing goes back', async () => {
    const air = await ally(app, shop, { billing: prepaid });
    const worker = createExchanging(app, { timeoutMs: 400, retryMs: 5, retryMsMax: 20 });
    try {
      const member = await air.member(0);
      await buy(air.name, 50);
      const into = (points: number) =>
        shop.checkout(
          'POST',
          '/v1/exchanges',
          { member, partner: air.name, direction: 'in', points, reference: reference() },
          { headers: { prefer: 'wait=5' } },
        );
      const beyond = await into(17);
      expect([beyond.code, beyond.body.reason]).toEqual(['exchange_refused', 'prepaid_exhausted']);
      const made = await into(10);
      await waitFor('the exchange is completed', async () => {
        for (const each of await claimDue(pool, air.number, 10, 1))
          await worker.saga.drive(each, Date.now() + 5_000);
        return (await shop.checkout('GET', `/v1/exchanges/${made.id}`)).body.status === 'completed';
      });
      expect(await left(air.name)).toEqual([20]);
      expect(await cleared(air.number)).toEqual([['exchange_in', -30, -30]]);
      await pool.query("update partner_draw set drawn_at = now() - interval '11 minutes'");
      await returnStrays(pool);
      expect(await left(air.name)).toEqual([20]);
    } finally {
      await air.far.close();
    }
  });

  test('has its blocks as they were after an exchange that is refused, whoever refuses it', async () => {
    const limits = { member: { count: 1, hours: 24, action: 'refuse' } };
    const air = await ally(app, shop, { billing: prepaid, limits });
    try {
      const member = await air.member(0);
      await buy(air.name, 100);
      const into = (more: object = {}) =>
        shop.checkout(
          'POST',
          '/v1/exchanges',
          { member, partner: air.name, direction: 'in', points: 10, reference: reference(), ...more },
          { headers: { prefer: 'wait=5' } },
        );
      air.far.next('refuse');
      expect((await into()).code).toBe('exchange_refused');
      await waitFor('what was drawn is back', async () => (await left(air.name))[0] === 100);
      expect((await into()).status).toBeLessThan(300);
      for (let tries = 0; tries < 5; tries += 1) expect((await into()).code).toBe('exchange_not_allowed');
      expect(await left(air.name)).toEqual([70]);
    } finally {
      await air.far.close();
    }
  });

  test('is told of one exchange, and not of empty blocks, where copies of a request come at once', async () => {
    const air = await ally(app, shop, { billing: prepaid });
    try {
      const member = await air.member(0);
      await buy(air.name, 30);
      const wanted = { member, partner: air.name, direction: 'in', points: 10, reference: reference() };
      const copies = Array.from({ length: 5 }, () => shop.checkout('POST', '/v1/exchanges', wanted));
      const answers = await Promise.all(copies);
      expect(answers.filter(({ status }) => status >= 300)).toEqual([]);
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
      expect(await left(air.name)).toEqual([0]);
      const another = await shop.checkout('POST', '/v1/exchanges', { ...wanted, reference: reference() });
      expect([another.code, another.body.reason]).toEqual(['exchange_refused', 'prepaid_exhausted']);
    } finally {
      await air.far.close();
    }
  });

  test('gets back what came to nothing without a look at what has ended, however much that is', async () => {
    await returnStrays(pool);
    const [stray] = [...asked.values()].filter(({ text }) => /^select distinct d.partner/.test(text.trim()));
    const tx = await pool.connect();
    try {
      await tx.query('begin');
      await tx.query(
        `insert into partner_draw (partner, movement, block, points, drawn_at, cleared_at)
         select partner, 'exchange_in/exc_' || replace(gen_random_uuid()::text, '-', ''), block, 1, now() - interval '1 day',
           case when i > 100 then now() end
         from (select * from partner_block limit 1) b, generate_series(1, 20000) i`,
      );
      await tx.query(
        `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency,
           partner_points, account_sealed, terms, quoted_at, quote_expires_at, day, state, reference_key)
         select gen_random_uuid(), program, member, partner, direction, currency, own_points, partner_currency,
           partner_points, account_sealed, terms, quoted_at, quote_expires_at, day, 'completed', gen_random_uuid()
         from (select * from exchange limit 1) e, generate_series(1, 20000)`,
      );
      await tx.query('analyze partner_draw, exchange, clearing_entry');
      const { rows } = await tx.query(`explain (format json) ${stray!.text}`);
      const scans = [...scansOf(rows[0]['QUERY PLAN'][0].Plan)];
      const grown = scans.filter(({ table }) => table === 'exchange' || table === 'partner_draw');
      expect(grown.map(({ table, index, isPart }) => [table, index, isPart]).toSorted()).toEqual([
        ['exchange', 'exchange_pkey', true],
        ['partner_draw', 'partner_draw_open', true],
      ]);
    } finally {
      await tx.query('rollback');
      tx.release();
    }
  });

  test('and all of it is what the books say', async () => {
    expect((await checkSettlement(engine.stores.databaseUrl)).faults).toEqual([]);
  });
});
