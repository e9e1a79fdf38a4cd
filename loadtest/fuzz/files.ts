/** PURE. Files of the programs and of their partner: with everything that calls are about, and now and then wrong. */
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import type { Chance } from './chance.ts';

export const matchName = 'airlines';
/** Theirs has the name of one of ours. */
export const matchedTier = 'gold';
const ladders: ProgramFileInput['ladders'] = [
  {
    name: 'status',
    tiers: [
      { name: 'blue' },
      { name: 'silver', reach: { all: [{ measure: 'points', currency: 'points', atLeast: 10_500 }] } },
      { name: 'gold', reach: { all: [{ measure: 'points', currency: 'points', atLeast: 1_000_000 }] } },
    ],
    period: { kind: 'calendar_year' },
    validity: { kind: 'end_of_next_period' },
    down: 'one_step',
    matches: [
      {
        name: matchName,
        partner: 'Far Air',
        trialDays: 90,
        tiers: [{ from: [matchedTier], tier: 'silver' }],
        onceIn: { months: 12 },
      },
    ],
  },
];
const segments: ProgramFileInput['segments'] = {
  named: [{ name: 'regulars', where: { frequency: { min: 2 } } }],
};

/** What every version has: points that a pool may spend, a ladder, a segment. */
export const fuzzFile: ProgramFileInput = {
  timeZone: 'Europe/Berlin',
  currencies: [{ code: 'points', poolable: true }],
  ladders,
  segments,
  rules: [{ name: 'spend', currency: 'points', earn: { by: 'amount', points: 1, perMinorUnits: 100 } }],
};

export const partnerName = 'sky';

const contract = {
  billing: { kind: 'postpaid' },
  settleOn: 'issue',
  currency: 'EUR',
  prices: { issue: { amount: 1, perPoints: 1 }, redemption: { amount: 1, perPoints: 1 } },
  limits: Object.fromEntries(
    ['accountAge', 'contactHold', 'member', 'card', 'terminal', 'roundTrip'].map((name) => [name, 'none']),
  ),
};
const rate = (direction: 'out' | 'in', give: number, receive: number) => ({
  direction,
  currency: 'points',
  partnerCurrency: 'miles',
  ratio: { give, receive },
});

/** The partner: two points are a mile there, and a mile three points here. */
export const partnerFile = {
  partner: partnerName,
  title: 'The fuzzer’s partner',
  contracts: [{ from: '2020-01-01', ...contract }],
  rates: [
    { from: '2020-01-01', ...rate('out', 2, 1) },
    { from: '2020-01-01', ...rate('in', 1, 3) },
  ],
};

const wrongs = ['rules: [\n', 'rules: &r [*r]\n', 'x: *y\n', '"\\ud800": 1\n', 'debtAllowed: maybe\n'];

/** A file of the program; one in three is wrong. */
export function programSource(chance: Chance): string {
  const rules = [
    { ...fuzzFile.rules![0], earn: { by: 'amount', points: chance.below(3) + 1, perMinorUnits: 100 } },
  ];
  const lines = Object.entries({ ...fuzzFile, rules }).map(
    ([name, value]) => `${name}: ${JSON.stringify(value)}\n`,
  );
  return `${lines.join('')}${chance.pick(['', '', 'debtAllowed: false\n', '', chance.pick(wrongs), chance.pick(wrongs)])}`;
}

function laterDay(chance: Chance): string {
  return `${2_030 + chance.below(60)}-0${1 + chance.below(9)}-01`;
}

/** A file of a partner; now and then of one that is new, or wrong. */
export function partnerSource(chance: Chance): string {
  const partner = chance.oneIn(3) ? `air-${chance.below(5)}` : partnerName;
  return `${JSON.stringify({ ...partnerFile, partner })}${chance.oneIn(6) ? chance.pick(wrongs) : ''}`;
}

export function contractEntry(chance: Chance): object {
  return { from: laterDay(chance), ...contract };
}

export function rateEntry(chance: Chance): object {
  const direction = chance.pick(['out', 'in'] as const);
  return { from: laterDay(chance), ...rate(direction, 1 + chance.below(5), 1 + chance.below(5)) };
}
