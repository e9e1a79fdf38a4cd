/** Who somebody is: enrolment, identifiers, look-up, the life of a member, merge, export, erasure, statement. */
import { afterAll, describe, expect, test } from 'vitest';
import { createMembers } from '#src/members/members.ts';
import { type Answer, reference, startEngine, uuidV7, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop({ timeZone: 'Europe/Berlin' });
const otherApi = await engine.anotherApi();

const enrol = (body: object): Promise<Answer> => shop.pos('POST', '/v1/members', body);
const life = (member: string, action: string, more: object = {}): Promise<Answer> =>
  shop.admin('POST', `/v1/members/${encodeURIComponent(member)}/${action}`, {
    reference: reference(),
    reason: 'a test',
    ...more,
  });
const card = () => ({ type: 'card', value: reference('card') });

describe('enrolment', () => {
  test('201 with everything, the same again 200, different details 409', async () => {
    const body = {
      member: reference('m'),
      birthday: '1990-05-17',
      joinedAt: '2024-01-31',
      identifiers: [card(), { type: 'phone', value: '+49 (30) 12-34' }],
      attributes: { city: 'Berlin', children: 2, newsletter: true },
    };
    const first = await enrol(body);
    expect(first.status).toBe(201);
    expect(first.body).toMatchObject({
      object: 'member',
      status: 'active',
      tier: null,
      joinedAt: '2024-01-30T23:00:00.000Z',
    });
    const again = await enrol(body);
    expect([again.status, again.id]).toEqual([200, first.id]);
    for (const [pointer, change] of [
      ['/birthday', { birthday: '1990-05-18' }],
      ['/joinedAt', { joinedAt: '2024-02-01' }],
      ['/attributes/city', { attributes: { city: 'Bonn' } }],
    ] as const) {
      expect((await enrol({ ...body, ...change })).body).toMatchObject({
        status: 409,
        code: 'member_exists',
        pointer,
      });
    }
    expect((await enrol({ member: body.member })).status).toBe(200);
  });

  test('an identifier belongs to one member of a program', async () => {
    const shared = card();
    await enrol({ member: reference('m'), identifiers: [shared] });
    const refused = await enrol({ member: reference('m'), identifiers: [shared] });
    expect(refused.body).toMatchObject({ status: 409, code: 'identifier_taken', pointer: '/identifiers/0' });
  });

  test('of the same person at once on two APIs makes one member', async () => {
    const body = { member: reference('m'), identifiers: [card()] };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? engine.http : otherApi.http)('POST', '/v1/members', body, { key: shop.tokens.pos }),
      ),
    );
    expect(new Set(answers.map((answer) => answer.id)).size).toBe(1);
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
  });

  test('a thousand in one call, each answered alone', async () => {
    const taken = reference('m');
    await enrol({ member: taken, birthday: '--05-17' });
    const items: object[] = Array.from({ length: 997 }, () => ({ member: reference('bulk') }));
    items.push(
      { member: taken, birthday: '--05-18' },
      { member: '' },
      { member: 'x', identifiers: [{ type: 'unheard', value: '1' }] },
    );
    const answer = await shop.pos('POST', '/v1/members/bulk', { items });
    const data = answer.body.data as { index: number; status: number; error?: { code: string } }[];
    expect(data.filter((item) => item.status === 201)).toHaveLength(997);
    expect(data.slice(997)).toMatchObject([
      { index: 997, status: 409, error: { code: 'member_exists' } },
      { index: 998, status: 400, error: { code: 'validation_failed' } },
      { index: 999, status: 400, error: { code: 'validation_failed' } },
    ]);
  });

  test.each([
    ['/birthday', { birthday: '1990-02-30' }],
    ['/birthday', { birthday: '--13-01' }],
    ['/joinedAt', { joinedAt: '2999-01-01' }],
    ['/identifiers/0/type', { identifiers: [{ type: 'unheard', value: 'x' }] }],
    ['/identifiers/0/value', { identifiers: [{ type: 'card', value: 'a\u0007b' }] }],
    ['/member', { member: 'mem_00000001' }],
    ['/attributes/a', { attributes: { a: { b: 1 } } }],
    ['/nickname', { nickname: 'x' }],
  ])('400 with the pointer %s', async (pointer, change) => {
    const answer = await shop.pos(
      'POST',
      '/v1/members',
      { member: reference('m'), ...change },
      { invalid: true },
    );
    expect(answer.body).toMatchObject({ status: 400, code: 'validation_failed', errors: [{ pointer }] });
  });
});

describe('look-up', () => {
  test('finds by any identifier, in any spelling, with balances', async () => {
    const member = reference('m');
    const identifiers = [
      { type: 'phone', value: '+49 (171) 555-0101' },
      { type: 'email', value: 'Anna@Example.COM' },
      { type: 'card', value: '4711 0815 ab' },
    ];
    const enrolled = await enrol({ member, identifiers });
    await shop.accrue(member, 12);
    for (const spelling of [
      { type: 'phone', value: '+491715550101' },
      { type: 'email', value: 'anna@example.com' },
      { type: 'card', value: '47110815AB' },
      { type: 'id', value: member },
    ]) {
      const found = await shop.pos('POST', '/v1/members/lookup', spelling);
      expect(found.body).toMatchObject({
        id: enrolled.id,
        timeZone: 'Europe/Berlin',
        balances: { points: { available: 12 } },
      });
    }
    expect((await shop.pos('POST', '/v1/members/lookup', { type: 'card', value: 'none' })).code).toBe(
      'member_not_found',
    );
  });

  test('a movement takes any name: own id, mem_ id or identifier', async () => {
    const identifier = card();
    const member = reference('m');
    const { id } = await enrol({ member, identifiers: [identifier] });
    for (const name of [member, id, identifier])
      await shop.pos('POST', '/v1/accruals', { ...shop.receipt('', 1), member: name });
    expect((await shop.balances(id)).available).toBe(3);
  });

  test('personal details are shown to care and admin only, identifiers by their ends', async () => {
    const member = reference('m');
    await enrol({ member, birthday: '1990-05-17', identifiers: [{ type: 'phone', value: '+491715550199' }] });
    const seen = await shop.care('GET', `/v1/members/${encodeURIComponent(member)}`);
    expect(seen.body).toMatchObject({ birthday: '1990-05-17', attributes: {} });
    expect(JSON.stringify(seen.body)).not.toContain('5550199');
    expect(JSON.stringify(seen.body)).toContain('0199');
    const hidden = await shop.finance('GET', `/v1/members/${encodeURIComponent(member)}`);
    expect(hidden.body.birthday).toBeUndefined();
    expect(JSON.stringify(hidden.body)).not.toContain('0199');
  });
});

describe('changes', () => {
  test('details change, null removes them, identifiers are linked and unlinked everywhere at once', async () => {
    const member = reference('m');
    const [old, fresh] = [card(), card()];
    await enrol({
      member,
      birthday: '1990-05-17',
      identifiers: [old],
      attributes: { city: 'Bonn', size: 'M' },
    });
    // Both APIs know the old card before it is unlinked.
    for (const http of [engine.http, otherApi.http]) {
      const body = { ...shop.receipt('', 1), member: old };
      expect((await http('POST', '/v1/accruals', body, { key: shop.tokens.pos })).status).toBe(201);
    }
    const patch = {
      birthday: null,
      attributes: { city: 'Köln', size: null },
      identifiers: [fresh],
      unlink: [old],
    };
    const changed = await shop.admin('PATCH', `/v1/members/${encodeURIComponent(member)}`, patch);
    expect(changed.body).toMatchObject({ attributes: { city: 'Köln' } });
    expect(changed.body.birthday).toBeUndefined();
    for (const http of [engine.http, otherApi.http]) {
      const call = (name: object) =>
        http('POST', '/v1/accruals', { ...shop.receipt('', 1), member: name }, { key: shop.tokens.pos });
      expect((await call(old)).code).toBe('member_not_found');
      expect((await call(fresh)).status).toBe(201);
    }
  });

  test('somebody else’s identifier cannot be linked', async () => {
    const taken = card();
    await enrol({ member: reference('m'), identifiers: [taken] });
    const member = reference('m');
    await enrol({ member });
    const answer = await shop.admin('PATCH', `/v1/members/${encodeURIComponent(member)}`, {
      identifiers: [taken],
    });
    expect(answer.body).toMatchObject({ status: 409, code: 'identifier_taken', pointer: '/identifiers/0' });
  });
});

describe('suspend, resume, close', () => {
  test('change the status once, and a repeat answers what it answered', async () => {
    const member = await shop.enrol();
    const body = { reference: reference(), reason: 'lost card' };
    const first = await shop.admin('POST', `/v1/members/${member}/suspend`, body);
    await life(member, 'resume');
    const again = await shop.admin('POST', `/v1/members/${member}/suspend`, body);
    expect([first.body.status, again.body.status, again.replayed]).toEqual(['suspended', 'suspended', true]);
    expect((await shop.care('GET', `/v1/members/${member}`)).body.status).toBe('active');
    expect((await life(member, 'close')).body.status).toBe('closed');
    expect((await life(member, 'suspend')).code).toBe('member_not_active');
  });

  test('of nobody is 404; the reference is required', async () => {
    expect((await life('nobody', 'suspend')).code).toBe('member_not_found');
    const member = await shop.enrol();
    const without = await shop.admin('POST', `/v1/members/${member}/close`, { reason: 'x' });
    expect(without.body).toMatchObject({ status: 400, errors: [{ pointer: '/reference' }] });
  });
});

describe('merge', () => {
  test('moves points, identifiers and open holds’ ends; history is shown under the survivor', async () => {
    const identifier = card();
    const [gone, stays] = [reference('gone'), reference('stays')];
    await enrol({ member: gone, identifiers: [identifier] });
    const survivor = await enrol({ member: stays });
    const accrual = await shop.accrue(gone, 100);
    const held = await shop.pos('POST', '/v1/holds', { member: gone, reference: reference(), points: 30 });
    const merged = await life(gone, 'merge', { into: stays });
    expect(merged.body).toMatchObject({ status: 'merged', mergedInto: survivor.id });
    expect((await shop.balances(stays)).available).toBe(70);
    await shop.pos('POST', '/v1/accruals', { ...shop.receipt('', 5), member: identifier });
    expect((await shop.balances(gone)).available).toBe(75);
    expect((await shop.pos('POST', `/v1/holds/${held.id}/release`, { reference: reference() })).status).toBe(
      200,
    );
    const { merges } = createMembers(engine.app);
    await waitFor('what came back late is moved on', async () => {
      await engine.drained();
      await merges.resume(50);
      return (await shop.balances(stays)).available === 105;
    });
    const statement = await shop.care('GET', `/v1/members/${encodeURIComponent(stays)}/statement?limit=200`);
    const entries = statement.body.data as { operation: string }[];
    expect(entries.some((entry) => entry.operation === accrual.id)).toBe(true);
  });

  test('while it is under way the member can do nothing, and upkeep finishes it', async () => {
    const [gone, stays] = [await shop.enrol('gone'), await shop.enrol('stays')];
    await shop.accrue(gone, 40);
    const body = { reference: reference(), reason: 'twice', into: stays };
    const atOnce = { headers: { Prefer: 'wait=0' } };
    const begun = await shop.admin('POST', `/v1/members/${gone}/merge`, body, atOnce);
    expect([begun.status, begun.body.status]).toEqual([202, 'merging']);
    await engine.drained();
    expect((await shop.pos('POST', '/v1/accruals', shop.receipt(gone, 1))).code).toBe('member_merging');
    expect((await life(gone, 'close')).code).toBe('member_merging');
    const { merges } = createMembers(engine.app);
    await waitFor('the merge is through', async () => {
      await merges.resume(50);
      return (await shop.care('GET', `/v1/members/${begun.id}`)).body.mergedInto !== undefined;
    });
    expect((await shop.balances(stays)).available).toBe(40);
    const again = await shop.admin('POST', `/v1/members/${gone}/merge`, body);
    expect([again.status, again.body.status, again.replayed]).toEqual([200, 'merged', true]);
  });

  test('a merge that is through answers its repeat, also under a reference that says that it is young', async () => {
    const [gone, stays] = [await shop.enrol('gone'), await shop.enrol('stays')];
    const body = { reference: uuidV7(), reason: 'twice', into: stays };
    const first = await shop.admin('POST', `/v1/members/${gone}/merge`, body);
    expect(first.body.status).toBe('merged');
    const again = await shop.admin('POST', `/v1/members/${gone}/merge`, body);
    expect([again.status, again.body.status, again.replayed]).toEqual([200, 'merged', true]);
  });

  test('into nobody, into a closed member or twice is refused', async () => {
    const [member, closed] = [await shop.enrol(), await shop.enrol()];
    await life(closed, 'close');
    expect((await life(member, 'merge', { into: 'nobody' })).body).toMatchObject({
      code: 'member_not_found',
      pointer: '/into',
    });
    expect((await life(member, 'merge', { into: closed })).code).toBe('member_not_active');
    expect((await life(member, 'merge', { into: member })).body).toMatchObject({
      errors: [{ pointer: '/into' }],
    });
  });
});

test('a transfer answers both halves, and is applied once however often it is sent', async () => {
  const [anna, ben] = [await shop.enrol('anna'), await shop.enrol('ben')];
  await shop.accrue(anna, 100);
  const body = { from: anna, to: ben, reference: reference(), points: 60, metadata: { why: 'birthday' } };
  const answer = await shop.admin('POST', '/v1/transfers', body);
  expect(answer.status).toBe(201);
  expect(answer.body).toMatchObject({
    object: 'transfer',
    status: 'completed',
    points: 60,
    counterparts: [{}],
  });
  const again = await shop.admin('POST', '/v1/transfers', body);
  expect([again.id, again.replayed]).toEqual([answer.id, true]);
  expect([(await shop.balances(anna)).available, (await shop.balances(ben)).available]).toEqual([40, 60]);
});

test('a transfer whose second half waits for the books is finished by upkeep', async () => {
  const [anna, ben] = [await shop.enrol('anna'), await shop.enrol('ben')];
  await shop.accrue(anna, 100, { durability: 'ledger' });
  const body = { from: anna, to: ben, reference: reference(), points: 60 };
  const atOnce = { headers: { Prefer: 'wait=0' } };
  const begun = await engine.withoutWriter(() => shop.admin('POST', '/v1/transfers', body, atOnce));
  expect([begun.status, begun.body.status]).toEqual([202, 'pending']);
  const { relay } = createMembers(engine.app);
  await waitFor('the points have arrived', async () => {
    await relay.relayOpen(50);
    return (await shop.balances(ben)).available === 60;
  });
});

describe('export and erasure', () => {
  test('an export holds everything in clear, in pages', async () => {
    const member = reference('m');
    const phone = '+491715550144';
    await enrol({ member, birthday: '1990-05-17', identifiers: [{ type: 'phone', value: phone }] });
    for (let i = 0; i < 5; i += 1) await shop.accrue(member, 1);
    const first = await shop.care('GET', `/v1/members/${encodeURIComponent(member)}/export?limit=3`);
    expect(JSON.stringify(first.body.member)).toContain(phone);
    expect(first.body.operations).toHaveLength(3);
    const rest = await shop.care(
      'GET',
      `/v1/members/${encodeURIComponent(member)}/export?limit=3&cursor=${String(first.body.nextCursor)}`,
    );
    expect([(rest.body.operations as unknown[]).length, rest.body.nextCursor]).toEqual([2, null]);
  });

  test('an erased person is found by nobody, and the books stay whole', async () => {
    const identifier = card();
    const member = reference('m');
    const { id } = await enrol({ member, identifiers: [identifier], attributes: { city: 'Bonn' } });
    const accrual = await shop.accrue(member, 10);
    const body = { reference: reference(), reason: 'asked for it' };
    const erased = await shop.admin('POST', `/v1/members/${encodeURIComponent(member)}/erasure`, body);
    expect(erased.body).toMatchObject({ id, status: 'closed', identifiers: [], attributes: {} });
    const again = await shop.admin('POST', `/v1/members/${encodeURIComponent(member)}/erasure`, body);
    expect(again.status).toBe(200);
    for (const http of [engine.http, otherApi.http]) {
      const call = (name: unknown) =>
        http('POST', '/v1/accruals', { ...shop.receipt('', 1), member: name }, { key: shop.tokens.pos });
      expect((await call(identifier)).code).toBe('member_not_found');
      expect((await call(member)).code).toBe('member_not_found');
      expect((await call(id)).code).toBe('member_not_active');
    }
    expect((await shop.care('GET', `/v1/operations/${accrual.id}`)).body.member).toBe(id);
    expect((await enrol({ member, identifiers: [identifier] })).status).toBe(201);
  });
});

describe('the statement', () => {
  test('shows every movement newest first, and its figures follow one another', async () => {
    const member = await shop.enrol();
    await shop.accrue(member, 100, {
      purchase: { currency: 'EUR', order: 'S-1', store: 'b1', lines: [{ line: 1, amount: 10_000 }] },
    });
    await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 30 });
    const held = await shop.pos('POST', '/v1/holds', { member, reference: reference(), points: 20 });
    await shop.pos('POST', `/v1/holds/${held.id}/capture`, { reference: reference(), points: 5 });
    const statement = await shop.finance('GET', `/v1/members/${member}/statement?limit=200`);
    const entries = statement.body.data as {
      bucket: string;
      points: number;
      balanceAfter: number;
      order?: string;
      rule?: string;
    }[];
    expect(entries.at(-1)).toMatchObject({
      bucket: 'available',
      points: 100,
      balanceAfter: 100,
      order: 'S-1',
      store: 'b1',
      rule: 'spend',
    });
    for (const bucket of ['available', 'held']) {
      let balance = 0;
      for (const entry of entries.filter((each) => each.bucket === bucket).toReversed()) {
        balance += entry.points;
        expect(entry.balanceAfter).toBe(balance);
      }
      expect(balance).toBe(bucket === 'available' ? 65 : 0);
    }
  });

  test('has pages without gaps or repeats, and bounds in days of the program', async () => {
    const member = await shop.enrol();
    for (let i = 1; i <= 7; i += 1) await shop.accrue(member, i);
    const pointsOf = (answer: Answer) =>
      (answer.body.data as { points: number }[]).map((entry) => entry.points);
    const found: number[] = [];
    let cursor = '';
    for (let page = 0; page < 7; page += 1) {
      const answer = await shop.care('GET', `/v1/members/${member}/statement?limit=3${cursor}`);
      found.push(...pointsOf(answer));
      if (answer.body.nextCursor === null) break;
      cursor = `&cursor=${String(answer.body.nextCursor)}`;
    }
    expect(found).toEqual([7, 6, 5, 4, 3, 2, 1]);
    const past = await shop.care('GET', `/v1/members/${member}/statement?to=2020-01-01`);
    expect(past.body.data).toEqual([]);
    const since = await shop.care('GET', `/v1/members/${member}/statement?from=2020-01-01`);
    expect(pointsOf(since)).toHaveLength(7);
  });

  test('an unknown member is 404, a made-up cursor 400', async () => {
    expect((await shop.care('GET', '/v1/members/nobody/statement')).code).toBe('member_not_found');
    const member = await shop.enrol();
    const answer = await shop.care('GET', `/v1/members/${member}/statement?cursor=abc`);
    expect(answer.body).toMatchObject({ status: 400, errors: [{ pointer: 'query:cursor' }] });
  });
});
