/** A partner's file against the books, through the API: what matches, what differs in what, what is refused and leaves nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { movementsIn } from '#src/partners/reconciliation/books.ts';
import type { Movement } from '#src/partners/reconciliation/movement.ts';
import { createTree, keyHash, treeSide } from '#src/partners/reconciliation/tree.ts';
import { reference, startEngine } from './harness.ts';
import { clearAll, clearingOf } from './house/clearing.ts';
import { linked, openPartner } from './house/partner.ts';
import { type FileDraft, fileText, handIn, linesOf, today } from './house/reconciling.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool, http } = engine;
const shop = await engine.shop();
const follower = clearingOf(app);
const sky = await openPartner(engine, shop, {
  name: reference('sky').replaceAll('/', '-').toLowerCase(),
  contract: { disputeDays: 14 },
});
const { from, until } = today();
const occurredAt = Math.max(from, Math.floor(Date.now() / 1_000) - 60);
const at = new Date(occurredAt * 1_000).toISOString();

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
const draft = (sequence: number, of: readonly Movement[] = movements): FileDraft => ({
  sender: sky.name,
  sequence,
  from,
  until,
  movements: of,
});
let sequence = 0;
const next = () => {
  sequence += 1;
  return sequence;
};

beforeAll(async () => {
  const account = await linked(shop, sky, await shop.enrol('guest'), 'FF-1');
  for (const { kind, reference: name, points } of movements) {
    const body = { reference: name, account, points, occurredAt: at };
    const original = { originalKind: 'accrual', originalReference: 'flight-2' };
    const answer =
      kind === 'accrual'
        ? await sky.accrue(body)
        : kind === 'redemption'
          ? await sky.redeem(body)
          : await sky.reverse({ reference: name, points, occurredAt: at, ...original });
    expect(answer.status).toBe(201);
  }
  await engine.drained();
  await clearAll(pool, follower);
});

async function reconciled(of: readonly Movement[]) {
  const answer = await handIn(http, shop, fileText(draft(next(), of)));
  expect(answer.body).toMatchObject({ object: 'reconciliation', partner: sky.name, source: 'file' });
  const lines = await linesOf(shop, answer.id);
  return {
    answer,
    found: lines.map(({ difference, reference: name }) => `${difference} ${name}`),
    lines,
  };
}

const kept = async () => {
  const { rows } = await pool.query<{ n: number }>(
    'select (select count(*) from reconciliation)::int + (select count(*) from reconciliation_difference)::int as n',
  );
  return rows[0]!.n;
};

describe('a file', () => {
  test('that says what the books say matches in every line', async () => {
    const { answer, found } = await reconciled(movements);
    expect([answer.status, answer.body.lines, answer.body.matched, found]).toEqual([201, 5, 5, []]);
    const again = await shop.finance('GET', `/v1/reconciliations/${answer.id}`);
    expect(again.body).toEqual(answer.body);
    const listed = await shop.admin('GET', '/v1/reconciliations?limit=1');
    expect(listed.at('data.0.id')).toBe(answer.id);
  });

  test('says of each line that differs in what, and shows both sides', async () => {
    const [first, second, third, award, back] = movements as [
      Movement,
      Movement,
      Movement,
      Movement,
      Movement,
    ];
    const { answer, found, lines } = await reconciled([
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

  test('that has a movement of ours at a day outside its period finds the date, not a movement that is missing', async () => {
    const period = { from: from - 3 * 86_400, until: from - 2 * 86_400 };
    const early = { ...movements[0]!, occurredAt: period.from + 5 };
    const answer = await handIn(http, shop, fileText({ ...draft(next(), [early]), ...period }));
    const lines = await linesOf(shop, answer.id);
    expect(lines.map(({ difference }) => difference)).toEqual(['date']);
    expect(lines[0]!.ours!.points).toBe(500);
  });

  test('is refused for damage, a gap and a repeat: nothing is kept but a line in the audit log', async () => {
    const before = await kept();
    const text = fileText(draft(sequence + 1));
    const damaged = await handIn(http, shop, text.replace(',500,', ',600,'));
    expect([damaged.status, damaged.code, damaged.body.reason, damaged.body.line]).toEqual([
      ...[422, 'file_refused', 'sum_differs', 7],
    ]);
    const cut = await handIn(http, shop, text.slice(0, -40));
    expect([cut.code, cut.body.reason]).toEqual(['file_refused', 'trailer_missing']);
    const stranger = await handIn(http, shop, fileText({ ...draft(1), sender: 'nobody' }));
    expect([stranger.code, stranger.body.reason, stranger.body.line]).toEqual([
      'file_refused',
      'sender_differs',
      1,
    ]);
    const gap = await handIn(http, shop, fileText(draft(sequence + 2)));
    expect([gap.status, gap.code, gap.body.reason, gap.body.expected]).toEqual([
      ...[409, 'file_out_of_sequence', 'gap', sequence + 1],
    ]);
    const repeat = await handIn(http, shop, fileText(draft(sequence)));
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
    expect((await reconciled(movements)).found).toEqual([]);
  });

  test('of two that come at once under one number one is taken', async () => {
    const text = fileText(draft(next()));
    const other = await engine.anotherApi();
    const answers = await Promise.all([handIn(http, shop, text), handIn(other.http, shop, text)]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409]);
  });

  test('must be text/csv, and is for finance and admins', async () => {
    const file = Buffer.from(fileText(draft(sequence + 1)));
    const path = '/v1/reconciliations';
    const json = await http('POST', path, file, { key: shop.tokens.finance });
    expect([json.status, json.code]).toEqual([415, 'media_type_unsupported']);
    const headers = { 'content-type': 'text/csv' };
    const care = await http('POST', path, file, { key: shop.tokens.care, headers });
    expect([care.status, care.code]).toEqual([403, 'role_not_allowed']);
  });

  test('is refused early without breaking the connection, however much of it is still to come', async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => moved('accrual', `r-${i}`, 1));
    const text = fileText({ ...draft(1, many), sender: 'nobody' });
    const refused = await handIn(http, shop, text);
    expect(refused.body.reason).toBe('sender_differs');
    expect((await shop.finance('GET', '/v1/reconciliations')).status).toBe(200);
  });
});

describe('a day', () => {
  const day = at.slice(0, 10);
  const path = '/v1/partner/days';

  test('is answered to its partner as digests, and as movements of the buckets that are asked for', async () => {
    const whole = await sky.call('GET', `${path}?day=${day}`);
    expect([whole.status, whole.body.movements]).toEqual([200, movements.length]);
    const builder = createTree();
    // Of the calls of the partner the partner is the caller, as of this one.
    for (const { madeBy, ...rest } of movements) builder.add(treeSide(madeBy, true), rest);
    const tree = builder.tree();
    expect([whole.body.digest, whole.body.nodes]).toEqual([tree.digest, tree.nodes]);
    const key = keyHash('caller', movements[0]!);
    const [node, bucket] = [key.slice(0, 2), key.slice(0, 4)];
    const nodes = await sky.call('GET', `${path}?day=${day}&nodes=${node}&digest=${tree.digest}`);
    expect(nodes.at(`buckets.${node}`)).toEqual(tree.bucketsOf(Number.parseInt(node, 16)));
    const found = await sky.call('GET', `${path}/movements?day=${day}&buckets=${bucket}`);
    expect(found.body).toMatchObject({
      movements: [{ madeBy: 'caller', reference: movements[0]!.reference, points: 500, status: 'succeeded' }],
      next: null,
    });
    const after = await sky.call(
      'GET',
      `${path}/movements?day=${day}&buckets=${bucket}&after=${'f'.repeat(32)}`,
    );
    expect(after.body.movements).toEqual([]);
  });

  test('is answered to nobody else, and to nothing that is no day, node or bucket', async () => {
    const stranger = await openPartner(engine, shop, { name: reference('other').replaceAll('/', '-') });
    const empty = await stranger.call('GET', `${path}?day=${day}`);
    expect([empty.status, empty.body.movements, empty.body.digest]).toEqual([200, 0, '']);
    const forged = await sky.call('GET', `${path}?day=${day}`, undefined, {
      sent: { target: `${path}?day=2026-11-01` },
    });
    expect([forged.status, forged.code]).toEqual([401, 'signature_invalid']);
    const many = 'nodes=00,01,02,03,04';
    for (const query of ['day=2026-02-31', 'day=today', `day=${day}&nodes=zz`, `day=${day}&${many}`, ''])
      expect((await sky.call('GET', `${path}?${query}`)).code).toBe('validation_failed');
    const wrong = await sky.call('GET', `${path}/movements?day=${day}&buckets=0`);
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
      if (undone !== undefined)
        await pool.query(
          `insert into exchange_step (exchange, action, outcome, detail) values ($1, 'undo', 'succeeded', $2)`,
          [exchange, JSON.stringify({ points: undone })],
        );
      const names = [`exc_${exchange}`, `exc_${exchange}/undo`];
      wanted.push(...said.map((each, i) => `us ${names[i]} miles ${occurredAt} ${each}`));
    }
    const { text, values } = movementsIn({ program: shop.program, partner: other.number }, { from, until });
    const { rows } = await pool.query<Record<string, string>>(text, [...values]);
    const found = rows.map(
      ({ made_by, reference: name, currency, occurred_at, kind, status, points }) =>
        `${made_by} ${name} ${currency} ${occurred_at} ${kind} ${status} ${points}`,
    );
    expect(found.toSorted()).toEqual(wanted.toSorted());
  });
});

describe('a dispute', () => {
  test('is opened about a line, answered and settled, with who, why and the day by the contract', async () => {
    const { answer } = await reconciled([...movements.slice(1), moved('accrual', 'flight-7', 7)]);
    const body = { reconciliation: answer.id, line: 1, reason: 'flight 7 is not in our books' };
    const opened = await shop.finance('POST', '/v1/disputes', body);
    const due = new Date(Date.now() + 14 * 86_400_000).toISOString().slice(0, 10);
    expect([opened.status, opened.body.status, opened.body.partner, opened.body.dueOn]).toEqual([
      ...[201, 'open', sky.name, due],
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
