/** Tiers of a running program: up at once, judged by the tier of the time, down as the file says, given by people. */
import { afterAll, describe, expect, test } from 'vitest';
import { reference, type Shop, startEngine, waitFor } from './harness.ts';
import { standingOf, startTierHouse, tieredDefinition } from './house/tiers.ts';

const engine = await startEngine();
const house = startTierHouse(engine.app, engine.drained);
afterAll(async () => {
  await house.stop();
  await engine.end();
});
const { pool } = engine;

const year = new Date().getUTCFullYear() + 1;
const at = (text: string) => Date.parse(`${year}-${text}Z`);

async function opened(now = at('03-10T12:00'), definition = tieredDefinition()): Promise<Shop> {
  const shop = await engine.shop({ mode: 'test', definition });
  await shop.setClock(now);
  await engine.app.programs.refresh();
  return shop;
}

async function goTo(shop: Shop, now: number): Promise<void> {
  await shop.setClock(now);
  await engine.app.programs.refresh();
}

/** Points of the bonus that a receipt gave: only silver and gold get any. */
async function bonusOf(
  shop: Shop,
  member: string,
  points: number,
  more: Record<string, unknown> = {},
): Promise<{ id: string; bonus: number }> {
  const { status, body } = await shop.accrue(member, points, more);
  expect(status).toBe(201);
  const awards = body.awards as { currency: string; points: number }[];
  return {
    id: String(body.id),
    bonus: awards.filter(({ currency }) => currency === 'bonus').reduce((sum, each) => sum + each.points, 0),
  };
}

describe('a receipt that qualifies', () => {
  test('brings the tier, which holds for the next receipt and is shown with its end and the way on', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    expect((await bonusOf(shop, member, 99)).bonus).toBe(0);
    await house.settled();
    expect(await standingOf(shop, member)).toMatchObject({
      tier: 'blue',
      progress: { next: { tier: 'silver', by: `${year}-12-31`, goals: [{ counted: 99, missing: 1 }] } },
      history: [],
    });
    expect((await bonusOf(shop, member, 1)).bonus).toBe(0);
    await house.settled();
    expect((await bonusOf(shop, member, 10)).bonus).toBe(10);
    await house.settled();
    expect(await standingOf(shop, member)).toMatchObject({
      tier: 'silver',
      since: `${year}-03-10`,
      until: `${year + 1}-12-31`,
      origin: 'earned',
      progress: { next: { tier: 'gold', goals: [{ counted: 110, missing: 190 }] } },
      history: [{ from: 'blue', to: 'silver', since: `${year}-03-10` }],
    });
    const shown = await shop.admin('GET', `/v1/members/${member}`);
    expect(shown.body.tier).toBe('silver');
  });
});

describe('the tier of its time', () => {
  test('judges a late receipt, a return of one, and explains both, whatever the tier is by then', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const first = await bonusOf(shop, member, 100);
    await house.settled();
    await goTo(shop, at('03-12T12:00'));
    // It occurred before the promotion: blue.
    expect((await bonusOf(shop, member, 7, { occurredAt: `${year}-03-10T08:00:00Z` })).bonus).toBe(0);
    const second = await bonusOf(shop, member, 20);
    expect(second.bonus).toBe(20);
    await engine.drained();
    const lines = [{ line: 1, amount: 500 }];
    const returned = await shop.pos('POST', `/v1/accruals/${second.id}/reversals`, {
      reference: reference(),
      occurredAt: shop.time(),
      lines,
    });
    expect(returned.status).toBe(201);
    expect(returned.body.awards).toMatchObject([
      { rule: 'spend', points: 5 },
      { rule: 'better', points: 5 },
    ]);
    await engine.drained();
    const why = async (id: string) =>
      (await shop.care('GET', `/v1/operations/${id}`)).body.explanation as Record<string, unknown>;
    expect(await why(second.id)).toMatchObject({ facts: { tier: 'silver' } });
    expect(await why(first.id)).toMatchObject({ facts: { tier: 'blue' } });
    expect(await why(first.id)).not.toHaveProperty('missing');
    expect(await why(second.id)).not.toHaveProperty('missing');
  });

  test('is that of every process at once: one that remembers the old tier is told so by the script', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const other = await engine.anotherApi();
    const elsewhere = async (points: number) => {
      const options = { key: shop.tokens.pos };
      const answer = await other.http('POST', '/v1/accruals', shop.receipt(member, points), options);
      expect(answer.status).toBe(201);
      const awards = answer.body.awards as { currency: string; points: number }[];
      return awards.some(({ currency }) => currency === 'bonus');
    };
    await waitFor(
      'the other API knows the clock',
      async () => other.app.programs.get(shop.program.number)!.clockOffsetMs > 0,
    );
    await elsewhere(1);
    await bonusOf(shop, member, 120);
    await house.settled();
    const { member: _, ...body } = shop.receipt(member, 1);
    const quoted = { member, purchase: body.purchase };
    const quote = await other.http('POST', '/v1/accruals/quote', quoted, { key: shop.tokens.pos });
    expect(quote.body).toMatchObject({ explanation: { facts: { tier: 'silver' } } });
    expect(await elsewhere(1)).toBe(true);
  });
});

describe('at the end of its validity', () => {
  test('a tier that was not kept goes one step down a year, and the history has the days, also where nobody looked for years', async () => {
    const shop = await opened(at('03-10T12:00'));
    const [kept, idle] = [await shop.enrol(), await shop.enrol()];
    for (const member of [kept, idle]) await bonusOf(shop, member, 300);
    await house.settled();
    await goTo(shop, Date.parse(`${year + 1}-05-01T12:00Z`));
    await bonusOf(shop, kept, 300);
    await house.settled();
    await goTo(shop, Date.parse(`${year + 2}-01-01T00:30Z`));
    await house.recalculated();
    expect(await standingOf(shop, kept)).toMatchObject({ tier: 'gold', until: `${year + 2}-12-31` });
    expect(await standingOf(shop, idle)).toMatchObject({ tier: 'silver', since: `${year + 2}-01-01` });
    await goTo(shop, Date.parse(`${year + 6}-07-01T12:00Z`));
    await house.recalculated();
    const history = [
      { from: 'silver', to: 'blue', since: `${year + 3}-01-01` },
      { from: 'gold', to: 'silver', since: `${year + 2}-01-01` },
      { from: 'blue', to: 'gold', since: `${year}-03-10` },
    ];
    expect((await standingOf(shop, idle)).history.filter(({ from, to }) => from !== to)).toMatchObject(
      history,
    );
    // It occurred while the member was still silver.
    const late = await bonusOf(shop, idle, 10, { occurredAt: `${year + 2}-12-31T23:00:00Z` });
    expect(late.bonus).toBe(10);
    expect((await bonusOf(shop, idle, 10)).bonus).toBe(0);
  });
});

describe('a return', () => {
  test('takes the tier that it was reached by, as the file says', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const { id } = await bonusOf(shop, member, 100);
    await house.settled();
    expect((await standingOf(shop, member)).tier).toBe('silver');
    const body = { reference: reference(), occurredAt: shop.time() };
    expect(await shop.pos('POST', `/v1/accruals/${id}/reversals`, body)).toMatchObject({ status: 201 });
    await house.settled();
    expect(await standingOf(shop, member)).toMatchObject({
      tier: 'blue',
      history: [
        { from: 'silver', to: 'blue' },
        { from: 'blue', to: 'silver' },
      ],
    });
    expect((await bonusOf(shop, member, 10)).bonus).toBe(0);
  });
});

describe('a tier that is given', () => {
  test('holds at once and until its end, by its reference once, and its reason is for those who may see it', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const body = {
      reference: reference('care'),
      tier: 'gold',
      reason: 'Ms Muster, flight cancelled',
      until: `${year}-04-30`,
    };
    const path = `/v1/members/${member}/tier`;
    const given = await shop.care('POST', path, body);
    expect(given.status).toBe(200);
    expect((await bonusOf(shop, member, 10)).bonus).toBe(10);
    const again = await shop.care('POST', path, body);
    expect([again.status, again.body]).toEqual([200, given.body]);
    expect((await shop.care('POST', path, { ...body, tier: 'silver' })).code).toBe('reference_reused');
    expect((await shop.care('POST', path, { ...body, reference: reference(), tier: 'tin' })).code).toBe(
      'validation_failed',
    );
    expect((await shop.pos('POST', path, body)).code).toBe('role_not_allowed');
    expect((await standingOf(shop, member)).grants).toMatchObject([{ reason: body.reason }]);
    expect(JSON.stringify((await shop.finance('GET', path)).body)).not.toContain('Muster');
    const { rows } = await pool.query('select standing::text from tier_standing where program = $1', [
      shop.program.number,
    ]);
    expect(JSON.stringify(rows)).not.toContain('Muster');
    await goTo(shop, at('05-01T00:10'));
    await house.recalculated();
    expect(await standingOf(shop, member)).toMatchObject({ tier: 'blue', since: `${year}-05-01` });
    expect((await bonusOf(shop, member, 10)).bonus).toBe(0);
  });

  test('ends when somebody ends it, and protection keeps what would go down', async () => {
    const shop = await opened();
    const [member, other] = [await shop.enrol(), await shop.enrol()];
    const grant = { reference: reference('care'), tier: 'silver', reason: 'a friend of the house' };
    await shop.care('POST', `/v1/members/${member}/tier`, grant);
    const [{ id } = { id: '' }] = (await standingOf(shop, member)).grants;
    const end = { reference: reference('care'), reason: 'no more' };
    const ended = await shop.care(
      'POST',
      `/v1/members/${member}/tier/grants/${encodeURIComponent(id)}/end`,
      end,
    );
    expect(ended.status).toBe(200);
    expect((await standingOf(shop, member)).tier).toBe('blue');
    const another = { ...end, reference: reference('care') };
    expect((await shop.care('POST', `/v1/members/${member}/tier/grants/none/end`, another)).code).toBe(
      'not_found',
    );
    await bonusOf(shop, other, 100);
    await house.settled();
    const protection = {
      reference: reference('care'),
      reason: 'parental leave',
      through: `${year + 3}-06-30`,
    };
    expect((await shop.care('PUT', `/v1/members/${other}/tier/protection`, protection)).status).toBe(200);
    await goTo(shop, Date.parse(`${year + 3}-06-30T12:00Z`));
    await house.recalculated();
    expect((await standingOf(shop, other)).tier).toBe('silver');
    await goTo(shop, Date.parse(`${year + 3}-07-01T12:00Z`));
    await house.recalculated();
    expect((await standingOf(shop, other)).tier).toBe('blue');
  });
});

describe('a merge', () => {
  test('counts what both did, and what was given to either goes on with the survivor', async () => {
    const shop = await opened();
    const [one, other, third, card] = await Promise.all([
      shop.enrol(),
      shop.enrol(),
      shop.enrol(),
      shop.enrol(),
    ]);
    await bonusOf(shop, one, 60);
    await bonusOf(shop, other, 60);
    const grant = { tier: 'gold', reason: 'a friend of the house', origin: 'lifetime' };
    const given = await shop.care('POST', `/v1/members/${card}/tier`, { ...grant, reference: reference() });
    expect(given.status).toBe(200);
    const merge = async (member: string, into: string) => {
      const body = { reference: reference(), reason: 'two cards', into };
      expect((await shop.admin('POST', `/v1/members/${member}/merge`, body)).status).toBe(200);
    };
    await merge(one, other);
    await merge(card, third);
    await house.settled();
    expect((await standingOf(shop, other)).tier).toBe('silver');
    await house.recalculated();
    expect(await standingOf(shop, third)).toMatchObject({ tier: 'gold', origin: 'lifetime' });
    expect((await bonusOf(shop, third, 5)).bonus).toBe(5);
    expect((await bonusOf(shop, other, 5)).bonus).toBe(5);
  });
});

describe('the feed', () => {
  test('tells every change once', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    await bonusOf(shop, member, 100);
    await house.settled();
    await bonusOf(shop, member, 200);
    await house.settled();
    const { body } = await shop.care('GET', '/v1/events?types=tier.changed');
    expect(body.data).toMatchObject([
      { type: 'tier.changed', from: 'blue', to: 'silver', since: `${year}-03-10` },
      { type: 'tier.changed', from: 'silver', to: 'gold', since: `${year}-03-10` },
    ]);
  });
});
