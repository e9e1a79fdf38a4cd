/** What contradicts itself in a program file, or can never do what it says: found, with its place and a sentence. */
import { describe, expect, test } from 'vitest';
import { readProgramFile } from '#src/earning/file/read.ts';
import { placeOf, said } from './house/program-text.ts';

const base = '  - { name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }';
const withSetting = (text: string) =>
  `timeZone: Europe/Berlin\ncurrencies: [{ code: points }]\nrules:\n${base}\n${text}\n`;
const withRule = withSetting;
const withPromotion = (text: string) => withSetting(`promotions:\n${text}`);
const fixed = 'earn: { by: fixed, points: 50 }';

/** What a file says, its place marked by §, and what is said of it; the first finding is at the mark. */
type Row = readonly [what: string, marked: string, message: string, ...others: string[]];

function expectFound(marked: string, messages: readonly string[]): void {
  const found = said(marked.replace('§', ''));
  expect(found.map((each) => each.replace(/\d+:\d+ /, ''))).toEqual(messages);
  expect(found[0]).toMatch(new RegExp(`^(warning )?${placeOf(marked)} `));
}

describe('a fault is found in names', () => {
  test.each<Row>([
    [
      'a name twice',
      withRule('  - { name: §base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }'),
      '/rules/1/name base is used twice; give one of them another name',
    ],
    [
      'a promotion named like a rule',
      withPromotion(`  - { name: §base, currency: points, ${fixed} }`),
      '/promotions/0/name base is used twice; give one of them another name',
    ],
    [
      'a currency that is not there',
      withRule(`  - { name: more, currency: §coins, ${fixed} }`),
      '/rules/1/currency coins is not in currencies: there is points',
    ],
    [
      'a funder that is not there',
      'timeZone: Europe/Berlin\ncurrencies: [{ code: points }]\n\nrules:\n  - §{ name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }\nfunders: [bank]',
      '/rules/0/funder program is not in funders: there is bank',
    ],
    [
      'shares that are not all of it',
      withRule(
        `  - { name: more, currency: points, ${fixed}, costShares: §[{ funder: program, percent: 60 }] }`,
      ),
      '/rules/1/costShares sum to 60 percent; they have to sum to 100',
    ],
    [
      'a multiplier of a rule that is not there',
      withPromotion('  - { name: more, currency: points, multiply: { by: 2, rules: [§bonus] } }'),
      '/promotions/0/multiply/rules/0 bonus is not in rules',
    ],
    [
      'a currency that is none of ISO 4217',
      withSetting('moneyCurrencies: [EUR, §QQQ]'),
      '/moneyCurrencies/1 QQQ is not a currency of ISO 4217',
      'warning /moneyCurrencies are counted alike, minor unit for minor unit: say money with rates to convert them',
    ],
    [
      'an example of a rule that is not there',
      withSetting(
        'examples: [{ name: one, occurredAt: "2026-01-01T00:00:00Z", activity: { type: visit }, expect: [{ rule: §bonus, points: 1 }] }]',
      ),
      '/examples/0/expect/0/rule bonus is not in rules or promotions: there is base',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('a fault is found in what is counted and given', () => {
  test.each<Row>([
    [
      'a cap below a single award',
      withRule(`  - { name: more, currency: points, ${fixed}, caps: [{ points: §40, period: day }] }`),
      '/rules/1/caps/0/points is below a single award of 50 points; raise it or lower the award',
    ],
    [
      'two caps for one period',
      withRule(
        `  - { name: more, currency: points, ${fixed}, caps: [{ points: 60, period: day }, { points: 70, period: §day }] }`,
      ),
      '/rules/1/caps/1/period there are two caps for a day; keep the smaller one',
    ],
    [
      'a rule on flights that counts money of a receipt',
      withRule(
        '  - { name: more, on: flight, currency: points, earn: { by: §amount, points: 1, perMinorUnits: 100 } }',
      ),
      '/rules/1/earn/by amount is of a purchase: say on: purchase, or count something else',
    ],
    [
      'a rule on activities in stores',
      withRule(`  - { name: more, on: activity, stores: §[s1], currency: points, ${fixed} }`),
      '/rules/1/stores only a purchase has it, and this is on an activity',
    ],
    [
      'a class that is in the table twice',
      withRule(
        '  - { name: fly, on: flight, currency: points, earn: { by: distance, classes: [{ codes: [Y, B], percent: 100 }, { codes: [§B], percent: 50 }] } }',
      ),
      '/rules/1/earn/classes/1/codes/0 class B is in the table twice',
    ],
    [
      'points that end before they count',
      withRule(
        `  - { name: more, currency: points, ${fixed}, pending: { kind: days, days: §20 }, expiry: { kind: days, days: 10 } }`,
      ),
      '/rules/1/pending/days the points end before they begin to count',
    ],
    [
      'an end of its own for a rule of a currency that ends together',
      withRule(`  - { name: more, currency: points, ${fixed}, expiry: §{ kind: never } }`).replace(
        '{ code: points }',
        '{ code: points, expiry: { kind: inactivity, months: 6 } }',
      ),
      '/rules/1/expiry all points of points end together, by inactivity: leave it out',
    ],
    [
      'inactivity of a single rule',
      withRule(`  - { name: more, currency: points, ${fixed}, expiry: { kind: §inactivity, months: 6 } }`),
      '/rules/1/expiry/kind inactivity ends all points of a currency together: say it of the currency alone',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('a fault is found in promotions, groups and budgets', () => {
  test.each<Row>([
    [
      'a promotion that does nothing',
      withPromotion('  - §{ name: more, currency: points }'),
      '/promotions/0 needs exactly one of multiply, earn and give, and has none',
    ],
    [
      'a promotion that does two things',
      withPromotion(`  - §{ name: more, currency: points, ${fixed}, multiply: { by: 2 } }`),
      '/promotions/0 needs exactly one of multiply, earn and give, and has multiply and earn',
    ],
    [
      'a multiplier below one',
      withPromotion('  - { name: more, currency: points, multiply: { by: §"0.5" } }'),
      '/promotions/0/multiply/by would take points away: a multiplier is at least 1',
    ],
    [
      'a multiplier of nothing',
      withPromotion('  - { name: more, on: flight, currency: points, multiply: §{ by: 2 } }'),
      '/promotions/0/multiply there is no rule on flight that gives points, so there is nothing to multiply',
    ],
    [
      'a gift for what is bought',
      withPromotion(
        '  - { name: gift, currency: points, during: { member: birthday }, give: { points: 5 }, stores: §[s1] }',
      ),
      '/promotions/0/stores a gift comes without a receipt, so this cannot be looked at; leave it out',
    ],
    [
      'a gift without a day',
      withPromotion('  - { name: gift, currency: points, give: §{ points: 5 } }'),
      '/promotions/0/give needs during with from, repeat or member: points are given once for each of its days',
    ],
    [
      'a maximum below the factor',
      withPromotion(
        '  - { name: more, currency: points, multiply: { by: 3 }, group: days }\ngroups: [{ name: days, combine: additive, factorMax: §2 }]',
      ),
      '/groups/0/factorMax is below more, which multiplies by 3',
    ],
    [
      'a budget of nothing',
      withSetting('budgets: [§{ name: winter }]'),
      '/budgets/0 needs either points or minorUnits: say which of the two is limited',
      'warning /budgets/0/name winter limits nothing: no rule or promotion names it',
    ],
    [
      'a budget of money that does not say what a point costs',
      withRule(
        `  - { name: more, currency: points, ${fixed}, budget: winter }\nbudgets: [§{ name: winter, minorUnits: 100 }]`,
      ),
      '/budgets/0 needs costPerPoint: what a point costs, in minor units such as "0.5"',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('a fault is found in what points are worth', () => {
  test.each<Row>([
    [
      'a redemption whose maximum is below its minimum',
      withSetting(
        'redemption: [{ name: pay, currency: points, exchange: { points: 100, minorUnits: 100, money: EUR }, minimumPoints: 200, maximumPoints: §100 }]',
      ),
      '/redemption/0/maximumPoints is below the minimum of 200 points',
    ],
    [
      'a redemption whose minimum is off its step',
      withSetting(
        'redemption: [{ name: pay, currency: points, exchange: { points: 100, minorUnits: 100, money: EUR }, minimumPoints: §250, stepPoints: 100 }]',
      ),
      '/redemption/0/minimumPoints is no multiple of the step of 100 points',
    ],
    [
      'a redemption that buys nothing',
      withSetting(
        'redemption: [{ name: pay, currency: points, exchange: §{ points: 100, minorUnits: 1, money: EUR } }]',
      ),
      '/redemption/0/exchange buys nothing with 1 points: say minimumPoints of 100 or more, or a larger step',
    ],
    [
      'a rate of the own currency',
      withSetting(
        'money: { currency: EUR, rates: [{ currency: §EUR, from: 2026-01-01, units: 1, base: 1 }] }',
      ),
      "/money/rates/0/currency EUR is the program's own: it needs no rate",
    ],
    [
      'a zone that is none',
      'timeZone: §Mars/Base\ncurrencies: [{ code: points }]',
      '/timeZone Mars/Base is not an IANA time zone such as Europe/Berlin',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('what is left of limits is seen', () => {
  const gift = (rest: string) =>
    withPromotion(`  - { name: gift, currency: points, give: { points: 5 }, ${rest} }`);
  const flight = (rest: string) => withRule(`  - { name: fly, on: flight, currency: points, ${rest} }`);
  const grouped = (promotion: string, group: string) =>
    withPromotion(`  - { name: more, currency: points, group: days, ${promotion} }\n${group}`);

  test.each<Row>([
    [
      'a gift of every day',
      gift('during: §{ from: 2026-01-01 }'),
      '/promotions/0/during would give the points every day: say repeat, or the same day in from and through',
    ],
    [
      'a gift within hours',
      gift('during: { member: birthday, hours: §["10:00", "12:00"] }'),
      '/promotions/0/during/hours a gift begins at its own time: say give.at instead',
    ],
    [
      'a gift with a cap',
      gift('during: { member: birthday }, caps: §[{ points: 5, period: year }]'),
      '/promotions/0/caps a gift comes once for each of its days, so it needs no cap',
    ],
    [
      'a minimum for classes that earn nothing',
      flight('earn: { by: distance, classes: [{ codes: [X], percent: 0, minimumMiles: §300 }] }'),
      '/rules/1/earn/classes/0/minimumMiles a class of 0 percent earns nothing, so it has no minimum',
    ],
    [
      'a cap below the smallest minimum',
      flight(
        'earn: { by: distance, classes: [{ codes: [X], percent: 50, minimumMiles: 300 }] }, caps: [{ points: §200, period: ticket }]',
      ),
      '/rules/1/caps/0/points is below a single award of 300 points; raise it or lower the award',
    ],
    [
      'a cap on a ticket that nobody has',
      withRule(`  - { name: more, currency: points, ${fixed}, caps: [{ points: 60, period: §ticket }] }`),
      '/rules/1/caps/0/period only a flight has a ticket, and this is on a purchase',
    ],
    [
      'a cap that a longer one covers',
      withRule(
        `  - { name: more, currency: points, ${fixed}, caps: [{ points: §90, period: day }, { points: 80, period: week }] }`,
      ),
      'warning /rules/1/caps/0/points is never reached: a week has at most 80 points',
    ],
    [
      'points of a group below one promotion of it',
      grouped(fixed, 'groups: [{ name: days, combine: additive, pointsMax: §20 }]'),
      '/groups/0/pointsMax is below more, which gives 50 points at once',
    ],
    [
      'points of all promotions below one of them',
      withPromotion(`  - { name: more, currency: points, ${fixed} }\npromotionsPointsMax: §20`),
      '/promotionsPointsMax is below more, which gives 50 points at once',
    ],
    [
      'a budget below a single award',
      withRule(
        `  - { name: more, currency: points, ${fixed}, budget: §small }\nbudgets: [{ name: small, points: 20 }]`,
      ),
      '/rules/1/budget small has 20 points, less than a single award of 50',
    ],
    [
      'what a point costs where points are counted',
      withRule(
        `  - { name: more, currency: points, ${fixed}, budget: b }\nbudgets: [{ name: b, points: 200, costPerPoint: §2 }]`,
      ),
      '/budgets/0/costPerPoint is only for a budget of minorUnits',
    ],
    [
      'only means that never earn',
      withRule(
        '  - { name: more, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100, paidBy: §[points] } }',
      ),
      'warning /rules/1/earn/paidBy what was paid by points or gift cards earns nothing: this rule never applies',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('what never comes to anything is seen', () => {
  test.each<Row>([
    [
      'a budget of money below a single award',
      withRule(
        `  - { name: more, currency: points, ${fixed}, budget: §small }\nbudgets: [{ name: small, minorUnits: 20, costPerPoint: "0.5" }]`,
      ),
      '/rules/1/budget small has 40 points, less than a single award of 50',
    ],
    [
      'points that end with the year of their currency before they count',
      withRule(`  - { name: more, currency: points, ${fixed}, pending: { kind: days, days: §400 } }`).replace(
        '{ code: points }',
        '{ code: points, expiry: { kind: year_end, years: 0 } }',
      ),
      '/rules/1/pending/days the points end before they begin to count',
    ],
    [
      'once for an order, of what is counted by lines',
      withPromotion('  - { name: more, currency: points, multiply: { by: 2 }, oncePerOrder: §true }'),
      'warning /promotions/0/oncePerOrder is about fixed points alone: whatever else it gives is for the lines of each shipment, which come once',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('what can never be paid is seen', () => {
  const pay = (name: string, rest = '') =>
    `{ name: ${name}, currency: points, exchange: { points: 100, minorUnits: 100, money: EUR }${rest} }`;

  test.each<Row>([
    [
      'a redemption rule behind one that always fits',
      withSetting(`redemption: [${pay('all')}, ${pay('gold', ', tiers: [gold]').replace('gold', '§gold')}]`),
      'warning /redemption/1/name is never reached: all, which stands before it, always fits',
    ],
    [
      'a maximum off its step',
      withSetting(`redemption: [${pay('all', ', stepPoints: 100, maximumPoints: §250')}]`),
      '/redemption/0/maximumPoints is no multiple of the step of 100 points',
    ],
    [
      'another money than rules count in',
      withSetting(`money: { currency: CHF }\nredemption: [${pay('all').replace('EUR', '§EUR')}]`),
      '/redemption/0/exchange/money has to be CHF, in which rules count',
    ],
    [
      'money without a rate',
      withSetting('moneyCurrencies: [EUR, §CHF]\nmoney: { currency: EUR }'),
      '/moneyCurrencies/1 CHF has no rate in money.rates',
    ],
    [
      'two rates of one day',
      withSetting(
        'money: { currency: EUR, rates: [{ currency: CHF, from: 2026-01-01, units: 1, base: 1 }, { currency: CHF, from: §2026-01-01, units: 1, base: 1 }] }',
      ),
      '/money/rates/1/from there are two rates of CHF from 2026-01-01',
    ],
    [
      'points that nobody spends',
      `timeZone: UTC\ncurrencies: [{ code: points, spendable: false }]\nredemption: [${pay('all').replace('points', '§points')}]\n`,
      '/redemption/0/currency points is not spendable, so nobody can pay with it',
    ],
    [
      'points that a pool cannot spend',
      'timeZone: UTC\ncurrencies: [{ code: points }, { code: stars, spendable: false, poolable: §true }]\n',
      '/currencies/1/poolable stars is not spendable, so nobody can spend it together',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

test('what may be meant so is only a warning', () => {
  const lines = '{ categories: [fresh/fish], except: { categories: §[fresh] } }';
  expectFound(
    withRule(`  - { name: more, currency: points, earn: { by: quantity, points: 1, lines: ${lines} } }`),
    [
      'warning /rules/1/earn/lines/except/categories leaves out all categories that are named: no line ever fits',
    ],
  );
  const source = withPromotion('  - { name: more, currency: points, multiply: { by: 1 } }');
  expect(readProgramFile(source).file?.promotions).toHaveLength(1);
});

describe('a window that never holds is refused', () => {
  test.each([
    ['§{ from: 2026-12-31, through: 2026-12-01 }', /never occurs: its last day/],
    ['§{ hours: ["10:00", "10:00"] }', /never occurs: its hours/],
    ['{ hours: [§"24:00", "02:00"] }', /hours\/0 a day begins at 00:00/],
    [
      '§{ from: 2026-02-01, through: 2026-02-28, repeat: FREQ=MONTHLY;BYMONTHDAY=31 }',
      /never occurs: no day fits/,
    ],
    ['{ repeat: §FREQ=HOURLY }', /repeat FREQ is/],
    ['{ repeat: FREQ=WEEKLY;§BYDAY=XX }', /repeat BYDAY is/],
    ['{ repeat: "FREQ=WEEKLY;§BYDAY=XX" }', /repeat BYDAY is/],
  ])('%s', (window, message) => {
    const marked = withRule(`  - { name: more, currency: points, ${fixed}, during: ${window} }`);
    expect(said(marked.replace('§', ''))).toEqual([expect.stringMatching(message)]);
    expect(said(marked.replace('§', ''))[0]).toMatch(new RegExp(`^${placeOf(marked)} /rules/1/during`));
  });
});

test.each([
  'receipt.totel > 100',
  'receipt.total',
  'receipt.total > ',
  'flight.distanceMiles > 100',
  'false',
])('a condition that cannot be checked, or never holds, is refused inside its text: %s', (text) => {
  const line = `    when: ${text}`;
  const [first, ...others] = said(withRule(`  - name: more\n    currency: points\n    ${fixed}\n${line}`));
  expect(others).toEqual([]);
  const [, row, column] = /^(\d+):(\d+) \/rules\/1\/when /.exec(first ?? '') ?? [];
  expect(Number(row)).toBe(8);
  expect(Number(column)).toBeGreaterThanOrEqual(11);
  expect(Number(column)).toBeLessThanOrEqual(line.length + 1);
});

describe('exclusive promotions of one priority', () => {
  const promotion = (name: string, rest: string) =>
    `  - { name: ${name}, currency: points, multiply: { by: 2 }, group: days, ${rest} }\n`;
  const pair = (a: string, b: string) =>
    said(
      `${withPromotion(promotion('one', a) + promotion('two', b))}groups: [{ name: days, combine: exclusive }]\n`,
    );
  const monthly = (day: number) => `during: { repeat: FREQ=MONTHLY;BYMONTHDAY=${day} }`;

  test('that can meet are refused', () => {
    expect(pair(monthly(8), 'during: { repeat: FREQ=WEEKLY;BYDAY=FR }')).toEqual([
      expect.stringMatching(/^7:5 \/promotions\/1\/priority two and one of the exclusive group days can fit/),
    ]);
  });

  test('of tiers on two ladders can meet, because a member has one of each', () => {
    const ladder = (name: string, tier: string) =>
      `  - { name: ${name}, period: { kind: calendar_year }, validity: { kind: end_of_period }, down: earned, tiers: [{ name: ${name}-base }, { name: ${tier}, reach: { all: [{ measure: spend, atLeast: 1 }] } }] }\n`;
    const meeting = (a: string, b: string) =>
      said(
        `${withPromotion(promotion('one', `tiers: [${a}]`) + promotion('two', `tiers: [${b}]`))}groups: [{ name: days, combine: exclusive }]\nladders:\n${ladder('club', 'gold')}${ladder('air', 'jet')}`,
      );
    expect(meeting('gold', 'jet')).toEqual([
      expect.stringMatching(/two and one of the exclusive group days can fit/),
    ]);
    expect(meeting('gold', 'club-base')).toEqual([]);
  });

  test.each([
    ['other days', monthly(8), monthly(9)],
    ['other tiers', 'tiers: [gold]', 'tiers: [silver]'],
    ['other priorities', 'priority: 1', 'priority: 2'],
    ['other purchases', 'purchaseNumber: 1', 'purchaseNumber: 2'],
  ])('that cannot meet are right: %s', (_, a, b) => expect(pair(a, b)).toEqual([]));
});

test('of many windows that never occur so many are told that nobody waits for them', () => {
  const rules = Array.from(
    { length: 60 },
    (_, i) =>
      `  - { name: r${i}, currency: points, ${fixed}, during: { repeat: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;INTERVAL=${i + 1}" } }`,
  );
  const found = said(withRule(rules.join('\n')));
  expect(found).toHaveLength(20);
  expect(found[19]).toMatch(/ \/rules\/20\/during never occurs/);
});
