/** A reference names one attempt of one movement: exactly once, for ever, whatever is sent again and when. */
import { afterAll, describe, expect, test } from 'vitest';
import { takeBackConflicts } from '#src/jobs/conflicts.ts';
import { createMembers } from '#src/members/members.ts';
import { keys } from '#src/wallet/keys.ts';
import { reference, startEngine, uuidV7, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop();
const shardCount = 4;

/** What the end of the window does: Redis forgets every reference, and only the books know them. */
async function windowEnds(): Promise<void> {
  await engine.drained();
  for (let shard = 0; shard < shardCount; shard += 1) {
    const remembered = await engine.redis.keys(keys.idempotency(shard, '*'));
    if (remembered.length > 0) await engine.redis.del(remembered);
  }
}

describe('the same request again', () => {
  test('answers the first status and body, marked as replayed, with the balances as they were then', async () => {
    const member = await shop.enrol();
    const body = shop.receipt(member, 10, { durability: 'ledger' });
    const first = await shop.pos('POST', '/v1/accruals', body);
    await shop.accrue(member, 90);
    const again = await shop.pos('POST', '/v1/accruals', body);
    expect([first.replayed, again.replayed]).toEqual([false, true]);
    expect(again.status).toBe(201);
    expect(again.body).toEqual(first.body);
    expect((await shop.balances(member)).available).toBe(100);
  });

  test('is the same with other durability, other metadata, another order of fields and defaults spelt out', async () => {
    const member = await shop.enrol();
    await shop.accrue(member, 100);
    const named = reference();
    const first = await shop.pos('POST', '/v1/holds', { member, reference: named, points: 10 });
    const again = await shop.pos('POST', '/v1/holds', {
      points: 10,
      metadata: { note: 'second try' },
      expiresInSeconds: 900,
      durability: 'journal',
      reference: named,
      member,
    });
    expect(again.status).toBe(201);
    expect(again.replayed).toBe(true);
    expect(again.id).toBe(first.id);
  });

  test('with another body is refused with the differing field and the first operation’s id', async () => {
    const member = await shop.enrol();
    const other = await shop.enrol();
    const body = shop.receipt(member, 10);
    const first = await shop.pos('POST', '/v1/accruals', body);
    const changes: [string, object][] = [
      ['/purchase/lines/0/amount', { purchase: { currency: 'EUR', lines: [{ line: 1, amount: 1_001 }] } }],
      ['/purchase/currency', { purchase: { currency: 'USD', lines: [{ line: 1, amount: 1_000 }] } }],
      ['/member', { member: other }],
    ];
    for (const [pointer, change] of changes) {
      const refused = await shop.pos('POST', '/v1/accruals', { ...body, ...change });
      expect(refused.body).toMatchObject({ status: 422, code: 'reference_reused', pointer, id: first.id });
    }
    await windowEnds();
    for (const [pointer, change] of changes) {
      const refused = await shop.pos('POST', '/v1/accruals', { ...body, ...change });
      expect(refused.body).toMatchObject({ status: 422, code: 'reference_reused', pointer, id: first.id });
    }
    expect((await shop.balances(other)).available).toBe(0);
  });

  test.each([
    ['a reference of the caller’s own making', () => reference()],
    ['a self-dated reference that is older than half the window', () => uuidV7(Date.now() - 11 * 60_000)],
  ])('after the window is still a replay: %s', async (_, make) => {
    const member = await shop.enrol();
    const body = shop.receipt(member, 25, { reference: make() });
    const first = await shop.pos('POST', '/v1/accruals', body);
    await windowEnds();
    const again = await shop.pos('POST', '/v1/accruals', body);
    expect(again.replayed).toBe(true);
    expect(again.id).toBe(first.id);
    expect((await shop.balances(member)).available).toBe(25);
  });

  test('with a fresh occurredAt is never a second movement, neither within the window nor after it', async () => {
    const member = await shop.enrol();
    const body = shop.receipt(member, 25);
    const first = await shop.pos('POST', '/v1/accruals', body);
    for (const step of ['within the window', 'after the window']) {
      const stamped = { ...body, occurredAt: shop.time(1_000) };
      const again = await shop.pos('POST', '/v1/accruals', stamped);
      expect(again.body, step).toMatchObject({
        code: 'reference_reused',
        pointer: '/occurredAt',
        id: first.id,
      });
      await windowEnds();
    }
    expect((await shop.balances(member)).available).toBe(25);
  });

  test('of another kind or another client is another movement', async () => {
    const member = await shop.enrol();
    const named = reference();
    await shop.accrue(member, 100, { reference: named });
    const redeemed = await shop.pos('POST', '/v1/redemptions', { member, reference: named, points: 10 });
    expect(redeemed.status).toBe(201);
    const body = shop.receipt(member, 5, { reference: named });
    expect((await shop.checkout('POST', '/v1/accruals', body)).replayed).toBe(false);
    expect((await shop.balances(member)).available).toBe(95);
  });
});

describe('the Idempotency-Key header', () => {
  test('stands in for the reference, also in quotes', async () => {
    const member = await shop.enrol();
    const named = reference();
    const { reference: _, ...body } = shop.receipt(member, 10);
    const first = await shop.pos('POST', '/v1/accruals', body, { headers: { 'Idempotency-Key': named } });
    const quoted = await shop.pos('POST', '/v1/accruals', body, {
      headers: { 'Idempotency-Key': `"${named}"` },
    });
    const inBody = await shop.pos('POST', '/v1/accruals', { ...body, reference: named });
    expect([first.status, quoted.id, inBody.id]).toEqual([201, first.id, first.id]);
  });

  test('beside a different reference in the body is refused, and so is neither', async () => {
    const member = await shop.enrol();
    const body = shop.receipt(member, 10);
    const both = await shop.pos('POST', '/v1/accruals', body, { headers: { 'Idempotency-Key': 'another' } });
    expect(both.body).toMatchObject({ status: 400, errors: [{ pointer: '/reference' }] });
    const { reference: _, ...none } = body;
    const neither = await shop.pos('POST', '/v1/accruals', none);
    expect(neither.body).toMatchObject({ status: 400, errors: [{ pointer: '/reference' }] });
    expect((await shop.balances(member)).available).toBe(0);
  });
});

describe('a bound that has become tighter', () => {
  const kinds = [
    ['a natural reference', () => reference()],
    ['a self-dated reference', () => uuidV7()],
  ] as const;
  test.each(kinds)('does not refuse the repeat of what was applied, under %s', async (_, named) => {
    const tight = await shop.key({
      client: 'tills',
      role: 'pos',
      backdateDaysMax: 3,
      pointsPerMovementMax: 5,
    });
    const member = await shop.enrol();
    const old = shop.receipt(member, 100, { reference: named(), occurredAt: shop.time(-4 * 86_400_000) });
    const first = await shop.pos('POST', '/v1/accruals', old);
    const again = await engine.http('POST', '/v1/accruals', old, { key: tight });
    expect([again.status, again.replayed, again.id]).toEqual([201, true, first.id]);
    const spent = { member, reference: named(), points: 50 };
    const redeemed = await shop.pos('POST', '/v1/redemptions', spent);
    const repeated = await engine.http('POST', '/v1/redemptions', spent, { key: tight });
    expect([repeated.status, repeated.replayed, repeated.id]).toEqual([201, true, redeemed.id]);
    const other = await engine.http('POST', '/v1/redemptions', { ...spent, points: 51 }, { key: tight });
    expect([other.code, other.at('id')]).toEqual(['reference_reused', redeemed.id]);
    const fresh = await engine.http('POST', '/v1/accruals', { ...old, reference: named() }, { key: tight });
    expect(fresh.code).toBe('occurred_at_too_old');
    expect((await shop.balances(member)).available).toBe(50);
  });
});

describe('a refusal', () => {
  test('that depended on the moment is remembered, so that a late copy cannot succeed', async () => {
    const member = await shop.enrol();
    const body = { member, reference: reference(), points: 50 };
    const refused = await shop.pos('POST', '/v1/redemptions', body);
    await shop.accrue(member, 100);
    const again = await shop.pos('POST', '/v1/redemptions', body);
    expect([refused.code, again.code]).toEqual(['insufficient_points', 'insufficient_points']);
    expect([refused.replayed, again.replayed]).toEqual([false, true]);
    expect(again.body).toMatchObject({ available: 0, required: 50 });
    expect((await shop.pos('POST', '/v1/redemptions', { ...body, reference: reference() })).status).toBe(201);
  });

  test('of the input, the key or an unknown member leaves the reference unused', async () => {
    const named = reference();
    const member = reference('late');
    const body = shop.receipt(member, 10, { reference: named });
    expect((await shop.pos('POST', '/v1/accruals', { ...body, more: 1 }, { invalid: true })).status).toBe(
      400,
    );
    expect((await shop.finance('POST', '/v1/accruals', body)).status).toBe(403);
    expect((await shop.pos('POST', '/v1/accruals', body)).status).toBe(404);
    expect((await shop.pos('POST', '/v1/members', { member })).status).toBe(201);
    const accepted = await shop.pos('POST', '/v1/accruals', body);
    expect([accepted.status, accepted.replayed]).toEqual([201, false]);
  });
});

describe('one reference that reached two members before either was in the books', () => {
  test('is booked for both, marked, and taken back from the second by the engine, once', async () => {
    const members = [await shop.enrol('card'), await shop.enrol('rekeyed')] as const;
    const body = shop.receipt(members[0], 10);
    const answers = await engine.withoutWriter(async () => [
      await shop.pos('POST', '/v1/accruals', body),
      await shop.pos('POST', '/v1/accruals', { ...body, member: members[1] }),
    ]);
    expect(answers.map((answer) => answer.status)).toEqual([201, 201]);
    await engine.drained();
    expect(await takeBackConflicts(engine.app)).toEqual({ undone: 1, failed: 0 });
    await engine.drained();
    expect(await takeBackConflicts(engine.app)).toEqual({ undone: 0, failed: 0 });
    const left = await Promise.all(members.map(async (member) => (await shop.balances(member)).available));
    expect(left.toSorted()).toEqual([0, 10]);
    const loser = answers[left.indexOf(0)]!;
    const shown = await shop.admin('GET', `/v1/operations/${loser.id}`);
    expect(shown.body.conflictWith).toBe(answers[left.indexOf(10)]!.id);
  });

  test('is a transfer once: the second one’s points go back where they came from', async () => {
    const sources = [await shop.enrol('card'), await shop.enrol('rekeyed')] as const;
    const to = await shop.enrol('friend');
    for (const source of sources) await shop.accrue(source, 100, { durability: 'ledger' });
    const body = { to, reference: reference(), points: 30 };
    const atOnce = { headers: { prefer: 'wait=0' } };
    const { relay } = createMembers(engine.app);
    const answers = await engine.withoutWriter(async () => [
      await shop.admin('POST', '/v1/transfers', { ...body, from: sources[0] }, atOnce),
      await shop.admin('POST', '/v1/transfers', { ...body, from: sources[1] }, atOnce),
    ]);
    expect(answers.map((answer) => answer.status)).toEqual([202, 202]);
    await waitFor('both transfers have come to their end', async () => {
      await relay.relayOpen(50);
      await engine.drained();
      const balances = await Promise.all([...sources, to].map((member) => shop.balances(member)));
      return balances.reduce((sum, { available }) => sum + available, 0) === 200;
    });
    const left = await Promise.all(sources.map(async (member) => (await shop.balances(member)).available));
    expect([left.toSorted(), (await shop.balances(to)).available]).toEqual([[100, 70], 30]);
  });
});

describe('without the id, by reference', () => {
  test('an accrual is reversed, a redemption refunded, a hold captured', async () => {
    const member = await shop.enrol();
    const [accrued, redeemed, held] = [reference(), reference(), reference()];
    await shop.accrue(member, 100, { reference: accrued });
    await shop.pos('POST', '/v1/redemptions', { member, reference: redeemed, points: 20 });
    await shop.pos('POST', '/v1/holds', { member, reference: held, points: 30 });
    const refund = { reference: reference(), originalReference: redeemed };
    expect((await shop.pos('POST', '/v1/redemptions/by-reference/refunds', refund)).status).toBe(201);
    const capture = { reference: reference(), originalReference: held };
    expect((await shop.pos('POST', '/v1/holds/by-reference/capture', capture)).status).toBe(200);
    const reversal = { reference: reference(), originalReference: accrued, occurredAt: shop.time() };
    expect((await shop.pos('POST', '/v1/accruals/by-reference/reversals', reversal)).status).toBe(201);
    expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 30 });
  });

  test('a release finds its hold, and the original reference is required', async () => {
    const member = await shop.enrol();
    await shop.accrue(member, 100);
    const held = reference();
    await shop.pos('POST', '/v1/holds', { member, reference: held, points: 30 });
    const without = await shop.pos('POST', '/v1/holds/by-reference/release', { reference: reference() });
    expect(without.body).toMatchObject({ status: 400, errors: [{ pointer: '/originalReference' }] });
    const body = { reference: reference(), originalReference: held };
    expect((await shop.pos('POST', '/v1/holds/by-reference/release', body)).status).toBe(200);
  });

  test('an accrual that never arrived is void once its till says so, and a late copy earns nothing', async () => {
    const member = await shop.enrol();
    const late = shop.receipt(member, 40);
    const reversal = {
      reference: reference(),
      originalReference: late.reference,
      occurredAt: shop.time(),
      member,
    };
    const unknown = await shop.pos('POST', '/v1/accruals/by-reference/reversals', reversal);
    expect(unknown.code).toBe('original_not_found');
    const voiding = { ...reversal, reference: reference(), voidIfMissing: true };
    const voided = await shop.pos('POST', '/v1/accruals/by-reference/reversals', voiding);
    expect([voided.status, voided.body.awards]).toEqual([201, []]);
    const again = await shop.pos('POST', '/v1/accruals/by-reference/reversals', voiding);
    expect([again.id, again.replayed]).toEqual([voided.id, true]);
    expect((await shop.pos('POST', '/v1/accruals', late)).code).toBe('reference_reused');
    expect((await shop.balances(member)).available).toBe(0);
  });

  test('a refused void has not used the reference up: lines of a receipt that is not there cannot be taken back', async () => {
    const member = await shop.enrol();
    const late = shop.receipt(member, 40);
    const refused = await shop.pos('POST', '/v1/accruals/by-reference/reversals', {
      reference: reference(),
      originalReference: late.reference,
      occurredAt: shop.time(),
      member,
      voidIfMissing: true,
      lines: [{ line: 1, amount: 100 }],
    });
    expect(refused.body).toMatchObject({ status: 400, applied: 'no' });
    expect((await shop.pos('POST', '/v1/accruals', late)).status).toBe(201);
    expect((await shop.balances(member)).available).toBe(40);
  });

  test('the answer whether a reference was used is definitive', async () => {
    const member = await shop.enrol();
    const named = reference();
    const query = `kind=accrual&reference=${encodeURIComponent(named)}`;
    expect((await shop.pos('GET', `/v1/operations?${query}`)).code).toBe('not_found');
    const accrued = await shop.accrue(member, 10, { reference: named });
    const found = await shop.pos('GET', `/v1/operations?${query}`);
    expect(found.body).toMatchObject({ id: accrued.id, kind: 'accrual', reference: named, status: 'posted' });
    expect((await shop.checkout('GET', `/v1/operations?${query}`)).code).toBe('not_found');
  });
});

describe('while no ledger writer runs', () => {
  test('a redemption is acknowledged from the journal with 202 and its full body, and is in the books later', async () => {
    const member = await shop.enrol();
    await shop.accrue(member, 100, { durability: 'ledger' });
    const body = { member, reference: reference(), points: 30 };
    const atOnce = { headers: { Prefer: 'wait=0' } };
    const early = await engine.withoutWriter(async () => {
      const answer = await shop.pos('POST', '/v1/redemptions', body, atOnce);
      const unread = await shop.pos('GET', `/v1/operations/${answer.id}`, undefined, atOnce);
      expect(unread.code).toBe('not_ready');
      expect(unread.headers.get('retry-after')).not.toBeNull();
      return answer;
    });
    expect(early.status).toBe(202);
    expect(early.body).toMatchObject({ status: 'redeemed', points: 30, ledger: { durability: 'journal' } });
    const later = await shop.pos('POST', '/v1/redemptions', body);
    expect([later.status, later.id, later.replayed]).toEqual([201, early.id, true]);
    expect(later.at('ledger.durability')).toBe('ledger');
    expect((await shop.balances(member)).available).toBe(70);
  });

  test('an accrual at level journal does not wait', async () => {
    const member = await shop.enrol();
    const answer = await engine.withoutWriter(() =>
      shop.pos('POST', '/v1/accruals', shop.receipt(member, 5)),
    );
    expect([answer.status, answer.at('ledger.durability')]).toEqual([201, 'journal']);
  });
});

test('an acknowledged operation is readable in the next moment, and explained', async () => {
  const member = await shop.enrol();
  for (let round = 0; round < 10; round += 1) {
    const accrued = await shop.accrue(member, round + 1);
    const shown = await shop.care('GET', `/v1/operations/${accrued.id}`);
    expect(shown.body).toMatchObject({
      id: accrued.id,
      client: 'tills',
      explanation: { rules: [{ rule: 'spend', outcome: 'applied', points: round + 1 }] },
    });
    const entries = shown.body.entries as { points: number }[];
    expect(entries.reduce((sum, entry) => sum + entry.points, 0)).toBe(0);
  }
});
