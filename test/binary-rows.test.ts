/** What the writer sends as bytes is what PostgreSQL then holds, and what does not fit is refused as PostgreSQL refuses it. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { instant, int2, int4, int8, row, rowsOf, text, uuid } from '#src/ledger/binary-rows.ts';
import { isDataFault } from '#src/ledger/isolating.ts';
import { statementsOn } from '#src/ledger/statements.ts';
import { startEngine } from './harness.ts';

const engine = await startEngine({ shardCount: 2 });
const client = new pg.Client({ connectionString: engine.stores.databaseUrl, pipeline: true });
beforeAll(async () => {
  await client.connect();
  await client.query(
    'create temp table sample (nr smallint, whole integer, large bigint, id uuid, note text, at timestamptz, body json)',
  );
});
afterAll(async () => {
  await client.end();
  await engine.end();
});

interface Sample {
  readonly nr: number;
  readonly whole: number | null;
  readonly large: number | null;
  readonly id: string;
  readonly note: string;
  readonly at: number;
  readonly body: string;
}

const samples: readonly Sample[] = [
  {
    nr: 1,
    whole: 2 ** 31 - 1,
    large: Number.MAX_SAFE_INTEGER,
    id: '0123456789abcdef0123456789abcdef',
    note: 'plain',
    at: 0,
    body: '{}',
  },
  {
    nr: -32_768,
    whole: -(2 ** 31),
    large: Number.MIN_SAFE_INTEGER,
    id: 'f'.repeat(32),
    note: 'a tab\t, a line\n, a \\ and "quotes"',
    at: -1,
    body: '{"tab":"\\t"}',
  },
  { nr: 3, whole: null, large: null, id: '', note: '', at: 951_782_400_123, body: '' },
  {
    nr: 4,
    whole: -1,
    large: -1,
    id: '0'.repeat(32),
    note: 'žluťoučký 🐎',
    at: 253_402_300_799_999,
    body: '[1]',
  },
  {
    nr: 5,
    whole: 0,
    large: 2 ** 32,
    id: 'A'.repeat(32),
    note: 'é'.repeat(3_000),
    at: 1_795_370_515_605,
    body: '7',
  },
  {
    nr: 6,
    whole: 1,
    large: -(2 ** 32),
    id: '',
    note: 'x'.repeat(2_000_000),
    at: -62_135_596_800_000,
    body: 'null',
  },
];

function write({ nr, whole, large, id, note, at, body }: Sample): void {
  row(7);
  int2(nr);
  int4(whole);
  int8(large);
  uuid(id);
  text(note);
  instant(at);
  text(body);
}

test('every value comes back as it was, at the ends of its range too', async () => {
  const tx = statementsOn(client);
  tx.send('begin');
  tx.copy('sample (nr, whole, large, id, note, at, body)', [
    rowsOf(() => samples.slice(0, 3).forEach(write)),
    Buffer.alloc(0),
    rowsOf(() => samples.slice(3).forEach(write)),
  ]);
  tx.send('commit');
  await tx.answered();
  const { rows } = await client.query<Sample>(
    `select nr, whole, large::float8 as large, coalesce(replace(id::text, '-', ''), '') as id, coalesce(note, '') as note,
       (extract(epoch from at) * 1000)::float8 as at, coalesce(body::text, '') as body from sample order by array_position(array[1, -32768, 3, 4, 5, 6], nr::int)`,
  );
  expect(rows).toEqual(samples.map((sample) => ({ ...sample, id: sample.id.toLowerCase() })));
});

describe('is refused with a code by which the record is isolated', () => {
  test.each([
    ['a number beyond smallint', () => int2(32_768)],
    ['a number beyond integer', () => int4(2 ** 31)],
    ['a number beyond what is exact', () => int8(2 ** 53)],
    ['a fraction', () => int8(0.5)],
    ['an id that is too short', () => uuid('0123')],
    ['an id with a letter beyond f', () => uuid('g'.repeat(32))],
    ['a time that is none', () => instant(Number.NaN)],
  ])('%s', (_, value) => {
    const refused = () =>
      rowsOf(() => {
        row(1);
        value();
      });
    expect(refused).toThrow(expect.toSatisfy(isDataFault));
  });
});

test('the first statement that PostgreSQL refuses is what is said, and nothing of the transaction stays', async () => {
  await client.query('truncate sample');
  const tx = statementsOn(client);
  tx.send('begin');
  tx.send('insert into sample (nr) values (1)');
  tx.send('select 1 / $1::int', [0]);
  tx.copy('sample (nr, whole, large, id, note, at, body)', [rowsOf(() => samples.forEach(write))]);
  tx.send('insert into sample (nr) values ($1)', [2], 'later');
  tx.send('commit');
  await expect(tx.answered()).rejects.toMatchObject({ code: '22012' });
  const { rows } = await client.query<{ count: number }>('select count(*)::int as count from sample');
  expect(rows).toEqual([{ count: 0 }]);
});
