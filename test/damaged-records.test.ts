/** Journal records damaged on purpose: none is skipped. What says whose it is goes to quarantine, the rest stops its shard. */
import { afterAll, expect, test } from 'vitest';
import { freezeQuarantined } from '#src/jobs/freeze.ts';
import { resolveQuarantined } from '#src/jobs/resolve.ts';
import { listQuarantine } from '#src/ledger/quarantine.ts';
import { parseMemberId } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { lastRecord, replaceLast } from './house/journal.ts';

const shardCount = 2;
const engine = await startEngine({ shardCount });
afterAll(() => engine.end());
const shop = await engine.shop();
const { pool, redis } = engine;

/** Somebody of a shard, with points in the books. */
async function memberOf(shard: number): Promise<string> {
  return waitFor('somebody of the shard is enrolled', async () => {
    const name = await shop.enrol();
    const { body } = await shop.accrue(name, 50, { durability: 'ledger' });
    return parseMemberId(String(body.member))! % shardCount === shard ? name : undefined;
  });
}

type Change = (effect: string, request: string) => { readonly effect?: string; readonly request?: string };

const damages: readonly (readonly [string, Change])[] = [
  ['an effect that ends early', (effect) => ({ effect: effect.slice(0, -20) })],
  ['an effect without legs', () => ({ effect: '{"balances":[]}' })],
  [
    'legs that do not sum to zero',
    (effect) => ({ effect: effect.replace('"issuance",1,-', '"issuance",1,-1') }),
  ],
  ['an account that does not exist', (effect) => ({ effect: effect.replace('issuance', 'treasury') })],
  [
    'points that are no whole number',
    (effect) => ({ effect: effect.replace('"issuance",1,-30', '"issuance",1,-30.5') }),
  ],
  ['points as text', (effect) => ({ effect: effect.replace('-30', '"-30"') })],
  ['a request that is no object', () => ({ request: '[]' })],
  ['a request that is no JSON', () => ({ request: '{"body":}' })],
  [
    'a lot beyond what the books can store',
    (effect) => ({ effect: effect.replace(/"wallet",1,30,\d+/, '"wallet",1,30,99999999999') }),
  ],
];

test.each(damages)(
  '%s: booked under its number, said, frozen, and settled without a trace of drift',
  async (_, change) => {
    const member = await memberOf(0);
    const damaged = await engine.withoutWriter(async () => {
      await shop.accrue(member, 30, { durability: 'journal' });
      return replaceLast(redis, 0, ({ text, record }) => {
        const { effect = record.effectText, request = record.request } = change(
          record.effectText,
          record.request,
        );
        expect([effect, request]).not.toEqual([record.effectText, record.request]);
        return text.replace(record.effectText, () => effect).replace(record.request, () => request);
      });
    });
    await engine.drained();
    const { epoch, seq, operation } = damaged.record;
    const booked = await pool.query(
      'select 1 from operation where shard = 0 and epoch = $1 and seq = $2 and operation = $3',
      [epoch, seq, operation],
    );
    expect(booked.rowCount).toBe(1);
    await freezeQuarantined(engine.app);
    const spend = () => shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 1 });
    expect((await spend()).code).toBe('spending_frozen');
    await engine.drained();
    const [row, ...more] = await listQuarantine(pool, false);
    expect([row, more.length]).toMatchObject([{ shard: 0, epoch, seq, frozen: true }, 0]);
    await resolveQuarantined(engine.app, row!, 'voided', 'jane');
    expect((await shop.balances(member)).available).toBe(50);
    expect((await spend()).status).toBe(201);
    await engine.drained();
    await engine.audit();
  },
);

test('a record that does not say whose it is stops its shard and no other, and nothing is skipped', async () => {
  const [stopped, other] = [await memberOf(0), await memberOf(1)];
  await engine.drained();
  const sound = await engine.withoutWriter(async () => {
    await shop.accrue(stopped, 30, { durability: 'journal' });
    return replaceLast(redis, 0, () => 'nonsense');
  });
  expect((await shop.accrue(other, 5, { durability: 'ledger' })).status).toBe(201);
  const late = await shop.accrue(stopped, 1, { durability: 'ledger' });
  expect([late.status, (late.body.ledger as { durability: string }).durability]).toEqual([202, 'journal']);
  const { rows } = await pool.query<{ seq: number }>('select seq from position where shard = 0');
  expect(rows[0]!.seq).toBe(sound.record.seq - 1);
  // A person has found the record in a copy of the journal and puts it back, with what followed.
  await engine.withoutWriter(async () => {
    const after = await lastRecord(redis, 0);
    const key = keys.journal(0);
    await redis.xdel(key, after.id, sound.id);
    await redis.call('XSETID', key, `${sound.record.epoch}-${sound.record.seq - 1}`);
    await redis.xadd(key, sound.id, 'record', sound.text);
    await redis.xadd(key, after.id, 'record', after.text);
  });
  await engine.drained();
  expect((await shop.balances(stopped)).available).toBe(81);
});
