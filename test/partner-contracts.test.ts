/** Partners of a running program: versions that never overlap and never change, blocks that are drawn once, caps that hold in any order. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { createPartnerBook } from '#src/partners/contracts/book.ts';
import { type ExchangeAsk, usedForQuote } from '#src/partners/contracts/facts.ts';
import { forgetUses, giveBackUse, judgeExchange, judgementsOf } from '#src/partners/contracts/judging.ts';
import { blocksOf, buyBlock, drawPoints } from '#src/partners/contracts/prepaid.ts';
import { settleDraws } from '#src/partners/contracts/settling.ts';
import { insertContract, keepPartner } from '#src/partners/contracts/store.ts';
import type { ContractTerms, Partner } from '#src/partners/contracts/types.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { type MemberNumber, memberId, newOperation, parseMemberId } from '#src/values.ts';
import { type Answer, type Shop, startEngine } from './harness.ts';
import { commandOf } from './house/command.ts';
import { type Entry, fileWith, plainContract, rateEntry } from './house/partners.ts';

const engine = await startEngine();
const { pool } = engine;
const folder = await mkdtemp(join(tmpdir(), 'partners-'));
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await engine.end();
});
const { databaseUrl, redisUrl } = engine.stores;
const command = commandOf('partners/contracts/command.ts', {
  ...process.env,
  DATABASE_URL: databaseUrl,
  REDIS_URL: redisUrl,
});

const dayMs = 86_400_000;
const dayIn = (days: number) => new Date(Date.now() + days * dayMs).toISOString().slice(0, 10);

const apply = (shop: Shop, file: unknown, more: object = {}): Promise<Answer> =>
  shop.admin('POST', '/v1/partners', { source: typeof file === 'string' ? file : stringify(file), ...more });

async function partnerOf(shop: Shop, file: Entry = fileWith([rateEntry(1, 1)])): Promise<Partner> {
  expect((await apply(shop, file)).status).toBe(201);
  return (await createPartnerBook(pool).named(shop.program.number, 'air'))!;
}

describe('a partner', () => {
  test('is made of its file, and the same file again changes nothing', async () => {
    const shop = await engine.shop();
    const source = `# Ours since 2020.\n${stringify(fileWith([rateEntry(5, 4)]))}`;
    const checked = await apply(shop, source, { dryRun: true });
    expect(checked.body).toMatchObject({ outcome: 'checked', changes: { rates: { added: 1, ended: 0 } } });
    expect((await shop.admin('GET', '/v1/partners')).at('data')).toEqual([]);
    const first = await apply(shop, source);
    expect(first.body).toMatchObject({
      object: 'appliedPartner',
      outcome: 'created',
      name: 'air',
      contract: 1,
    });
    const again = await apply(shop, source);
    expect([again.status, again.body.outcome]).toEqual([200, 'unchanged']);
    const shown = await shop.finance('GET', '/v1/partners/air');
    expect(shown.body).toMatchObject({ object: 'partner', title: 'Air', billing: 'postpaid', source });
    const contracts = await shop.finance('GET', '/v1/partners/air/contracts');
    expect(contracts.at('data.0')).toMatchObject({
      version: 1,
      status: 'in_force',
      settleOn: 'issue',
      prices: { issue: { amount: 1_400, perPoints: 1_000 } },
    });
    expect((await shop.admin('GET', '/v1/partners/rail')).code).toBe('not_found');
    const other = await engine.shop();
    expect((await other.admin('GET', '/v1/partners/air')).code).toBe('not_found');
  });

  test('gets another rate from a day on; the one before ends there, whoever asks', async () => {
    const shop = await engine.shop({ timeZone: 'Asia/Tokyo' });
    const partner = await partnerOf(shop);
    const next = rateEntry(5, 4, { from: dayIn(10) });
    expect((await shop.admin('POST', '/v1/partners/air/rates', next)).body).toMatchObject({
      outcome: 'changed',
      changes: { rates: { added: 1, ended: 1 } },
    });
    const turn = new Date(Date.parse(`${dayIn(10)}T00:00:00+09:00`)).toISOString();
    const listed = await shop.care('GET', '/v1/partners/air/rates?direction=out&currency=points');
    expect(listed.at('data')).toMatchObject([
      { version: 1, status: 'in_force', effectiveUntil: turn },
      { version: 2, status: 'scheduled', effectiveFrom: turn, effectiveUntil: null, ratio: { numerator: 4 } },
    ]);
    const then = await shop.care('GET', `/v1/partners/air/rates?at=${encodeURIComponent(turn)}`);
    expect(then.at('data')).toMatchObject([{ version: 2 }]);
    const known = (await createPartnerBook(pool).numbered(partner.number))!;
    expect(known.rates.map(({ version }) => version)).toEqual([1, 2]);
    const source = (await shop.admin('GET', '/v1/partners/air')).body.source as string;
    expect((await apply(shop, source)).body.outcome).toBe('unchanged');
    const contract = { ...plainContract, from: dayIn(20) };
    expect((await shop.admin('POST', '/v1/partners/air/contracts', contract)).body).toMatchObject({
      outcome: 'changed',
    });
  });

  test('keeps all versions that are added at once', async () => {
    const shop = await engine.shop();
    await partnerOf(shop);
    const tiers = ['silver', 'gold', 'black', 'red'];
    const added = await Promise.all(
      tiers.map((tier) => shop.admin('POST', '/v1/partners/air/rates', rateEntry(1, 2, { tier }))),
    );
    expect(added.map(({ status }) => status)).toEqual(tiers.map(() => 201));
    const rates = (await shop.admin('GET', '/v1/partners/air/rates')).at('data') as { tier: string | null }[];
    expect(rates.map(({ tier }) => tier ?? '').toSorted()).toEqual(['', ...tiers.toSorted()]);
  });

  test('says where its file is wrong, and what has begun and cannot change', async () => {
    const shop = await engine.shop();
    const file = fileWith([rateEntry(1, 1)]);
    const unknown = await apply(shop, fileWith([rateEntry(1, 1, { currency: 'gems' })]));
    expect(unknown.at('errors.0')).toMatchObject({
      pointer: '/source',
      path: '/rates/0/currency',
      detail: 'the program has no currency gems',
    });
    await apply(shop, file);
    const changed = await apply(shop, fileWith([rateEntry(5, 4)]));
    expect(changed.at('errors.0')).toMatchObject({
      path: '/rates/0',
      detail: expect.stringContaining('cannot change') as string,
    });
    const twice = await shop.admin('POST', '/v1/partners/air/rates', rateEntry(1, 1, { minimum: 0 }), {
      invalid: true,
    });
    expect(twice.at('errors.0')).toMatchObject({ pointer: '/minimum' });
    expect((await shop.admin('GET', '/v1/partners/air/rates')).at('data')).toHaveLength(1);
    expect((await shop.pos('GET', '/v1/partners')).code).toBe('role_not_allowed');
    expect((await shop.finance('POST', '/v1/partners', { source: 'x' })).code).toBe('role_not_allowed');
  });

  test('is billed when points are redeemed, but for one that pays in advance: that is refused where it says so, and one from before stays', async () => {
    const shop = await engine.shop();
    const onRedemption = { ...plainContract, settleOn: 'redemption' };
    const billing = { kind: 'prepaid', alertPoints: 0, usesReserve: false } as const;
    const prepaid = { ...onRedemption, billing };
    const source = stringify(fileWith([], { contracts: [prepaid] }));
    const line = source.split('\n').findIndex((text) => text.includes('settleOn')) + 1;
    const refusal = { path: '/contracts/0/settleOn', line, detail: expect.stringContaining('is redemption') };
    for (const dryRun of [true, false]) {
      const refused = await apply(shop, source, { dryRun });
      expect([refused.status, refused.code]).toEqual([400, 'validation_failed']);
      expect(refused.body.errors).toMatchObject([refusal]);
    }
    expect((await shop.admin('GET', '/v1/partners')).at('data')).toEqual([]);
    const accepted = await apply(shop, fileWith([], { contracts: [onRedemption] }));
    expect([accepted.status, accepted.body.outcome]).toEqual([201, 'created']);
    const next = { ...prepaid, from: dayIn(20) };
    const added = await shop.admin('POST', '/v1/partners/air/contracts', next);
    expect(added.at('errors.0')).toMatchObject({ pointer: '/settleOn' });
    // As a version was stored that is older than the refusal.
    const { rows } = await pool.query<{ terms: ContractTerms }>(
      'select terms from partner_contract where partner = $1',
      [accepted.body.party],
    );
    const older = await engine.shop();
    const rail = await inTransaction(pool, async (tx) => {
      const partner = await keepPartner(tx, older.program.number, {
        name: 'air',
        title: 'Air',
        status: 'active',
      });
      const terms = { ...rows[0]!.terms, billing };
      const from = Date.parse('2020-01-01T00:00:00Z');
      await insertContract(tx, { partner, version: 1, from, until: null, terms, actor: 'test' });
      return partner;
    });
    const changed = await apply(older, fileWith([rateEntry(1, 1)], { contracts: [prepaid] }));
    expect([changed.status, changed.body.outcome, changed.body.party]).toEqual([201, 'changed', rail]);
  });

  test('pays of a promotion no more than is left of it by others', async () => {
    const shop = await engine.shop();
    const sharing = (partner: string, percent: number) =>
      fileWith([], {
        partner,
        contracts: [{ ...plainContract, costShares: [{ promotion: 'double', percent }] }],
      });
    expect((await apply(shop, sharing('air', 60))).status).toBe(201);
    expect((await apply(shop, sharing('rail', 50))).at('errors.0')).toMatchObject({
      path: '/contracts/0/costShares/0/percent',
      detail: 'would make partners pay 110 % of promotion double',
    });
    expect((await apply(shop, sharing('rail', 40))).status).toBe(201);
  });
});

describe('the database', () => {
  test('refuses versions of one line that overlap, whoever writes them, and lets others stand beside them', async () => {
    const shop = await engine.shop();
    const { number } = await partnerOf(
      shop,
      fileWith([rateEntry(1, 1, { through: '2030-12-31' }), rateEntry(1, 1, { tier: 'gold' })]),
    );
    const insert = (version: number, from: string, tier: string | null) =>
      pool.query(
        `insert into partner_rate (partner, version, line, effective_from, terms, applied_by)
         select $1, $2, line, $3, '{}', 'test' from partner_line where partner = $1 and tier is not distinct from $4`,
        [number, version, from, tier],
      );
    const overlap = { code: '23P01', constraint: 'partner_rate_overlap' };
    await expect(insert(3, '2030-12-31', null)).rejects.toMatchObject(overlap);
    await expect(insert(3, '2031-01-01', 'gold')).rejects.toMatchObject(overlap);
    const both = await Promise.allSettled([insert(3, '2031-01-01', null), insert(4, '2032-01-01', null)]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    await expect(
      pool.query(
        `insert into partner_contract (partner, version, effective_from, terms, applied_by)
         values ($1, 2, '2031-01-01', '{}', 'test')`,
        [number],
      ),
    ).rejects.toMatchObject({ code: '23P01', constraint: 'partner_contract_overlap' });
  });

  test('refuses to change the terms of a version', async () => {
    const shop = await engine.shop();
    const { number } = await partnerOf(shop);
    for (const table of ['partner_rate', 'partner_contract'])
      await expect(
        pool.query(`update ${table} set terms = '{}' where partner = $1`, [number]),
      ).rejects.toMatchObject({ code: '23514' });
  });
});

describe('npm run partners', () => {
  test('applies a file, lists what is in force, and says where a file is wrong', async () => {
    const shop = await engine.shop();
    const { name } = shop.program;
    const path = join(folder, 'air.yaml');
    await writeFile(path, stringify(fileWith([rateEntry(5, 4)])));
    expect(await command('validate', path)).toMatchObject({ code: 0, complaint: '' });
    expect((await command('apply', path, '--program', name)).out).toBe(
      `Partner air of ${name} created: contracts 1 added, 0 ended; rates 1 added, 0 ended.\n`,
    );
    expect((await command('apply', path, '--program', name)).out).toContain('what the file says already');
    expect((await command('list', '--program', name)).out).toMatch(
      /^\d+ {2}air {2}active {2}contract 1, postpaid {2}points to miles 5:4 \(1\)\n$/,
    );
    await writeFile(path, stringify(fileWith([rateEntry(2, 1)])));
    const refused = await command('apply', path, '--program', name);
    expect(refused.code).toBe(1);
    expect(refused.complaint).toMatch(/air\.yaml:\d+:\d+ {2}\/rates\/0 is version 1, in force since/);
  }, 120_000);
});

describe('blocks of a prepaid partner', () => {
  const billing = { kind: 'prepaid', alertPoints: 100, usesReserve: false } as const;

  test('are drawn to the last point by movements that come at once, each once, and get back what is reversed', async () => {
    const shop = await engine.shop();
    const file = fileWith([], { contracts: [{ ...plainContract, billing }] });
    const { number: partner } = await partnerOf(shop, file);
    const body = { reference: 'po-1', points: 1_000, from: '2020-01-01' };
    const bought = await shop.finance('POST', '/v1/partners/air/blocks', body);
    expect([bought.status, bought.body.left]).toEqual([201, 1_000]);
    expect((await shop.finance('POST', '/v1/partners/air/blocks', body)).replayed).toBe(true);
    const other = await shop.finance('POST', '/v1/partners/air/blocks', { ...body, points: 5 });
    expect(other.code).toBe('reference_reused');
    await buyBlock(pool, {
      partner,
      reference: 'po-0',
      points: 50,
      from: 0,
      until: null,
      isReserve: false,
      actor: 'test',
    });
    const at = Date.now();
    const draw = (movement: string) =>
      inTransaction(pool, (tx) => drawPoints(tx, { partner, movement, points: 100, at, billing }));
    const drawn = await Promise.all(Array.from({ length: 15 }, (_, i) => draw(`m${i % 12}`)));
    const count = (status: string) => drawn.filter((each) => each.status === status).length;
    expect(count('drawn')).toBe(10);
    expect((await blocksOf(pool, partner)).map(({ left }) => left)).toEqual([0, 50]);
    const first = drawn.findIndex(({ status }) => status === 'drawn') % 12;
    expect((await draw(`m${first}`)).status).toBe('drawn_before');
    const back = (reversal: string, points: number) =>
      ({ kind: 'taken', reversal, movements: [`m${first}`], points }) as const;
    const taken = (...booked: Parameters<typeof settleDraws>[2]) =>
      inTransaction(pool, (tx) => settleDraws(tx, partner, booked));
    // The same reversal again says what it gave back, and gives nothing more.
    expect(await taken(back('r1', 70), back('r1', 70))).toEqual([70, 70]);
    expect(await taken(back('r1', 70), back('r2', 70), back('r3', 1))).toEqual([70, 30, 0]);
    const listed = await shop.finance('GET', '/v1/partners/air/blocks');
    expect(listed.body).toMatchObject({ left: 150, reserve: 0, alert: false });
  });
});

describe('an exchange that is judged', () => {
  async function memberOf(shop: Shop, body: object = {}): Promise<MemberNumber> {
    const made = await shop.admin('POST', '/v1/members', {
      member: randomBytes(8).toString('hex'),
      joinedAt: '2020-01-01T00:00:00Z',
      ...body,
    });
    expect(made.status).toBe(201);
    return parseMemberId(made.id)!;
  }
  type More = Partial<Omit<ExchangeAsk, 'program' | 'exchange'>> & Pick<ExchangeAsk, 'partner' | 'member'>;
  function exchange({ program }: Shop, more: More) {
    const ask: ExchangeAsk = {
      exchange: newOperation(0, Date.now()),
      program,
      limits: {},
      caps: [],
      direction: 'out',
      currency: 'points',
      give: 100,
      receive: 80,
      at: Date.now(),
      ...more,
    };
    return inTransaction(pool, async (tx) => ({ ...(await judgeExchange(tx, ask)), id: ask.exchange }));
  }
  const allowed = <Judged extends { readonly outcome: string }>(all: readonly Judged[]): Judged[] =>
    all.filter((each) => each.outcome === 'allowed');

  test('never passes the caps of its member, and gives them back once when it comes to nothing', async () => {
    const shop = await engine.shop();
    const { number: partner } = await partnerOf(shop);
    const member = await memberOf(shop);
    const caps = [{ period: 'month' as const, of: 'receive' as const, points: 500 }];
    const once = () => exchange(shop, { partner, member, caps });
    const judged = await Promise.all(Array.from({ length: 12 }, once));
    expect(allowed(judged)).toHaveLength(6);
    const refused = judged.find(({ outcome }) => outcome === 'refused')!;
    expect(refused.reasons).toMatchObject([{ limit: 'member_cap', bound: 500, value: 560 }]);
    expect(await judgementsOf(pool, refused.id)).toMatchObject([
      { outcome: 'refused', reasons: refused.reasons },
    ]);
    const { id } = allowed(judged)[0]!;
    expect([await giveBackUse(pool, id, Date.now()), await giveBackUse(pool, id, Date.now())]).toEqual([
      true,
      false,
    ]);
    expect(allowed(await Promise.all([once(), once()]))).toHaveLength(1);
    const ask = { program: shop.program, partner, member, direction: 'out', currency: 'points' } as const;
    const used = await usedForQuote(pool, { ...ask, at: Date.now() });
    expect(used.month).toEqual({ give: 600, receive: 480 });
    expect(await usedForQuote(pool, { ...ask, direction: 'in', at: Date.now() })).toMatchObject({
      month: { give: 0, receive: 0 },
    });
  });

  test('is judged also where its sums are more than can be counted', async () => {
    const shop = await engine.shop();
    const { number: partner } = await partnerOf(shop);
    const member = await memberOf(shop);
    const most = { give: Number.MAX_SAFE_INTEGER, receive: Number.MAX_SAFE_INTEGER };
    const points = { count: 5, hours: 24, points: 1_000, action: 'review' } as const;
    const limits = { member: points, terminal: points };
    const caps = [{ period: 'day' as const, of: 'give' as const, points: Number.MAX_SAFE_INTEGER }];
    const once = () => exchange(shop, { partner, member, limits, terminal: 'till-9', ...most });
    await once();
    await once();
    expect((await once()).reasons.map(({ limit }) => limit)).toEqual([
      'member_velocity',
      'terminal_velocity',
    ]);
    const capped = await exchange(shop, { partner, member, caps });
    expect(capped).toMatchObject({ outcome: 'refused', reasons: [{ limit: 'member_cap' }] });
  });

  test('never passes the day of its partner, with as many members at once as there are', async () => {
    const shop = await engine.shop();
    const { number: partner } = await partnerOf(shop);
    const limits = { partnerDaily: { out: 1_050, action: 'refuse' } } as const;
    const members = await Promise.all(Array.from({ length: 20 }, () => memberOf(shop)));
    const judged = await Promise.all(members.map((member) => exchange(shop, { partner, member, limits })));
    expect(allowed(judged)).toHaveLength(10);
    const { rows } = await pool.query('select points from partner_day where partner = $1', [partner]);
    expect(rows).toEqual([{ points: 1_000 }]);
    await giveBackUse(pool, allowed(judged)[0]!.id, Date.now());
    expect((await exchange(shop, { partner, member: members[0]!, limits })).outcome).toBe('allowed');
  });

  test('is forgotten after 400 days, so many at once at most, and nothing that may still count is', async () => {
    const shop = await engine.shop();
    const { number: partner } = await partnerOf(shop);
    const member = await memberOf(shop);
    const daysAgo = (days: number) => Date.now() - days * 86_400_000;
    const olds = [await exchange(shop, { partner, member, at: daysAgo(401) })];
    olds.push(await exchange(shop, { partner, member, at: daysAgo(402) }));
    const kept = await exchange(shop, { partner, member, at: daysAgo(399) });
    const left = async () => {
      const { rows } = await pool.query<{ exchange: string }>(
        `select replace(exchange::text, '-', '') as exchange from exchange_use join exchange_judgement using (exchange, member) where member = $1`,
        [member],
      );
      return rows.map((row) => row.exchange);
    };
    expect(await left()).toHaveLength(3);
    expect(await forgetUses(pool, 1)).toBe(2);
    expect(await left()).toEqual(expect.arrayContaining([olds[0]!.id, kept.id]));
    expect(await forgetUses(pool, 10)).toBe(2);
    expect(await left()).toEqual([kept.id]);
  });

  test('counts what one card and one till do, over members, and each judgement in the metric', async () => {
    const shop = await engine.shop();
    const { number: partner } = await partnerOf(shop);
    const members = await Promise.all(Array.from({ length: 6 }, () => memberOf(shop)));
    const velocity = { count: 2, hours: 24, action: 'refuse' } as const;
    const counts: string[] = [];
    const counted = (outcome: string, limit: string) => counts.push(`${outcome} ${limit}`);
    const limits = { card: velocity, terminal: { ...velocity, count: 4, action: 'review' } } as const;
    const judged = await Promise.all(
      members.map((member, i) =>
        exchange(shop, { partner, member, limits, card: i < 3 ? 'a' : 'b', terminal: 'till-1', counted }),
      ),
    );
    expect(judged.filter(({ outcome }) => outcome === 'refused')).toHaveLength(2);
    expect(allowed(judged)).toHaveLength(4);
    const fifth = await exchange(shop, {
      partner,
      member: members[0]!,
      limits,
      card: 'c',
      terminal: 'till-1',
      counted,
    });
    expect(fifth.reasons).toMatchObject([{ limit: 'terminal_velocity', value: 5, action: 'review' }]);
    expect(counts.filter((each) => each === 'refused card_velocity')).toHaveLength(2);
    expect(counts.filter((each) => each.endsWith(' none'))).toHaveLength(7);
  });

  test('waits for a person when points go in a circle, and is refused to the new and the newly reached', async () => {
    const shop = await engine.shop();
    const { number: partner } = await partnerOf(shop);
    const limits = {
      accountAge: { days: 30, action: 'refuse' },
      contactHold: { hours: 24, action: 'refuse' },
      roundTrip: { days: 30, action: 'review' },
    } as const;
    const member = await memberOf(shop, { identifiers: [{ type: 'phone', value: '+4915112345678' }] });
    expect((await exchange(shop, { partner, member, limits, direction: 'in' })).outcome).toBe('allowed');
    const back = await exchange(shop, { partner, member, limits });
    expect([back.outcome, back.reasons[0]?.limit]).toEqual(['review', 'round_trip']);
    const email = { type: 'email', value: `${randomBytes(8).toString('hex')}@example.org` };
    const path = `/v1/members/${memberId(member)}`;
    expect((await shop.admin('PATCH', path, { identifiers: [email] })).status).toBe(200);
    expect((await exchange(shop, { partner, member, limits })).reasons.map(({ limit }) => limit)).toEqual([
      'contact_hold',
      'round_trip',
    ]);
    const fresh = await memberOf(shop, { joinedAt: new Date(Date.now() - dayMs).toISOString() });
    expect((await exchange(shop, { partner, member: fresh, limits })).reasons).toMatchObject([
      { limit: 'account_age', value: 1 },
    ]);
  });
});
