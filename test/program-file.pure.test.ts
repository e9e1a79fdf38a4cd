/** Program files as text: what is refused, where in the text and with which words; numbers that stay with their names. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { definitionSchema, namesIn } from '#src/earning/file/definition.ts';
import { changesBetween, changesText } from '#src/earning/file/diff.ts';
import { type Numbers, noNumbers, numbersFor } from '#src/earning/file/numbers.ts';
import { olderDefinition } from '#src/earning/file/older.ts';
import { readProgramFile, sourceBytesMax } from '#src/earning/file/read.ts';
import type { ProgramFile } from '#src/earning/file/schema.ts';
import { counterNames } from '#src/earning/rules/caps.ts';
import { checkout } from './house/folders.ts';
import { placeOf, said } from './house/program-text.ts';

/** A file that is right; what is added stands from line 4 on, in a list of rules from line 6 on. */
const head = 'timeZone: Europe/Berlin\ncurrencies: [{ code: points }]\n\n';
const base = '  - { name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }\n';
const withRule = (text: string) => `${head}rules:\n${base}${text}`;
const withPromotion = (text: string) => `${head}rules:\n${base}promotions:\n${text}`;

function fileOf(source: string): ProgramFile {
  const { file, faults } = readProgramFile(source);
  if (!file) throw new Error(JSON.stringify(faults));
  return file;
}

describe('the shape of a file', () => {
  test('that is right has no fault, as YAML and as JSON', () => {
    expect(said(withRule(''))).toEqual([]);
    const json = JSON.stringify({ timeZone: 'UTC', currencies: [{ code: 'points' }] }, undefined, 2);
    expect(said(json)).toEqual([]);
    expect(fileOf(json).funders).toEqual(['program']);
  });

  test.each([
    ['an unknown field', `${head}colour: blue\n`, '4:1 /colour is not a known field'],
    ['a field that is missing', 'currencies: [{ code: points }]\n', '1:1 /timeZone is required'],
    [
      'a field of an item that is missing',
      withRule('  - name: more\n    earn: { by: fixed, points: 3 }\n'),
      '6:5 /rules/1/currency is required',
    ],
    [
      'a type that does not fit',
      withRule('  - name: more\n    currency: points\n    earn: { by: fixed, points: many }\n'),
      '8:32 /rules/1/earn/points has to be of type number, not string',
    ],
    [
      'a word that is none of those',
      withRule('  - name: more\n    currency: points\n    earn: { by: weight, points: 3 }\n'),
      '8:17 /rules/1/earn/by has to be amount, quantity, fixed, distance or fare',
    ],
    [
      'a name with capitals',
      withRule('  - name: More\n    currency: points\n    earn: { by: fixed, points: 3 }\n'),
      '6:11 /rules/1/name is 1 to 32 small letters, digits, - and _, a letter first',
    ],
    [
      'a fraction of a point',
      withRule('  - name: more\n    currency: points\n    earn: { by: fixed, points: 1.5 }\n'),
      '8:32 /rules/1/earn/points has to be a whole number',
    ],
    [
      'a negative multiplier',
      withPromotion('  - { name: more, currency: points, multiply: { by: -1 } }\n'),
      '7:53 /promotions/0/multiply/by has to be at least 0',
    ],
    [
      'a key that stands twice',
      `${head}debtAllowed: true\ndebtAllowed: false\n`,
      '5:1  debtAllowed stands twice here',
    ],
    [
      'a day that is none',
      withRule(
        '  - name: more\n    currency: points\n    earn: { by: fixed, points: 1 }\n    during: { from: 2026-02-30 }\n',
      ),
      '9:21 /rules/1/during/from is not a day of the calendar, such as 2026-12-31',
    ],
    [
      'days of a recurrence without quotes',
      withRule(
        '  - { name: more, currency: points, earn: { by: fixed, points: 1 }, during: { repeat: FREQ=WEEKLY;BYDAY=MO,TU } }\n',
      ),
      '6:108 /rules/1/during/TU is not a known field; a text with a comma in braces has to stand in quotes',
    ],
    [
      'a text with a null character',
      `${head}title: "a\\0b"\n`,
      '4:8  holds a character that cannot be stored',
    ],
    ['half a character', `${head}title: "a\\ud800b"\n`, '4:8  '],
    ['a null character in a comment', `${head}# \0\n`, '1:1  holds a character that cannot be stored'],
    ['nothing at all', '', '1:1  has to be of type object, not null'],
    ['a list', '- a\n- b\n', '1:1  has to be of type object, not array'],
    ['a bracket that is not closed', `${head}rules: [\n`, '5:1  '],
    ['two documents', `${head}---\ntimeZone: UTC\n`, '4:1  Source contains multiple documents'],
    [
      'a type of its own',
      `${head}title: !!binary aGVsbG8=\n`,
      '4:8  Unresolved tag: tag:yaml.org,2002:binary',
    ],
    ['an alias of nothing', `${head}rules: *nowhere\n`, '4:8  *nowhere is not named before by &nowhere'],
    [
      'a merge key',
      `${head}defaults: &d { debtAllowed: false }\n<<: *d\n`,
      '4:1 /defaults is not a known field',
    ],
  ])('is refused for %s, and where', (_, source, message) => {
    expect(said(source)[0]).toMatch(new RegExp(`^${message.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}`));
  });

  test('is bounded in bytes, in nesting and in what aliases make of it', () => {
    expect(said(`${head}# ${'x'.repeat(sourceBytesMax)}\n`)).toEqual([
      `1:1  is larger than ${sourceBytesMax} bytes`,
    ]);
    expect(said(`${head}rules: ${'['.repeat(100)}${']'.repeat(100)}\n`)[0]).toContain(
      'nested deeper than 24 levels',
    );
    expect(said(`${head}rules: ${'['.repeat(20_000)}`)).toEqual(['1:1  is nested too deeply']);
    const laughs = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg'])
      laughs.push(`${to}: &${to} [${Array.from({ length: 9 }, () => `*${from}`).join()}]`);
    expect(said(`${head}${laughs.join('\n')}\n`)[0]).toContain('uses an alias that cannot be followed');
    expect(said(`${head}rules: &r [*r]\n`)).toEqual(['4:12  *r stands inside what it means']);
  });

  test('is told in the order of the text, with every fault there is', () => {
    const rule = '  - { name: A, currency: points, earn: { by: fixed, points: §0 } }\n';
    const wrong = withRule(`${rule}colour: blue\n`);
    const places = said(wrong.replace('§', '')).map((each) => each.split(' ')[0]);
    expect(places).toEqual(['6:13', placeOf(wrong), '7:1']);
  });
});

const fixed = 'earn: { by: fixed, points: 50 }';

describe('the sample programs', () => {
  test.each(['supermarket', 'beauty-club', 'airline'])('%s is right, without a warning', (name) => {
    const source = readFileSync(join(checkout, 'src/earning/samples', `${name}.yaml`), 'utf8');
    expect(said(source)).toEqual([]);
    const file = fileOf(source);
    expect(file.examples.length).toBeGreaterThan(5);
    const numbers = numbersFor(noNumbers, namesIn(file));
    const stored = { ...file, numbers };
    expect(definitionSchema.parse(JSON.parse(JSON.stringify(stored)))).toEqual(stored);
  });

  test('the supermarket has thirty rules and promotions', () => {
    const { rules, promotions } = fileOf(
      readFileSync(join(checkout, 'src/earning/samples/supermarket.yaml'), 'utf8'),
    );
    expect(rules.length + promotions.length).toBe(30);
  });
});

describe('numbers', () => {
  const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'constructor', 'f'), {
    maxLength: 5,
  });
  const named = fc.record({ currencies: names, funders: names, counters: names, budgets: names });

  test('stay with their names over any versions, and none stands for two names', () => {
    fc.assert(
      fc.property(fc.array(named, { maxLength: 8 }), (versions) => {
        let numbers: Numbers = noNumbers;
        for (const version of versions) {
          const next = numbersFor(numbers, version);
          for (const kind of ['currencies', 'funders', 'counters', 'budgets'] as const) {
            const after = Object.entries(next[kind]);
            expect(Object.fromEntries(after)).toMatchObject(numbers[kind]);
            expect(new Set(after.map(([, number]) => number)).size).toBe(after.length);
            expect(after.map(([name]) => name)).toEqual(expect.arrayContaining([...version[kind]]));
            const first = kind === 'funders' ? 0 : 1;
            expect(after.map(([, number]) => number).toSorted((x, y) => x - y)).toEqual(
              after.map((_, i) => i + first),
            );
          }
          numbers = next;
        }
      }),
    );
  });

  test('counters are named by what they count, what is given once has a cap, and a cap on one receipt needs no counter', () => {
    const caps = 'caps: [{ points: 60, period: receipt }, { points: 90, period: week }]';
    const promotions = [
      `  - { name: more, currency: points, ${fixed}, ${caps}, oncePerOrder: true }\n`,
      `  - { name: third, currency: points, ${fixed}, purchaseNumber: 3 }\n`,
      `  - { name: much, currency: points, ${fixed}, spendReached: { minorUnits: 100, period: year } }\n`,
    ];
    expect(counterNames(fileOf(withPromotion(promotions.join(''))))).toEqual([
      'cap:more:week',
      'cap:more:order',
      'cap:third:order',
      'cap:third:lifetime',
      'cap:much:order',
      'cap:much:year',
      'purchases',
      'purchases:order',
      'spend:year',
    ]);
  });
});

describe('what an older version of the service is told', () => {
  test('are the rules that it knows, with the numbers of the ledger; what it cannot say is left out', () => {
    const source = `${withRule(
      `  - { name: slow, currency: points, earn: { by: amount, points: 2, perMinorUnits: 300 }, pending: { kind: days, days: 3 }, expiry: { kind: days, days: 30 } }\n  - { name: more, currency: points, ${fixed} }\n  - { name: few, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 }, stores: [s1] }\n`,
    )}funders: [bank, program]\n`;
    const file = fileOf(source);
    const before = numbersFor(noNumbers, { ...namesIn(file), funders: ['program'] });
    expect(olderDefinition(4, { ...file, numbers: numbersFor(before, namesIn(file)) })).toMatchObject({
      version: 4,
      currencies: [{ number: 1, code: 'points', spendable: true }],
      funders: ['program', 'bank'],
      rules: [
        { name: 'base', currency: 'points', points: 1, perMinorUnits: 100, funder: 'program' },
        { name: 'slow', points: 2, perMinorUnits: 300, pendingDays: 3, expiresAfterDays: 30 },
      ],
    });
  });
});

describe('the difference of two files', () => {
  test('is told in the words of the file', () => {
    const before = fileOf(
      `${withPromotion(`  - { name: old, currency: points, ${fixed} }\n  - { name: day, currency: points, multiply: { by: 2 }, caps: [{ points: 300, period: day }] }\n`)}debtAllowed: true\n`,
    );
    const after = fileOf(
      `${withPromotion(`  - { name: day, currency: points, multiply: { by: "2.5" }, caps: [{ points: 500, period: day }], tiers: [gold, silver] }\n  - { name: new, currency: points, ${fixed} }\n`)}debtAllowed: false\n`,
    );
    expect(changesText(changesBetween(before, before))).toBe('Nothing is different.');
    const text = changesText(changesBetween(before, after));
    expect(text).toContain('debtAllowed: true → false');
    expect(text).toContain('promotion day changed\n');
    expect(text).toContain('    multiply.by: 2 → 2.5\n');
    expect(text).toContain('    caps.day.points: 300 → 500\n');
    expect(text).toContain('    tiers: gold, silver\n');
    expect(text).toContain('promotion new added\n');
    expect(text).toMatch(/promotion old removed$/m);
    expect(changesBetween(before, after)).toContainEqual({
      change: 'changed',
      what: 'setting',
      name: 'debtAllowed',
      fields: [{ field: 'debtAllowed', from: 'true', to: 'false' }],
    });
  });
});
