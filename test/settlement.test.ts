/** Settlement with partners, from the draft to the payment, over HTTP and by command; and whether it is what the books say. */
import { DateTime } from 'luxon';
import { afterAll, describe, expect, test } from 'vitest';
import { checkSettlement } from '#src/partners/clearing/check.ts';
import { postingsOf } from '#src/partners/clearing/money.ts';
import { parseSettlementId } from '#src/partners/clearing/settlements.ts';
import { alertsOf } from '#src/partners/clearing/tending.ts';
import type { ContractTerms } from '#src/partners/contracts/types.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { reference, type Shop, startEngine } from './harness.ts';
import { clearAll, clearingOf } from './house/clearing.ts';
import { commandOf } from './house/command.ts';
import { linked, openPartner, type Partner } from './house/partner.ts';
import { inDays } from './house/shop.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const follower = clearingOf(app);
const { databaseUrl, redisUrl } = engine.stores;
const settlement = commandOf('partners/clearing/command.ts', {
  ...process.env,
  DATABASE_URL: databaseUrl,
  REDIS_URL: redisUrl,
});

const contract: Partial<ContractTerms> = {
  prices: { issue: { amount: 9, perPoints: 10 }, redemption: { amount: 12, perPoints: 10 } },
  taxBasisPoints: 1_900,
  nettingGroup: 'alliance',
};

interface Counterpart {
  readonly shop: Shop;
  readonly sky: Partner;
  /** Of a member who is linked with the partner. */
  readonly account: string;
}

const newShop = () => engine.shop({ mode: 'test', timeZone: 'Europe/Berlin' });
/** Its months go on from test to test; partners are of one test. */
const everybodys = await newShop();

async function counterpart(terms: Partial<ContractTerms> = {}, shop = everybodys): Promise<Counterpart> {
  const name = reference('sky').replaceAll('/', '-').toLowerCase();
  const sky = await openPartner(engine, shop, { name, contract: { ...contract, ...terms } });
  return { shop, sky, account: await linked(shop, sky, await shop.enrol('guest'), reference('FF')) };
}

async function cleared(): Promise<void> {
  await engine.drained();
  await clearAll(pool, follower);
}

const month = ({ shop }: Counterpart) =>
  DateTime.fromMillis(shop.now(), { zone: 'Europe/Berlin' }).toFormat('yyyy-MM');

/** Into the next month of the program. */
async function nextMonth({ shop }: Counterpart): Promise<void> {
  const next = DateTime.fromMillis(shop.now(), { zone: 'Europe/Berlin' })
    .startOf('month')
    .plus({ months: 1 });
  await shop.setClock(next.toMillis() + 3_600_000);
}

const issue = ({ shop, sky }: Counterpart, period: string) =>
  shop.finance('POST', '/v1/settlements', { partner: sky.name, period });
const drafts = async ({ shop, sky }: Counterpart) =>
  (await shop.finance('GET', `/v1/settlements/drafts?partner=${sky.name}`)).body.data as {
    period: string;
    total: number;
    lines: Record<string, unknown>[];
  }[];
const figures = (lines: readonly Record<string, unknown>[]) =>
  lines.map(({ kind, points, amount, tax }) => [kind, points, amount, tax]);

async function trade({ sky, account }: Counterpart): Promise<void> {
  const [flight, award] = [reference('flight'), reference('award')];
  await sky.accrue({ reference: flight, account, points: 1_000 });
  await sky.redeem({ reference: award, account, points: 300 });
  await sky.reverse({
    reference: reference('back'),
    originalKind: 'accrual',
    originalReference: flight,
    points: 100,
  });
}
const traded = [
  ['accrual', -1_000, 900, 171],
  ['redemption', 300, -360, -68],
  ['reversal', 100, -90, -17],
];
const total = 900 + 171 - 360 - 68 - 90 - 17;

/** A month with a statement that is issued. */
async function issuedStatement(terms: Partial<ContractTerms> = {}, of?: Shop) {
  const made = await counterpart(terms, of);
  await trade(made);
  const period = month(made);
  await nextMonth(made);
  await cleared();
  const answer = await issue(made, period);
  expect(answer.status).toBe(201);
  const [stated] = answer.body.data as { id: string; number: number; total: number; status: string }[];
  const call = (what: string, body: object) =>
    made.shop.finance('POST', `/v1/settlements/${stated!.id}/${what}`, body);
  return { ...made, period, answer, stated: stated!, call };
}

describe('a contract that bills points when they are spent', () => {
  const onSpending: Partial<ContractTerms> = { ...contract, settleOn: 'redemption' };
  const shopOf30Days = () =>
    engine.shop({
      mode: 'test',
      timeZone: 'Europe/Berlin',
      definition: { currencies: [{ code: 'points', expiry: inDays(30) }] },
    });

  test('bills what was redeemed and not refunded: not what is left, has ended or was taken back unspent', async () => {
    const made = await counterpart(onSpending, await shopOf30Days());
    const { shop, sky, account } = made;
    const first = await sky.accrue({ reference: 'first', account, points: 500 });
    const shown = await shop.care('GET', `/v1/operations/${first.id}`);
    expect(shown.at('entries')).toMatchObject([
      { account: 'wallet', points: 500, party: String(sky.number) },
      { account: 'partner', points: -500, party: String(sky.number) },
    ]);
    const spend = { member: account, points: 300, reference: reference() };
    const spent = await shop.checkout('POST', '/v1/redemptions', spend);
    expect(spent.status).toBe(201);
    const refund = { points: 100, reference: reference() };
    expect((await shop.checkout('POST', `/v1/redemptions/${spent.id}/refunds`, refund)).status).toBe(201);
    const back = { originalKind: 'accrual', originalReference: 'first' };
    expect((await sky.reverse({ ...back, reference: 'back-1', points: 100 })).status).toBe(201);
    await cleared();
    const [draft] = await drafts(made);
    expect(draft!.lines.map(({ kind, price, points, amount }) => [kind, price, points, amount])).toEqual([
      ['accrual', 'none', -500, 0],
      ['reversal', 'none', 100, 0],
      ['spent', 'issue', -300, 270],
      ['spent_reversal', 'issue', 100, -90],
    ]);
    await nextMonth(made);
    await nextMonth(made);
    await sky.accrue({ reference: 'second', account, points: 500 });
    await cleared();
    expect((await shop.balances(account)).available).toBe(500);
    const lines = (await drafts(made)).flatMap((each) => each.lines);
    expect(lines.reduce((sum, { amount }) => sum + Number(amount), 0)).toBe((200 * 9) / 10);
    const [ended] = await drafts(made);
    expect((await issue(made, ended!.period)).status).toBe(201);
    const checked = await checkSettlement(databaseUrl);
    expect(checked.faults).toEqual([]);
    expect(checked.accounts.find(({ partner }) => partner === sky.number)).toMatchObject({ ledger: -900n });
  });
});

describe('a month', () => {
  test('is a draft of what happened in it, priced line by line, until it is over', async () => {
    const made = await counterpart();
    await trade(made);
    await cleared();
    const [draft] = await drafts(made);
    expect([draft!.period, draft!.total, figures(draft!.lines)]).toEqual([month(made), total, traded]);
    const early = await issue(made, month(made));
    expect([early.status, early.code]).toEqual([409, 'settlement_open']);
    const stranger = await made.shop.care('GET', `/v1/settlements/drafts?partner=${made.sky.name}`);
    expect(stranger.code).toBe('role_not_allowed');
  });

  test('is issued once, with the next number of the program, and told as an event', async () => {
    const made = await issuedStatement({}, await newShop());
    expect(made.stated).toMatchObject({
      number: 1,
      status: 'issued',
      total,
      settled: 0,
      nettingGroup: 'alliance',
    });
    const again = await issue(made, made.period);
    expect([again.status, again.body.data]).toEqual([200, made.answer.body.data]);
    const shown = await made.shop.finance('GET', `/v1/settlements/${made.stated.id}`);
    expect(figures(shown.body.lines as Record<string, unknown>[])).toEqual(traded);
    const events = await made.shop.finance('GET', '/v1/events?types=settlement.issued');
    expect(events.body.data).toMatchObject([
      { settlement: made.stated.id, number: 1, partner: made.sky.name, period: made.period, total },
    ]);
    const other = await issuedStatement({}, made.shop);
    expect(other.stated.number).toBe(2);
    const list = await made.shop.finance('GET', `/v1/settlements?after=${made.stated.id}`);
    expect((list.body.data as { id: string }[]).map(({ id }) => id)).toEqual([other.stated.id]);
  });

  test('that is closed never changes: what was late comes in the next, under the month that it is of', async () => {
    const made = await counterpart();
    await trade(made);
    await cleared();
    const period = month(made);
    await engine.withoutWriter(async () => {
      const late = await made.sky.accrue({ reference: reference('late'), account: made.account, points: 50 });
      expect(late.status).toBe(202);
      await nextMonth(made);
      expect((await issue(made, period)).status).toBe(201);
    });
    await cleared();
    const [draft] = await drafts(made);
    expect(draft!.period).toBe(month(made));
    expect(draft!.lines).toMatchObject([{ kind: 'accrual', points: -50, period }]);
    const stated = await made.shop.finance('GET', `/v1/settlements?partner=${made.sky.name}`);
    expect(stated.body.data).toMatchObject([{ period, total }]);
  });

  test('cannot be changed in the database either, by anybody', async () => {
    const made = await issuedStatement();
    const first = `${made.period}-01`;
    const { number } = made.sky;
    const changes = [
      `update settlement set amount = amount + 1 where partner = ${number}`,
      `update settlement set status = 'issued', number = 99 where partner = ${number}`,
      `delete from settlement where partner = ${number}`,
      'update settlement_line set amount = 0',
      `update clearing_closed set through = '2000-01-01' where partner = ${number}`,
      `delete from clearing_closed where partner = ${number}`,
      `insert into clearing_entry select gen_random_uuid(), 0, shard, epoch, seq, program, partner, contract, kind, price, account, party,
         reference, original_reference, member, currency, points, prepaid, share, rule, at, occurred_at, booked_at, of_period, '${first}'
       from clearing_entry where partner = ${number} limit 1`,
    ];
    for (const change of changes) await expect(pool.query(change), change).rejects.toThrow();
  });

  test('is settled after the one before it', async () => {
    const made = await counterpart();
    await trade(made);
    await nextMonth(made);
    await cleared();
    const second = month(made);
    await trade(made);
    await nextMonth(made);
    await cleared();
    const refused = await issue(made, second);
    expect([refused.code, refused.body.detail]).toEqual([
      'settlement_open',
      expect.stringContaining('settle it before'),
    ]);
  });

  test('is not settled while clearing is behind the books', async () => {
    const made = await counterpart();
    await trade(made);
    const period = month(made);
    await nextMonth(made);
    await engine.drained();
    expect((await issue(made, period)).body.detail).toContain('has not read the books');
    await cleared();
    expect((await issue(made, period)).status).toBe(201);
  });

  test('below the least amount of a statement is carried over without a number, until it comes to enough', async () => {
    const made = await counterpart({ invoiceMinimum: 1_000 });
    await trade(made);
    const period = month(made);
    await nextMonth(made);
    await cleared();
    expect((await issue(made, period)).body.data).toMatchObject([{ status: 'carried', number: null, total }]);
    await made.sky.accrue({ reference: reference('flight'), account: made.account, points: 1_000 });
    const second = month(made);
    await nextMonth(made);
    await cleared();
    const issued = await issue(made, second);
    expect(issued.body.data).toMatchObject([{ status: 'issued', total: total + 900 + 171 }]);
    expect((await checkSettlement(databaseUrl)).faults).toEqual([]);
  });

  test('is watched for what is open without a look at its entries, and that is what they come to', async () => {
    const made = await counterpart({ billing: { kind: 'postpaid', alertAmount: total } });
    const below = await counterpart({ billing: { kind: 'postpaid', alertAmount: total + 1 } });
    for (const each of [made, below]) await trade(each);
    await cleared();
    await inTransaction(pool, async (tx) => {
      const alerts = await alertsOf(tx, app.programs);
      const names = alerts.map(({ partner }) => partner.name);
      expect([names.includes(made.sky.name), names.includes(below.sky.name)]).toEqual([true, false]);
      const { rows } = await tx.query(
        `select seq_scan + idx_scan as scans from pg_stat_xact_user_tables where relname = 'clearing_entry'`,
      );
      expect(rows).toEqual([{ scans: 0 }]);
    });
    expect((await checkSettlement(databaseUrl)).faults).toEqual([]);
  });
});

describe('a statement', () => {
  test('is disputed by lines; the rest is paid; what is upheld is paid later', async () => {
    const { call } = await issuedStatement();
    const disputed = await call('dispute', { lines: [2], reason: 'never redeemed' });
    expect(disputed.body).toMatchObject({ status: 'disputed', disputed: [2] });
    expect((await call('dispute', { reason: 'again' })).code).toBe('settlement_status');
    const paid = await call('pay', { reason: 'transfer 17', early: true });
    // Without the redemption the partner owes more than it does in all: never more than that is paid.
    expect(paid.body).toMatchObject({ status: 'disputed', settled: total });
    expect((await call('resolve', { outcome: 'upheld', reason: 'receipt found' })).body.status).toBe(
      'issued',
    );
    expect((await call('pay', { reason: 'transfer 18', early: true })).body).toMatchObject({
      status: 'paid',
      settled: total,
    });
    expect((await call('pay', { reason: 'transfer 19' })).code).toBe('settlement_status');
  });

  test('that is credited stays as it is, and the next month takes the line back', async () => {
    const made = await issuedStatement();
    await made.call('dispute', { lines: [1], reason: 'not our passenger' });
    const credited = await made.call('resolve', { outcome: 'credited', reason: 'right' });
    expect(credited.body).toMatchObject({ status: 'issued', total });
    const [draft] = await drafts(made);
    expect(draft!.lines).toMatchObject([{ kind: 'credit', amount: -900, tax: -171, period: made.period }]);
    const second = month(made);
    await nextMonth(made);
    await cleared();
    expect((await issue(made, second)).body.data).toMatchObject([{ status: 'issued', total: -1_071 }]);
    expect((await checkSettlement(databaseUrl)).faults).toEqual([]);
  });

  test('is not disputed after the days of its contract, nor in lines that it has not', async () => {
    const made = await issuedStatement({ disputeDays: 5 });
    expect((await made.call('dispute', { lines: [9], reason: 'x' })).code).toBe('validation_failed');
    expect((await made.call('resolve', { outcome: 'upheld', reason: 'x' })).code).toBe('settlement_status');
    await made.shop.advance(5 * 86_400);
    expect((await made.call('dispute', { reason: 'late' })).code).toBe('settlement_status');
    const none = await made.shop.finance('POST', '/v1/settlements/stm_zzzzzzzz/pay', { reason: 'x' });
    expect(none.code).toBe('not_found');
  });
});

describe('paying and netting', () => {
  test('wait for the days in which a statement may be disputed, unless the partner has agreed to do it early', async () => {
    const of = await newShop();
    const first = await issuedStatement({ disputeDays: 5 }, of);
    const refused = await first.call('pay', { reason: 'transfer 1' });
    expect([refused.status, refused.code, refused.body.detail]).toEqual([
      ...[409, 'settlement_status', expect.stringContaining('can be disputed until')],
    ]);
    const net = (body: object) => of.finance('POST', '/v1/settlements/net', body);
    expect((await net({ group: 'alliance' })).code).toBe('settlement_status');
    const plan = await net({ group: 'alliance', dryRun: true });
    const { disputeUntil } = (await of.finance('GET', `/v1/settlements/${first.stated.id}`)).body;
    expect(plan.body.data).toMatchObject([{ booked: false, disputableUntil: disputeUntil }]);
    expect((await first.call('dispute', { lines: [1], reason: 'still possible' })).status).toBe(200);
    await first.call('resolve', { outcome: 'upheld', reason: 'stands' });
    await of.advance(5 * 86_400);
    const booked = await net({ group: 'alliance' });
    expect(booked.body.data).toMatchObject([
      { booked: true, settlements: [first.stated.id], disputableUntil: null },
    ]);
    const second = await issuedStatement({ disputeDays: 40 }, of);
    const early = await second.call('pay', { reason: 'transfer 2', early: true });
    expect([early.body.status, early.body.settled]).toEqual(['paid', total]);
    // What was agreed early stays said beside it.
    const third = await issuedStatement({ disputeDays: 40 }, of);
    await net({ partner: third.sky.name, early: true });
    await of.advance(40 * 86_400);
    const fourth = await issuedStatement({ disputeDays: 0 }, of);
    await fourth.call('pay', { reason: 'transfer 3', early: true });
    const settledBy = async ({ stated }: typeof first) => {
      const { steps } = (await of.finance('GET', `/v1/settlements/${stated.id}`)).body;
      return (steps as { action: string; early: boolean }[]).at(-1);
    };
    expect(await Promise.all([first, second, third, fourth].map(settledBy))).toMatchObject([
      { action: 'netted', early: false },
      { action: 'paid', early: true },
      { action: 'netted', early: true },
      { action: 'paid', early: false },
    ]);
  });
});

describe('netting', () => {
  test('turns the statements of a group into few payments, without what is in dispute, and counts them as paid', async () => {
    const first = await issuedStatement({ disputeDays: 90 }, await newShop());
    // The second is owed by the program: nothing is given, everything is redeemed.
    const second = await counterpart({}, first.shop);
    await second.sky.accrue({ reference: reference('flight'), account: second.account, points: 2_000 });
    const period = month(second);
    await nextMonth(second);
    await cleared();
    await issue(second, period);
    await second.sky.redeem({ reference: reference('award'), account: second.account, points: 2_000 });
    const later = month(second);
    await nextMonth(second);
    await cleared();
    const owed = (await issue(second, later)).body.data as { id: string; total: number }[];
    expect(owed).toMatchObject([{ total: -(2_400 + 456) }]);
    const { shop } = first;
    const plan = await shop.finance('POST', '/v1/settlements/net', { group: 'alliance', dryRun: true });
    const given = 1_800 + 342;
    const positions = {
      [first.sky.name]: -total,
      [second.sky.name]: 2_856 - given,
      program: total + given - 2_856,
    };
    expect(plan.body.data).toMatchObject([{ currency: 'EUR', booked: false, positions }]);
    await first.call('dispute', { reason: 'all of it' });
    const booked = await shop.finance('POST', '/v1/settlements/net', { group: 'alliance', early: true });
    expect(booked.body.data).toMatchObject([
      { payments: [{ from: 'program', to: second.sky.name, amount: 2_856 - given }] },
    ]);
    const listed = await shop.finance('GET', '/v1/settlements');
    expect((listed.body.data as { status: string }[]).map(({ status }) => status).toSorted()).toEqual([
      'disputed',
      'paid',
      'paid',
    ]);
    await first.call('resolve', { outcome: 'upheld', reason: 'stands' });
    const rest = await shop.finance('POST', '/v1/settlements/net', {
      partner: first.sky.name,
      early: true,
    });
    expect(rest.body.data).toMatchObject([
      { payments: [{ from: first.sky.name, to: 'program', amount: total }] },
    ]);
    expect((await shop.finance('POST', '/v1/settlements/net', {})).body.data).toEqual([]);
  });
});

describe('the accounts in money', () => {
  const accounts = async ({ shop, sky }: Counterpart) => {
    const answer = await shop.finance('GET', `/v1/settlements/accounts?partner=${sky.name}`);
    const balances = answer.body.data as { account: string; amount: number }[];
    expect(balances.reduce((sum, { amount }) => sum + amount, 0)).toBe(0);
    return Object.fromEntries(balances.map(({ account, amount }) => [account, amount]));
  };
  const stated = { issue: -(900 - 90), redemption: 360, tax: -(171 - 68 - 17) };

  test('have what a partner owes and why, from the statement to the payment, and sum to zero', async () => {
    const made = await issuedStatement();
    expect(await accounts(made)).toEqual({ receivable: total, ...stated });
    await made.call('dispute', { lines: [1], reason: 'not our passenger' });
    await made.call('resolve', { outcome: 'credited', reason: 'right' });
    await made.call('pay', { reason: 'transfer 20', early: true });
    expect(await accounts(made)).toEqual({ bank: total, ...stated });
    const second = month(made);
    await nextMonth(made);
    await cleared();
    await issue(made, second);
    const owed = { receivable: -1_071, credit: 900, ...stated, tax: stated.tax + 171 };
    expect(await accounts(made)).toEqual({ bank: total, ...owed });
    const [posted] = (await postingsOf(pool, parseSettlementId(made.stated.id)!)).toReversed();
    expect(posted).toMatchObject({ cause: 'paid', account: 'bank', amount: total });
  });

  test('keep apart what is carried over, until a statement has it', async () => {
    const made = await counterpart({ invoiceMinimum: 1_000 });
    await trade(made);
    const period = month(made);
    await nextMonth(made);
    await cleared();
    await issue(made, period);
    expect(await accounts(made)).toEqual({ carried: total, ...stated });
    await made.sky.accrue({ reference: reference('flight'), account: made.account, points: 1_000 });
    const second = month(made);
    await nextMonth(made);
    await cleared();
    await issue(made, second);
    const grown = { ...stated, issue: stated.issue - 900, tax: stated.tax - 171 };
    expect(await accounts(made)).toEqual({ receivable: total + 900 + 171, ...grown });
  });

  test('differ from a statement whose payment was written over: the check finds it, to the cent', async () => {
    const made = await issuedStatement();
    const write = async (by: number) => {
      await pool.query('alter table settlement disable trigger user');
      await pool.query('update settlement set settled = settled + $2 where settlement = $1', [
        ...[parseSettlementId(made.stated.id), by],
      ]);
      await pool.query('alter table settlement enable trigger user');
    };
    await write(1);
    expect((await checkSettlement(databaseUrl)).faults).toEqual([
      `statement ${made.stated.id}: the accounts in money have ${total}, not ${total - 1}`,
    ]);
    await write(-1);
    expect((await checkSettlement(databaseUrl)).faults).toEqual([]);
  });
});

describe('npm run settlement', () => {
  test('does all of it, exports it, and checks it against the books', async () => {
    const made = await counterpart();
    const of = ['--program', made.shop.program.name];
    await trade(made);
    const period = month(made);
    await nextMonth(made);
    await cleared();
    const draft = await settlement('statement', made.sky.name, ...of);
    expect([draft.code, draft.out]).toEqual([0, expect.stringContaining(`total ${total}`)]);
    const issued = await settlement('issue', made.sky.name, period, '--json', ...of);
    const [{ id, number }] = JSON.parse(issued.out) as [{ id: string; number: number }];
    const csv = await settlement('export', id, ...of);
    expect(csv.out.split('\r\n')).toHaveLength(6);
    expect(csv.out).toContain(
      `${id},${number},issued,${made.sky.name},${period},EUR,1,accrual,issue,1,points,,10000,`,
    );
    const entries = await settlement('export', id, '--entries', ...of);
    expect(entries.out.split('\r\n')).toHaveLength(5);
    const disputed = await settlement('dispute', id, '--lines', '1', '--reason', 'why', '--json', ...of);
    expect(JSON.parse(disputed.out)).toMatchObject([{ status: 'disputed', disputed: [1] }]);
    await settlement('resolve', id, '--as', 'upheld', '--reason', 'so', ...of);
    const netted = await settlement('net', made.sky.name, '--book', '--early', ...of);
    expect(netted.out).toContain(`${made.sky.name} pays program ${total}`);
    expect((await settlement('list', made.sky.name, ...of)).out).toMatch(/paid\n$/);
    const balances = await settlement('accounts', made.sky.name, ...of);
    expect(balances.out).toMatch(new RegExp(`EUR +netting +${total}\\b`));
    const postings = await settlement('export', id, '--postings', ...of);
    expect(postings.out).toMatch(new RegExp(`,netted,,receivable,-${total}\r\n`));
    const checked = await settlement('check');
    expect([checked.code, checked.complaint]).toEqual([0, '']);
    expect((await settlement('pay', id, ...of)).code).toBe(2);
  }, 180_000);

  test('check finds an entry that is gone, a line that was written over and a number that is left out', async () => {
    const made = await issuedStatement();
    const { number } = made.sky;
    const triggers = async (what: 'disable' | 'enable') => {
      for (const table of ['clearing_entry', 'settlement_line', 'settlement_number'])
        await pool.query(`alter table ${table} ${what} trigger all`);
    };
    await triggers('disable');
    await pool.query(`delete from clearing_entry where partner = ${number} and kind = 'redemption'`);
    await pool.query('update settlement_number set last = last + 1 where program = $1', [
      made.shop.program.number,
    ]);
    const { faults } = await checkSettlement(databaseUrl);
    expect(faults).toHaveLength(4);
    expect(faults.join('\n')).toMatch(
      /the ledger has -600, .*entries -900[\s\S]*lines are not[\s\S]*the sums of[\s\S]*statements have numbers, the last is/,
    );
    expect((await settlement('check')).code).toBe(1);
    await pool.query('update settlement_number set last = last - 1 where program = $1', [
      made.shop.program.number,
    ]);
    await triggers('enable');
  });
});
