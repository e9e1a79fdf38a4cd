/** Conditions of rules: what they may say, where a mistake is, what they see, and what they cost at worst. */
import { describe, expect, test } from 'vitest';
import { momentOf } from '#src/earning/rules/calendar.ts';
import { type SubjectView, viewOf, viewOfLine } from '#src/earning/rules/condition-views.ts';
import {
  ConditionFailure,
  type ConditionKind,
  checkCondition,
  compileCondition,
  type Judged,
  stepsMax,
  stepsOf,
} from '#src/earning/rules/conditions.ts';
import { type JudgedMember, nobody, type PurchaseLine, type Subject } from '#src/earning/rules/types.ts';

const lines: readonly PurchaseLine[] = [
  {
    line: 1,
    sku: 'apple',
    category: 'fresh/fruit',
    brand: 'Orchard',
    quantity: '1.250',
    unit: 'kg',
    amount: 499,
  },
  { line: 2, sku: 'soap', category: 'household', amount: 250 },
  { line: '3a', amount: 0 },
];
const purchase = {
  order: 'O-1',
  store: 'S1',
  channel: 'pos',
  terminal: 'T4',
  currency: 'EUR',
  lines,
  payments: [
    { means: 'cash', amount: 500 },
    { means: 'gift_card', amount: 249 },
  ],
};
const ann: JudgedMember = {
  isKnown: true,
  tier: 'gold',
  segments: ['family', 'vegan'],
  birthday: '--05-17',
  joinedAt: Date.parse('2026-11-20T23:30Z'),
  attributes: { visits: 3, weight: 1.5, vip: true, city: 'Bonn' },
  codes: [],
};
const flight = {
  carrier: 'XX',
  flightNumber: 'XX123',
  date: '2026-11-22',
  from: 'TPE',
  to: 'BER',
  distanceMiles: 5_580,
  bookingClass: 'Y',
  fare: { amount: 41_237, currency: 'USD' },
};
/** Sunday 2026-11-22, 09:05 in Berlin. */
const moment = momentOf(Date.parse('2026-11-22T08:05Z'), 'Europe/Berlin');

function seen(subject: Subject, member: JudgedMember = ann, total?: number): SubjectView {
  return viewOf(subject, member, moment, total);
}

function holds(
  text: string,
  view: SubjectView,
  kind: ConditionKind = 'selection',
  judged: Judged = 'purchase',
) {
  expect(checkCondition(text, kind, judged)).toBeUndefined();
  return compileCondition(text, kind, judged)(view);
}

describe('a condition on a receipt', () => {
  const view = seen({ purchase }, ann, 500);
  test.each([
    ['receipt.total == 500', true],
    ['receipt.total / 200 == 2', true],
    ['receipt.currency == "EUR" && receipt.store == "S1" && receipt.channel == "pos"', true],
    ['receipt.terminal == "T4" && receipt.order == "O-1"', true],
    ['receipt.lines.size() == 3', true],
    ['size(receipt.lines) > 3', false],
    ['receipt.lines.exists(each, each.category.startsWith("fresh/") && each.amount >= 499)', true],
    ['receipt.lines.all(each, each.brand == "Orchard")', false],
    ['receipt.lines.exists_one(each, each.sku == "")', true],
    ['receipt.lines.filter(each, each.category == "household").map(each, each.amount).sum() == 250', true],
    ['receipt.lines.map(each, each.amount).sum() == 749', true],
    ['receipt.lines.exists(each, each.quantity > 1.2 && each.unit == "kg")', true],
    ['receipt.lines.exists(each, each.line == "3a" && each.quantity == 1.0)', true],
    ['receipt.payments.exists(each, each.means == "gift_card" && each.amount < 250)', true],
    ['member.known && member.tier in ["gold", "platinum"]', true],
    ['"vegan" in member.segments', true],
    ['"student" in member.segments', false],
    ['member.joinedDays == 1', true],
    ['member.hasBirthday', true],
    ['has(member.attributes.visits) && member.attributes.visits + 1 == 4', true],
    ['has(member.attributes.weight) && member.attributes.weight > 1', true],
    ['has(member.attributes.vip) && member.attributes.vip', true],
    ['has(member.attributes.city) && member.attributes.city.lowerAscii() == "bonn"', true],
    ['"city" in member.attributes && member.attributes["city"].contains("onn")', true],
    ['has(member.attributes.shoeSize) && member.attributes.shoeSize > 40', false],
    ['at.year == 2026 && at.month == 11 && at.day == 22 && at.weekday == 7', true],
    ['at.hour == 9 && at.minute == 5 && at.date == "2026-11-22"', true],
    ['at.date < "2026-12-01" ? receipt.total > 100 : receipt.total > 1000', true],
    ['!(receipt.total > 100)', false],
  ])('%s is %s', (text, expected) => {
    expect(holds(text, view)).toBe(expected);
  });

  test('sees a total that was not given as the sum of the lines', () => {
    expect(holds('receipt.total == 749', seen({ purchase }))).toBe(true);
  });

  test('knows of nobody that nothing is known', () => {
    const text =
      '!member.known && member.tier == "" && member.joinedDays == -1 && member.segments.size() == 0';
    expect(holds(text, seen({ purchase }, nobody))).toBe(true);
  });

  test('sees a line where it chooses lines', () => {
    const condition = compileCondition(
      'line.amount >= 250 && receipt.total > 400 && line.brand == ""',
      'line',
    );
    const view = seen({ purchase });
    expect(lines.map((line) => condition(viewOfLine(view, line)))).toEqual([false, true, false]);
  });
});

describe('a condition on a flight or an activity', () => {
  test.each([
    ['flight.carrier == "XX" && flight.bookingClass in ["Y", "B"] && flight.from == "TPE"', true],
    ['flight.distanceMiles >= 5000 && flight.fare > 40000 && flight.fareCurrency == "USD"', true],
    ['flight.operatingCarrier == "" && flight.ticket == "" && flight.to != "BER"', false],
  ])('%s is %s', (text, expected) => {
    expect(holds(text, seen({ flight }), 'selection', 'flight')).toBe(expected);
  });

  test('reads the attributes of an activity', () => {
    const view = seen({ activity: { type: 'review', attributes: { stars: '5' } } });
    const text =
      'activity.type == "review" && has(activity.attributes.stars) && int(activity.attributes.stars) > 3';
    expect(holds(text, view, 'selection', 'activity')).toBe(true);
  });
});

const refused: readonly [string, ConditionKind, Judged, RegExp, number][] = [
  ['receipt.total >', 'selection', 'purchase', /Unexpected token: EOF/, 15],
  [
    'recipt.total > 1',
    'selection',
    'purchase',
    /names recipt, which is nothing; there are receipt, member, at/,
    0,
  ],
  [
    'at.hour < 12 && receipt.amout > 1',
    'selection',
    'purchase',
    /receipt\.amout, which is nothing; receipt has total/,
    24,
  ],
  ['receipt.lines.exists(each, each.skew == "a")', 'selection', 'purchase', /a field skew/, 32],
  ['receipt.total > "100"', 'selection', 'purchase', /no such overload: int > string/, 0],
  ['receipt.total', 'selection', 'purchase', /is int, and must be true or false/, 0],
  [
    'has(member.attributes.vip) ? member.attributes.vip : false',
    'selection',
    'purchase',
    /must be true or false/,
    0,
  ],
  [
    'flight.carrier == "XX"',
    'selection',
    'purchase',
    /names flight, which rules on purchases do not know/,
    0,
  ],
  [
    'receipt.total > 1',
    'selection',
    'flight',
    /names receipt, which rules on flights do not know; they know flight/,
    0,
  ],
  ['line.amount > 1', 'selection', 'purchase', /names line, which rules on purchases do not know/, 0],
  [
    'line.quantity == 2',
    'line',
    'purchase',
    /a decimal number and a whole one do not go together, write 2\.0/,
    0,
  ],
  [
    'receipt.store.matches("(a+)+b")',
    'selection',
    'purchase',
    /calls matches \(patterns can take for ever/,
    0,
  ],
  [
    'timestamp("2026-01-01T00:00:00Z").getHours() == 1',
    'selection',
    'purchase',
    /calls getHours|calls timestamp/,
    0,
  ],
  ['cel.bind(x, receipt.total, x > 1)', 'selection', 'purchase', /calls bind/, 0],
  ['type(receipt.total) == int', 'selection', 'purchase', /calls type/, 0],
  ['dyn(receipt.total) == 1', 'selection', 'purchase', /calls dyn/, 0],
  ['{"a": 1}["a"] == 1', 'selection', 'purchase', /holds a map/, 1],
  ['[[1], [2]].exists(x, x == [1])', 'selection', 'purchase', /list of lists/, 0],
  [
    'receipt.lines.exists(member, member.amount > 1)',
    'selection',
    'purchase',
    /the name member to an element, which is taken/,
    21,
  ],
  [
    'at.hour < 9 && member.attributes.visits > 2',
    'selection',
    'purchase',
    /ask has\(member\.attributes\.visits\)/,
    15,
  ],
  [
    'member.attributes[member.tier] == 1',
    'selection',
    'purchase',
    /names an attribute by what is not a text/,
    0,
  ],
  ['at.hour > 5 && (false || 1 > 2)', 'selection', 'purchase', /cannot be true: this is always false/, 16],
  ['receipt.total > 1 && 1 / 0 == 1', 'selection', 'purchase', /cannot be true: this always fails/, 21],
  ['false', 'selection', 'purchase', /always false/, 0],
  [
    'receipt.total > 500 && receipt.total < 100',
    'selection',
    'purchase',
    /there is no such receipt\.total/,
    23,
  ],
  ['receipt.total > 5 && 6 > receipt.total', 'selection', 'purchase', /there is no such receipt\.total/, 21],
  ['at.weekday == 8', 'selection', 'purchase', /there is no such at\.weekday/, 0],
  ['at.hour >= 24', 'selection', 'purchase', /there is no such at\.hour/, 0],
  ['at.month in [13, 14]', 'selection', 'purchase', /there is no such at\.month/, 0],
  ['receipt.total < 0', 'selection', 'purchase', /there is no such receipt\.total/, 0],
  [
    'member.tier == "gold" && member.tier == "silver"',
    'selection',
    'purchase',
    /there is no such member\.tier/,
    25,
  ],
  [
    'member.tier in ["gold"] && member.tier in ["silver"]',
    'selection',
    'purchase',
    /no such member\.tier/,
    27,
  ],
  ['member.known && !member.known', 'selection', 'purchase', /no such member\.known/, 16],
  ['at.weekday == 8 || at.hour == 24', 'selection', 'purchase', /no such at\.weekday/, 0],
];

describe('a condition that is refused', () => {
  test.each(refused)('%s', (text, kind, judged, message, offset) => {
    expect(checkCondition(text, kind, judged)).toEqual({ message: expect.stringMatching(message), offset });
  });

  test('is not one that could be true', () => {
    const fine = [
      'at.weekday == 8 || at.hour == 23',
      'receipt.total > 5 && receipt.total < 7',
      'receipt.total >= 5 && receipt.total <= 5',
      'receipt.lines.exists(each, each.quantity > 2.0 && each.quantity < 3.0)',
      'member.tier == "gold" && member.tier != "silver"',
      'at.weekday in [6, 7] && at.weekday != 6',
      'true',
      'at.hour < 12 || false',
    ];
    expect(fine.map((text) => checkCondition(text, 'selection'))).toEqual(fine.map(() => undefined));
    expect(checkCondition('line.quantity > 2 && line.quantity < 3', 'line')).toBeUndefined();
  });

  test('has limits of size, depth and steps', () => {
    const long = Array.from({ length: 300 }, (_, i) => `at.hour != ${i}`).join(' && ');
    expect(checkCondition(long, 'selection')?.message).toMatch(/more than 500 parts/);
    const deep = `${'('.repeat(40)}at.hour > 1${')'.repeat(40)}`;
    expect(checkCondition(deep, 'selection')?.message).toMatch(/more than 30 deep/);
    const list = `at.hour in [${Array.from({ length: 301 }, (_, i) => i).join(',')}]`;
    expect(checkCondition(list, 'selection')?.message).toMatch(/list of more than 300/);
    const nested = 'receipt.lines.all(a, receipt.lines.exists(b, a.sku == b.brand))';
    expect(checkCondition(nested, 'selection')?.message).toMatch(/takes up to \d+ steps; 100000 are allowed/);
    const hidden = 'receipt.lines.all(a, a.sku in receipt.lines.map(b, b.brand))';
    expect(checkCondition(hidden, 'selection')?.message).toMatch(/steps/);
    const searched = 'receipt.lines.all(each, each.sku in member.segments)';
    expect(checkCondition(searched, 'selection')?.message).toMatch(/steps/);
    const onLines = 'receipt.lines.exists(a, a.sku == line.brand)';
    expect(checkCondition(onLines, 'line')?.message).toMatch(/thousand lines/);
  });
});

describe('a condition that fails while it runs', () => {
  test.each([
    ['receipt.total / (receipt.total - 500) > 1', /division by zero/],
    ['int(receipt.store) > 1', /cannot convert to int/],
    ['receipt.lines[7].amount > 1', /index out of bounds/],
    ['has(member.attributes.city) && member.attributes.city > 3', /no such overload/],
    ['has(member.attributes.city) && member.attributes.city', /bool/],
    ['receipt.total * 9223372036854775807 > 1', /overflow/],
  ])('%s says why', (text, reason) => {
    const condition = compileCondition(text, 'selection');
    expect(() => condition(seen({ purchase }, ann, 500))).toThrow(ConditionFailure);
    expect(() => condition(seen({ purchase }, ann, 500))).toThrow(reason);
  });

  test('does not fail where the other side decides', () => {
    expect(holds('receipt.total == 0 || 500 / receipt.total == 1', seen({ purchase }, ann, 0))).toBe(true);
  });

  test('is not compiled where it could not have been checked', () => {
    expect(() => compileCondition('recipt.total > 1', 'selection')).toThrow(RangeError);
    expect(() => compileCondition('receipt.total', 'selection')).toThrow(RangeError);
  });
});

describe('the steps of a condition', () => {
  test('grow with the lists it looks at', () => {
    expect(stepsOf('at.hour < 12', 'selection')).toBeLessThan(10);
    const [once, twice] = ['each.amount > 1', 'each.amount > 1 && each.sku != "a"'].map((body) =>
      stepsOf(`receipt.lines.exists(each, ${body})`, 'selection'),
    );
    expect(once).toBeGreaterThan(4_000);
    expect(twice).toBeGreaterThan(once! + 4_000);
    expect(twice).toBeLessThan(stepsMax);
  });

  test('of a condition on lines are counted for a thousand', () => {
    expect(stepsOf('line.amount > 1', 'line')).toBe(1_000 * stepsOf('receipt.total > 1', 'selection'));
  });
});
