/** The examples in a program file: `test` runs them, and says what differs and why. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type FailedExample, failedExamples } from '#src/earning/backtest/examples.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import { checkout } from './house/folders.ts';

const samples = ['supermarket', 'beauty-club', 'airline'];

function fileOf(source: string) {
  const { file, faults } = readProgramFile(source);
  expect(faults).toEqual([]);
  return file!;
}

describe('the sample programs', () => {
  test.each(samples)('%s has examples, and all of them come out as they say', (name) => {
    const file = fileOf(readFileSync(join(checkout, 'src/earning/samples', `${name}.yaml`), 'utf8'));
    expect(file.examples.length).toBeGreaterThanOrEqual(6);
    expect(failedExamples(file)).toEqual([]);
  });
});

const program = `
timeZone: Europe/Berlin
moneyCurrencies: [EUR]
currencies: [{ code: points, expiry: { kind: year_end, years: 0 } }, { code: stamps }]
rules:
  - { name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 }, caps: [{ points: 50, period: day }] }
  - { name: stamp, currency: stamps, stores: [mitte], earn: { by: fixed, points: 1 } }
promotions:
  - { name: third, currency: points, purchaseNumber: 3, earn: { by: fixed, points: 5 } }
  - { name: wednesday, currency: points, during: { repeat: FREQ=WEEKLY;BYDAY=WE }, multiply: { by: 2, rules: [base] } }
examples:
  - name: one
    occurredAt: "2026-11-02T10:00:00+01:00"
`;

/** What is said of one example: `rest` is its purchase and whatever else it says. */
function saidOf(
  lines: string,
  expected: string,
  rest = '',
): Omit<FailedExample, 'pointer' | 'name'> | undefined {
  const purchase = `    purchase: { currency: EUR, store: west, lines: [${lines}] }\n`;
  const file = fileOf(
    `${program}${rest.includes('purchase:') ? '' : purchase}${rest}    expect: [${expected}]\n`,
  );
  const [failed] = failedExamples(file);
  if (!failed) return undefined;
  const { pointer, name, ...said } = failed;
  expect([pointer, name]).toEqual(['/examples/0', 'one']);
  return said;
}

describe('an example', () => {
  const ten = '{ line: 1, amount: 1000 }';

  test.each([
    ['an award without a currency is of the first one', '{ rule: base, points: 10 }', ''],
    ['dates count where they are named', '{ rule: base, points: 10, expiresOn: 2026-12-31 }', ''],
    [
      'the purchase is the one after those that were before it',
      '{ rule: base, points: 10 }, { rule: third, points: 5 }',
      '    purchasesBefore: 2\n',
    ],
  ])('passes: %s', (_, expected, rest) => {
    expect(saidOf(ten, expected, rest)).toBeUndefined();
  });

  test('is held to the caps, which nothing has used before', () => {
    expect(saidOf('{ line: 1, amount: 6000 }', '{ rule: base, points: 50 }')).toBeUndefined();
  });

  test.each([
    [
      'other points',
      '{ rule: base, points: 9 }',
      ['base 9 points did not come', 'base 10 points was not expected'],
    ],
    ['an award too many', '', ['base 10 points was not expected']],
    [
      'another date',
      '{ rule: base, points: 10, expiresOn: 2027-12-31 }',
      [
        'base 10 points (valid through 2027-12-31) did not come',
        'base 10 points (valid through 2026-12-31) was not expected',
      ],
    ],
    [
      'a rule of another store',
      '{ rule: base, points: 10 }, { rule: stamp, points: 1, currency: stamps }',
      ['stamp 1 stamps did not come', 'stamp wants store is mitte: store is west'],
    ],
    [
      'another purchase',
      '{ rule: base, points: 10 }, { rule: third, points: 5 }',
      ['third 5 points did not come', 'third: it is purchase number 1, not 3'],
    ],
    [
      'another day',
      '{ rule: base, points: 10 }, { rule: wednesday, points: 10 }',
      [
        'wednesday 10 points did not come',
        'wednesday wants on FREQ=WEEKLY;BYDAY=WE: it was on 2026-11-02 at 10:00',
      ],
    ],
    [
      'the same twice',
      '{ rule: base, points: 10 }, { rule: base, points: 10 }',
      ['an award is expected twice'],
    ],
  ])('fails and says why: %s', (_, expected, reasons) => {
    expect(saidOf(ten, expected)?.reasons).toEqual(reasons);
  });

  test('of a receipt that the program refuses fails, and says that it does', () => {
    const rest = '    purchase: { currency: USD, lines: [{ line: 1, amount: 1000 }] }\n';
    expect(saidOf(ten, '{ rule: base, points: 10 }', rest)).toMatchObject({
      expected: ['base 10'],
      came: [],
      reasons: [expect.stringContaining('the receipt is refused')],
    });
  });
});
