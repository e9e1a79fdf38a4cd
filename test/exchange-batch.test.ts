/** Exchanges with a partner that takes files: each line moves points once, a file is taken whole or not at all, and none is taken twice. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { type FilePartner, makeRequest, requestFile, takeReply } from '#src/partners/exchange/batch.ts';
import { batch } from '#src/partners/exchange/batch-command.ts';
import { type ReplyLine, writeReply, writeRequest } from '#src/partners/exchange/batch-format.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import type { Exchanging } from '#src/partners/exchange/exchanges.ts';
import { forgetHistories } from '#src/partners/exchange/forgetting.ts';
import { resolveExchange } from '#src/partners/exchange/resolving.ts';
import { claimDue, readExchange } from '#src/partners/exchange/rows.ts';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { movementsNamed } from '#src/partners/reconciliation/books.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { allied, flyer, partnerAccount } from './house/alliance.ts';
import { commandOf } from './house/command.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const shop = await engine.shop();
const worker: Exchanging = createExchanging(app);
const folder = await mkdtemp(join(tmpdir(), 'batch-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const created = '2026-11-23T00:00:00Z';

async function newPartner() {
  const nowhere = { url: 'http://127.0.0.1:9', keyId: 'pk', secret: 'ls' };
  const same = { give: 1, receive: 1 };
  const { name, partner } = await allied(app, shop, nowhere, { out: same, in: same });
  const files: FilePartner = { partner: partner.number, program: shop.program.number, name };
  await batch(app, files, ['on']);
  let replies = 0;
  const member = () => flyer(app, shop, partner, 100, (number) => `FILE-${number}`);
  const exchange = async (of: string, direction: 'out' | 'in', points: number) => {
    const body = { member: of, partner: name, direction, points, reference: reference() };
    const answer = await shop.checkout('POST', '/v1/exchanges', body);
    expect([answer.status, answer.body.status]).toEqual([202, 'pending']);
    // Held, where it goes out, and ready for the next file.
    await waitFor('it is ready', async () => {
      const { rows } = await pool.query<{ state: string }>('select state from exchange where exchange = $1', [
        parseExchangeId(answer.id),
      ]);
      return rows[0]!.state === 'ready';
    });
    return answer.id;
  };
  return {
    files,
    member,
    exchange,
    /** Lines of the next request file, by reference. */
    async requested() {
      const made = await makeRequest(app, files);
      const text = made ? await requestFile(app, files, made.sequence) : '';
      const lines = text.split('\n').filter((line) => line.startsWith('D,'));
      return { made, text, lines: lines.map((line) => line.split(',').slice(2)) };
    },
    reply(...lines: ReplyLine[]) {
      replies += 1;
      const head = { partner: name, sequence: replies, created };
      return Buffer.from(writeReply(head, lines).text);
    },
    take: (bytes: Buffer) => takeReply(app, files, bytes),
    driven: (id: string, wanted: string) =>
      waitFor(`${id} is ${wanted}`, async () => {
        for (const each of await claimDue(pool, partner.number, 10, 1))
          await worker.saga.drive(each, Date.now() + 5_000);
        return (await shop.checkout('GET', `/v1/exchanges/${id}`)).body.status === wanted;
      }),
    async standing(of: string) {
      await engine.drained();
      const { available, held } = await shop.balances(of);
      return { available, held, went: await partnerAccount(pool, shop, partner.number) };
    },
  };
}

const line = (
  id: string,
  kind: ReplyLine['kind'],
  points: number,
  more: Partial<ReplyLine> = {},
): ReplyLine => ({
  ...{ kind, reference: id, status: 'succeeded', points, currency: 'miles', word: `there-${points}` },
  ...more,
});

describe('points', () => {
  test('go out and come in by a request and a reply file, each line once', async () => {
    const who = await newPartner();
    const [out, into, refused] = [await who.member(), await who.member(), await who.member()];
    const ids = [
      await who.exchange(out, 'out', 80),
      await who.exchange(into, 'in', 40),
      await who.exchange(refused, 'out', 30),
    ];
    expect(await who.standing(out)).toEqual({ available: 20, held: 80, went: 0 });
    const { made, text, lines } = await who.requested();
    expect(made).toEqual({ sequence: 1, details: 3 });
    expect(text.split('\n')[0]).toMatch(new RegExp(`^H,1,request,${who.files.name},1,`));
    const byId = new Map(
      lines.map(([kind, id, account, points]) => [id, [kind, account?.slice(0, 5), points]]),
    );
    expect(ids.map((id) => byId.get(id))).toEqual([
      ['accrual', 'FILE-', '80'],
      ['redemption', 'FILE-', '40'],
      ['accrual', 'FILE-', '30'],
    ]);
    // What is in a file is in no other, and cannot be called off any more.
    expect((await who.requested()).made).toBeUndefined();
    const cancelled = await shop.checkout('POST', `/v1/exchanges/${ids[0]}/cancel`, {});
    expect(cancelled.code).toBe('exchange_not_cancellable');
    const reply = who.reply(
      line(ids[0]!, 'accrual', 80),
      line(ids[1]!, 'redemption', 40),
      line(ids[2]!, 'accrual', 0, { status: 'failed', word: 'member_not_active' }),
    );
    expect(await who.take(reply)).toEqual({ sequence: 1, details: 3, known: 0, breaks: 0 });
    await who.driven(ids[0]!, 'completed');
    await who.driven(ids[1]!, 'completed');
    await who.driven(ids[2]!, 'refused');
    expect(await who.standing(out)).toEqual({ available: 20, held: 0, went: 40 });
    expect(await who.standing(into)).toEqual({ available: 140, held: 0, went: 40 });
    expect(await who.standing(refused)).toEqual({ available: 100, held: 0, went: 40 });
    await expect(who.take(reply)).rejects.toThrow('the reply file 1 was taken before');
    // The same said once more, in a file of its own, changes nothing.
    const again = who.reply(line(ids[0]!, 'accrual', 80));
    expect(await who.take(again)).toEqual({ sequence: 2, details: 1, known: 1, breaks: 0 });
    expect(await who.standing(out)).toEqual({ available: 20, held: 0, went: 40 });
  });

  test('that a person decides on while the reply is read are a break: a line is not taken for done where it changed nothing', async () => {
    const who = await newPartner();
    const id = await who.exchange(await who.member(), 'out', 60);
    await who.requested();
    const person = await pool.connect();
    try {
      await person.query('begin');
      await person.query(`update exchange set state = 'refused', due_at = null where exchange = $1`, [
        parseExchangeId(id),
      ]);
      const taking = who.take(who.reply(line(id, 'accrual', 60)));
      await waitFor('the file waits for the person', async () => {
        const { rowCount } = await pool.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%from exchange e%'`,
        );
        return rowCount === 1;
      });
      await person.query('commit');
      expect(await taking).toEqual({ sequence: 1, details: 1, known: 0, breaks: 1 });
    } finally {
      person.release();
    }
    const { rows } = await pool.query('select kind from exchange_break where exchange = $1', [
      parseExchangeId(id),
    ]);
    expect(rows).toEqual([{ kind: 'late_success' }]);
  });

  test('that a person has taken back go out as a reversal, and come back by the answer to it', async () => {
    const who = await newPartner();
    const member = await who.member();
    const id = await who.exchange(member, 'out', 50);
    await who.requested();
    // What the partner says that it booked is not what was asked for.
    const taken = await who.take(who.reply(line(id, 'accrual', 51)));
    expect(taken.breaks).toBe(1);
    expect(await who.standing(member)).toEqual({ available: 50, held: 50, went: 0 });
    const decision = { verdict: 'undo' as const, actor: 'anna', reason: 'asked by telephone' };
    await resolveExchange(pool, app.identity, parseExchangeId(id)!, decision);
    const { lines } = await who.requested();
    expect(lines.map(([kind, named]) => [kind, named])).toEqual([['reversal', id]]);
    expect((await who.requested()).made).toBeUndefined();
    // Nor is what it says that it has taken back: a person asks, and decides.
    expect((await who.take(who.reply(line(id, 'reversal', 51)))).breaks).toBe(1);
    expect(await who.standing(member)).toEqual({ available: 50, held: 50, went: 0 });
    await resolveExchange(pool, app.identity, parseExchangeId(id)!, { ...decision, verdict: 'refused' });
    await who.driven(id, 'refused');
    expect(await who.standing(member)).toEqual({ available: 100, held: 0, went: 0 });
    // A success after the points went back is a break, and moves nothing.
    expect((await who.take(who.reply(line(id, 'accrual', 50)))).breaks).toBe(1);
    expect(await who.standing(member)).toEqual({ available: 100, held: 0, went: 0 });
  });

  test('that a partner takes back come back by the line that says so, and never asked for it is a break', async () => {
    const who = await newPartner();
    const [member, other] = [await who.member(), await who.member()];
    const [id, done] = [await who.exchange(member, 'out', 50), await who.exchange(other, 'out', 30)];
    await who.requested();
    await who.take(who.reply(line(id, 'accrual', 51), line(done, 'accrual', 30)));
    await who.driven(done, 'completed');
    const decision = { verdict: 'undo' as const, actor: 'anna', reason: 'asked by telephone' };
    await resolveExchange(pool, app.identity, parseExchangeId(id)!, decision);
    await who.requested();
    // Of the second exchange nobody has asked for a reversal.
    const taken = await who.take(who.reply(line(id, 'reversal', 50), line(done, 'reversal', 30)));
    expect(taken).toMatchObject({ known: 0, breaks: 1 });
    await who.driven(id, 'reversed');
    expect(await who.standing(member)).toEqual({ available: 100, held: 0, went: 30 });
    const { rows } = await pool.query('select kind from exchange_break where exchange = $1', [
      parseExchangeId(done),
    ]);
    expect(rows).toEqual([{ kind: 'late_refusal' }]);
  });
});

describe('what goes back', () => {
  test('is in one file, also where somebody who has found it before comes late', async () => {
    const who = await newPartner();
    const member = await who.member();
    const id = await who.exchange(member, 'out', 50);
    const exchange = parseExchangeId(id)!;
    await who.requested();
    await who.take(who.reply(line(id, 'accrual', 51)));
    const decision = { verdict: 'undo' as const, actor: 'anna', reason: 'asked by telephone' };
    await resolveExchange(pool, app.identity, exchange, decision);
    const found = (await readExchange(pool, app.identity, exchange))!;
    expect((await who.requested()).lines).toHaveLength(1);
    await worker.saga.drive(found, Date.now() + 5_000);
    expect((await who.requested()).made).toBeUndefined();
    const { rows } = await pool.query<{ due: boolean }>(
      `select due_at > now() + interval '2 days' as due from exchange where exchange = $1`,
      [exchange],
    );
    expect(rows).toEqual([{ due: true }]);
  });
});

describe('a reply file is refused, and nothing moves, when', () => {
  test('it is changed, of another order, or about something that was never sent', async () => {
    const who = await newPartner();
    const member = await who.member();
    const sent = await who.exchange(member, 'out', 60);
    const { text } = await who.requested();
    const waiting = await who.exchange(member, 'out', 10);
    const good = who.reply(line(sent, 'accrual', 60));
    const lines = good.toString().split('\n');
    const changed = (index: number, from: string | RegExp, to: string) =>
      Buffer.from(lines.map((each, i) => (i === index ? each.replace(from, to) : each)).join('\n'));
    const head = { partner: who.files.name, sequence: 1, created };
    const made = (details: ReplyLine[], own: Partial<typeof head> = {}) =>
      Buffer.from(writeReply({ ...head, ...own }, details).text);
    const bad: [Buffer, string][] = [
      [changed(1, ',60,', ',61,'), 'line 3: the points sum to 61, not to 60'],
      [changed(1, 'there-60', 'there-61'), 'line 3: the digest is not that of the lines before it'],
      [changed(1, 'D,1,', 'D,2,'), 'line 2: the detail is number 1'],
      [changed(1, ',60,', ',060,'), 'line 2: the sixth value is not a whole number'],
      [changed(1, 'succeeded', 'done'), 'line 2: the fifth value is succeeded or failed'],
      [changed(1, 'accrual', 'gift'), 'line 2: the third value is one of accrual, redemption, reversal'],
      [
        changed(1, ',miles,', ',,'),
        'line 2: a value is empty, too long or has a character that no value has',
      ],
      [changed(1, ',miles', ''), 'line 2: a detail has eight values'],
      [changed(0, 'reply', 'request'), 'line 1: the file is not a reply'],
      [changed(0, 'H,1,', 'H,2,'), 'line 1: the version is not 1'],
      [changed(0, '00Z', '00'), 'line 1: times have the form 2026-11-22T00:00:00Z'],
      [changed(0, 'H,', 'X,'), 'line 1: the header has six values'],
      [changed(2, 'T,1,', 'T,2,'), 'line 3: the trailer counts 2 details, there are 1'],
      [changed(2, 'T,', 'X,'), 'line 3: the trailer is missing'],
      [good.subarray(0, good.length - 1), 'line 3: the file ends in the middle of a line'],
      [
        Buffer.concat([good.subarray(0, 20), Buffer.of(0xff), good.subarray(20)]),
        'line 1: the file is not UTF-8',
      ],
      [made([line(sent, 'accrual', 60)], { partner: 'other' }), 'line 1: the file is of other, not of'],
      [
        made([line(sent, 'accrual', 60), line(sent, 'accrual', 60)]),
        'line 3: the movement stands in the file twice',
      ],
      [made([line(sent, 'accrual', 60)], { sequence: 2 }), 'the reply file 1 is missing before 2'],
      [made([line(sent, 'redemption', 60)]), `line 2: ${sent} is no redemption`],
      [made([line(sent, 'accrual', 60), line(waiting, 'accrual', 10)]), `line 3: ${waiting} was never sent`],
      [made([line('strange', 'accrual', 60)]), 'line 2: strange was never sent'],
      [Buffer.from(text), 'line 1: the file is not a reply'],
    ];
    for (const [bytes, sentence] of bad) {
      await writeFile(join(folder, 'bad'), bytes);
      await expect(batch(app, who.files, ['reply', join(folder, 'bad')]), sentence).rejects.toThrow(sentence);
    }
    expect(await who.standing(member)).toEqual({ available: 30, held: 70, went: 0 });
    const noted = await pool.query(
      `select from audit_log where program = $1 and subject = $2 and action like 'exchange.reply_file refused: %'`,
      [who.files.program, who.files.name],
    );
    expect(noted.rowCount).toBe(bad.length);
    expect((await who.take(good)).known).toBe(0);
  });
});

test('an account that holds a comma or a quote stands in the file and keeps no other out of it', () => {
  const head = { partner: 'air', sequence: 1, created };
  const { text } = writeRequest(head, [
    {
      ...{ kind: 'accrual', reference: 'exc_1', account: 'Gold, "1" 5%é', points: 5 },
      ...{ currency: 'miles', occurredAt: created },
    },
  ]);
  expect(text.split('\n')[1]).toBe(`D,1,accrual,exc_1,Gold%2C %221%22 5%25é,5,miles,${created}`);
});

const env = {
  ...process.env,
  DATABASE_URL: engine.stores.databaseUrl,
  REDIS_URL: engine.stores.redisUrl,
  IDENTITY_KEY: app.config.identityKey,
};
const command = commandOf('partners/exchange/command.ts', env, 60_000, 'ls_secret');

test('what needs a person is listed: what waits for its file does not for more than a day', async () => {
  const who = await newPartner();
  const member = await who.member();
  const [parked, done] = [await who.exchange(member, 'out', 20), await who.exchange(member, 'out', 30)];
  await who.requested();
  await who.take(who.reply(line(parked, 'accrual', 21), line(done, 'accrual', 30)));
  const [young, old] = [await who.exchange(member, 'out', 10), await who.exchange(member, 'out', 15)];
  for (const [id, hours] of [
    [done, 1],
    [young, 20],
    [old, 27],
  ] as const)
    await pool.query(
      `update exchange set changed_at = now() - $2 * interval '1 hour', due_at = null where exchange = $1`,
      [parseExchangeId(id), hours],
    );
  const { out } = await command('list');
  const listed = (id: string) =>
    [...out.matchAll(new RegExp(`${id} +${who.files.name} +(.*?) +\\S+\\n`, 'g'))].map(([, what]) => what);
  expect([parked, done, young, old].map(listed)).toEqual([
    ['in review: waiting, reply_differs', 'break: reply_differs'],
    ['stuck: capturing'],
    [],
    ['stuck: ready'],
  ]);
});

test('what waits for the next file is nobody’s work until then, and goes on by calls where the partner is called again', async () => {
  const who = await newPartner();
  const { partner, program, name } = who.files;
  const member = await who.member();
  const dueOf = async (id: string) => {
    const { rows } = await pool.query<{ due: boolean }>(
      'select due_at is not null as due from exchange where exchange = $1',
      [parseExchangeId(id)],
    );
    return rows[0]!.due;
  };
  const resting = async () => {
    const id = await who.exchange(member, 'out', 20);
    await worker.saga.drive(parseExchangeId(id)!, Date.now() + 5_000);
    expect(await dueOf(id)).toBe(false);
    return id;
  };
  const sent = await resting();
  expect((await who.requested()).lines).toHaveLength(1);
  const call = (delivery?: 'calls') => {
    const draft = { partner, program, url: 'http://127.0.0.1:1', keyId: 'pk', secret: 'ls', delivery };
    return setEndpoint(pool, app.identity, draft);
  };
  await expect(call()).rejects.toThrow('takes exchanges in files');
  await expect(call('calls')).rejects.toThrow('1 exchanges are in request files');
  const endpoint = [
    'endpoint',
    name,
    '--program',
    shop.program.name,
    '--url',
    'http://127.0.0.1:1',
    '--key',
    'pk',
  ];
  const refused = await command(...endpoint);
  expect([refused.code, refused.complaint]).toEqual([1, expect.stringContaining('--delivery calls')]);
  await who.take(who.reply(line(sent, 'accrual', 20)));
  await who.driven(sent, 'completed');
  const next = await resting();
  await call('calls');
  expect(await dueOf(next)).toBe(true);
});

test('a request file is written once more as it was, and the partner takes nothing by call', async () => {
  const who = await newPartner();
  const member = await who.member();
  await who.exchange(member, 'out', 20);
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await batch(app, who.files, ['request', first]);
  await batch(app, who.files, ['request', '1', second]);
  expect(await readFile(second, 'utf8')).toBe(await readFile(first, 'utf8'));
  // A file that is there is never written over.
  await expect(batch(app, who.files, ['request', '1', second])).rejects.toThrow('EEXIST');
  await expect(batch(app, who.files, ['request', '2', join(folder, 'third')])).rejects.toThrow(
    'there is no request file 2',
  );
  await expect(batch(app, who.files, ['post'])).rejects.toThrow('batch takes on');
});

test('what a file and a history said is kept for 400 days, and longer as long as the exchange is under way', async () => {
  const who = await newPartner();
  const member = await who.member();
  const [over, open] = [await who.exchange(member, 'out', 20), await who.exchange(member, 'out', 30)];
  await who.requested();
  await who.take(who.reply(line(over, 'accrual', 20)));
  await who.driven(over, 'completed');
  const ids = [over, open].map((id) => parseExchangeId(id));
  const steps = async () => {
    const { rows } = await pool.query<{ exchange: string }>(
      `select distinct replace(exchange::text, '-', '') as exchange from exchange_step where exchange = any($1::uuid[])`,
      [ids],
    );
    return rows.map(({ exchange }) => exchange);
  };
  const older = (days: number) =>
    pool.query(
      `with steps as (update exchange_step set at = now() - $2 * interval '1 day' where exchange = any($1::uuid[]))
       update exchange_file set made_at = now() - $2 * interval '1 day' where partner = $3`,
      [ids, days, who.files.partner],
    );
  await older(399);
  await forgetHistories(pool, 1_000);
  expect((await steps()).length).toBe(2);
  await requestFile(app, who.files, 1);
  await older(401);
  await forgetHistories(pool, 1_000);
  expect(await steps()).toEqual([ids[1]]);
  await expect(requestFile(app, who.files, 1)).rejects.toThrow('is not kept any more');
});

test('what a partner has taken back, or never had, is compared with its files also when the steps are forgotten', async () => {
  const who = await newPartner();
  const member = await who.member();
  const [back, never] = [await who.exchange(member, 'out', 20), await who.exchange(member, 'out', 30)];
  const ids = [back, never].map((id) => parseExchangeId(id)!);
  await who.requested();
  await who.take(who.reply(line(back, 'accrual', 21)));
  // The other is answered by no file.
  const review = `update exchange set state = 'in_review', review_of = 'waiting', due_at = null where exchange = $1`;
  await pool.query(review, [ids[1]]);
  const decision = { verdict: 'undo' as const, actor: 'anna', reason: 'asked by telephone' };
  for (const id of ids) await resolveExchange(pool, app.identity, id, decision);
  await who.requested();
  await who.take(who.reply(line(back, 'reversal', 20), line(never, 'reversal', 0)));
  for (const id of [back, never]) await who.driven(id, 'reversed');
  const pair = { program: shop.program, partner: who.files.partner };
  const { text, values } = movementsNamed(pair, `select unnest(array['${back}', '${never}']) as reference`);
  const said = async () => {
    const { rows } = await pool.query<Record<string, string>>(text, [...values]);
    return rows.map((row) => `${row.reference} ${row.kind} ${row.status} ${row.points}`);
  };
  const wanted = [
    `${back} accrual succeeded 20`,
    `${back}/undo reversal succeeded 20`,
    `${never} accrual failed 30`,
  ].toSorted();
  expect((await said()).toSorted()).toEqual(wanted);
  const older = `update exchange_step set at = now() - interval '401 days' where exchange = any($1::uuid[])`;
  await pool.query(older, [ids]);
  await forgetHistories(pool, 1_000);
  const left = await pool.query('select from exchange_step where exchange = any($1::uuid[])', [ids]);
  expect([left.rowCount, (await said()).toSorted()]).toEqual([0, wanted]);
});
