/** What a till does with a pool: redemptions that are sent again, refunds, and members to whom something happens meanwhile. */
import { afterAll, describe, expect, test } from 'vitest';
import { type Answer, reference, startEngine } from './harness.ts';
import {
  availableOf,
  figuresOf,
  give,
  type Household,
  household,
  householdFile,
  partsOf,
  type Resident,
  spend,
} from './house/household.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop({ definition: householdFile });

const refund = (pool: string, redemption: string, more: object = {}): Promise<Answer> =>
  shop.care('POST', `/v1/pools/${pool}/redemptions/${redemption}/refunds`, {
    reference: reference(),
    ...more,
  });
const life = (action: string, { member }: Resident, more: object = {}): Promise<Answer> =>
  shop.admin('POST', `/v1/members/${member}/${action}`, {
    reference: reference(),
    ...(action === 'erasure' ? {} : { reason: 'asked for' }),
    ...more,
  });

describe('a redemption', () => {
  test('that is sent again is answered again, however often and at once', async () => {
    const { pool, residents } = await household(shop, [60, 60]);
    const body = { member: residents[1]!.card, reference: reference(), points: 100 };
    const send = () => shop.pos('POST', `/v1/pools/${pool}/redemptions`, body);
    const answers = await Promise.all(Array.from({ length: 12 }, send));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
    for (const answer of answers) expect(answer.body).toEqual(answers[0]!.body);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    const sum = (await availableOf(shop, residents)).reduce((a, b) => a + b, 0);
    expect(sum).toBe(20);
    const other = await shop.pos('POST', `/v1/pools/${pool}/redemptions`, { ...body, points: 99 });
    expect(other.body).toMatchObject({ code: 'reference_reused', id: answers[0]!.id, pointer: '/points' });
    const another = await shop.pos('POST', `/v1/pools/${pool}/redemptions`, {
      ...body,
      member: residents[0]!.card,
    });
    expect(another.body).toMatchObject({ code: 'reference_reused', pointer: '/member' });
  });

  test('that was refused stays refused under its reference, whatever has come since', async () => {
    const { pool, residents } = await household(shop, [10, 10]);
    const body = { member: residents[0]!.card, reference: reference(), points: 30 };
    const send = () => shop.pos('POST', `/v1/pools/${pool}/redemptions`, body);
    const first = await send();
    expect(first.body).toMatchObject({
      code: 'insufficient_points',
      available: 20,
      required: 30,
      applied: 'no',
    });
    await give(shop, residents[1]!, 100);
    expect((await send()).body).toMatchObject({ code: 'insufficient_points', available: 20, required: 30 });
    const shown = await engine.pool.query<{ redemption: string }>(
      `select replace(redemption::text, '-', '') as redemption from pool_redemption where state = 'refused' order by redemption desc limit 1`,
    );
    const read = await shop.care('GET', `/v1/pools/${pool}/redemptions/prd_${shown.rows[0]!.redemption}`);
    expect(read.body).toMatchObject({ status: 'refused', refusal: 'insufficient_points', parts: [] });
    expect(await figuresOf(shop, residents)).toMatchObject([
      { available: 10, held: 0 },
      { available: 110, held: 0 },
    ]);
  });

  test('is judged by the rules as one price, and its parts share its worth to the last cent', async () => {
    const exchange = { points: 3, minorUnits: 1, money: 'EUR' };
    const rules = { redemption: [{ name: 'pay', currency: 'points', exchange, minimumPoints: 30 }] };
    const priced = await engine.shop({ definition: { ...householdFile, ...rules } });
    const { pool, residents } = await household(priced, [20, 20, 20]);
    expect((await spend(priced, pool, residents[0]!, 29)).code).toBe('redemption_limit');
    const quote = await priced.pos('POST', `/v1/pools/${pool}/redemptions/quote`, {
      member: residents[0]!.card,
    });
    expect(quote.body).toMatchObject({
      available: 60,
      minimum: 30,
      best: { points: 60, value: { amount: 20 } },
    });
    const answer = await spend(priced, pool, residents[0]!, 50, { value: { amount: 16, currency: 'EUR' } });
    expect(answer.body).toMatchObject({
      value: { amount: 16 },
      parts: [{ value: { amount: 6 } }, { value: { amount: 6 } }, { value: { amount: 4 } }],
    });
    const path = `/v1/pools/${pool}/redemptions/${answer.id}/refunds`;
    const first = await priced.care('POST', path, { reference: reference(), points: 15 });
    const rest = await priced.care('POST', path, { reference: reference() });
    expect([first.at('points'), rest.at('points')]).toEqual([15, 35]);
    expect(Number(first.at('value.amount')) + Number(rest.at('value.amount'))).toBe(16);
  });

  test('shares what its caller says it is worth', async () => {
    const { pool, residents } = await household(shop, [10, 10, 10]);
    const answer = await spend(shop, pool, residents[0]!, 30, { value: { amount: 1_000, currency: 'EUR' } });
    const parts = answer.body.parts as { value: { amount: number } }[];
    expect(parts.map(({ value }) => value.amount)).toEqual([333, 333, 334]);
  });

  test('keeps its parts to itself: no other call settles what is held for it', async () => {
    const { pool, residents } = await household(shop, [10, 10]);
    await spend(shop, pool, residents[0]!, 20);
    const holds = await shop.care('GET', `/v1/holds?member=${residents[0]!.member}`);
    const [hold] = holds.body.data as { id: string; status: string }[];
    expect(hold!.status).toBe('captured');
    for (const verb of ['capture', 'release']) {
      const answer = await shop.checkout('POST', `/v1/holds/${hold!.id}/${verb}`, { reference: reference() });
      expect(answer.code).toBe('not_found');
    }
  });

  test('is over the limits of a key as any other', async () => {
    const key = await shop.key({
      client: 'small tills',
      role: 'pos',
      pointsPerMovementMax: 50,
      pointsPerDayMax: 60,
    });
    const { pool, residents } = await household(shop, [100, 100]);
    const send = (points: number) =>
      shop.pos(
        'POST',
        `/v1/pools/${pool}/redemptions`,
        { member: residents[0]!.card, reference: reference(), points },
        { key },
      );
    expect((await send(51)).code).toBe('limit_exceeded');
    expect((await send(50)).status).toBe(201);
    expect((await send(11)).code).toBe('limit_exceeded');
    expect((await send(10)).status).toBe(201);
  });

  test('needs a pool, a member and a price', async () => {
    const { pool, residents } = await household(shop, [10]);
    expect((await spend(shop, 'pool_zzzzzzzz', residents[0]!, 1)).code).toBe('not_found');
    expect((await spend(shop, pool, residents[0]!, 1, { points: undefined })).code).toBe('validation_failed');
    const nobody = { ...residents[0]!, card: { type: 'card', value: 'nobody' } };
    expect((await spend(shop, pool, nobody, 1)).code).toBe('member_not_found');
    const path = `/v1/pools/${pool}/redemptions/prd_00000000000070008000000000000000`;
    expect((await shop.care('GET', path)).code).toBe('not_found');
    expect((await shop.care('GET', `/v1/pools/${pool}/redemptions/prd_x`)).code).toBe('not_found');
  });
});

describe('a refund', () => {
  const spent = async (): Promise<Household & { redemption: string; parts: ReturnType<typeof partsOf> }> => {
    const made = await household(shop, [30, 0, 0]);
    await give(shop, made.residents[1]!, 30, 'month');
    await give(shop, made.residents[2]!, 30, 'year');
    const answer = await spend(shop, made.pool, made.residents[0]!, 90);
    return { ...made, redemption: answer.id, parts: partsOf(answer) };
  };

  test('gives back to the last part first, into the lots that the points came from', async () => {
    const { pool, residents, redemption } = await spent();
    const lots = async (i: number) =>
      (await shop.care('GET', `/v1/members/${residents[i]!.member}/balances`)).at('balances.points.lots');
    const first = await refund(pool, redemption, { points: 40 });
    expect(first.status).toBe(201);
    expect(first.body).toMatchObject({
      object: 'poolRefund',
      redemption,
      points: 40,
      parts: [
        { member: residents[0]!.member, points: 30 },
        { member: residents[2]!.member, points: 10 },
      ],
    });
    expect(await availableOf(shop, residents)).toEqual([30, 0, 10]);
    expect(await lots(0)).toEqual([{ points: 30, expiresOn: null }]);
    expect(await lots(2)).toMatchObject([{ points: 10, expiresOn: expect.any(String) as string }]);
    const second = await refund(pool, redemption);
    expect(second.at('points')).toBe(50);
    expect(await availableOf(shop, residents)).toEqual([30, 30, 30]);
    expect((await refund(pool, redemption)).code).toBe('refund_exceeds_redemption');
    expect((await refund(pool, redemption, { points: 1 })).code).toBe('refund_exceeds_redemption');
  });

  test('that is sent again is answered again, and another under its reference refused', async () => {
    const { pool, residents, redemption } = await spent();
    const named = reference();
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => refund(pool, redemption, { reference: named, points: 25 })),
    );
    for (const answer of answers) expect(answer.body).toEqual(answers[0]!.body);
    expect(await availableOf(shop, residents)).toEqual([25, 0, 0]);
    const other = await refund(pool, redemption, { reference: named, points: 26 });
    expect(other.body).toMatchObject({ code: 'reference_reused', id: answers[0]!.id });
  });

  test('ten at once never give back more than was redeemed', async () => {
    const { pool, residents, redemption } = await spent();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => refund(pool, redemption, { points: 20 })),
    );
    const made = answers.filter(({ status }) => status === 201).length;
    expect(made).toBeLessThanOrEqual(4);
    for (const answer of answers)
      if (answer.status !== 201)
        expect(['refund_exceeds_redemption', 'reference_in_progress']).toContain(answer.code);
    const sum = (await availableOf(shop, residents)).reduce((a, b) => a + b, 0);
    expect(sum).toBe(made * 20);
  });

  test('of one part alone is possible, and then counts for the whole', async () => {
    const { pool, residents, redemption, parts } = await spent();
    const own = await shop.care('POST', `/v1/redemptions/${parts[2]!.id}/refunds`, {
      reference: reference(),
      points: 25,
    });
    expect(own.status).toBe(201);
    expect((await refund(pool, redemption, { points: 66 })).code).toBe('refund_exceeds_redemption');
    const rest = await refund(pool, redemption);
    expect(rest.body.parts).toMatchObject([
      { member: residents[0]!.member, points: 5 },
      { member: residents[2]!.member, points: 30 },
      { member: residents[1]!.member, points: 30 },
    ]);
    expect(await availableOf(shop, residents)).toEqual([30, 30, 30]);
  });

  test('finds its redemption by the reference of a till that never heard its id', async () => {
    const { pool, residents } = await household(shop, [10, 10]);
    const named = reference();
    await spend(shop, pool, residents[0]!, 20, { reference: named });
    const path = `/v1/pools/${pool}/redemptions/by-reference/refunds`;
    const send = (more: object) => shop.checkout('POST', path, { reference: reference(), ...more });
    expect((await send({})).body).toMatchObject({ errors: [{ pointer: '/originalReference' }] });
    expect((await send({ originalReference: reference() })).code).toBe('original_not_found');
    expect((await send({ originalReference: named })).at('points')).toBe(20);
  });
});

describe('of members', () => {
  test('who are suspended others cannot spend the points, nor they those of others', async () => {
    const { pool, residents } = await household(shop, [10, 90]);
    await life('suspend', residents[1]!);
    expect((await spend(shop, pool, residents[1]!, 5)).code).toBe('member_not_active');
    const refused = await spend(shop, pool, residents[0]!, 50);
    expect(refused.body).toMatchObject({ code: 'insufficient_points', available: 10 });
    const shown = await shop.care('GET', `/v1/pools/${pool}`);
    expect(shown.body).toMatchObject({
      members: [{ gives: true }, { status: 'suspended', gives: false }],
      balances: { points: { available: 100, spendable: 10 } },
    });
    await life('resume', residents[1]!);
    expect((await spend(shop, pool, residents[0]!, 50)).status).toBe(201);
  });

  test('whose spending is frozen the points stay where they are', async () => {
    const { pool, residents } = await household(shop, [10, 90]);
    const found = await shop.care('GET', `/v1/members/${residents[1]!.member}`);
    const number = Number.parseInt(String(found.body.id).slice(4), 36);
    const { takeStep } = await import('#src/members/engine.ts');
    const program = engine.app.programs.get(shop.program.number)!;
    const freeze = (frozen: boolean) =>
      takeStep(engine.app.operations, {
        program,
        member: number as never,
        script: 'status',
        kind: 'status',
        reference: reference('freeze'),
        input: { frozen },
        request: { body: { action: 'freeze' } },
      });
    await freeze(true);
    await engine.drained();
    expect((await spend(shop, pool, residents[1]!, 5)).code).toBe('spending_frozen');
    expect((await spend(shop, pool, residents[0]!, 50)).body).toMatchObject({ available: 10 });
    await freeze(false);
    await engine.drained();
    expect((await spend(shop, pool, residents[0]!, 50)).status).toBe(201);
  });

  test.each(['close', 'erasure'])(
    'who are gone (%s) the place is free and the points are no longer the pool’s',
    async (action) => {
      const { pool, residents } = await household(shop, [10, 20, 30]);
      const gone = await life(action, residents[0]!);
      expect(gone.status).toBe(200);
      const shown = await shop.care('GET', `/v1/pools/${pool}`);
      expect(shown.body).toMatchObject({
        members: [{ member: residents[1]!.member, isHead: true }, { member: residents[2]!.member }],
        balances: { points: { available: 50 } },
      });
      expect((await spend(shop, pool, residents[1]!, 51)).body).toMatchObject({ available: 50 });
      expect((await spend(shop, pool, residents[1]!, 50)).status).toBe(201);
    },
  );

  test('who are merged the survivor has the place, the points and the head’s rights', async () => {
    const { pool, residents } = await household(shop, [40, 20], { spenders: 'head' });
    const survivor = (await household(shop, [5])).residents[0]!;
    const solo = await shop.care('GET', `/v1/members/${survivor.member}/pool`);
    await shop.care('POST', `/v1/pools/${solo.id}/dissolve`);
    const merged = await life('merge', residents[0]!, { into: survivor.member });
    expect(merged.body.status).toBe('merged');
    expect((await shop.care('GET', `/v1/members/${survivor.member}/pool`)).id).toBe(pool);
    const answer = await spend(shop, pool, residents[0]!, 65);
    expect(answer.body).toMatchObject({ member: survivor.member });
    expect(
      partsOf(answer)
        .map(({ member }) => member)
        .toSorted(),
    ).toEqual([survivor.member, residents[1]!.member].toSorted());
  });

  test('who are merged into a member of another pool the place ends', async () => {
    const [one, other] = [await household(shop, [40, 20]), await household(shop, [5])];
    await life('merge', one.residents[1]!, { into: other.residents[0]!.member });
    const shown = await shop.care('GET', `/v1/pools/${one.pool}`);
    expect(shown.body.members).toMatchObject([{ member: one.residents[0]!.member }]);
    expect((await spend(shop, other.pool, other.residents[0]!, 25)).status).toBe(201);
    expect((await spend(shop, one.pool, one.residents[0]!, 41)).body).toMatchObject({ available: 40 });
  });

  test('who were merged since a refund goes to the survivor', async () => {
    const { pool, residents } = await household(shop, [40, 20]);
    const answer = await spend(shop, pool, residents[0]!, 60);
    const survivor = (await household(shop, [5])).residents[0]!;
    await life('merge', residents[1]!, { into: survivor.member });
    expect((await refund(pool, answer.id)).at('points')).toBe(60);
    const { createMembers } = await import('#src/members/members.ts');
    await engine.drained();
    await createMembers(engine.app).merges.resume(100);
    await engine.drained();
    expect(await availableOf(shop, [residents[0]!, survivor])).toEqual([40, 25]);
  });
});
