/** A record that cannot be booked waits under its number until a person says what becomes of it, and then once. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { freezeQuarantined } from '#src/jobs/freeze.ts';
import { NotResolved, resolveQuarantined } from '#src/jobs/resolve.ts';
import type { Effect, Leg } from '#src/journal.ts';
import { type MemberStanding, planCorrection } from '#src/ledger/correction.ts';
import { listQuarantine, type QuarantinedRow, quarantineId } from '#src/ledger/quarantine.ts';
import { type MemberNumber, parseMemberId } from '#src/values.ts';
import { type Answer, reference, startEngine } from './harness.ts';
import { commandOf } from './house/command.ts';
import { accrueCounting, countersOf } from './house/counting.ts';
import { forge, replaceLast } from './house/journal.ts';

const engine = await startEngine({ shardCount: 1 });
afterAll(() => engine.end());
const shop = await engine.shop();
const { app, pool, redis } = engine;

interface Known {
  readonly name: string;
  readonly number: MemberNumber;
}

async function withPoints(points: number): Promise<Known> {
  const name = await shop.enrol();
  const answer = await shop.accrue(name, points, { durability: 'ledger' });
  return { name, number: parseMemberId(String(answer.body.member))! };
}

const spend = (who: Known, points: number): Promise<Answer> =>
  shop.pos('POST', '/v1/redemptions', { member: who.name, reference: reference(), points });

/** The open record of a member, frozen as upkeep does it. */
async function quarantined(who: Known): Promise<QuarantinedRow> {
  await engine.drained();
  await freezeQuarantined(app);
  await engine.drained();
  return (await listQuarantine(pool, false)).find((row) => row.member === who.number)!;
}

async function suspense(): Promise<number> {
  const { rows } = await pool.query<{ points: number }>(
    `select coalesce(sum(points), 0)::int as points from account_balance where account = 'suspense'`,
  );
  return rows[0]!.points;
}

const again = async (row: QuarantinedRow): Promise<QuarantinedRow> =>
  (await listQuarantine(pool, true)).find((each) => quarantineId(each) === quarantineId(row))!;

test('what a record counted goes with it: void takes it back, retry counts what could not be read', async () => {
  for (const [resolution, broken, booked, settled] of [
    ['voided', '["issuance",1,-29,0]', { '1.0': 4 }, {}],
    ['retried', '"issuance",1,-30,0]', {}, { '1.0': 4 }],
  ] as const) {
    const who = await withPoints(50);
    const sound = await engine.withoutWriter(async () => {
      await accrueCounting(app, shop, who.number, { points: [30], counts: [[1, 0, 4]] });
      return replaceLast(redis, 0, ({ text }) => text.replace('["issuance",1,-30,0]', broken));
    });
    const row = await quarantined(who);
    expect(await countersOf(app, who.number)).toEqual(booked);
    const read = resolution === 'voided' ? row : { ...row, record: sound.record };
    await resolveQuarantined(app, read, resolution, 'jane');
    await engine.drained();
    expect(await countersOf(app, who.number)).toEqual(settled);
    await engine.audit();
  }
});

test('retry books what the record should have booked, and the member is as it was told', async () => {
  const who = await withPoints(50);
  const sound = await engine.withoutWriter(async () => {
    await shop.accrue(who.name, 30, { durability: 'journal' });
    return replaceLast(redis, 0, ({ text, record }) =>
      text.replace(record.effectText, '{"legs":[["wallet",'),
    );
  });
  const row = await quarantined(who);
  expect(row).toMatchObject({ frozen: true, resolution: null, booked: { legs: [] } });
  expect((await spend(who, 1)).code).toBe('spending_frozen');
  await shop.accrue(who.name, 5);
  await expect(resolveQuarantined(app, row, 'retried', 'jane')).rejects.toThrow(NotResolved);
  // The next version can read it.
  const fixed = { ...row, record: sound.record };
  const done = await resolveQuarantined(app, fixed, 'retried', 'jane');
  expect(done).toMatchObject({ resolution: 'retried', by: 'jane', spendingOpen: true });
  expect((await shop.balances(who.name)).available).toBe(85);
  expect((await spend(who, 85)).status).toBe(201);
  await engine.drained();
  await engine.audit();
  expect(await again(row)).toMatchObject({ resolution: 'retried', resolved_by: 'jane' });
  // The first word counts, whoever says another one later.
  expect(await resolveQuarantined(app, fixed, 'voided', 'joe')).toEqual(done);
  expect((await shop.balances(who.name)).available).toBe(0);
});

test('void takes back what was booked of it, empties suspense and opens spending', async () => {
  const who = await withPoints(50);
  await forge(redis, 0, who.number, '{"legs":[["wallet",1,40,2,0,0,0],["issuance",1,-30,0]],"balances":[]}');
  const row = await quarantined(who);
  expect(await suspense()).toBe(-10);
  const [one, other] = await Promise.all([
    resolveQuarantined(app, row, 'voided', 'jane'),
    resolveQuarantined(app, row, 'voided', 'joe'),
  ]);
  expect(one.correction).toBe(other.correction);
  expect(await suspense()).toBe(0);
  expect((await shop.balances(who.name)).available).toBe(50);
  expect((await spend(who, 50)).status).toBe(201);
  await engine.drained();
  await engine.audit();
});

test('a hold that was never booked is gone with void, and its member may hold again', async () => {
  const who = await withPoints(50);
  await engine.withoutWriter(async () => {
    const body = { member: who.name, reference: reference(), points: 20, durability: 'journal' };
    await shop.pos('POST', '/v1/holds', body);
    await replaceLast(redis, 0, ({ text, record }) => text.replace(record.effectText, '[]'));
  });
  const row = await quarantined(who);
  expect((await shop.balances(who.name)).held).toBe(20);
  await expect(
    resolveQuarantined(
      app,
      {
        ...row,
        record: {
          ...row.record,
          effectText:
            '{"legs":[["wallet",1,-20,1,0,0,0],["held",1,20,1,"0197f3a25d1c7c3e9f002b6f0a4d9e11",0,0,0]],"balances":[]}',
        },
      },
      'retried',
      'jane',
    ),
  ).rejects.toThrow('void it');
  await resolveQuarantined(app, row, 'voided', 'jane');
  expect(await shop.balances(who.name)).toMatchObject({ available: 50, held: 0 });
  const held = { member: who.name, reference: reference(), points: 50 };
  expect((await shop.pos('POST', '/v1/holds', held)).status).toBe(201);
  await engine.drained();
  await engine.audit();
});

test('a capture that was never booked leaves its hold open in the books', async () => {
  const who = await withPoints(50);
  const hold = await shop.pos('POST', '/v1/holds', { member: who.name, reference: reference(), points: 20 });
  await engine.drained();
  await engine.withoutWriter(async () => {
    const body = { reference: reference(), durability: 'journal' };
    await shop.pos('POST', `/v1/holds/${hold.id}/capture`, body);
    await replaceLast(redis, 0, ({ text, record }) => text.replace(record.effectText, '[]'));
  });
  await resolveQuarantined(app, await quarantined(who), 'voided', 'jane');
  expect(await shop.balances(who.name)).toMatchObject({ available: 30, held: 20 });
  expect((await shop.pos('POST', `/v1/holds/${hold.id}/capture`, { reference: reference() })).status).toBe(
    200,
  );
  await engine.drained();
  await engine.audit();
});

test('the freeze stays while another record of the member waits', async () => {
  const who = await withPoints(50);
  await forge(redis, 0, who.number, '[]');
  await forge(redis, 0, who.number, '{}');
  await quarantined(who);
  const rows = (await listQuarantine(pool, false)).filter((row) => row.member === who.number);
  expect(rows).toHaveLength(2);
  expect((await resolveQuarantined(app, rows[0]!, 'voided', 'jane')).spendingOpen).toBe(false);
  expect((await spend(who, 1)).code).toBe('spending_frozen');
  expect((await resolveQuarantined(app, rows[1]!, 'voided', 'jane')).spendingOpen).toBe(true);
  expect((await spend(who, 1)).status).toBe(201);
});

test('the command lists, shows and settles, and says who did it', async () => {
  const who = await withPoints(50);
  await forge(redis, 0, who.number, '{"legs":[["wallet",1,7,2,0,0,0]],"balances":[]}');
  const id = quarantineId(await quarantined(who));
  const { config, stores } = { config: app.config, stores: engine.stores };
  const environment = {
    ...process.env,
    DATABASE_URL: stores.databaseUrl,
    REDIS_URL: stores.redisUrl,
    DATA_DIR: stores.folder,
    IDENTITY_KEY: config.identityKey!,
    SHARD_COUNT: '1',
  };
  const run = commandOf('ledger/quarantine-command.ts', environment);
  const listed = await run('list');
  expect(listed.out).toMatch(new RegExp(`^${id} .*open, spending frozen .*sum to 7`, 'm'));
  const shown = JSON.parse((await run('show', id, '--json')).out) as object;
  expect(shown).toMatchObject({
    id,
    state: 'open',
    booked: [
      ['wallet', 1, 7, 2, 0, 0, 0],
      ['suspense', 1, -7, 0],
    ],
  });
  const done = await run('void', id, '--by', 'jane', '--json');
  expect([done.code, JSON.parse(done.out)]).toMatchObject([0, { resolution: 'voided', by: 'jane' }]);
  expect(await run('void', id, '--by', 'joe', '--json')).toEqual(done);
  const open = await run('list');
  expect(open.out + open.complaint).not.toContain(id);
  expect((await run('list', '--all')).out).toContain('voided by jane');
  expect((await run('retry', '0-1-999999')).code).toBe(1);
  expect((await run('retry', 'nonsense')).code).toBe(2);
  const noted = await pool.query<{ actor: string }>(
    `select actor from audit_log where action like 'quarantine.voided%' and actor = 'jane'`,
  );
  expect(noted.rows.length).toBeGreaterThan(0);
}, 60_000);

describe('the plan of a correction', () => {
  const lot = fc.record({
    currency: fc.constant(1),
    lot: fc.integer({ min: 1, max: 6 }),
    points: fc.integer({ min: -20, max: 100 }),
    party: fc.integer({ min: 0, max: 1 }),
    expires_at: fc.constantFrom(0, 1_000),
    available_at: fc.constantFrom(0, 10),
  });
  const standing = fc
    .record({
      lots: fc.uniqueArray(lot, { selector: (row) => row.lot, maxLength: 6 }),
      debt: fc.integer({ min: 0, max: 30 }),
    })
    .map(({ lots, debt }): MemberStanding => ({ lots, debts: debt > 0 ? [[1, debt]] : [], holds: [] }));
  const walletLeg = fc
    .tuple(
      fc.integer({ min: -60, max: 60 }),
      fc.integer({ min: 1, max: 8 }),
      fc.constantFrom(0, 1),
      fc.constantFrom(0, 1_000),
    )
    .map(([points, number, party, expires]): Leg => ['wallet', 1, points || 1, number, party, expires, 0]);
  const debtLeg = fc.integer({ min: -20, max: 20 }).map((points): Leg => ['debt', 1, points || 1, 0]);
  const legs = fc.array(fc.oneof(walletLeg, debtLeg), { maxLength: 5 }).map((some): Leg[] => {
    const sum = some.reduce((total, leg) => total + leg[2], 0);
    return sum === 0 ? some : [...some, ['issuance', 1, -sum, 0]];
  });

  test('sums to zero, takes no lot below where it was or zero, and never changes the terms of a lot', () => {
    fc.assert(
      fc.property(standing, legs, legs, (member, booked, wanted) => {
        const plan = planCorrection({ legs: booked, balances: [] } as Effect, wanted, member);
        expect(plan.legs.reduce((sum, leg) => sum + leg[2], 0)).toBe(0);
        const rows = new Map(member.lots.map((row) => [row.lot, { ...row }]));
        for (const leg of plan.legs) {
          if (leg[0] !== 'wallet') continue;
          const [, currency, points, number, party, expires, available] = leg;
          const row = rows.get(number);
          if (row) {
            expect([party, expires, available]).toEqual([row.party, row.expires_at, row.available_at]);
            row.points += points;
          } else {
            rows.set(number, {
              currency,
              lot: number,
              points,
              party,
              expires_at: expires,
              available_at: available,
            });
          }
        }
        for (const [number, row] of rows) {
          const before = member.lots.find((each) => each.lot === number)?.points ?? 0;
          expect(row.points).toBeGreaterThanOrEqual(Math.min(0, before));
        }
        const owed = member.debts.reduce((sum, [, points]) => sum + points, 0);
        const repaid = plan.legs.reduce((sum, leg) => sum + (leg[0] === 'debt' ? leg[2] : 0), 0);
        expect(owed - repaid).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});
