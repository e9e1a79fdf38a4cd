/** What stands against an exchange, point blocks of prepaid partners, and what a partner's file may change of what has begun. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { nothingUsed, type QuoteRefusal, quoteOf, rateFor } from '#src/partners/contracts/arithmetic.ts';
import { type Block, drawFrom } from '#src/partners/contracts/blocks.ts';
import { type ExchangeFacts, judge, velocityUntil } from '#src/partners/contracts/limits.ts';
import { planLine } from '#src/partners/contracts/planning.ts';
import { problemOfJudgement, problemOfQuote } from '#src/partners/contracts/problems.ts';
import { readPartnerFile } from '#src/partners/contracts/resolve.ts';
import type { AbuseLimits } from '#src/partners/contracts/types.ts';
import { checkout } from './house/folders.ts';
import { fileWith, partnerOf, plainContract, rateEntry } from './house/partners.ts';

const dayMs = 86_400_000;
const now = Date.parse('2026-06-15T12:00:00Z');

const { limits: shipped } = partnerOf(fileWith([], { contracts: [{ ...plainContract, limits: {} }] }))
  .contracts[0]!;

const facts: ExchangeFacts = {
  at: now,
  direction: 'out',
  give: 1_000,
  receive: 800,
  joinedAt: now - 400 * dayMs,
  contactChangedAt: undefined,
  member: { count: 0, points: 0 },
  card: undefined,
  terminal: undefined,
  oppositeAt: undefined,
  used: nothingUsed,
  endOf: (period) => now + { day: 1, month: 2, year: 3 }[period],
  name: 'not_compared',
  links: undefined,
  partnerToday: 0,
};
const sameName = { match: 'initials', action: 'refuse' } as const;
const links = { accounts: 2, members: 1, hours: 24, action: 'review' } as const;
const hourMs = 3_600_000;

const cases: readonly (readonly [
  title: string,
  more: Partial<ExchangeFacts>,
  limits: AbuseLimits,
  outcome: string,
  reason?: object,
])[] = [
  ['nothing', {}, shipped, 'allowed'],
  [
    'a member of 29 days and some hours',
    { joinedAt: now - 30 * dayMs + 1 },
    shipped,
    'refused',
    { limit: 'account_age', bound: 30, value: 29, until: now + 1 },
  ],
  ['a member of 30 days', { joinedAt: now - 30 * dayMs }, shipped, 'allowed'],
  ['a new member, for points that come in', { joinedAt: now, direction: 'in' }, shipped, 'allowed'],
  [
    'a telephone number changed yesterday',
    { contactChangedAt: now - dayMs + 1 },
    shipped,
    'refused',
    { limit: 'contact_hold', until: now + 1 },
  ],
  ['a telephone number changed a day ago', { contactChangedAt: now - dayMs }, shipped, 'allowed'],
  [
    'a fourth exchange of the day',
    { member: { count: 3, points: 3_000 } },
    shipped,
    'refused',
    { limit: 'member_velocity', bound: 3, value: 4 },
  ],
  [
    'a fourth exchange by one card',
    { card: { count: 3, points: 0 } },
    shipped,
    'refused',
    { limit: 'card_velocity' },
  ],
  [
    'a busy till',
    { terminal: { count: 100, points: 0 } },
    shipped,
    'review',
    { limit: 'terminal_velocity', value: 101 },
  ],
  [
    'points that came from there 29 days ago',
    { oppositeAt: now - 30 * dayMs + 1 },
    shipped,
    'review',
    { limit: 'round_trip', value: 29, until: now + 1 },
  ],
  ['points that came from there 30 days ago', { oppositeAt: now - 30 * dayMs }, shipped, 'allowed'],
  [
    'too many points in an hour',
    { member: { count: 1, points: 4_500 } },
    { member: { count: 10, hours: 1, points: 5_000, action: 'review' } },
    'review',
    { limit: 'member_velocity', bound: 5_000, value: 5_500 },
  ],
  [
    'the day of the partner, by what this program gives',
    { partnerToday: 9_500 },
    { partnerDaily: { out: 10_000, action: 'refuse' } },
    'refused',
    { limit: 'partner_daily_cap', value: 10_500, until: now + 1 },
  ],
  ['a name that was not compared', {}, { sameName }, 'refused', { limit: 'same_name', bound: 'initials' }],
  ['a name that fits by its initials', { name: 'initials' }, { sameName }, 'allowed'],
  [
    'initials where the whole name is wanted',
    { name: 'initials' },
    { sameName: { match: 'full', action: 'review' } },
    'review',
    { limit: 'same_name', bound: 'full', value: 'initials' },
  ],
  ['a name in full', { name: 'full' }, { sameName: { match: 'full', action: 'review' } }, 'allowed'],
  [
    'a second account of the day, where two may be',
    { links: { accountsAt: [now - hourMs], membersAt: [] } },
    { links },
    'allowed',
  ],
  [
    'a third account of the day',
    { links: { accountsAt: [now - hourMs, now - 5 * hourMs], membersAt: [] } },
    { links },
    'review',
    { limit: 'linked_accounts', bound: 2, value: 3, until: now + 19 * hourMs },
  ],
  [
    'an account that another member has had an hour ago',
    { links: { accountsAt: [], membersAt: [now - hourMs] } },
    { links },
    'review',
    { limit: 'linked_members', bound: 1, value: 2, until: now + 23 * hourMs },
  ],
  [
    'the day of the partner, by what this program receives',
    { partnerToday: 9_200, direction: 'in' },
    { partnerDaily: { in: 10_000, action: 'refuse' } },
    'allowed',
  ],
];

describe('limits against abuse', () => {
  for (const [title, more, limits, outcome, reason] of cases)
    test(`${title}: ${outcome}`, () => {
      const judged = judge(limits, [], { ...facts, ...more });
      expect(judged.outcome).toBe(outcome);
      expect(judged.reasons).toMatchObject(reason ? [reason] : []);
    });

  test('all that stands against it is named, and the strictest decides', () => {
    const judged = judge(shipped, [{ period: 'day', of: 'give', points: 1_500 }], {
      ...facts,
      oppositeAt: now,
      joinedAt: now,
      used: { ...nothingUsed, day: { give: 600, receive: 0 } },
    });
    expect(judged.outcome).toBe('refused');
    expect(judged.reasons.map(({ limit }) => limit)).toEqual(['account_age', 'member_cap', 'round_trip']);
    for (const { detail } of judged.reasons) expect(detail).toMatch(/^[A-Z].*\.$/);
    const { code, fields } = problemOfJudgement(judged);
    expect(code).toBe('exchange_not_allowed');
    const until = new Date(now + 30 * dayMs).toISOString();
    expect(fields.reasons).toMatchObject([{ limit: 'account_age', until }, { limit: 'member_cap' }]);
  });
});

describe('the time until a limit', () => {
  const useArbitrary = fc.record({
    ago: fc.integer({ min: 1, max: 47 }),
    points: fc.integer({ min: 1, max: 50 }),
  });
  const limit = fc.record({
    count: fc.integer({ min: 1, max: 6 }),
    hours: fc.integer({ min: 1, max: 48 }),
    points: fc.option(fc.integer({ min: 1, max: 120 }), { nil: undefined }),
    action: fc.constant('refuse' as const),
  });

  test('of a velocity lets such an exchange through then, and not a millisecond before', () => {
    fc.assert(
      fc.property(fc.array(useArbitrary, { maxLength: 8 }), limit, (given, member) => {
        const uses = given
          .map(({ ago, points }) => ({ at: now - ago * hourMs, points }))
          .toSorted((a, b) => b.at - a.at);
        const counting = (at: number) => uses.filter((use) => use.at > at - member.hours * hourMs);
        const outcomeAt = (at: number) => {
          const recent = counting(at);
          const counted = {
            count: recent.length,
            points: recent.reduce((sum, each) => sum + each.points, 0),
          };
          return judge({ member }, [], { ...facts, at, give: 20, member: counted }).outcome;
        };
        if (outcomeAt(now) === 'allowed') return;
        const until = velocityUntil(member, counting(now), 20);
        if (member.points !== undefined && member.points < 20) expect(until).toBeUndefined();
        else expect([outcomeAt(until! - 1), outcomeAt(until!)]).toEqual(['refused', 'allowed']);
      }),
    );
  });

  test('of a cap is the end of its period, and there is none where the amount passes it alone', () => {
    const capped = (give: number, points: number) =>
      judge({}, [{ period: 'month', of: 'give', points }], {
        ...facts,
        give,
        used: { ...nothingUsed, month: { give: 900, receive: 0 } },
      }).reasons;
    expect(capped(200, 1_000)).toMatchObject([{ limit: 'member_cap', value: 1_100, until: now + 2 }]);
    expect(capped(1_001, 1_000)[0]).not.toHaveProperty('until');
  });
});

describe('point blocks', () => {
  const billing = { kind: 'prepaid', alertPoints: 100, usesReserve: true } as const;
  const block = (number: number, left: number, more: Partial<Block> = {}): Block => ({
    block: number,
    left,
    from: now - number * dayMs,
    until: null,
    isReserve: false,
    ...more,
  });

  test('are drawn earliest first; one that is over or to come gives nothing, the reserve last', () => {
    const blocks = [
      block(1, 50),
      block(2, 50),
      block(3, 50, { until: now }),
      block(4, 50, { from: now + 1 }),
      block(5, 500, { isReserve: true }),
    ];
    expect(drawFrom(blocks, 120, now, billing)).toEqual({
      status: 'drawn',
      draws: [
        { block: 2, points: 50 },
        { block: 1, points: 50 },
        { block: 5, points: 20 },
      ],
      left: 0,
      alert: true,
      usesReserve: true,
    });
    expect(drawFrom(blocks, 120, now, { ...billing, usesReserve: false })).toEqual({
      status: 'refused',
      left: 100,
    });
  });

  test('give all or nothing, and never more than is in them', () => {
    const blockArbitrary = fc.record({ left: fc.integer({ min: 0, max: 1_000 }), isReserve: fc.boolean() });
    fc.assert(
      fc.property(fc.array(blockArbitrary), fc.integer({ min: 1, max: 3_000 }), (given, points) => {
        const blocks = given.map(({ left, isReserve }, i) => block(i + 1, left, { isReserve }));
        const drawn = drawFrom(blocks, points, now, billing);
        const all = blocks.reduce((sum, { left }) => sum + left, 0);
        expect(drawn.status).toBe(all >= points ? 'drawn' : 'refused');
        if (drawn.status === 'refused') return;
        expect(drawn.draws.reduce((sum, each) => sum + each.points, 0)).toBe(points);
        for (const each of drawn.draws)
          expect(each.points).toBeLessThanOrEqual(blocks.find((one) => one.block === each.block)!.left);
        const own = drawn.draws.filter((each) => !blocks.find((one) => one.block === each.block)!.isReserve);
        const before = blocks.reduce((sum, one) => sum + (one.isReserve ? 0 : one.left), 0);
        expect(drawn.left).toBe(before - own.reduce((sum, each) => sum + each.points, 0));
      }),
    );
  });
});

describe('versions of a line', () => {
  const stored = (version: number, from: number, until: number | null, terms: unknown = { price: 1 }) => ({
    version,
    from: now + from * dayMs,
    until: until === null ? null : now + until * dayMs,
    terms,
  });
  const wanted = (from: number, until: number | null, terms: unknown = { price: 1 }) => ({
    ...stored(0, from, until, terms),
    pointer: `/rates/${from}`,
  });
  const plan = (...[known, file]: [ReturnType<typeof stored>[], ReturnType<typeof wanted>[]]) => {
    const { added, ended, findings } = planLine(known, file, { now, place: '/rates' });
    return {
      added: added.map(({ from }) => (from - now) / dayMs),
      ended: ended.map(({ version, until }) => [version, until === null ? null : (until - now) / dayMs]),
      findings: findings.map(({ pointer, detail }) => `${pointer} ${detail}`),
    };
  };

  test('that has begun ends when the next one begins', () => {
    expect(plan([stored(1, -10, null)], [wanted(-10, 5), wanted(5, null, { price: 2 })])).toEqual({
      added: [5],
      ended: [[1, 5]],
      findings: [],
    });
  });

  test('that has not begun is withdrawn where the file changes or loses it', () => {
    const known = [stored(1, -10, 5), stored(2, 5, null)];
    expect(plan(known, [wanted(-10, 5), wanted(5, null, { price: 3 })])).toEqual({
      added: [5],
      ended: [[2, 5]],
      findings: [],
    });
    expect(plan(known, [wanted(-10, null)])).toEqual({
      added: [],
      ended: [
        [1, null],
        [2, 5],
      ],
      findings: [],
    });
  });

  test.each([
    ['keeps its terms', [wanted(-10, null, { price: 2 })], /^\/rates\/-10 is version 1, in force since/],
    ['does not end in the past', [wanted(-10, -1)], /^\/rates\/-10\/through lies in the past/],
    ['is not left out', [wanted(5, null)], /^\/rates lacks version 1/],
    ['gets no predecessor', [wanted(-20, -10), wanted(-10, null)], /^\/rates\/-20\/from lies in the past/],
  ])('that has begun %s', (_, file, finding) => {
    expect(plan([stored(1, -10, null)], file).findings[0]).toMatch(finding);
  });

  test('that is over stays as it was, and may be left out', () => {
    const known = [stored(1, -10, -5), stored(2, -5, null)];
    expect(plan(known, [wanted(-5, null)])).toEqual({ added: [], ended: [], findings: [] });
    expect(plan(known, [wanted(-10, 1), wanted(-5, null)]).findings[0]).toMatch(/through is over since/);
  });
});

describe('a file', () => {
  const contract = `contracts:
  - from: 2026-01-01
    billing: { kind: postpaid }
    settleOn: issue
    currency: USD
    prices:
      issue: { amount: 14, perPoints: 10 }
      redemption: { amount: 9, perPoints: 10 }
    noticeDays: 30
`;
  const rate = (more: string, from = '2026-01-01') =>
    `  - { direction: out, currency: points, partnerCurrency: miles, from: ${from}, ratio: { give: 1, receive: 1 }, ${more} }\n`;
  const faultsOf = (rates: string) =>
    readPartnerFile(`partner: air\ntitle: Air\n${contract}rates:\n${rates}`, 'Europe/Berlin').faults.map(
      ({ line, pointer, detail }) => `${line} ${pointer} ${detail}`,
    );

  test.each([
    [rate('ratios: 1'), '13 /rates/0/ratios is not a known field'],
    [rate('minimum: 1500, step: 1000'), '13 /rates/0/minimum has to be a multiple of the step, 1000'],
    [rate('through: 2025-12-31'), '13 /rates/0/through lies before the beginning'],
    [rate('') + rate(''), '14 /rates/1/from is when /rates/0 begins too'],
    [
      rate('through: 2026-03-01') + rate('announced: 2026-01-01', '2026-03-01'),
      '13 /rates/0/through lies after /rates/1 has begun',
    ],
    [
      rate('') + rate('announced: 2026-01-31', '2026-03-01'),
      '14 /rates/1/announced is 29 days before the rate begins; the contract says 30',
    ],
    [
      rate('') + rate('', '2026-03-01'),
      '14 /rates/1 needs the day on which it was announced, 30 days before it begins',
    ],
    [
      rate('bonuses: [{ name: may, percent: 20, from: 2026-05-02, through: 2026-05-01 }]'),
      '13 /rates/0/bonuses/0/through lies before the beginning',
    ],
    [
      rate('caps: [{ period: day, points: 5 }, { period: day, points: 6 }]'),
      '13 /rates/0/caps/1 is a second cap of what members receive in a day',
    ],
  ])('is wrong where it is wrong (%#)', (rates, fault) => {
    expect(faultsOf(rates)).toEqual([fault]);
  });

  test('ends a version where the next of its line begins; tiers and directions are lines of their own', () => {
    const file = fileWith([
      rateEntry(1, 1),
      rateEntry(5, 4, { from: '2026-03-01' }),
      rateEntry(1, 1, { tier: 'gold', from: '2025-01-01' }),
      rateEntry(2, 1, { direction: 'in', from: '2025-01-01' }),
    ]);
    const days = partnerOf(file, 'Europe/Berlin').rates.map(({ from, until }) => [
      new Date(from).toISOString().slice(0, 13),
      until === null ? null : new Date(until).toISOString().slice(0, 13),
    ]);
    expect(days).toEqual([
      ['2019-12-31T23', '2026-02-28T23'],
      ['2026-02-28T23', null],
      ['2024-12-31T23', null],
      ['2024-12-31T23', null],
    ]);
  });

  test('to start from is right, and adds its bonuses where they meet', async () => {
    const source = await readFile(join(checkout, 'src/partners/samples/harbour-air.yaml'), 'utf8');
    const { file, faults } = readPartnerFile(source, 'Europe/Berlin');
    expect(faults).toEqual([]);
    const at = Date.parse('2026-12-08T12:00:00+01:00');
    const partner = partnerOf(parse(source), 'Europe/Berlin');
    expect(partner.name).toBe(file!.partner);
    const rate = rateFor(partner, { direction: 'out', currency: 'points' }, at)!;
    const quote = quoteOf(rate, { points: 4_000, at, used: nothingUsed });
    expect(quote).toMatchObject({ base: 3_000, bonus: 900, bonuses: ['advent', 'member-day'] });
    const over = quoteOf(rate, { points: 4_500, at, used: nothingUsed }) as QuoteRefusal;
    expect(problemOfQuote(over)).toMatchObject({ code: 'exchange_limit', fields: { bound: 1_000 } });
  });
});
