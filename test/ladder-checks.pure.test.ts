/** What contradicts itself in a ladder, or can never be: found, with its place and a sentence. */
import { describe, expect, test } from 'vitest';
import { changesBetween, changesText } from '#src/earning/file/diff.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import { placeOf, said } from './house/program-text.ts';

const head = `timeZone: Europe/Berlin
currencies: [{ code: points }, { code: credits, spendable: false }, { code: coins }]
rules:
  - { name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }
  - { name: status, currency: credits, earn: { by: amount, points: 1, perMinorUnits: 100 } }
`;
const spend = (atLeast: string) => `{ all: [{ measure: spend, atLeast: ${atLeast} }] }`;
const base = '{ name: base }';
const silver = `{ name: silver, reach: ${spend('100')} }`;
const gold = `{ name: gold, reach: ${spend('200')} }`;
const yearly = 'period: { kind: calendar_year }, validity: { kind: end_of_next_period }, down: one_step';

/** A file with one ladder; `rest` is what it says beside its tiers. */
const withTiers = (tiers: readonly string[], rest = yearly) =>
  `${head}ladders:\n  - { name: club, ${rest}, tiers: [${tiers.join(', ')}] }\n`;
const withRest = (rest: string) => withTiers([base, silver, gold], rest);

type Row = readonly [what: string, marked: string, message: string, ...others: string[]];

function expectFound(marked: string, messages: readonly string[]): void {
  const found = said(marked.replace('§', ''));
  expect(found.map((each) => each.replace(/\d+:\d+ /, ''))).toEqual(messages);
  expect(found[0]).toMatch(new RegExp(`^(warning )?${placeOf(marked)} `));
}

test('a right ladder says nothing', () => {
  expect(said(withTiers([base, silver, gold]))).toEqual([]);
});

describe('tiers that cannot be', () => {
  const at = '/ladders/0/tiers';
  test.each<Row>([
    [
      'a threshold that does not rise',
      withTiers([base, gold, `{ name: top, reach: { all: §[{ measure: spend, atLeast: 150 }] } }`]),
      `${at}/2/reach/all does not rise: 150 spend reaches top and not gold`,
    ],
    [
      'the same threshold twice',
      withTiers([base, silver, `{ name: top, reach: §${spend('100')} }`]),
      `${at}/2/reach asks for no more than silver: nobody would stay there`,
    ],
    [
      'another way up that misses the tier below',
      withTiers([
        base,
        silver,
        `{ name: top, reach: { any: [{ measure: spend, atLeast: 200 }, §{ measure: visits, atLeast: 5 }] } }`,
      ]),
      `${at}/2/reach/any/1 does not rise: 5 visits reaches top and not silver`,
    ],
    [
      'a tier that nothing reaches',
      withTiers([base, silver, '§{ name: top }']),
      `${at}/2 nothing reaches it: say reach, or onlyGranted: true`,
    ],
    [
      'a granted tier that is reached as well',
      withTiers([base, silver, `{ name: top, onlyGranted: true, reach: §${spend('200')} }`]),
      `${at}/2/reach the tier is only granted: leave it or onlyGranted out`,
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('goals that cannot be', () => {
  const at = '/ladders/0/tiers';
  test.each<Row>([
    [
      'more active months than the period has',
      withTiers([base, '{ name: top, reach: { all: [{ measure: active_months, atLeast: §13 }] } }']),
      `${at}/1/reach/all/0/atLeast nothing reaches it: a period has at most 12 months`,
    ],
    [
      'points of a currency that is not there',
      withTiers([base, '{ name: top, reach: { any: [{ measure: points, currency: §miles, atLeast: 5 }] } }']),
      `${at}/1/reach/any/0/currency miles is not in currencies: there is points, credits, coins`,
    ],
    [
      'points that nothing gives',
      withTiers([base, '{ name: top, reach: { any: [{ measure: points, currency: §coins, atLeast: 5 }] } }']),
      `${at}/1/reach/any/0/currency nothing reaches it: no rule or promotion gives coins`,
    ],
    [
      'a first tier with a goal',
      withTiers([`{ name: base, reach: §${spend('5')} }`, silver]),
      `${at}/0/reach everybody has the first tier: leave it out`,
    ],
    [
      'keeping that is harder than reaching',
      withTiers([base, `{ name: top, reach: ${spend('100')}, keep: §${spend('120')} }`]),
      `${at}/1/keep is harder than reach: 100 spend reaches top and does not keep it`,
    ],
    [
      'keeping that is easier above than below',
      withTiers([
        base,
        silver,
        `{ name: top, reach: ${spend('200')}, keep: { all: §[{ measure: spend, atLeast: 80 }] } }`,
      ]),
      `${at}/2/keep/all does not rise: 80 spend keeps top and not silver`,
    ],
    [
      'a measure twice in one list',
      withTiers([
        base,
        '{ name: top, reach: { all: [{ measure: spend, atLeast: 5 }, §{ measure: spend, atLeast: 6 }] } }',
      ]),
      `${at}/1/reach/all/1 spend stands twice here; the larger number is enough`,
    ],
    [
      'a measure that there is not',
      withTiers([base, '{ name: top, reach: { all: [{ measure: §likes, atLeast: 5 }] } }']),
      `${at}/1/reach/all/0/measure has to be points, spend, visits, flights, distance or active_months`,
    ],
    [
      'one tier',
      withTiers(['{ name: base }']).replace('tiers: [', 'tiers: §['),
      `${at} Too small: expected array to have >=2 items`,
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('names of ladders and tiers', () => {
  const second = (tiers: string, name = 'travel') =>
    `${withTiers([base, silver])}  - { name: ${name}, ${yearly}, tiers: [{ name: guest }, ${tiers}] }\n`;
  test.each<Row>([
    [
      'a tier of two ladders',
      second(`{ name: §silver, reach: ${spend('5')} }`),
      '/ladders/1/tiers/1/name silver is a tier of club already; rules name tiers without their ladder',
    ],
    [
      'two ladders of one name',
      second(gold, '§club'),
      '/ladders/1/name club is used twice; give one of them another name',
    ],
    [
      'a former name that is a tier',
      withTiers([base, silver, `{ name: top, was: [§silver], reach: ${spend('200')} }`]),
      '/ladders/0/tiers/2/was/0 silver is a tier of its own',
    ],
    [
      'a former name of two tiers',
      withTiers([
        base,
        `{ name: rose, was: [old], reach: ${spend('100')} }`,
        `{ name: top, was: [§old], reach: ${spend('200')} }`,
      ]),
      '/ladders/0/tiers/2/was/0 old was one tier; say it of one',
    ],
    [
      'an unknown tier in a promotion',
      `${withTiers([base, silver])}promotions:\n  - { name: more, currency: points, tiers: [silver, §golden], multiply: { by: 2 } }\n`,
      '/promotions/0/tiers/1 golden is no tier of a ladder: there is base, silver',
    ],
    [
      'an unknown tier in expiry',
      withTiers([base, silver]).replace(
        '{ code: points }',
        '{ code: points, expiry: { kind: tier, tiers: { golden: §{ kind: never } }, otherwise: { kind: days, days: 9 } } }',
      ),
      '/currencies/0/expiry/tiers/golden golden is no tier of a ladder: there is base, silver',
    ],
    [
      'an unknown tier in a fare',
      withTiers([base, silver]).replace(
        'rules:',
        'rules:\n  - { name: fly, on: flight, currency: points, earn: { by: fare, perMinorUnits: 100, points: 5, tiers: { golden: §7 } } }',
      ),
      '/rules/0/earn/tiers/golden golden is no tier of a ladder: there is base, silver',
    ],
    [
      'an unknown tier in redemption',
      `${withTiers([base, silver])}redemption:\n  - { name: all, currency: points, tiers: [§golden], exchange: { points: 100, minorUnits: 500, money: EUR } }\n`,
      '/redemption/0/tiers/0 golden is no tier of a ladder: there is base, silver',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));

  test('may be any in a file without ladders', () => {
    const file = `${head}promotions:\n  - { name: more, currency: points, tiers: [golden], multiply: { by: 2 } }\n`;
    expect(said(file)).toEqual([]);
  });
});

describe('periods and ends that cannot be', () => {
  const months = 'validity: { kind: months, months: 12 }, down: earned';
  test.each<Row>([
    [
      'a lifetime that should end',
      withRest('period: { kind: lifetime }, validity: { kind: §end_of_period }, down: earned'),
      '/ladders/0/validity/kind a lifetime never ends: say months or for_ever',
    ],
    [
      'rolling months that should end',
      withRest(
        'period: { kind: rolling_months, months: 12 }, validity: { kind: §end_of_next_period }, down: earned',
      ),
      '/ladders/0/validity/kind months that end today never end: say months or for_ever',
    ],
    [
      'rolling over the end of what has none',
      withRest(`period: { kind: lifetime }, ${months}, atPeriodEnd: §roll_over`),
      '/ladders/0/atPeriodEnd a lifetime never ends: there is nothing to roll over',
    ],
    [
      'rolling over a promotion in rolling months',
      withRest(`period: { kind: rolling_months, months: 12 }, ${months}, atPromotion: §roll_over`),
      '/ladders/0/atPromotion what rolls over has to end with a period: say keep or reset',
    ],
    [
      'keeping what was counted where periods begin with a promotion',
      withRest(`period: { kind: since_promotion, months: 12 }, ${months}, atPromotion: §keep`),
      '/ladders/0/atPromotion periods begin with a promotion: say reset or roll_over',
    ],
    [
      'a month that there is not',
      withRest(
        'period: { kind: calendar_year, firstMonth: §13 }, validity: { kind: end_of_period }, down: earned',
      ),
      '/ladders/0/period/firstMonth has to be at most 12',
    ],
    [
      'a period that there is not',
      withRest('period: { kind: §weekly }, validity: { kind: for_ever }, down: none'),
      '/ladders/0/period/kind has to be calendar_year, rolling_months, anniversary, since_promotion or lifetime',
    ],
    [
      'a grace that is never used',
      withRest(
        `period: { kind: lifetime }, validity: { kind: for_ever }, down: earned, grace: §{ months: 1 }`,
      ),
      'warning /ladders/0/grace is never used: tiers are for ever',
    ],
    [
      'keeping that decides nothing',
      withTiers(
        [base, `{ name: top, reach: ${spend('100')}, keep: §${spend('50')} }`],
        'period: { kind: calendar_year }, validity: { kind: end_of_period }, down: earned',
      ),
      'warning /ladders/0/tiers/1/keep decides nothing: a tier ends with the period that gave it; say end_of_next_period, or a grace',
    ],
    ['a warning twice', withRest(`${yearly}, warnDays: [30, §30]`), '/ladders/0/warnDays/1 30 is used twice'],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

describe('matches and alliances that cannot be', () => {
  const match = (rest: string) =>
    withRest(
      `${yearly}, matches: [{ name: swap, partner: other, trialDays: 90, onceIn: lifetime, ${rest} }]`,
    );
  const alliance = (rest: string) => withRest(`${yearly}, alliances: [{ alliance: star, ${rest} }]`);
  test.each<Row>([
    [
      'a match to a tier that is not there',
      match('tiers: [{ from: [x], tier: §top }]'),
      '/ladders/0/matches/0/tiers/0/tier top is no tier of club: there is base, silver, gold',
    ],
    [
      'a match to what everybody has',
      match('tiers: [{ from: [x], tier: §base }]'),
      '/ladders/0/matches/0/tiers/0/tier everybody has base',
    ],
    [
      'one tier of theirs for two of ours',
      match('tiers: [{ from: [x], tier: silver }, { from: [y, §x], tier: gold }]'),
      '/ladders/0/matches/0/tiers/1/from/1 x is used twice',
    ],
    [
      'a match that ends before it begins',
      match('from: 2026-06-01, through: §2026-05-31, tiers: [{ from: [x], tier: gold }]'),
      '/ladders/0/matches/0/through never holds: it ends before it begins, on 2026-06-01',
    ],
    [
      'a tier twice in an alliance',
      alliance('tiers: [{ tier: gold, equals: a }, { tier: §gold, equals: b }]'),
      '/ladders/0/alliances/0/tiers/1/tier gold is used twice',
    ],
  ])('%s', (_, marked, ...messages) => expectFound(marked, messages));
});

test('the difference of two ladders names tiers, goals and their order', () => {
  const fileOf = (source: string) => readProgramFile(source).file!;
  const before = fileOf(withTiers([base, silver, gold]));
  const after = fileOf(
    withTiers(
      [base, `{ name: bronze, reach: ${spend('50')} }`, silver, `{ name: gold, reach: ${spend('250')} }`],
      `${yearly}, grace: { months: 2 }`,
    ),
  );
  expect(changesText(changesBetween(before, after)).split('\n')).toEqual([
    'ladder club changed',
    '    tiers: base, silver, gold → base, bronze, silver, gold',
    '    tiers.gold.reach.all.spend.atLeast: 200 → 250',
    '    tiers.bronze.name: bronze',
    '    tiers.bronze.reach.all.spend.measure: spend',
    '    tiers.bronze.reach.all.spend.atLeast: 50',
    '    tiers.bronze.onlyGranted: false',
    '    tiers.bronze.protected: false',
    '    grace.months: 2',
    '    grace.through: day',
  ]);
  const turned = fileOf(
    withTiers([base, `{ name: gold, reach: ${spend('100')} }`, `{ name: silver, reach: ${spend('200')} }`]),
  );
  expect(changesText(changesBetween(before, turned))).toContain(
    '    tiers: base, silver, gold → base, gold, silver',
  );
});
