/** Tiers that people give, end and protect: by reference once, whatever has become of ladders, offers and days since. */
import { afterAll, describe, expect, test } from 'vitest';
import { type Answer, reference, type Shop, startEngine } from './harness.ts';
import { type FileLadder, standingOf, startTierHouse, tieredDefinition, yearly } from './house/tiers.ts';

const engine = await startEngine();
const house = startTierHouse(engine.app, engine.drained);
afterAll(async () => {
  await house.stop();
  await engine.end();
});
const { pool } = engine;

const year = new Date().getUTCFullYear() + 1;
const at = (text: string, years = 0) => Date.parse(`${year + years}-${text}Z`);

async function goTo(shop: Shop, now: number): Promise<void> {
  await shop.setClock(now);
  await engine.app.programs.refresh();
}

async function opened(definition = tieredDefinition()): Promise<Shop> {
  const shop = await engine.shop({ mode: 'test', definition });
  await goTo(shop, at('03-10T12:00'));
  return shop;
}

const tierPath = (member: string) => `/v1/members/${member}/tier`;
const points = (atLeast: number) => ({
  all: [{ measure: 'points' as const, currency: 'points', atLeast }],
});
const offers: FileLadder = {
  ...yearly,
  matches: [
    {
      ...{ name: 'rivals', partner: 'Rival Air', trialDays: 30, through: `${year}-12-31` },
      tiers: [
        { from: ['Elite'], tier: 'silver', keep: points(40) },
        { from: ['Top'], tier: 'gold' },
      ],
      onceIn: { months: 3 },
      afterFailureMonths: 6,
    },
  ],
};
const evidence = { document: 'card 12 345', origin: 'earned' };

function matched(shop: Shop, member: string, tier = 'Elite', named = reference('care')): Promise<Answer> {
  const body = { reference: named, offer: 'rivals', tier, evidence };
  return shop.care('POST', `${tierPath(member)}/matches`, body);
}

describe('a reference', () => {
  test('gives the first answer however much later: after the end of a grant, its tier, its offer', async () => {
    const shop = await opened(tieredDefinition([offers]));
    const [one, other] = [await shop.enrol(), await shop.enrol()];
    const grant = { reference: reference(), tier: 'gold', reason: 'a friend', until: `${year}-03-31` };
    const given = await shop.care('POST', tierPath(one), grant);
    const tried = reference();
    const matching = await matched(shop, other, 'Elite', tried);
    expect([given.status, matching.status]).toEqual([200, 200]);
    const { id } = (await standingOf(shop, one)).grants[0]!;
    const end = { reference: reference(), reason: 'no more' };
    const ended = await shop.care('POST', `${tierPath(one)}/grants/${id}/end`, end);
    expect(ended.status).toBe(200);
    await goTo(shop, at('02-01T12:00', 1));
    await pool.query(`update tier_standing set standing = '{"grants":[]}' where program = $1`, [
      shop.program.number,
    ]);
    for (const [first, again] of [
      [given, await shop.care('POST', tierPath(one), grant)],
      [matching, await matched(shop, other, 'Elite', tried)],
      [ended, await shop.care('POST', `${tierPath(one)}/grants/${id}/end`, end)],
    ] as const)
      expect([again.status, again.body]).toEqual([first.status, first.body]);
  });

  test('of one kind says nothing of another, and two clients may use the same', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const same = reference();
    const grant = (tier: string) => ({ reference: same, tier, reason: 'a friend' });
    expect((await shop.admin('POST', tierPath(member), grant('silver'))).status).toBe(200);
    expect((await shop.care('POST', tierPath(member), grant('gold'))).body.tier).toBe('gold');
    const protection = { reference: same, reason: 'parental leave', through: `${year}-12-31` };
    expect((await shop.care('PUT', `${tierPath(member)}/protection`, protection)).status).toBe(200);
    const { grants } = await standingOf(shop, member);
    expect(grants).toMatchObject([
      { reference: same, tier: 'silver' },
      { reference: same, tier: 'gold' },
    ]);
    expect(new Set(grants.map(({ id }) => id)).size).toBe(2);
    const end = { reference: same, reason: 'no more' };
    await shop.care('POST', `${tierPath(member)}/grants/${grants[1]!.id}/end`, end);
    expect((await standingOf(shop, member)).tier).toBe('silver');
  });
});

describe('many grants', () => {
  test('push out those that ended and never one that holds; of fifty that hold none more is given', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const give = (tier: string, more = {}) =>
      shop.care('POST', tierPath(member), { reference: reference(), tier, reason: 'a friend', ...more });
    expect((await give('gold', { origin: 'lifetime' })).status).toBe(200);
    for (let i = 0; i < 49; i += 1) await give('silver', { until: `${year}-03-10` });
    await goTo(shop, at('03-11T12:00'));
    for (let i = 0; i < 49; i += 1) expect((await give('silver')).status).toBe(200);
    expect(await standingOf(shop, member)).toMatchObject({ tier: 'gold', origin: 'lifetime' });
    expect((await give('silver')).body).toMatchObject({ code: 'tier_limit', limit: 50 });
  }, 60_000);
});

describe('an offer for once', () => {
  test('is had once by who asks twice at the same time', async () => {
    const shop = await opened(tieredDefinition([offers]));
    const members = await Promise.all(Array.from({ length: 6 }, () => shop.enrol()));
    const answers = await Promise.all(
      members.flatMap((member) => [matched(shop, member), matched(shop, member)]),
    );
    const codes = members.map((_, i) => [answers[2 * i]!, answers[2 * i + 1]!].map(({ status }) => status));
    expect(codes.map((pair) => pair.toSorted())).toEqual(members.map(() => [200, 409]));
    const { rows } = await pool.query(
      'select count(*)::int as matches from tier_match where program = $1 group by member',
      [shop.program.number],
    );
    expect(rows).toEqual(members.map(() => ({ matches: 1 })));
  });

  test('keeps out longer who failed: not who had nothing to reach, nor who reached it, whatever is kept of the trial', async () => {
    const shop = await opened(tieredDefinition([offers]));
    const [kept, lost, free] = [await shop.enrol(), await shop.enrol(), await shop.enrol()];
    for (const member of [kept, lost]) expect((await matched(shop, member)).status).toBe(200);
    expect((await matched(shop, free, 'Top')).status).toBe(200);
    expect((await shop.accrue(kept, 40)).status).toBe(201);
    await house.settled();
    await goTo(shop, at('06-10T12:00'));
    await house.recalculated();
    await pool.query(
      `update tier_standing set standing = (standing::jsonb || '{"grants": []}')::json where program = $1`,
      [shop.program.number],
    );
    const answers = [];
    for (const member of [kept, lost, free]) answers.push(await matched(shop, member));
    expect(answers.map(({ status }) => status)).toEqual([200, 409, 200]);
    expect(answers[1]!.body).toMatchObject({ code: 'match_refused', notBefore: `${year}-09-10` });
  });
});

describe('what people say of it', () => {
  test('is kept with who did it, encrypted, for who may see it', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const odd = `${reference('care')} with blanks`;
    await shop.care('POST', tierPath(member), { reference: odd, tier: 'gold', reason: 'Ms Muster asked' });
    const { id } = (await standingOf(shop, member)).grants[0]!;
    const end = { reference: reference(), reason: 'Ms Muster is gone' };
    await shop.care('POST', `${tierPath(member)}/grants/${id}/end`, end);
    const protection = { reference: reference(), reason: 'Ms Muster is ill', through: null };
    await shop.care('PUT', `${tierPath(member)}/protection`, protection);
    const { audit } = (await shop.admin('GET', `/v1/members/${member}/export`)).body.member as {
      audit: Record<string, unknown>[];
    };
    expect(audit).toMatchObject([
      { action: 'member.tier.protect', reason: 'Ms Muster is ill' },
      { action: 'member.tier.end', reason: 'Ms Muster is gone' },
      { action: 'member.tier.grant', operation: encodeURIComponent(odd), reason: 'Ms Muster asked' },
    ]);
    const { rows } = await pool.query(
      `select row_to_json(a)::text as row from audit_log a where program = $1`,
      [shop.program.number],
    );
    expect(JSON.stringify(rows)).not.toContain('Muster');
  });

  test('may be that nothing ever goes down', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    await shop.accrue(member, 100);
    await house.settled();
    const protection = { reference: reference(), reason: 'founder', through: 'for_ever' };
    const answer = await shop.care('PUT', `${tierPath(member)}/protection`, protection);
    expect(answer.body.ladders).toMatchObject([{ tier: 'silver', protectedThrough: 'for_ever' }]);
    await goTo(shop, at('06-30T12:00', 20));
    await house.recalculated();
    expect((await standingOf(shop, member)).tier).toBe('silver');
    const none = { reference: reference(), reason: 'sold it', through: null };
    await shop.care('PUT', `${tierPath(member)}/protection`, none);
    await house.recalculated();
    expect((await standingOf(shop, member)).tier).toBe('blue');
  });
});
