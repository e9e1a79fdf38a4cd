/**
 * Whatever the two sides book in whichever periods, early, late, on one side alone or with other points, and whatever becomes of what we have
 * sent: after the files of all periods each movement has been matched or told exactly once. What both have in the end is missing nowhere, what
 * one side has is missing once, and what they say differently differs once. `SERIES_RUNS=200` is the long form.
 */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import type { Movement } from '#src/partners/reconciliation/movement.ts';
import { reconcileFile } from '#src/partners/reconciliation/reconciling.ts';
import { differingLines } from '#src/partners/reconciliation/reports.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { createPool } from '#src/platform/postgres.ts';
import { reference, startEngine } from './harness.ts';
import { clearAll, clearingOf } from './house/clearing.ts';
import { databaseBefore } from './house/database-before.ts';
import { openPartner } from './house/partner.ts';
import { fileText, handIn, linesOf, type ReportedLine } from './house/reconciling.ts';

const runs = Number(process.env.SERIES_RUNS ?? 8);
const seed = Number(process.env.SERIES_SEED ?? 11);

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool, http } = engine;
const shop = await engine.shop();
await shop.enrol('guest');
await engine.drained();
await clearAll(pool, clearingOf(app));

const periods = 4;
const hour = 3_600;
const begin = Math.floor(Date.now() / 1_000) - 10 * 86_400;

const entry = fc.record({
  became: fc.constant(null),
  /** In which period each side books it; null: never. */
  ours: fc.option(fc.nat(periods - 1)),
  theirs: fc.option(fc.nat(periods - 1)),
  /** Ours is there already when the file of the period before is compared. */
  isEarly: fc.boolean(),
  /** The partner names it again in the next file. */
  isRepeated: fc.boolean(),
  points: fc.integer({ min: 1, max: 99 }),
  differs: fc.integer({ min: 0, max: 1 }),
  daysAgo: fc.integer({ min: 0, max: 300 }),
});
/** A call of ours: it is pending here until its end comes, some periods later or not at all. The partner cannot name it before it is sent. */
const exchange = fc
  .record({
    became: fc.record({ state: fc.constantFrom('completed', 'refused'), after: fc.nat(periods - 1) }),
    ours: fc.nat(periods - 1),
    theirs: fc.option(fc.nat(periods - 1)),
    isEarly: fc.boolean(),
    isRepeated: fc.boolean(),
    points: fc.integer({ min: 1, max: 99 }),
    differs: fc.integer({ min: 0, max: 1 }),
    daysAgo: fc.integer({ min: 0, max: 300 }),
  })
  .map(({ theirs, ...rest }) => ({ ...rest, theirs: theirs === null ? null : Math.max(theirs, rest.ours) }));
const told = fc.oneof(entry, exchange);
type Wanted = typeof told extends fc.Arbitrary<infer T> ? T : never;
type Told = Wanted & { readonly id: string; readonly name: string };

const happened = ({ daysAgo }: Told) => begin - daysAgo * 86_400;
const stateIn = ({ became, ours }: Told, period: number) =>
  became && period >= ours! + became.after ? became.state : 'waiting';

/** Writes our side as exchanges have it, and what has become of them by a period. */
async function send(partner: number, all: readonly Told[], period: number): Promise<void> {
  await pool.query(
    `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
       account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, reference_key, state, sent_at)
     select t.id, $1, (select min(number) from member), $2, 'out', 1, 1, 'points', t.points, '', '{}', 0, 0, current_date, t.happened * 1000,
       gen_random_uuid(), t.state, to_timestamp(t.booked)
     from json_to_recordset($3) t (id uuid, points int, happened bigint, booked bigint, state text)
     on conflict (exchange) do update set state = excluded.state`,
    [
      ...[shop.program.number, partner],
      JSON.stringify(
        all.map((each) => ({
          ...{ id: each.id, points: each.points, state: stateIn(each, period) },
          ...{ happened: happened(each), booked: begin + each.ours! * hour + 60 },
        })),
      ),
    ],
  );
}

/** Writes our side as clearing would have it. */
async function book(partner: number, all: readonly Told[]): Promise<void> {
  await pool.query(
    `insert into clearing_entry (operation, line, shard, epoch, seq, program, partner, kind, price, account, party, reference, member, currency,
       points, at, occurred_at, booked_at, of_period, period)
     select gen_random_uuid(), 0, 0, 1, 1, $1, $2, 'accrual', 'issue', 'partner', $2, t.name, 1, 1, - t.points, now(), to_timestamp(t.happened),
       to_timestamp(t.booked), '2026-01-01', '2026-01-01'
     from json_to_recordset($3) t (name text, points int, happened bigint, booked bigint)`,
    [
      ...[shop.program.number, partner],
      JSON.stringify(
        all.map((each) => ({
          name: each.name,
          points: each.points,
          happened: happened(each),
          booked: begin + each.ours! * hour + 60,
        })),
      ),
    ],
  );
}

const movementOf = (each: Told): Movement => ({
  // By the partner's own word for itself.
  madeBy: each.became ? 'them' : 'us',
  kind: 'accrual',
  reference: each.name,
  points: each.points + each.differs,
  currency: 'points',
  occurredAt: happened(each),
  status: 'succeeded',
});

/** How often each difference is told of a movement over all files, and whether it is missing in the end. */
function expected(each: Told) {
  const { ours, theirs, isEarly, isRepeated, differs, became } = each;
  const hasBoth = ours !== null && theirs !== null;
  // What they have done is pending here, or has come to nothing, when they name it.
  const isOther = hasBoth && became !== null && stateIn(each, theirs) !== 'completed';
  const cameToNothing = became !== null && stateIn(each, periods - 1) === 'refused';
  const isAgain = isRepeated && theirs !== null && theirs + 1 < periods;
  // Who repeats what we did not have has sent it late, not twice, where ours came in between.
  const isLate = hasBoth && ours - Number(isEarly) === theirs + 1;
  const missing = {
    missing_here: ours === null && theirs !== null,
    missing_there: ours !== null && theirs === null && !cameToNothing,
  };
  return {
    counts: {
      status: Number(isOther),
      amount: hasBoth && !isOther ? differs : 0,
      duplicate: Number(isAgain && !isLate),
    },
    missing,
  };
}

function named(each: Wanted, number: number): Told {
  const id = randomUUID();
  return { ...each, id, name: each.became ? `exc_${id.replaceAll('-', '')}` : `m${number}` };
}

async function tell(wanted: readonly Wanted[]): Promise<void> {
  const all = wanted.map(named);
  const partner = await openPartner(engine, shop, { name: reference('far').replaceAll('/', '-') });
  const booked = new Set<Told>();
  const lines: ReportedLine[] = [];
  for (let period = 0; period < periods; period += 1) {
    const due = all.filter((each) => each.ours !== null && each.ours <= period + Number(each.isEarly));
    await book(
      partner.number,
      due.filter((each) => !each.became && !booked.has(each)),
    );
    await send(
      partner.number,
      due.filter((each) => each.became),
      period,
    );
    for (const each of due) booked.add(each);
    const theirs = all.filter(
      (each) => each.theirs === period || (each.isRepeated && each.theirs === period - 1),
    );
    const [from, until] = [begin + period * hour, begin + (period + 1) * hour];
    const file = {
      sender: partner.name,
      sequence: period + 1,
      from,
      until,
      movements: theirs.map(movementOf),
    };
    const answer = await handIn(http, shop, fileText(file));
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    const found = await linesOf(shop, answer.id, '?limit=200');
    const differing = found.filter(({ line }) => line !== null).length;
    expect(answer.body).toMatchObject({ lines: theirs.length, matched: theirs.length - differing });
    lines.push(...found);
  }
  const { rows } = await pool.query<{ reference: string; difference: string }>(
    `select d.reference, d.difference from reconciliation_difference d join reconciliation r using (reconciliation)
     where r.partner = $1 and not exists (
       select from reconciliation_match m where (m.reconciliation, m.number) = (d.reconciliation, d.number))`,
    [partner.number],
  );
  for (const each of all) {
    const said = lines.filter((line) => line.reference === each.name).map(({ difference }) => difference);
    const open = rows.filter((row) => row.reference === each.name).map(({ difference }) => difference);
    expectTold(each, said, open);
  }
}

function expectTold(each: Told, said: readonly string[], open: readonly string[]): void {
  const story = JSON.stringify({ ...each, said, open });
  const { counts, missing } = expected(each);
  const count = (of: readonly string[], difference: string) =>
    of.filter((other) => other === difference).length;
  const found = Object.keys(counts).map((difference) => [difference, count(said, difference)]);
  expect(Object.fromEntries(found), story).toEqual(counts);
  for (const [difference, isMissing] of Object.entries(missing))
    expect(count(open, difference), story).toBe(Number(isMissing));
}

test(
  'each movement is matched or told once, in whichever periods the two sides have booked it',
  async () => {
    await fc.assert(fc.asyncProperty(fc.array(told, { minLength: 5, maxLength: 40 }), tell), {
      seed,
      numRuns: runs,
      endOnFailure: true,
      interruptAfterTimeLimit: 20_000 * runs,
    });
  },
  60_000 * runs,
);

/** A partner with one file of the rule of before, compared at noon after its day: of what happened in its last second it missed `missed` and `gone`, not the exchange. */
const beforeTheRule = `
  insert into program (name, mode, time_zone, definition) values ('old', 'live', 'UTC', '{}');
  insert into client (program, name) values (1, 'far');
  insert into partner (program, name, title, status, client) values (1, 'far', 'Far', 'active', 1);
  insert into clearing_entry (operation, line, shard, epoch, seq, program, partner, kind, price, account, party, reference, member, currency,
     points, at, occurred_at, booked_at, of_period, period)
   select gen_random_uuid(), 0, 0, 1, 1, 1, 1, 'accrual', 'issue', 'partner', 1, name, 1, 1, -10, now(), '2026-01-01T23:59:59Z',
     '2026-01-02T00:00:01Z'::timestamptz + after, '2026-01-01', '2026-01-01'
   from (values ('over', interval '0'), ('again', '0'), ('missed', '0'), ('gone', '0'), ('later', '13 hours'), ('unnamed', '13 hours')) t (name, after);
  insert into member (program, joined_at) values (1, now());
  insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
     account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, reference_key, state, sent_at)
   values (gen_random_uuid(), 1, 1, 1, 'out', 1, 1, 'points', 10, '', '{}', 0, 0, current_date,
     extract(epoch from timestamptz '2026-01-01T23:59:59Z') * 1000, gen_random_uuid(), 'completed', '2026-01-02T00:00:01Z');
  insert into reconciliation (program, partner, source, sequence, period_from, period_until, digest, lines, matched, differences, made_at, made_by)
   values (1, 1, 'file', 1, '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', '', 2, 2, '{}', '2026-01-02T12:00:00Z', 'test');
  insert into reconciliation_difference (reconciliation, number, difference, made_by, kind, reference, our_points, our_currency, our_occurred_at, our_status)
   select 1, row_number() over (), 'missing_there', 'them', 'accrual', name, 10, 'points', '2026-01-01T23:59:59Z', 'succeeded'
   from (values ('missed'), ('gone')) t (name);`;

test('what a file compared by the time at which it happened is not missing in the first that goes by bookings, nor named twice there', async () => {
  const { url, client } = await databaseBefore('20261125151000', engine.stores, 'older_periods');
  const old = createPool(url, 2);
  try {
    await client.query(beforeTheRule);
    await prepareDatabase(url);
    const begun = Date.UTC(2026, 0, 2) / 1_000;
    const movements = ['again', 'missed', 'later'].map((name) => ({
      ...({ madeBy: 'us', kind: 'accrual', reference: name, points: 10, currency: 'points' } as const),
      ...({ occurredAt: begun - 1, status: 'succeeded' } as const),
    }));
    const next = async (sequence: number, named: readonly Movement[]) => {
      const from = begun + (sequence - 2) * 86_400;
      const text = fileText({ sender: 'far', sequence, from, until: from + 86_400, movements: named });
      const context = { ...app.telemetry, pool: old, databaseUrl: url };
      const bytes = (async function* () {
        yield Buffer.from(text);
      })();
      const program = { ...shop.program, number: 1 };
      const made = await reconcileFile(context, { program, actor: 'test', bytes });
      const lines = await differingLines(old, made.number, { after: 0, limit: 10 });
      const found = lines.map(({ difference, reference: name }) => `${difference} ${name}`);
      return { matched: made.matched, matchedLate: made.matchedLate, found };
    };
    const first = { matched: 3, matchedLate: 1, found: ['missing_there unnamed'] };
    expect(await next(2, movements)).toEqual(first);
    const again = ['duplicate again', 'duplicate missed', 'duplicate later'];
    expect(await next(3, movements)).toEqual({ matched: 0, matchedLate: 0, found: again });
  } finally {
    await old.end();
    await client.end();
  }
});

test('what was taken back before exchanges said so themselves is read out of their steps once', async () => {
  const { url, client } = await databaseBefore('20261125152000', engine.stores, 'older_exchanges');
  try {
    await client.query(beforeTheRule);
    await client.query(`insert into exchange_step (exchange, action, outcome, detail)
      select exchange, 'undo', outcome, detail::json from exchange,
        (values (1, 'unknown', '{"points": 1}'), (2, 'succeeded', '{"points": 7}'), (3, 'succeeded', null)) t (n, outcome, detail) order by n`);
    await prepareDatabase(url);
    const { rows } = await client.query('select taken_back_points::int as points from exchange');
    expect(rows).toEqual([{ points: 7 }]);
  } finally {
    await client.end();
  }
});
