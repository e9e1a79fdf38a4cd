/** What partners do through the signed calls: validate, link, give points, take them, take back, ask. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { outcomeOf } from '#src/partners/protocol/outcomes.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { linked, openPartner, type Partner } from './house/partner.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop();
const sky = await openPartner(engine, shop, { name: 'sky', contract: { claimDays: 90 } });
const bank = await openPartner(engine, shop, { name: 'bank' });

/** The partner's account in the ledger: positive where points went there. */
async function ledgerOf({ number }: Partner): Promise<number> {
  await engine.drained();
  const found = await engine.pool.query<{ points: number }>(
    `select coalesce(sum(points), 0)::float8 as points from account_balance where program = $1 and account = 'partner' and party = $2`,
    [shop.program.number, number],
  );
  return found.rows[0]!.points;
}

async function newcomer(name?: string): Promise<string> {
  const member = await shop.enrol('guest');
  if (name !== undefined) await shop.admin('PATCH', `/v1/members/${member}`, { attributes: { name } });
  return member;
}

describe('an account is validated', () => {
  test('by its name, in any spelling that is the same name', async () => {
    const member = await newcomer('Li Xiaoming');
    const answer = await sky.validate({ account: member, name: 'LI/XIAOMING MR' });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      object: 'partnerMember',
      status: 'active',
      name: 'full',
      linked: false,
    });
    expect(String(answer.body.account)).toMatch(/^mem_/);
    const again = await sky.validate({ account: answer.body.account, name: 'X. Li' });
    expect(again.body).toMatchObject({ name: 'initials', account: answer.body.account });
  });

  test('and by a card', async () => {
    const member = await newcomer('Anna Strauß');
    await shop.admin('PATCH', `/v1/members/${member}`, { identifiers: [{ type: 'card', value: 'C-77 01' }] });
    expect((await sky.validate({ account: 'c-7701', name: 'Strauss, Anna' })).body.name).toBe('full');
  });

  test('a wrong name and an unknown account have one answer, and the sixth try in an hour another', async () => {
    const member = await newcomer('王小明');
    const wrong = await sky.validate({ account: member, name: '王小红' });
    const unknown = await sky.validate({ account: 'nobody-at-all', name: '王小红' });
    expect([wrong.status, wrong.code, wrong.body.detail]).toEqual([
      unknown.status,
      unknown.code,
      unknown.body.detail,
    ]);
    expect(wrong.code).toBe('member_not_found');
    for (let i = 0; i < 4; i += 1) await sky.validate({ account: member, name: '王小红' });
    const late = await sky.validate({ account: member, name: '王小明' });
    expect([late.status, late.code]).toEqual([429, 'attempts_exceeded']);
    expect((await bank.validate({ account: member, name: '王小明' })).body.name).toBe('full');
  });

  test('twenty tries at once are not more than five', async () => {
    const member = await newcomer('Wang Xiaoming');
    const tries = await Promise.all(
      Array.from({ length: 20 }, () => sky.validate({ account: member, name: 'Wang Xiaohong' })),
    );
    expect(tries.filter(({ code }) => code === 'member_not_found')).toHaveLength(5);
    expect(tries.filter(({ code }) => code === 'attempts_exceeded')).toHaveLength(15);
  });
});

describe('an account is linked', () => {
  test('by a one-time code of the member, once, and answered again to a repeat', async () => {
    const member = await newcomer();
    const made = await shop.checkout('POST', `/v1/members/${member}/link-codes`, { partner: 'sky' });
    expect(made.status).toBe(201);
    const body = { account: member, code: made.body.code, callerAccount: 'FF-100' };
    const first = await sky.validate(body);
    expect(first.body).toMatchObject({ linked: true, name: 'not_compared' });
    expect((await sky.validate(body)).body).toEqual(first.body);
    expect((await sky.validate({ ...body, callerAccount: 'FF-101' })).code).toBe('link_code_invalid');
    const links = await shop.care('GET', `/v1/members/${member}/links`);
    expect(links.body.data).toMatchObject([{ partner: 'sky', codeOf: 'us', account: '••••00' }]);
  });

  test('not by a code of another member, of another partner, or none at all', async () => {
    const [anna, ben] = [await newcomer(), await newcomer()];
    const { code } = (await shop.checkout('POST', `/v1/members/${anna}/link-codes`, { partner: 'sky' })).body;
    const refused = [
      await sky.validate({ account: ben, code, callerAccount: 'FF-2' }),
      await bank.validate({ account: anna, code, callerAccount: 'B-2' }),
      await sky.validate({ account: anna, code: 'ABCDE-FGHJK', callerAccount: 'FF-2' }),
    ];
    expect(refused.map((answer) => answer.code)).toEqual(Array(3).fill('link_code_invalid'));
    expect((await sky.validate({ account: anna, code, callerAccount: 'FF-2' })).body.linked).toBe(true);
  });

  test('one account of a partner belongs to one member', async () => {
    const [anna, ben] = [await newcomer(), await newcomer()];
    await linked(shop, sky, anna, 'FF-9');
    const { code } = (await shop.checkout('POST', `/v1/members/${ben}/link-codes`, { partner: 'sky' })).body;
    expect((await sky.validate({ account: ben, code, callerAccount: 'FF-9' })).code).toBe('identifier_taken');
  });

  test('until it is unlinked, and both stand in the audit log of the member', async () => {
    const member = await newcomer();
    const { code } = (await shop.checkout('POST', `/v1/members/${member}/link-codes`, { partner: 'sky' }))
      .body;
    const body = { account: member, code, callerAccount: 'FF-55' };
    const account = String((await sky.validate(body)).body.account);
    await sky.accrue({ reference: reference('f'), account, points: 50 });
    const gone = await shop.checkout('DELETE', `/v1/members/${member}/links/sky`);
    expect(gone.body).toMatchObject({ unlinked: true });
    expect((await sky.redeem({ reference: reference('r'), account, points: 10 })).code).toBe(
      'member_not_linked',
    );
    expect((await sky.accrue({ reference: reference('f'), account, points: 10 })).code).toBe(
      'member_not_linked',
    );
    expect((await sky.validate(body)).code).toBe('link_code_invalid');
    expect((await shop.checkout('DELETE', `/v1/members/${member}/links/sky`)).code).toBe('not_found');
    const exported = await shop.admin('GET', `/v1/members/${member}/export`);
    const actions = (exported.at('member.audit') as { action: string }[]).map(({ action }) => action);
    expect(actions).toEqual(
      expect.arrayContaining(['member.link:sky', 'member.unlink:sky', 'member.link_code:sky']),
    );
    expect(exported.body.partnerLinks).toMatchObject([{ partner: 'sky', account: 'FF-55' }]);
  });

  test('a link outlives a merge and not an erasure', async () => {
    const [anna, ben] = [await newcomer(), await newcomer()];
    const account = await linked(shop, sky, anna, 'FF-70');
    await sky.accrue({ reference: reference('f'), account, points: 40 });
    const merged = await shop.admin('POST', `/v1/members/${anna}/merge`, {
      reference: reference('m'),
      into: ben,
      reason: 'twice',
    });
    expect(merged.status).toBeLessThan(203);
    await waitFor('the points moved', async () => (await shop.balances(ben)).available === 40);
    expect((await sky.redeem({ reference: reference('r'), account, points: 15 })).body.status).toBe(
      'succeeded',
    );
    expect((await shop.balances(ben)).available).toBe(25);
    await shop.admin('POST', `/v1/members/${ben}/erasure`, { reference: reference('e') });
    const left = await engine.pool.query(
      'select 1 from partner_link where program = $1 and account_sealed is not null and linked_by is not null and unlinked_at is null and member in (select number from member where erased_at is not null)',
      [shop.program.number],
    );
    expect(left.rows).toEqual([]);
  });
});

describe('points of a partner', () => {
  test('are given once by their reference, stand in the account of the partner and are found by asking', async () => {
    const member = await newcomer();
    const account = await linked(shop, sky, member, 'FF-200');
    const before = await ledgerOf(sky);
    const body = {
      reference: reference('flight'),
      account,
      points: 1_500,
      purpose: 'CA981',
      occurredAt: shop.time(),
    };
    const first = await sky.accrue(body);
    expect([first.status, first.body.status, first.body.points]).toEqual([201, 'succeeded', 1_500]);
    const again = await sky.accrue(body);
    expect([again.replayed, again.body]).toEqual([true, first.body]);
    expect((await shop.balances(member)).available).toBe(1_500);
    expect(await ledgerOf(sky)).toBe(before - 1_500);
    expect((await sky.inquire('accrual', body.reference)).body).toEqual({ ...first.body, reversed: 0 });
    expect((await bank.inquire('accrual', body.reference)).code).toBe('not_found');
    const other = await sky.accrue({ ...body, points: 1_501 });
    expect([other.status, other.code]).toEqual([422, 'reference_reused']);
  });

  test('reach an account that is not linked when the name is its member’s', async () => {
    const member = await newcomer('Li Xiaoming');
    const give = (more: object) =>
      sky.accrue({ reference: reference('f'), account: member, points: 10, ...more });
    expect((await give({})).code).toBe('member_not_linked');
    expect((await give({ name: 'Li Xiaohong' })).code).toBe('member_not_found');
    expect((await give({ name: 'LI/XIAOMING MS' })).body.status).toBe('succeeded');
    const taken = await sky.redeem({ reference: reference('r'), account: member, points: 10 });
    expect(taken.code).toBe('member_not_linked');
  });

  test('come late up to the claim window of the contract, and not from the future', async () => {
    const account = await linked(shop, sky, await newcomer(), 'FF-210');
    const give = (days: number) =>
      sky.accrue({ reference: reference('f'), account, points: 1, occurredAt: shop.time(days * 86_400_000) });
    expect((await give(-89)).body.status).toBe('succeeded');
    expect((await give(-91)).code).toBe('occurred_at_too_old');
    expect((await give(1)).code).toBe('occurred_at_in_future');
  });

  test('are taken as far as there are any, and the refusal is for good', async () => {
    const member = await newcomer();
    const account = await linked(shop, sky, member, 'FF-220');
    await sky.accrue({ reference: reference('f'), account, points: 100 });
    const before = await ledgerOf(sky);
    expect((await sky.redeem({ reference: reference('r'), account, points: 60 })).body.status).toBe(
      'succeeded',
    );
    const refused = await sky.redeem({ reference: reference('r'), account, points: 60 });
    expect(refused.body).toMatchObject({ code: 'insufficient_points', available: 40, required: 60 });
    expect(outcomeOf(refused.status, refused.body)).toEqual({
      outcome: 'refused',
      code: 'insufficient_points',
    });
    expect(await ledgerOf(sky)).toBe(before + 60);
    expect((await shop.balances(member)).available).toBe(40);
  });

  test.each([
    ['points are none', { points: 0 }, 'validation_failed'],
    ['points are not whole', { points: 1.5 }, 'validation_failed'],
    ['something is unknown', { colour: 'red' }, 'validation_failed'],
    ['the currency is unknown', { currency: 'pebbles' }, 'currency_unknown'],
    ['the account is unknown', { account: 'mem_zzzzzzzz', name: 'Li' }, 'member_not_found'],
  ])('are refused, and nothing moves, when %s', async (_, change, code) => {
    const member = await newcomer();
    const account = await linked(shop, sky, member, `FF-${reference('x')}`);
    const before = await ledgerOf(sky);
    const answer = await sky.accrue({ reference: reference('f'), account, points: 10, ...change });
    expect([answer.code, answer.body.applied]).toEqual([code, 'no']);
    expect(await ledgerOf(sky)).toBe(before);
    expect((await shop.balances(member)).available).toBe(0);
  });

  test('cannot be moved by a key without a partner, and each refusal stands in the audit log', async () => {
    const made = await shop.admin('POST', '/v1/keys', { client: 'stranger', role: 'partner' });
    const key = { keyId: made.id, secret: String(made.body.secret) };
    const ask = () => sky.call('GET', '/v1/partner/operations?kind=accrual&reference=x', undefined, { key });
    await waitFor('the key is known', async () => (await ask()).code !== 'signature_invalid');
    expect((await ask()).code).toBe('role_not_allowed');
    const lines = await engine.pool.query<{ subject: string }>(
      `select subject from audit_log where actor = $1 and action = 'partner.refused role_not_allowed'`,
      [made.id],
    );
    expect(lines.rows[0]?.subject).toBe('GET /v1/partner/operations');
  });
});

describe('what a partner takes back', () => {
  test('ends at nothing in any pieces and order, and is never more than it was', async () => {
    const member = await newcomer();
    const account = await linked(shop, sky, member, 'FF-300');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('accrual' as const, 'redemption' as const),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 }),
        async (originalKind, pieces) => {
          await sky.accrue({ reference: reference('base'), account, points: 100 });
          const before = [(await shop.balances(member)).available, await ledgerOf(sky)] as const;
          const originalReference = reference('orig');
          const move = originalKind === 'accrual' ? sky.accrue : sky.redeem;
          await move({ reference: originalReference, account, points: 100 });
          let left = 100;
          for (const points of pieces) {
            const answer = await sky.reverse({
              reference: reference('rev'),
              originalKind,
              originalReference,
              points,
            });
            if (points <= left) {
              expect(answer.body).toMatchObject({ status: 'succeeded', points });
              left -= points;
            } else
              expect([answer.code, answer.body.left ?? left]).toEqual(['reversal_exceeds_original', left]);
          }
          const asked = await sky.inquire(originalKind, originalReference);
          expect(asked.body).toMatchObject({ points: 100, reversed: 100 - left });
          const rest = await sky.reverse({ reference: reference('rev'), originalKind, originalReference });
          expect(left > 0 ? rest.body.points : rest.code).toBe(left > 0 ? left : 'reversal_exceeds_original');
          expect([(await shop.balances(member)).available, await ledgerOf(sky)]).toEqual(before);
        },
      ),
      { numRuns: 8 },
    );
  });

  test('is never more than it was when twenty ask at once', async () => {
    const member = await newcomer();
    const account = await linked(shop, sky, member, 'FF-310');
    const originalReference = reference('orig');
    await sky.accrue({ reference: originalReference, account, points: 100 });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        sky.reverse({ reference: reference('rev'), originalKind: 'accrual', originalReference, points: 30 }),
      ),
    );
    expect(answers.filter(({ status }) => status < 300)).toHaveLength(3);
    expect((await shop.balances(member)).available).toBe(10);
  });

  test('the same reference takes back once', async () => {
    const account = await linked(shop, sky, await newcomer(), 'FF-315');
    const originalReference = reference('orig');
    await sky.accrue({ reference: originalReference, account, points: 100 });
    const body = {
      reference: reference('rev'),
      originalKind: 'accrual',
      originalReference,
      points: 30,
      occurredAt: shop.time(),
    };
    const first = await sky.reverse(body);
    const again = await sky.reverse(body);
    expect([again.replayed, again.body]).toEqual([true, first.body]);
    expect((await sky.inquire('reversal', body.reference)).body).toEqual(first.body);
    expect((await sky.inquire('accrual', originalReference)).body.reversed).toBe(30);
    expect((await sky.reverse({ ...body, originalKind: 'redemption' })).code).toBe('original_not_found');
  });

  test('what the member has spent becomes debt, and the partner has back all that it gave', async () => {
    const member = await newcomer();
    const account = await linked(shop, sky, member, 'FF-320');
    const before = await ledgerOf(sky);
    const originalReference = reference('orig');
    await sky.accrue({ reference: originalReference, account, points: 100 });
    await shop.checkout('POST', '/v1/redemptions', { member, reference: reference('red'), points: 70 });
    const answer = await sky.reverse({
      reference: reference('rev'),
      originalKind: 'accrual',
      originalReference,
    });
    expect(answer.body).toMatchObject({ status: 'succeeded', points: 100, shortfall: 70 });
    expect(await shop.balances(member)).toMatchObject({ available: 0, debt: 70 });
    expect(await ledgerOf(sky)).toBe(before);
  });

  test('belongs to its partner: not another one, and not a till', async () => {
    const account = await linked(shop, sky, await newcomer(), 'FF-330');
    const originalReference = reference('orig');
    const given = await sky.accrue({ reference: originalReference, account, points: 100 });
    const foreign = await bank.reverse({
      reference: reference('rev'),
      originalKind: 'accrual',
      originalReference,
    });
    expect(foreign.code).toBe('original_not_found');
    const till = await shop.admin('POST', `/v1/accruals/${String(given.body.id)}/reversals`, {
      reference: reference('rev'),
      occurredAt: shop.time(),
    });
    expect(till.code).toBe('original_not_found');
  });

  test('is voided also of a member who is suspended by now, and of what was just refused not yet', async () => {
    const member = await newcomer();
    const account = await linked(shop, sky, member, 'FF-340');
    const originalReference = reference('poor');
    expect((await sky.redeem({ reference: originalReference, account, points: 60 })).status).toBe(409);
    await shop.admin('POST', `/v1/members/${member}/suspend`, { reference: reference(), reason: 'asked' });
    const back = (original: string) =>
      sky.reverse({
        ...{ reference: reference('rev'), originalKind: 'redemption', account, voidIfMissing: true },
        originalReference: original,
      });
    const early = await back(originalReference);
    expect(outcomeOf(early.status, early.body)).toEqual({
      outcome: 'not_done',
      code: 'reference_in_progress',
    });
    expect((await back(reference('lost'))).body).toMatchObject({ status: 'succeeded', points: 0 });
  });

  test.each(['accrual', 'redemption'] as const)(
    'a %s that never arrived is voided, and its late copy moves nothing',
    async (originalKind) => {
      const member = await newcomer();
      const account = await linked(shop, sky, member, `FF-${originalKind}`);
      await sky.accrue({ reference: reference('base'), account, points: 100 });
      const before = [(await shop.balances(member)).available, await ledgerOf(sky)];
      const originalReference = reference('lost');
      const back = { originalKind, originalReference, account, voidIfMissing: true };
      const early = await sky.reverse({ reference: reference('rev'), originalKind, originalReference });
      expect(early.code).toBe('original_not_found');
      expect((await sky.reverse({ reference: reference('rev'), ...back })).body).toMatchObject({ points: 0 });
      const move = originalKind === 'accrual' ? sky.accrue : sky.redeem;
      const late = await move({ reference: originalReference, account, points: 40 });
      expect(outcomeOf(late.status, late.body)).toEqual({ outcome: 'stands', code: 'reference_reused' });
      expect((await sky.inquire(originalKind, originalReference)).body).toMatchObject({
        status: 'failed',
        reason: 'voided',
        points: 0,
      });
      expect([(await shop.balances(member)).available, await ledgerOf(sky)]).toEqual(before);
    },
  );
});
