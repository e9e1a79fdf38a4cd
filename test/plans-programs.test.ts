/**
 * What the statements of tiers, segments, pools and exchanges cost once their tables have grown: calls and jobs of each are made,
 * everything that they ask PostgreSQL is noted, and each statement is planned as for tables that nobody reads as a whole
 * (`enable_seqscan = off`). What is read as a whole all the same has no index that it could use.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startExchanges } from '#src/jobs/exchanges.ts';
import { finishPools } from '#src/jobs/pools.ts';
import { createSegmenter } from '#src/jobs/segments.ts';
import { needsOf } from '#src/partners/exchange/figures.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { type Ally, ally } from './house/alliance.ts';
import { addMembers } from './house/gifts.ts';
import { household, leave, resident, spend } from './house/household.ts';
import { type Asked, growing, listen, type Plan, scansOf } from './house/plans.ts';
import { startTierHouse, tieredDefinition, yearly } from './house/tiers.ts';

const engine = await startEngine({ shardCount: 2 });
const { app, pool, stores } = engine;
const asked = listen();
const far: Ally[] = [];
afterAll(async () => {
  for (const each of far) await each.far.close();
  await engine.end();
});

/** Purchases, a night, tiers given and taken back. */
async function keepTiers(): Promise<void> {
  const shop = await engine.shop({ mode: 'test', definition: tieredDefinition([yearly]) });
  const house = startTierHouse(app, engine.drained);
  const member = await shop.enrol();
  await shop.accrue(member, 150);
  await house.settled();
  const path = `/v1/members/${member}/tier`;
  const given = { reference: reference(), tier: 'gold', reason: 'a guest of honour' };
  expect((await shop.admin('POST', path, given)).status).toBeLessThan(300);
  const shown = await shop.care('GET', path);
  const grant = String(shown.at('ladders.0.grants.0.id'));
  const end = { reference: reference(), reason: 'over' };
  expect(
    (await shop.admin('POST', `${path}/grants/${encodeURIComponent(grant)}/end`, end)).status,
  ).toBeLessThan(300);
  const protection = { reference: reference(), reason: 'ill', through: '2040-01-31' };
  expect((await shop.admin('PUT', `${path}/protection`, protection)).status).toBeLessThan(300);
  await shop.advance(86_400);
  await house.recalculated();
  expect((await shop.admin('GET', '/v1/tiers/preview')).status).toBe(200);
  expect((await shop.admin('GET', '/v1/tiers/runs')).status).toBe(200);
  expect((await shop.admin('POST', `/v1/members/${member}/erasure`, { reference: reference() })).status).toBe(
    200,
  );
  await house.settled();
  await house.stop();
}

/** Two nights, and what is shown of them. */
async function measure(): Promise<void> {
  const named = [{ name: 'regulars', where: { frequency: { min: 1 } } }];
  const shop = await engine.shop({ mode: 'test', definition: { segments: { named } } });
  const members = await addMembers(pool, shop, 50, { joinedAt: shop.now() - 86_400_000 });
  const today = Math.floor(shop.now() / 86_400_000);
  for (const ago of [2, 1])
    await pool.query(
      'insert into diary_day (member, day, visits, spend) select unnest($1::bigint[]), $2, 1, 100',
      [members, today - ago],
    );
  const segmenter = createSegmenter(app);
  for (let night = 0; night < 2; night += 1) {
    await shop.advance(86_400);
    await app.programs.refresh();
    await segmenter.tick();
    await segmenter.idle();
  }
  expect((await shop.admin('GET', '/v1/program/segments')).at('data.0.status')).toBe('done');
  const member = await shop.enrol();
  expect((await shop.care('GET', `/v1/members/${member}/segments`)).status).toBe(200);
  await shop.accrue(member, 5);
  await segmenter.stop();
}

/** A pool is opened, spent, refunded, held, joined and left. */
async function live(): Promise<void> {
  const shop = await engine.shop({ definition: { currencies: [{ code: 'points', poolable: true }] } });
  const { pool: home, residents } = await household(shop, [100, 100]);
  const spent = await spend(shop, home, residents[0]!, 120);
  expect(spent.status).toBe(201);
  const body = { reference: reference(), points: 10 };
  const path = `/v1/pools/${home}`;
  expect((await shop.care('POST', `${path}/redemptions/${spent.id}/refunds`, body)).status).toBe(201);
  for (const end of ['capture', 'release']) {
    const hold = { member: residents[1]!.card, reference: reference(), points: 20 };
    const held = await shop.pos('POST', `${path}/holds`, hold);
    expect(held.status).toBe(201);
    const ended = await shop.pos('POST', `${path}/holds/${held.id}/${end}`, { reference: reference() });
    expect(ended.status).toBe(200);
  }
  expect((await shop.care('GET', `${path}/redemptions/${spent.id}`)).status).toBe(200);
  expect((await shop.care('GET', `/v1/members/${residents[1]!.member}/pool`)).status).toBe(200);
  const guest = await resident(shop);
  expect((await shop.pos('POST', `${path}/members`, { card: guest.card })).status).toBe(201);
  await leave(shop, home, guest);
  expect((await shop.care('POST', `${path}/dissolve`)).status).toBe(200);
  await finishPools(app, 200);
}

/** Points go out and come back; the worker goes on with one that a call has left, asks again and tells. */
async function exchange(): Promise<void> {
  const shop = await engine.shop();
  const partner = await ally(app, shop);
  far.push(partner);
  const member = await partner.member(200);
  const wanted = (direction: string) => ({ member, partner: partner.name, direction, points: 40 });
  const send = (direction: string) =>
    shop.checkout('POST', '/v1/exchanges', { ...wanted(direction), reference: reference() });
  expect((await shop.checkout('POST', '/v1/exchanges/quote', wanted('out'))).status).toBe(200);
  expect((await send('out')).status).toBeLessThan(300);
  expect((await send('in')).status).toBeLessThan(300);
  partner.far.next('lost');
  const lost = await send('out');
  expect(lost.status).toBeLessThan(300);
  const work = startExchanges(app);
  await waitFor(
    'the worker has finished it',
    async () => {
      await work.tick();
      const shown = await shop.checkout('GET', `/v1/exchanges/${lost.id}`);
      return shown.body.status === 'completed';
    },
    30_000,
  );
  await work.tend();
  await work.stop();
  await needsOf(pool, 900_000);
  await engine.drained();
}

interface Explained {
  readonly text: string;
  /** Growing tables that it reads from end to end, and how. */
  readonly whole: readonly string[];
}

async function explain(
  client: pg.Client,
  { text, values }: Asked,
  partial: ReadonlySet<string>,
): Promise<Explained> {
  await client.query('begin');
  try {
    // Of small tables a join would read all rather than look each row up.
    await client.query(
      'set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off',
    );
    const { rows } = await client.query<{ 'QUERY PLAN': readonly { Plan: Plan }[] }>(
      `explain (format json) ${text}`,
      [...values],
    );
    const whole = [...scansOf(rows[0]!['QUERY PLAN'][0]!.Plan)].filter(
      ({ how, table, index, isPart, isBounded }) =>
        growing.test(table) &&
        (how === 'Seq Scan' ||
          (/^Index (Only )?Scan/.test(how) && !isPart && !isBounded && !partial.has(index ?? ''))),
    );
    return {
      text: text.replaceAll(/\s+/g, ' ').trim(),
      whole: [...new Set(whole.map(({ how, table, index }) => `${how} of ${table} ${index ?? ''}`.trim()))],
    };
  } finally {
    await client.query('rollback');
  }
}

const explained: Explained[] = [];
beforeAll(async () => {
  await keepTiers();
  await measure();
  await live();
  await exchange();
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  try {
    // What a partial index has is little, whatever is read of it.
    const { rows } = await client.query<{ name: string }>(
      'select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid where i.indpred is not null',
    );
    const partial = new Set(rows.map(({ name }) => name));
    for (const each of [...asked.values()]) explained.push(await explain(client, each, partial));
  } finally {
    await client.end();
  }
}, 240_000);

test('the statements of tiers, segments, pools and exchanges were seen', () => {
  const texts = explained.map(({ text }) => text);
  for (const table of ['tier_standing', 'tier_change', 'segment_fact', 'member_segment', 'pool_place'])
    expect(texts.filter((text) => text.includes(table)).length, table).toBeGreaterThan(1);
  for (const table of ['pool_redemption', 'pool_part', 'pool_refund', 'exchange_step', 'partner_link'])
    expect(texts.filter((text) => text.includes(table)).length, table).toBeGreaterThan(1);
});

test('none reads a table that grows with the membership from end to end, and each finds an index to use', () => {
  const wrong = explained.filter(({ whole }) => whole.length > 0);
  expect(wrong.map(({ text, whole }) => [whole, text])).toEqual([]);
});
