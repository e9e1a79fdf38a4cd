/** Clearing: every posting that concerns a partner is an entry, whoever made it, and the entries are the partner's account. */
import { afterAll, describe, expect, test } from 'vitest';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { parseOperationId } from '#src/values.ts';
import { amountRule, reference, startEngine, waitFor } from './harness.ts';
import { ally } from './house/alliance.ts';
import { accountOf, allEntries, clearAll, clearingOf, sumByCurrency } from './house/clearing.ts';
import { linked, openPartner } from './house/partner.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const shop = await engine.shop();
const follower = clearingOf(app);
const worker = createExchanging(app, { timeoutMs: 400, retryMs: 5, retryMsMax: 20 });
const air = await ally(app, shop);
afterAll(() => air.far.close());

async function cleared(partner: number) {
  await engine.drained();
  await clearAll(pool, follower);
  return allEntries(pool, partner);
}

async function exchanged(member: string, direction: 'in' | 'out', points: number): Promise<string> {
  const body = { member, partner: air.name, direction, points, reference: reference() };
  const made = await shop.checkout('POST', '/v1/exchanges', body, { headers: { prefer: 'wait=5' } });
  await waitFor('the exchange is completed', async () => {
    for (const each of await claimDue(pool, air.number, 10, 1))
      await worker.saga.drive(each, Date.now() + 5_000);
    return (await shop.checkout('GET', `/v1/exchanges/${made.id}`)).body.status === 'completed';
  });
  return made.id;
}

describe('entries', () => {
  test('are made of what a partner gives, takes and takes back, under its own references', async () => {
    const sky = await openPartner(engine, shop, {
      name: reference('sky').replaceAll('/', '-').toLowerCase(),
    });
    const account = await linked(shop, sky, await shop.enrol('guest'), 'FF-1');
    const occurredAt = shop.time();
    await sky.accrue({ reference: 'flight-1', account, points: 500, occurredAt });
    await sky.redeem({ reference: 'award-1', account, points: 120 });
    await sky.reverse({
      reference: 'back-1',
      originalKind: 'accrual',
      originalReference: 'flight-1',
      points: 80,
    });
    await sky.reverse({ reference: 'back-2', originalKind: 'redemption', originalReference: 'award-1' });
    const entries = await cleared(sky.number);
    expect(
      entries.map(({ kind, price, reference: name, originalReference, points, contract }) => [
        ...[kind, price, name, originalReference, points, contract],
      ]),
    ).toEqual([
      ['accrual', 'issue', 'flight-1', null, -500, 1],
      ['redemption', 'redemption', 'award-1', null, 120, 1],
      ['reversal', 'issue', 'back-1', 'flight-1', 80, 1],
      ['reversal', 'redemption', 'back-2', 'award-1', -120, 1],
    ]);
    expect(entries[0]!.occurredAt).toBe(Date.parse(occurredAt));
    expect(sumByCurrency(entries)).toEqual(await accountOf(pool, sky.number));
  });

  test('are made of exchanges out and in, under the name that the partner knows them by', async () => {
    const member = await air.member(100);
    const [out, into] = [await exchanged(member, 'out', 80), await exchanged(member, 'in', 10)];
    const entries = await cleared(air.number);
    expect(entries.map(({ kind, price, reference: name, points }) => [kind, price, name, points])).toEqual([
      ['exchange_out', 'redemption', out, 80],
      ['exchange_in', 'issue', into, -30],
    ]);
    expect(sumByCurrency(entries)).toEqual(await accountOf(pool, air.number));
  });

  test('of points that are billed when they are spent say that nothing was, where a merge has moved them and their partner takes them back', async () => {
    const sky = await openPartner(engine, shop, {
      name: reference('sky').replaceAll('/', '-').toLowerCase(),
      contract: { settleOn: 'redemption' },
    });
    const [gone, into] = [await shop.enrol('guest'), await shop.enrol('guest')];
    const account = await linked(shop, sky, gone, reference('FF'));
    await sky.accrue({ reference: 'flight-1', account, points: 100 });
    // Older, so that they would be taken first.
    await shop.accrue(into, 100);
    const merge = { into, reference: reference(), reason: 'one person' };
    const merged = await shop.admin('POST', `/v1/members/${gone}/merge`, merge);
    expect(merged.body.status).toBe('merged');
    const back = { reference: 'back-1', originalKind: 'accrual', originalReference: 'flight-1' };
    expect((await sky.reverse(back)).status).toBe(201);
    const entries = await cleared(sky.number);
    expect(entries.map(({ kind, price, points }) => [kind, price, points])).toEqual([
      ['accrual', 'none', -100],
      ['reversal', 'none', 100],
    ]);
    expect((await shop.balances(into)).available).toBe(100);
  });

  test('are not made of what a voided reference, a purchase or a refused call moved: nothing', async () => {
    const sky = await openPartner(engine, shop, {
      name: reference('sky').replaceAll('/', '-').toLowerCase(),
    });
    const member = await shop.enrol('guest');
    const account = await linked(shop, sky, member, 'FF-2');
    await sky.redeem({ reference: 'too-much', account, points: 1_000 });
    await sky.reverse({
      reference: 'void-1',
      originalKind: 'accrual',
      originalReference: 'never-sent',
      voidIfMissing: true,
      account,
    });
    expect(await cleared(sky.number)).toEqual([]);
  });

  test('are never changed, and reading the books again adds none', async () => {
    const before = await cleared(air.number);
    await expect(pool.query('update clearing_entry set points = points + 1')).rejects.toThrow();
    await expect(pool.query('delete from clearing_entry')).rejects.toThrow();
    await pool.query('update clearing_position set epoch = 0, seq = 0, operation = null');
    expect(await cleared(air.number)).toEqual(before);
  });
});

describe('shares of promotions', () => {
  test('are borne by the partner that funds them and those that have agreed to a part, and go back with what comes back', async () => {
    const [sky, bank] = ['sky', 'bank'];
    const earn = (points: number) => ({ by: 'amount' as const, points, perMinorUnits: 100 });
    const joint = await engine.shop({
      definition: {
        funders: ['program', sky],
        rules: [
          { name: 'spend', currency: 'points', earn: earn(1), funder: sky },
          { name: 'extra', currency: 'points', earn: earn(2), funder: sky },
        ],
      },
    });
    const funder = await openPartner(engine, joint, { name: sky });
    const other = await openPartner(engine, joint, {
      name: bank,
      contract: { costShares: [{ promotion: 'extra', basisPoints: 4_000 }] },
    });
    const member = await joint.enrol('buyer');
    const lines = [1, 2].map((line) => ({ line, amount: 5_000 }));
    const accrual = await joint.accrue(member, 0, { purchase: { currency: 'EUR', lines } });
    const given = await cleared(funder.number);
    const shown = (entries: typeof given) =>
      entries.map(({ kind, rule, points, share, account }) => [kind, rule, points, share, account]);
    expect(shown(given).toSorted()).toEqual([
      ['cost_share', 'extra', -200, 6_000, 'issuance'],
      ['cost_share', 'spend', -100, 10_000, 'issuance'],
    ]);
    expect(shown(await cleared(other.number))).toEqual([['cost_share', 'extra', -200, 4_000, null]]);
    for (const line of [1, 2]) {
      const back = { reference: reference(), occurredAt: joint.time(), lines: [{ line }] };
      expect((await joint.pos('POST', `/v1/accruals/${accrual.id}/reversals`, back)).status).toBe(201);
    }
    const all = await cleared(funder.number);
    expect(shown(all).slice(2).toSorted()).toEqual([
      ['cost_share_reversal', 'extra', 100, 6_000, 'issuance'],
      ['cost_share_reversal', 'extra', 100, 6_000, 'issuance'],
      ['cost_share_reversal', 'spend', 50, 10_000, 'issuance'],
      ['cost_share_reversal', 'spend', 50, 10_000, 'issuance'],
    ]);
    const { rows } = await pool.query<{ points: number }>(
      `select coalesce(sum(points), 0)::int as points from account_balance where program = $1 and account = 'issuance' and party = $2`,
      [joint.program.number, all[0]!.party],
    );
    expect(all.reduce((sum, { points }) => sum + points, 0)).toBe(rows[0]!.points);
    const drafts = await joint.finance('GET', `/v1/settlements/drafts?partner=${bank}`);
    expect(drafts.body.data).toMatchObject([{ total: 0, lines: [{ amount: 80 }, { amount: -80 }] }]);
  });

  test('go back with the shipment that something is taken from, whichever others of its order are judged with it', async () => {
    const sky = 'sky';
    const joint = await engine.shop({
      definition: {
        funders: ['program', sky],
        rules: [{ ...amountRule('spend', 'points', [1, 100]), funder: sky }],
        promotions: [
          { name: 'welcome', currency: 'points', earn: { by: 'fixed', points: 100 }, funder: sky },
        ],
      },
    });
    const funder = await openPartner(engine, joint, { name: sky });
    const member = await joint.enrol('buyer');
    const order = reference('order');
    const shipped: string[] = [];
    for (const amounts of [[5_000, 5_000], [2_000], [3_000]]) {
      const lines = amounts.map((amount, i) => ({ line: `${shipped.length}/${i}`, amount }));
      const { id } = await joint.accrue(member, 0, { purchase: { currency: 'EUR', order, lines } });
      shipped.push(id);
    }
    const backOf = async () => {
      const entries = await cleared(funder.number);
      return entries
        .filter(({ kind }) => kind === 'cost_share_reversal')
        .map(({ originalReference, rule, points }) => [
          shipped.findIndex((id) => parseOperationId(id)!.operation === originalReference),
          rule,
          points,
        ]);
    };
    const said = { reference: reference(), occurredAt: joint.time() };
    // Nothing is taken of the first and the third, and the record names them.
    expect((await joint.pos('POST', `/v1/accruals/${shipped[1]}/reversals`, said)).status).toBe(201);
    expect(await backOf()).toEqual([[1, 'spend', 20]]);
    const returned = { ...said, reference: reference(), order, lines: [{ line: '0/1' }, { line: '2/0' }] };
    expect((await joint.pos('POST', '/v1/returns', returned)).status).toBe(201);
    expect((await backOf()).slice(1).toSorted()).toEqual([
      [0, 'spend', 50],
      [2, 'spend', 30],
    ]);
    expect((await joint.pos('POST', '/v1/returns', { ...said, reference: reference(), order })).status).toBe(
      201,
    );
    expect((await backOf()).slice(3).toSorted()).toEqual([
      [0, 'spend', 50],
      [0, 'welcome', 100],
    ]);
  });
});
