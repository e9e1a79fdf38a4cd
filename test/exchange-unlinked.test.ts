/**
 * An account that the member has unlinked gets no more points and gives none, whatever was quoted or left to a person before; and limits
 * on links, on the name of the account and on the card that was shown.
 */
import { afterAll, describe, expect, test } from 'vitest';
import type { MemberRef } from '#src/members/member-ref.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { NotResolvable, resolveExchange } from '#src/partners/exchange/resolving.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { linkConfirmed, linkFacts } from '#src/partners/linking/links.ts';
import type { NameMatch } from '#src/partners/protocol/schemas.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { parseMemberId } from '#src/values.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { type Ally, type AllyOptions, ally, partnerAccount } from './house/alliance.ts';

const engine = await startEngine();
const { app, pool } = engine;
const shop = await engine.shop();
const worker = createExchanging(app, { timeoutMs: 5_000, retryMs: 20, retryMsMax: 100 });
const allies: Ally[] = [];
afterAll(async () => {
  await Promise.all(allies.map(({ far }) => far.close()));
  await engine.end();
});

async function newAlly(options: AllyOptions = {}): Promise<Ally> {
  const made = await ally(app, shop, options);
  allies.push(made);
  return made;
}

const unlink = async (who: Ally, member: string) => {
  const path = `/v1/members/${encodeURIComponent(member)}/links/${who.name}`;
  expect((await shop.care('DELETE', path)).status).toBeLessThan(300);
};
/** The member links an account there again: the one from before, or another. */
const link = async (who: Ally, member: string, account: string, name: NameMatch = 'not_compared') => {
  const partner = (await app.partners.numbered(who.number))!;
  const proof = { codeOf: 'partner', name, actor: 'test' } as const;
  const made = { member: parseMemberId(member)!, account, ...proof };
  await linkConfirmed(app, shop.program, partner, made);
};
const wait = { headers: { prefer: 'wait=5' } };
const exchange = (body: object) =>
  shop.checkout('POST', '/v1/exchanges', { ...body, reference: reference() }, wait);

/** Of a member who had 100: nothing has moved, here or there. */
async function expectUntouched(who: Ally, member: string): Promise<void> {
  await engine.drained();
  expect(await shop.balances(member)).toMatchObject({ available: 100, held: 0 });
  expect([await partnerAccount(pool, shop, who.number), who.far.points(), who.far.sends.size]).toEqual([
    ...[0, 0, 0],
  ]);
}

test.each(['out', 'in'])(
  'a quote of points that go %s moves nothing once its account is unlinked, and is there when it is linked again',
  async (direction) => {
    const who = await newAlly();
    const member = await who.member(100);
    const account = `FAR-${parseMemberId(member)}`;
    const ask = { member, partner: who.name, direction, points: 80 };
    const quote = (await shop.checkout('POST', '/v1/exchanges/quote', ask)).id;
    await unlink(who, member);
    const refused = await exchange({ quote });
    expect([refused.status, refused.code]).toEqual([409, 'member_not_linked']);
    await link(who, member, `${account}-other`);
    expect((await exchange({ quote })).code).toBe('member_not_linked');
    await expectUntouched(who, member);
    await unlink(who, member);
    await link(who, member, account);
    const done = await exchange({ quote });
    expect([done.status, done.id, done.body.status]).toEqual([201, quote, 'completed']);
  },
);

test('what is begun beside it at the same moment goes its way', async () => {
  const who = await newAlly();
  const members = await Promise.all([1, 2, 3, 4].map(() => who.member(100)));
  const quotes = await Promise.all(
    members.map(async (member) => {
      const ask = { member, partner: who.name, direction: 'out', points: 80 };
      return (await shop.checkout('POST', '/v1/exchanges/quote', ask)).id;
    }),
  );
  await unlink(who, members[1]!);
  await unlink(who, members[2]!);
  const answers = await Promise.all(quotes.map((quote) => exchange({ quote })));
  const codes = answers.map(({ status, code }) => (status < 300 ? 'begun' : code));
  expect(codes).toEqual(['begun', 'member_not_linked', 'member_not_linked', 'begun']);
});

test('who unlinks while an exchange begins waits until it has', async () => {
  const who = await newAlly();
  const member = await who.member(100);
  const number = parseMemberId(member)!;
  const asked = {
    program: shop.program.number,
    partner: who.number,
    member: number,
    account: `FAR-${number}`,
  };
  const known = () => inTransaction(pool, (tx) => linkFacts(tx, app.identity, [asked]));
  const order: string[] = [];
  let ending: Promise<unknown> = Promise.resolve();
  await inTransaction(pool, async (tx) => {
    expect(await linkFacts(tx, app.identity, [asked])).toMatchObject([{ name: 'not_compared' }]);
    ending = unlink(who, member).then(() => order.push('unlinked'));
    await waitFor('the unlinking waits', async () => {
      const { rowCount } = await pool.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'update partner_link set%'`,
      );
      return rowCount === 1;
    });
    order.push('begun');
  });
  await ending;
  expect([order, await known()]).toEqual([['begun', 'unlinked'], [undefined]]);
});

test('what waited for a person before anything was sent is not begun by that person, and its points stay', async () => {
  const who = await newAlly({ limits: { member: { count: 1, points: 1, hours: 24, action: 'review' } } });
  const member = await who.member(100);
  const left = await exchange({ member, partner: who.name, direction: 'out', points: 80 });
  expect([left.status, left.body.status]).toEqual([202, 'in_review']);
  await unlink(who, member);
  const id = parseExchangeId(left.id)!;
  const decision = { actor: 'anna', reason: 'known to us' };
  const retried = resolveExchange(pool, app.identity, id, { verdict: 'retry', ...decision });
  await expect(retried).rejects.toThrow(NotResolvable);
  await expect(retried).rejects.toThrow(/unlinked/);
  const show = () => shop.checkout('GET', `/v1/exchanges/${left.id}`);
  expect((await show()).body.status).toBe('in_review');
  await resolveExchange(pool, app.identity, id, { verdict: 'refused', ...decision });
  await waitFor('it is over', async () => {
    for (const each of await claimDue(pool, who.number, 10, 1))
      await worker.saga.drive(each, Date.now() + 5_000);
    return (await show()).body.status === 'refused';
  });
  await expectUntouched(who, member);
});

describe('limits on links and cards', () => {
  const accountOf = (member: string) => `FAR-${parseMemberId(member)}`;
  const out = (who: Ally, member: MemberRef, points: number) =>
    exchange({ member, partner: who.name, direction: 'out', points });
  const hours24 = (from: number) => {
    const isSoon = (until: unknown) => Math.abs(Date.parse(String(until)) - from - 86_400_000) < 60_000;
    return { asymmetricMatch: isSoon };
  };

  test('want the name of the linked account to be the member’s, which linking it once more with the name cures', async () => {
    const who = await newAlly({ limits: { sameName: { match: 'initials' } } });
    const member = await who.member(100);
    const refused = await out(who, member, 10);
    expect(refused.body).toMatchObject({
      code: 'exchange_not_allowed',
      reasons: [{ limit: 'same_name', bound: 'initials', value: 'not_compared' }],
    });
    await link(who, member, accountOf(member), 'initials');
    expect((await out(who, member, 10)).status).toBe(201);
    await link(who, member, accountOf(member));
    expect((await exchange({ member, partner: who.name, direction: 'in', points: 10 })).status).toBe(201);
  });

  test('count the accounts of a member and the members of an account, and say until when', async () => {
    const who = await newAlly({ limits: { links: { action: 'refuse' } } });
    const [first, second] = [await who.member(100), await who.member(100)];
    expect((await out(who, first, 10)).status).toBe(201);
    for (const member of [first, second]) await unlink(who, member);
    await link(who, first, 'FAR-another');
    const moved = await out(who, first, 10);
    const until = hours24(Date.now());
    expect(moved.body).toMatchObject({ reasons: [{ limit: 'linked_accounts', bound: 1, value: 2, until }] });
    await link(who, second, accountOf(first));
    const shared = await out(who, second, 10);
    expect(shared.body.reasons).toMatchObject([
      { limit: 'linked_accounts', value: 2, until },
      { limit: 'linked_members', bound: 1, value: 2, until },
    ]);
    await engine.drained();
    expect(await shop.balances(second)).toMatchObject({ available: 100, held: 0 });
    expect([await partnerAccount(pool, shop, who.number), who.far.points()]).toEqual([10, 5]);
  });

  test('count what one card does, also where it was shown for a quote, and say until when', async () => {
    const who = await newAlly({ limits: { card: { count: 1 } } });
    const member = await who.member(100);
    const card = { type: 'card', value: reference('card') };
    await shop.admin('PATCH', `/v1/members/${encodeURIComponent(member)}`, { identifiers: [card] });
    const ask = { member: card, partner: who.name, direction: 'out', points: 10 };
    const quote = async () => {
      const { id } = await shop.checkout('POST', '/v1/exchanges/quote', ask);
      return shop.checkout('POST', '/v1/exchanges', { quote: id, reference: reference() });
    };
    expect((await quote()).status).toBe(201);
    const until = hours24(Date.now());
    const reasons = [{ limit: 'card_velocity', bound: 1, value: 2, until }];
    for (const again of [await quote(), await out(who, card, 10)])
      expect(again.body).toMatchObject({ reasons });
    expect((await out(who, member, 10)).status).toBe(201);
    const cards = async () => {
      const { rowCount } = await pool.query(
        'select from exchange_use where partner = $1 and card is not null',
        [who.number],
      );
      return rowCount;
    };
    expect(await cards()).toBe(1);
    const erasure = { reference: reference() };
    const { status } = await shop.admin('POST', `/v1/members/${encodeURIComponent(member)}/erasure`, erasure);
    expect([status < 300, await cards()]).toEqual([true, 0]);
  });
});
