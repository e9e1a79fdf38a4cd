/** A partner's file against the books, through the API: what matches, what differs in what, what is refused and leaves nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { movementsIn } from '#src/partners/reconciliation/books.ts';
import { bucketsQuery } from '#src/partners/reconciliation/days.ts';
import { dayPeriod, type Movement } from '#src/partners/reconciliation/movement.ts';
import { createTree, keyHash, treeSide } from '#src/partners/reconciliation/tree.ts';
import { reference, startEngine } from './harness.ts';
import { clearAll, clearingOf } from './house/clearing.ts';
import { linked, openPartner, type Partner } from './house/partner.ts';
import { scansOf } from './house/plans.ts';
import { FileSeries, fileText, handIn, linesOf, secondOver } from './house/reconciling.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool, http } = engine;
const shop = await engine.shop();
const follower = clearingOf(app);
const occurredAt = Math.floor(Date.now() / 1_000) - 60;
const at = new Date(occurredAt * 1_000).toISOString();
const period = { from: occurredAt - 3_600, until: occurredAt + 86_400 };

/** As the partner has it: `us` is the partner. */
const moved = (
  kind: Movement['kind'],
  name: string,
  points: number,
  more: Partial<Movement> = {},
): Movement => ({
  madeBy: 'us',
  kind,
  reference: name,
  points,
  currency: 'points',
  occurredAt,
  status: 'succeeded',
  ...more,
});
const movements: Movement[] = [
  moved('accrual', 'flight, "1"', 500),
  moved('accrual', 'flight-2', 300),
  moved('accrual', 'flight\\3', 200),
  moved('redemption', 'award-1', 120),
  moved('reversal', 'back-1', 80),
];

async function cleared(): Promise<void> {
  await engine.drained();
  await clearAll(pool, follower);
}

/** A partner with a member of ours, and the files that it gives us. */
class Airline {
  readonly partner: Partner;
  readonly account: string;
  readonly series: FileSeries;

  constructor(partner: Partner, account: string) {
    this.partner = partner;
    this.account = account;
    this.series = new FileSeries(partner.name, period.from);
  }

  /** Books a movement here, and waits until clearing has read it. */
  async books(...wanted: readonly Movement[]): Promise<void> {
    for (const { kind, reference: name, points, occurredAt: seconds } of wanted) {
      const body = { reference: name, points, occurredAt: new Date(seconds * 1_000).toISOString() };
      const original = { originalKind: 'accrual', originalReference: 'flight-2' };
      const { account, partner } = this;
      const answer =
        kind === 'accrual'
          ? await partner.accrue({ ...body, account })
          : kind === 'redemption'
            ? await partner.redeem({ ...body, account })
            : await partner.reverse({ ...body, ...original });
      expect(answer.status).toBe(201);
    }
    await cleared();
  }

  /** Hands in the next file of a period that ends now, or then. */
  async reports(of: readonly Movement[], { until, query }: { until?: number; query?: string } = {}) {
    const draft = await this.series.next(of, until);
    const answer = await handIn(http, shop, fileText(draft), query);
    expect(answer.body).toMatchObject({
      object: 'reconciliation',
      partner: this.partner.name,
      source: 'file',
    });
    this.series.passed(draft);
    const lines = await linesOf(shop, answer.id);
    const found = lines.map(({ difference, reference: name }) => `${difference} ${name}`);
    return { answer, found, lines };
  }
}

async function airline(name: string): Promise<Airline> {
  const named = { name: reference(name).replaceAll('/', '-').toLowerCase(), contract: { disputeDays: 14 } };
  const partner = await openPartner(engine, shop, named);
  return new Airline(partner, await linked(shop, partner, await shop.enrol('guest'), reference('FF')));
}

const sky = await airline('sky');
beforeAll(() => sky.books(...movements));

const kept = async () => {
  const { rows } = await pool.query<{ n: number }>(
    'select (select count(*) from reconciliation)::int + (select count(*) from reconciliation_difference)::int as n',
  );
  return rows[0]!.n;
};

describe('a file', () => {
  test('that says what the books say matches in every line', async () => {
    const { answer, found } = await sky.reports(movements);
    expect([answer.status, answer.body.lines, answer.body.matched, found]).toEqual([201, 5, 5, []]);
    const again = await shop.finance('GET', `/v1/reconciliations/${answer.id}`);
    expect(again.body).toEqual(answer.body);
    const listed = await shop.admin('GET', '/v1/reconciliations?limit=1');
    expect(listed.at('data.0.id')).toBe(answer.id);
  });

  test('says of each line that differs in what, and shows both sides', async () => {
    const far = await airline('far');
    await far.books(...movements);
    const [first, second, third, award, back] = movements as [
      Movement,
      Movement,
      Movement,
      Movement,
      Movement,
    ];
    const { answer, found, lines } = await far.reports([
      { ...first, points: 501 },
      second,
      { ...third, occurredAt: occurredAt + 1 },
      { ...award, status: 'pending' },
      second,
      moved('accrual', 'flight-9', 40),
      moved('accrual', 'void-1', 0, { status: 'failed' }),
    ]);
    expect(found).toEqual([
      'amount flight, "1"',
      'date flight\\3',
      'status award-1',
      'duplicate flight-2',
      'missing_here flight-9',
      'missing_there back-1',
    ]);
    expect(answer.body).toMatchObject({
      lines: 7,
      matched: 2,
      differences: { amount: 1, date: 1, duplicate: 1 },
    });
    expect(lines.map(({ line }) => line)).toEqual([2, 4, 5, 6, 7, null]);
    expect([lines[0]!.theirs!.points, lines[0]!.ours!.points]).toEqual([501, 500]);
    expect([lines[4]!.ours, lines[5]!.theirs, lines[5]!.ours!.points]).toEqual([null, null, back.points]);
    const page = await shop.finance('GET', `/v1/reconciliations/${answer.id}/lines?limit=2&after=1`);
    expect([page.at('data.0.number'), page.body.nextCursor]).toEqual([2, '3']);
    expect(await linesOf(shop, answer.id, '?difference=amount')).toHaveLength(1);
  });

  test('is refused for damage and a wrong number: nothing is kept but a line in the audit log', async () => {
    const before = await kept();
    const draft = await sky.series.next(movements);
    const text = fileText(draft);
    const damaged = await handIn(http, shop, text.replace(',500,', ',600,'));
    expect([damaged.status, damaged.code, damaged.body.reason, damaged.body.line]).toEqual([
      ...[422, 'file_refused', 'sum_differs', 7],
    ]);
    const cut = await handIn(http, shop, text.slice(0, -40));
    expect([cut.code, cut.body.reason]).toEqual(['file_refused', 'trailer_missing']);
    const stranger = await handIn(http, shop, fileText({ ...draft, sender: 'nobody' }));
    expect([stranger.code, stranger.body.reason, stranger.body.line]).toEqual([
      'file_refused',
      'sender_differs',
      1,
    ]);
    const gap = await handIn(http, shop, fileText({ ...draft, sequence: draft.sequence + 1 }));
    expect([gap.status, gap.code, gap.body.reason, gap.body.expected]).toEqual([
      ...[409, 'file_out_of_sequence', 'gap', draft.sequence],
    ]);
    const repeat = await handIn(http, shop, fileText({ ...draft, sequence: draft.sequence - 1 }));
    expect([repeat.code, repeat.body.reason, repeat.body.reconciliation]).toEqual([
      ...['file_out_of_sequence', 'repeat', expect.stringMatching(/^rcn_/)],
    ]);
    expect(await kept()).toBe(before);
    const { rows } = await pool.query<{ action: string }>(
      `select action from audit_log where program = $1 and action like 'reconciliation.refused %' order by number`,
      [shop.program.number],
    );
    expect(rows.map(({ action }) => action.split(' ')[1])).toEqual([
      ...['sum_differs', 'trailer_missing', 'sender_differs', 'sequence_gap', 'sequence_repeat'],
    ]);
    expect((await sky.reports([])).found).toEqual([]);
  });

  test('of two that come at once under one number one is taken', async () => {
    const draft = await sky.series.next([]);
    const other = await engine.anotherApi();
    const answers = await Promise.all([
      handIn(http, shop, fileText(draft)),
      handIn(other.http, shop, fileText(draft)),
    ]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409]);
    sky.series.passed(draft);
  });

  test('must be text/csv, and is for finance and admins', async () => {
    const file = Buffer.from(fileText(await sky.series.next([])));
    const path = '/v1/reconciliations';
    const json = await http('POST', path, file, { key: shop.tokens.finance });
    expect([json.status, json.code]).toEqual([415, 'media_type_unsupported']);
    const headers = { 'content-type': 'text/csv' };
    const care = await http('POST', path, file, { key: shop.tokens.care, headers });
    expect([care.status, care.code]).toEqual([403, 'role_not_allowed']);
  });

  test('is refused early without breaking the connection, however much of it is still to come', async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => moved('accrual', `r-${i}`, 1));
    const text = fileText({ ...(await sky.series.next(many)), sender: 'nobody' });
    const refused = await handIn(http, shop, text);
    expect(refused.body.reason).toBe('sender_differs');
    expect((await shop.finance('GET', '/v1/reconciliations')).status).toBe(200);
  });
});

describe('files of a partner', () => {
  test('join by number and by period from the first on: what is left out or sent again is refused', async () => {
    const far = await airline('far');
    await far.books(moved('accrual', 'flight-1', 10));
    const { series } = far;
    let until = await secondOver();
    const refusal = async (change: object, query = '') => {
      const draft = { ...(await series.next([], until)), ...change };
      const answer = await handIn(http, shop, fileText(draft), query);
      expect(answer.status).toBeGreaterThanOrEqual(409);
      return answer.body.reason;
    };
    expect(await refusal({ sequence: 2 })).toBe('gap');
    // The period leaves out what was booked before it.
    expect(await refusal({ from: until, until: await secondOver() })).toBe('period_gap');
    const tomorrow = Math.floor(Date.now() / 1_000) + 86_400;
    expect(await refusal({ until: tomorrow })).toBe('period_not_over');
    await far.reports([moved('accrual', 'flight-1', 10)]);
    await secondOver();
    until = await secondOver();
    expect(await refusal({ from: series.from + 1 })).toBe('period_gap');
    expect(await refusal({ from: series.from - 1 })).toBe('period_repeat');
    expect(await refusal({}, '?first=2')).toBe('begun');
    expect((await far.reports([])).found).toEqual([]);
  });

  test('begin with another number where that is agreed, and then leave out what was before', async () => {
    const far = await airline('far');
    await far.books(moved('accrual', 'flight-1', 10));
    const { series } = far;
    series.from = (await series.next([])).until;
    series.sequence = 40;
    await far.books(moved('accrual', 'flight-2', 20));
    const wrong = await handIn(http, shop, fileText(await series.next([])), '?first=42');
    expect([wrong.code, wrong.body.reason, wrong.body.expected]).toEqual([
      ...['file_out_of_sequence', 'repeat', 42],
    ]);
    // What is before the period may be named, for the partner may have booked it later.
    const both = [moved('accrual', 'flight-1', 10), moved('accrual', 'flight-2', 20)];
    expect((await far.reports(both, { query: '?first=41' })).found).toEqual([]);
  });

  test('have late claims in the period in which they were booked, and those match; one that is left out is missing', async () => {
    const far = await airline('far');
    const flight = moved('accrual', 'flight-1', 10);
    await far.books(flight);
    expect((await far.reports([flight])).found).toEqual([]);
    const claimed = moved('accrual', 'claimed', 70, { occurredAt: occurredAt - 100 * 86_400 });
    const other = moved('accrual', 'left out', 80, { occurredAt: occurredAt - 90 * 86_400 });
    await far.books(claimed, other);
    const { found, answer } = await far.reports([claimed]);
    expect([found, answer.body.matched]).toEqual([['missing_there left out'], 1]);
  });

  test('match over midnight what one side booked in a period and the other in the next', async () => {
    const far = await airline('far');
    const [theirsFirst, oursFirst, named] = ['theirs first', 'ours first', 'named early'].map((name, i) =>
      moved('accrual', name, 10 + i),
    ) as [Movement, Movement, Movement];
    await far.books(oursFirst);
    const { until } = await far.series.next([]);
    await far.books(named);
    // The file has what is booked here after its period, and what is not booked here at all yet.
    const first = await far.reports([theirsFirst, named], { until });
    expect(first.found).toEqual(['missing_here theirs first', 'missing_there ours first']);
    await far.books(theirsFirst);
    const second = await far.reports([oursFirst]);
    expect([second.found, second.answer.body.matchedLate, second.answer.body.matched]).toEqual([[], 2, 1]);
    const lines = await linesOf(shop, first.answer.id);
    expect(lines.map(({ matchedBy }) => matchedBy)).toEqual([second.answer.id, second.answer.id]);
    const body = { reconciliation: first.answer.id, line: 1, reason: 'where is it' };
    expect((await shop.finance('POST', '/v1/disputes', body)).code).toBe('dispute_not_open');
    const third = await far.reports([]);
    expect([third.found, third.answer.body.matchedLate]).toEqual([[], 0]);
  });

  test('differ where the side that came later says otherwise', async () => {
    const far = await airline('far');
    const [one, two] = [moved('accrual', 'one', 10), moved('accrual', 'two', 20)];
    await far.books(two);
    const first = await far.reports([one]);
    expect(first.found).toEqual(['missing_here one', 'missing_there two']);
    await far.books({ ...one, points: 11 });
    const second = await far.reports([{ ...two, points: 21 }]);
    expect(second.found).toEqual(['amount two', 'amount one']);
    expect(second.lines.map(({ line, theirs, ours }) => [line, theirs?.points, ours?.points])).toEqual([
      [2, 21, 20],
      [null, 10, 11],
    ]);
    expect([second.answer.body.lines, second.answer.body.matched]).toEqual([1, 0]);
    expect((await far.reports([])).found).toEqual([]);
  });

  test('have each movement once: one that is named again is a duplicate, however it was matched', async () => {
    const far = await airline('far');
    const [one, early, unknown] = ['one', 'early', 'unknown'].map((name) => moved('accrual', name, 10)) as [
      Movement,
      Movement,
      Movement,
    ];
    await far.books(one);
    const { until } = await far.series.next([]);
    await far.books(early);
    expect((await far.reports([one, early, unknown], { until })).found).toEqual(['missing_here unknown']);
    expect((await far.reports([one, early, unknown])).found).toEqual([
      'duplicate one',
      'duplicate early',
      'duplicate unknown',
    ]);
    // What is sent once more beside the movement that it waited for is late, not twice.
    await far.books(unknown);
    const last = await far.reports([unknown]);
    expect([last.found, last.answer.body.matchedLate]).toEqual([[], 1]);
    expect((await far.reports([unknown])).found).toEqual(['duplicate unknown']);
  });

  test('end what they missed of our calls where it turns out that these came to nothing', async () => {
    const far = await airline('far');
    const { rows } = await pool.query<{ exchange: string }>(
      `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
         account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, reference_key, state, sent_at)
       select gen_random_uuid(), $1, number, $2, 'out', 1, 80, 'miles', 40, '', '{}', 0, 0, current_date, 0, gen_random_uuid(), 'waiting',
         now() from member limit 1 returning exchange`,
      [shop.program.number, far.partner.number],
    );
    const [{ exchange }] = rows as [{ exchange: string }];
    const first = await far.reports([]);
    expect(first.found).toEqual([`missing_there exc_${exchange.replaceAll('-', '')}`]);
    expect((await far.reports([])).answer.body.matchedLate).toBe(0);
    await pool.query(`update exchange set state = 'refused' where exchange = $1`, [exchange]);
    const later = await far.reports([]);
    expect([later.found, later.answer.body.matchedLate]).toEqual([[], 1]);
    expect((await linesOf(shop, first.answer.id))[0]!.matchedBy).toBe(later.answer.id);
  });
});

describe('a day', () => {
  const day = at.slice(0, 10);
  const path = '/v1/partner/days';

  test('is answered to its partner as digests, and as movements of the buckets that are asked for', async () => {
    const whole = await sky.partner.call('GET', `${path}?day=${day}`);
    expect([whole.status, whole.body.movements]).toEqual([200, movements.length]);
    const builder = createTree();
    // Of the calls of the partner the partner is the caller, as of this one.
    for (const { madeBy, ...rest } of movements) builder.add(treeSide(madeBy, true), rest);
    const tree = builder.tree();
    expect([whole.body.digest, whole.body.nodes]).toEqual([tree.digest, tree.nodes]);
    const key = keyHash('caller', movements[0]!);
    const [node, bucket] = [key.slice(0, 2), key.slice(0, 4)];
    const nodes = await sky.partner.call('GET', `${path}?day=${day}&nodes=${node}&digest=${tree.digest}`);
    expect(nodes.at(`buckets.${node}`)).toEqual(tree.bucketsOf(Number.parseInt(node, 16)));
    const found = await sky.partner.call('GET', `${path}/movements?day=${day}&buckets=${bucket}`);
    expect(found.body).toMatchObject({
      movements: [{ madeBy: 'caller', reference: movements[0]!.reference, points: 500, status: 'succeeded' }],
      next: null,
    });
    const after = await sky.partner.call(
      'GET',
      `${path}/movements?day=${day}&buckets=${bucket}&after=${'f'.repeat(32)}`,
    );
    expect(after.body.movements).toEqual([]);
  });

  test('is answered page by page from an index, however many movements the day has', async () => {
    const pair = { program: shop.program, partner: sky.partner.number };
    const bucket = keyHash('caller', movements[0]!).slice(0, 4);
    const ask = { period: dayPeriod(day)!, asks: false, buckets: [bucket], limit: 81 };
    const tx = await pool.connect();
    try {
      await tx.query('begin');
      await tx.query(
        `insert into clearing_entry (operation, line, shard, epoch, seq, program, partner, contract, kind, price, account, party, reference,
           member, currency, points, at, occurred_at, booked_at, of_period, period)
         select gen_random_uuid(), 0, shard, epoch, seq, program, partner, contract, kind, price, account, party, 'flight/' || n,
           member, currency, points, at, occurred_at, booked_at, of_period, period
         from (select * from clearing_entry where partner = $1 limit 1) e, generate_series(1, 20000) n`,
        [sky.partner.number],
      );
      await tx.query('analyze clearing_entry');
      const { text, values } = bucketsQuery(pair, ask);
      const found = await tx.query(text, [...values]);
      const { rows } = await tx.query(`explain (analyze, format json) ${text}`, [...values]);
      const scans = [...scansOf(rows[0]['QUERY PLAN'][0].Plan)].filter(
        ({ table }) => table === 'clearing_entry',
      );
      expect(scans.map(({ index, isPart }) => [index, isPart])).toEqual([['clearing_entry_bucket', true]]);
      // A bucket has one in 65,536 of them.
      expect(found.rowCount).toBeLessThan(10);
      expect(found.rows.map(({ reference: name }) => name)).toContain(movements[0]!.reference);
    } finally {
      await tx.query('rollback');
      tx.release();
    }
  });

  test('is answered to nobody else, and to nothing that is no day, node or bucket', async () => {
    const stranger = await openPartner(engine, shop, { name: reference('other').replaceAll('/', '-') });
    const empty = await stranger.call('GET', `${path}?day=${day}`);
    expect([empty.status, empty.body.movements, empty.body.digest]).toEqual([200, 0, '']);
    const forged = await sky.partner.call('GET', `${path}?day=${day}`, undefined, {
      sent: { target: `${path}?day=2026-11-01` },
    });
    expect([forged.status, forged.code]).toEqual([401, 'signature_invalid']);
    const many = 'nodes=00,01,02,03,04';
    for (const query of ['day=2026-02-31', 'day=today', `day=${day}&nodes=zz`, `day=${day}&${many}`, ''])
      expect((await sky.partner.call('GET', `${path}?${query}`)).code).toBe('validation_failed');
    const wrong = await sky.partner.call('GET', `${path}/movements?day=${day}&buckets=0`);
    expect(wrong.code).toBe('validation_failed');
  });
});

describe('our calls on a partner', () => {
  type Became = readonly [
    state: string,
    direction: 'out' | 'in',
    more: { readonly there?: boolean; readonly undone?: number; readonly sent?: boolean },
    said: readonly string[],
  ];
  const cases: readonly Became[] = [
    ['completed', 'out', { there: true }, ['accrual succeeded 40']],
    ['completed', 'in', { there: true }, ['redemption succeeded 40']],
    ['capturing', 'out', { there: true }, ['accrual succeeded 40']],
    ['waiting', 'out', {}, ['accrual pending 40']],
    ['calling', 'in', {}, ['redemption pending 40']],
    ['refused', 'out', {}, ['accrual failed 40']],
    ['undoing', 'in', { there: true }, ['redemption succeeded 40', 'reversal pending 40']],
    ['reversed', 'in', { there: true, undone: 40 }, ['redemption succeeded 40', 'reversal succeeded 40']],
    ['reversed', 'out', { undone: 40 }, ['accrual succeeded 40', 'reversal succeeded 40']],
    ['reversed', 'out', { undone: 0 }, ['accrual failed 40']],
    ['reversed', 'out', { sent: false }, []],
  ];

  test('are movements with what became of them there, also where they moved nothing here', async () => {
    const other = await openPartner(engine, shop, { name: reference('far').replaceAll('/', '-') });
    const member = await pool.query<{ number: number }>('select number from member limit 1');
    const wanted: string[] = [];
    for (const [state, direction, { there, undone, sent = true }, said] of cases) {
      const { rows } = await pool.query<{ exchange: string }>(
        `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
           account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, reference_key, state, sent_at, partner_operation)
         values (gen_random_uuid(), $1, $2, $3, $4, 1, 80, 'miles', 40, '', '{}', 0, 0, current_date, $5, gen_random_uuid(), $6,
           case when $7::boolean then now() end, $8) returning replace(exchange::text, '-', '') as exchange`,
        [
          ...[shop.program.number, member.rows[0]!.number, other.number, direction, occurredAt * 1_000],
          ...[state, sent, there ? 'op_1' : null],
        ],
      );
      const exchange = rows[0]!.exchange;
      // As it is sent, and as it is answered.
      const undo = `insert into exchange_step (exchange, action, outcome) values ($1, 'undo', 'sent')`;
      const answer = `update exchange_step set outcome = 'succeeded', detail = $2 where exchange = $1`;
      if (undone !== undefined) {
        await pool.query(undo, [exchange]);
        await pool.query(answer, [exchange, JSON.stringify({ points: undone })]);
      }
      const names = [`exc_${exchange}`, `exc_${exchange}/undo`];
      wanted.push(...said.map((each, i) => `us ${names[i]} miles ${occurredAt} ${each}`));
    }
    const { text, values } = movementsIn(
      { program: shop.program, partner: other.number },
      period,
      'occurred',
    );
    const { rows } = await pool.query<Record<string, string>>(text, [...values]);
    const found = rows.map(
      ({ made_by, reference: name, currency, occurred_at, kind, status, points }) =>
        `${made_by} ${name} ${currency} ${occurred_at} ${kind} ${status} ${points}`,
    );
    expect(found.toSorted()).toEqual(wanted.toSorted());
  });

  test('are booked when they are sent for the first time, and what takes them back when that is sent', async () => {
    const other = await openPartner(engine, shop, { name: reference('far').replaceAll('/', '-') });
    const pair = { program: shop.program, partner: other.number };
    const { rows } = await pool.query<{ exchange: string }>(
      `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
         account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, reference_key, state, sent_at)
       select gen_random_uuid(), $1, number, $2, 'in', 1, 80, 'miles', 40, '', '{}', 0, 0, current_date, 0, gen_random_uuid(), 'calling',
         '2026-01-01T12:00:00Z' from member limit 1 returning exchange`,
      [shop.program.number, other.number],
    );
    const sends = [
      ['2026-01-05T12:00:00Z', 'calling', null],
      ['2026-02-01T12:00:00Z', 'undoing', 'op_1'],
      ['2026-02-03T12:00:00Z', 'undoing', 'op_1'],
    ];
    for (const send of sends)
      await pool.query(
        'update exchange set sent_at = $2, state = $3, partner_operation = $4 where exchange = $1',
        [rows[0]!.exchange, ...send],
      );
    const bookedOn = async (day: string) => {
      const { text, values } = movementsIn(pair, dayPeriod(day)!, 'booked');
      const found = await pool.query<{ kind: string; status: string }>(text, [...values]);
      return found.rows.map(({ kind, status }) => `${kind} ${status}`);
    };
    expect(await bookedOn('2026-01-01')).toEqual(['redemption succeeded']);
    expect(await bookedOn('2026-02-01')).toEqual(['reversal pending']);
    for (const day of ['2026-01-05', '2026-02-03']) expect(await bookedOn(day)).toEqual([]);
  });
});

describe('a dispute', () => {
  test('is opened about a line, answered and settled, with who, why and the day by the contract', async () => {
    const { answer } = await sky.reports([moved('accrual', 'flight-7', 7)]);
    const body = { reconciliation: answer.id, line: 1, reason: 'flight 7 is not in our books' };
    const opened = await shop.finance('POST', '/v1/disputes', body);
    const due = new Date(Date.now() + 14 * 86_400_000).toISOString().slice(0, 10);
    expect([opened.status, opened.body.status, opened.body.partner, opened.body.dueOn]).toEqual([
      ...[201, 'open', sky.partner.name, due],
    ]);
    const twice = await shop.finance('POST', '/v1/disputes', body);
    expect([twice.status, twice.code]).toEqual([409, 'dispute_not_open']);
    const open = await shop.finance('GET', '/v1/disputes');
    expect(open.at('data.0.line.reference')).toBe('flight-7');

    const path = `/v1/disputes/${opened.id}`;
    const answered = await shop.finance('POST', `${path}/answer`, { reason: 'they credited it by hand' });
    expect(answered.body.status).toBe('answered');
    const late = await shop.finance('POST', `${path}/answer`, { reason: 'once more' });
    expect(late.code).toBe('dispute_not_open');
    const settled = await shop.admin('POST', `${path}/settle`, { outcome: 'theirs', reason: 'we credit it' });
    expect([settled.body.status, settled.body.outcome]).toEqual(['settled', 'theirs']);
    expect((await shop.finance('GET', path)).body.history).toMatchObject([
      { status: 'open', reason: 'flight 7 is not in our books' },
      { status: 'answered', reason: 'they credited it by hand' },
      { status: 'settled', reason: 'we credit it' },
    ]);
    expect((await shop.finance('GET', '/v1/disputes')).body.data).toEqual([]);
    expect((await shop.finance('GET', '/v1/disputes?status=settled')).at('data.0.id')).toBe(opened.id);
    const missing = await shop.finance('POST', '/v1/disputes', { ...body, line: 99 });
    expect(missing.code).toBe('not_found');
  });
});
