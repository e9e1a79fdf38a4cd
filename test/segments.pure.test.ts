/** What a program file may say of segments, and what follows for a member whose figures are known. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readProgramFile } from '#src/earning/file/read.ts';
import {
  lifecycleStages,
  type Segments,
  segmentFacts,
  segmentsSchema,
} from '#src/earning/file/segment-schema.ts';
import { chartOf } from '#src/segments/chart.ts';
import { changesOf } from '#src/segments/memberships.ts';
import { reportText } from '#src/segments/report.ts';
import type { Run } from '#src/segments/runs.ts';
import { breakOf, type Counted, type Cuts, factsOf, segmentsOf, stageOf } from '#src/segments/scores.ts';
import { allOf, tallying } from '#src/segments/tally.ts';
import type { MemberNumber } from '#src/values.ts';

const through = 20_000;
const segments = segmentsSchema.parse({ value: {} });
const cuts: Cuts = {
  recency: [10, 20, 40, 80],
  frequency: [1, 2, 4, 8],
  monetary: [1_000, 2_000, 5_000, 20_000],
  spendA: 15_000,
  spendB: 3_000,
  value: [500, 2_000],
};

function counted(more: Partial<Counted> = {}): Counted {
  return {
    member: 7 as MemberNumber,
    firstDay: through - 300,
    lastDay: through - 20,
    purchaseDays: 5,
    frequency: 4,
    monetary: 5_000,
    trendSpend: 1_000,
    trendBefore: 1_000,
    repeatSpend: 4_000,
    ...more,
  };
}

const header = 'timeZone: UTC\ncurrencies: [{ code: points }]\n';

function faultsIn(text: string): string[] {
  return readProgramFile(header + text).faults.map(
    ({ line, column, pointer, detail }) => `${line - 2}:${column} ${pointer} ${detail}`,
  );
}

describe('a file', () => {
  test('may say nothing but that there are segments', () => {
    expect(readProgramFile(`${header}segments: {}\n`).file?.segments).toMatchObject({
      windowDays: 365,
      recency: 'quintiles',
      spendClasses: { a: 70, b: 90 },
      lifecycle: { newDays: 90, lapsedDays: 180 },
      rhythm: { purchasesMin: 4, lateDays: 3 },
      named: [],
    });
  });

  test.each([
    [
      'segments:\n  named:\n    - { name: rich, where: { income: { min: 5 } } }',
      '3:30 /segments/named/0/where/income is not a known field; facts of members are recency_days',
    ],
    [
      'segments:\n  named:\n    - { name: rich, where: { expected_value: { min: 5 } } }',
      '/segments/named/0/where/expected_value expected_value is not computed: the file has no segments.value',
    ],
    [
      'segments:\n  named:\n    - { name: rich, where: { monetary: { min: 5, max: 4 } } }',
      '3:55 /segments/named/0/where/monetary/max is below min, 5; no member could lie between',
    ],
    [
      'segments:\n  named:\n    - { name: best, where: { recency_score: { min: 6 } } }',
      '/segments/named/0/where/recency_score/min has to be from 0 to 5; no member could lie there',
    ],
    [
      'segments:\n  named:\n    - { name: best, where: { lifecycle: [asleep] } }',
      '/segments/named/0/where/lifecycle/0 asleep is none of lapsed, won_back, new, growing, declining, mature',
    ],
    [
      'segments:\n  named:\n    - { name: best, where: { lifecycle: { min: 1 } } }',
      '/segments/named/0/where/lifecycle needs a list of lapsed',
    ],
    [
      'segments:\n  named:\n    - { name: best, where: { monetary: [a] } }',
      '/segments/named/0/where/monetary is a number: it needs min, max or both',
    ],
    [
      'segments:\n  named:\n    - { name: best, where: { monetary: {} } }',
      '/segments/named/0/where/monetary needs min, max or both',
    ],
    [
      'segments:\n  named:\n    - { name: all, where: {} }',
      '/segments/named/0/where names no fact; everybody who ever bought would be meant',
    ],
    [
      'segments:\n  named:\n    - { name: a, where: { frequency: { min: 1 } } }\n    - { name: a, where: { frequency: { min: 2 } } }',
      '4:15 /segments/named/1/name a is used twice',
    ],
    [
      'segments:\n  frequency: { thresholds: [1, 2, 2, 4] }',
      '2:35 /segments/frequency/thresholds/2 has to be above 2, which is before it',
    ],
    ['segments:\n  spendClasses: { a: 90, b: 70 }', '2:29 /segments/spendClasses/b has to be above a, 90'],
    [
      'segments:\n  value: { highPercent: 60, mediumPercent: 40 }',
      '/segments/value/mediumPercent leaves nobody for low',
    ],
    [
      'segments:\n  named: [{ name: best, where: { frequency: { min: 9 } } }]\nrules:\n  - { name: r, currency: points, segments: [beast], earn: { by: fixed, points: 1 } }',
      '/rules/0/segments/0 beast is not in segments.named: there is best',
    ],
    ['segments:\n  runAt: "25:00"', '/segments/runAt is a time of day such as 09:30'],
    ['segments:\n  colour: red', '/segments/colour is not a known field'],
  ])('is refused with place and reason: %s', (text, wanted) => {
    const faults = faultsIn(text);
    expect(faults.join('\n')).toContain(wanted);
    expect(faults).toHaveLength(1);
  });

  test('may name any segment in rules as long as it defines none', () => {
    expect(
      faultsIn('rules:\n  - { name: r, currency: points, segments: [vip], earn: { by: fixed, points: 1 } }'),
    ).toEqual([]);
  });
});

describe('stages', () => {
  test.each<[string, Partial<Counted>]>([
    ['lapsed', { lastDay: through - 181 }],
    ['declining', { lastDay: through - 180, trendSpend: 0, trendBefore: 10 }],
    ['won_back', { backDay: through - 89 }],
    ['mature', { backDay: through - 90 }],
    ['new', { firstDay: through - 89 }],
    ['won_back', { firstDay: through - 89, backDay: through - 5 }],
    ['mature', { firstDay: through - 90 }],
    ['growing', { trendSpend: 1_250 }],
    ['mature', { trendSpend: 1_249 }],
    ['mature', { trendSpend: 751 }],
    ['declining', { trendSpend: 750 }],
    ['growing', { trendSpend: 1, trendBefore: 0 }],
    ['mature', { trendSpend: 0, trendBefore: 0 }],
  ])('%s: %j', (stage, more) => {
    expect(stageOf(counted(more), segments, through)).toBe(stage);
  });

  test('have a sentence each, and nobody has another', () => {
    expect(lifecycleStages.every(({ means }) => means.length > 10)).toBe(true);
    expect(segmentFacts.lifecycle.words).toEqual(lifecycleStages.map(({ stage }) => stage));
  });
});

describe('scores', () => {
  test.each<[Partial<Counted>, [number, number, number]]>([
    [{ lastDay: through - 10, frequency: 1, monetary: 1_000 }, [5, 1, 1]],
    [{ lastDay: through - 11, frequency: 2, monetary: 1_001 }, [4, 2, 2]],
    [{ lastDay: through - 80, frequency: 8, monetary: 20_000 }, [2, 4, 4]],
    [{ lastDay: through - 81, frequency: 9, monetary: 20_001 }, [1, 5, 5]],
    [{ lastDay: through - 400, frequency: 0, monetary: 0 }, [0, 0, 0]],
  ])('by fifths of %j are %j', (more, wanted) => {
    const facts = factsOf(counted(more), cuts, segments, through);
    expect([facts.recency_score, facts.frequency_score, facts.monetary_score]).toEqual(wanted);
  });

  test.each<[Partial<Counted>, [number, number]]>([
    [{ lastDay: through - 30, frequency: 1 }, [5, 1]],
    [{ lastDay: through - 31, frequency: 2 }, [4, 2]],
    [{ lastDay: through - 300, frequency: 16 }, [2, 5]],
    [{ lastDay: through - 366, frequency: 15 }, [1, 4]],
  ])('by thresholds of %j are %j', (more, wanted) => {
    const by = {
      recency: { thresholds: [30, 90, 180, 365] },
      frequency: { thresholds: [2, 4, 8, 16] },
    };
    const facts = factsOf(counted(more), cuts, segmentsSchema.parse(by), through);
    expect([facts.recency_score, facts.frequency_score]).toEqual(wanted);
  });

  const drawn = fc.record({
    lastAgo: fc.nat(500),
    firstMore: fc.nat(500),
    frequency: fc.nat(30),
    monetary: fc.nat(40_000),
    trendSpend: fc.nat(5_000),
    trendBefore: fc.nat(5_000),
    value: fc.option(fc.double({ min: 0, max: 9_000, noNaN: true })),
  });

  test('and classes lie in their bounds, whatever the figures', () => {
    fc.assert(
      fc.property(drawn, ({ lastAgo, firstMore, value, ...more }) => {
        const expected = value === null ? undefined : { alive: 0.5, purchases: 1, value };
        const lastDay = through - lastAgo;
        const facts = factsOf(
          { ...counted({ ...more, lastDay, firstDay: lastDay - firstMore }), expected },
          cuts,
          segments,
          through,
        );
        for (const [name, fact] of Object.entries(segmentFacts)) {
          const of = facts[name as keyof typeof segmentFacts];
          if (of === undefined) continue;
          if (fact.kind === 'word') expect(fact.words).toContain(of);
          else expect(Number(of) >= fact.min && Number(of) <= fact.max, `${name} ${of}`).toBe(true);
        }
        expect(facts.value_class === undefined).toBe(expected === undefined);
      }),
    );
  });

  test('more, sooner and dearer is never a lower score or class', () => {
    const place = (word: unknown) => ['c', 'b', 'a'].indexOf(String(word));
    fc.assert(
      fc.property(drawn, fc.nat(30), ({ lastAgo, frequency, monetary }, by) => {
        const at = (days: number, times: number, spend: number) =>
          factsOf(
            counted({
              lastDay: through - days,
              firstDay: through - 600,
              frequency: 1 + times,
              monetary: spend,
            }),
            cuts,
            segments,
            through,
          );
        const [less, more] = [
          at(lastAgo, frequency, monetary),
          at(Math.max(0, lastAgo - by), frequency + by, monetary + by * 100),
        ];
        for (const name of ['recency_score', 'frequency_score', 'monetary_score'] as const)
          expect(Number(more[name])).toBeGreaterThanOrEqual(Number(less[name]));
        expect(place(more.spend_class)).toBeGreaterThanOrEqual(place(less.spend_class));
      }),
    );
  });
});

describe('segments', () => {
  const named = (where: object): Segments['named'] =>
    segmentsSchema.parse({ named: [{ name: 'x', where }] }).named;
  const facts = factsOf(counted(), cuts, segments, through);

  test.each([
    [{ frequency: { min: 4 } }, true],
    [{ frequency: { min: 5 } }, false],
    [{ frequency: { min: 4 }, recency_days: { max: 20 } }, true],
    [{ frequency: { min: 4 }, recency_days: { max: 19 } }, false],
    [[{ frequency: { min: 5 } }, { spend_class: ['b'] }], true],
    [{ spend_class: ['a', 'c'] }, false],
    // Nobody lies in the bounds of what is not known of them.
    [{ rhythm_days: { min: 0 } }, false],
  ])('%j holds: %s', (where, isIn) => {
    expect(segmentsOf(named(where), facts)).toEqual(isIn ? ['x'] : []);
  });

  test('written are only those that are different, in either direction', () => {
    const pairs = fc.uniqueArray(fc.record({ member: fc.nat(6), segment: fc.constantFrom('a', 'b', 'c') }), {
      selector: ({ member, segment }) => `${member} ${segment}`,
    });
    fc.assert(
      fc.property(pairs, pairs, (before, after) => {
        const of = (list: typeof before) =>
          list.map((each) => ({ ...each, member: each.member as MemberNumber }));
        const key = ({ member, segment }: { member: number; segment: string }) => `${member} ${segment}`;
        const { entered, gone } = changesOf(of(before), of(after));
        const left = new Set(before.map(key));
        for (const each of gone) expect(left.delete(key(each))).toBe(true);
        for (const each of entered) {
          expect(left.has(key(each))).toBe(false);
          left.add(key(each));
        }
        expect([...left].sort()).toEqual(after.map(key).sort());
      }),
    );
  });
});

describe('a rhythm', () => {
  const rhythmic = { rhythmDays: 10, lastDay: through - 13 };
  test.each<[string, Partial<Counted>, number | undefined]>([
    ['the day before', { ...rhythmic, lastDay: through - 12 }, undefined],
    ['three days beyond it', rhythmic, through],
    ['a month late', { ...rhythmic, lastDay: through - 43 }, through - 30],
    ['older than that', { ...rhythmic, lastDay: through - 44 }, undefined],
    ['without one', { lastDay: through - 13 }, undefined],
  ])('is broken: %s', (_, more, brokenDay) => {
    expect(breakOf(counted(more), segments, through)?.brokenDay).toBe(brokenDay);
  });

  test('breaks in silence where the file wants no alerts', () => {
    const silent = segmentsSchema.parse({ rhythm: { alerts: false } });
    expect(breakOf(counted(rhythmic), silent, through)).toBeUndefined();
  });
});

describe('a report', () => {
  const all = [
    counted({ frequency: 9, monetary: 30_000, lastDay: through - 1 }),
    counted({ frequency: 1, monetary: 500 }),
    counted({ frequency: 0, monetary: 0, lastDay: through - 400 }),
  ];

  test('sums do not depend on the order of members, nor on how they were divided', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: 3 }), fc.nat(3), (order, at) => {
        const sumUp = (members: readonly Counted[], before: ReturnType<typeof tallying>['tally']) => {
          const tally = tallying(before);
          for (const each of members) tally.add(each, factsOf(each, cuts, segments, through), ['x']);
          return tally.tally;
        };
        expect(sumUp(order.slice(at), sumUp(order.slice(0, at), {}))).toEqual(sumUp(all, {}));
      }),
    );
  });

  test.each([
    ['EUR', '305'],
    ['JPY', '30,500'],
    ['KWD', '31'],
    [undefined, '305'],
  ])('has amounts of %s in whole units of it', (money, spend) => {
    const tally = tallying({});
    for (const each of all) tally.add(each, factsOf(each, cuts, segments, through), ['regulars']);
    const run = {
      tally: tally.tally,
      version: 1,
      models: null,
      entered: 0,
      gone: 0,
      alerts: 0,
    } as unknown as Run;
    expect(reportText(run, '2026-11-22', money)).toMatch(new RegExp(`regulars +3 +100\\.0 % +${spend} `));
  });

  test('is drawn with every group in it and nothing that markup could be made of', () => {
    const tally = tallying({});
    for (const each of all) tally.add(each, factsOf(each, cuts, segments, through), ['regulars']);
    expect(allOf(tally.tally)).toMatchObject({ members: 3, spend: 30_500 });
    const svg = chartOf(tally.tally, 'Members of <b>"one" & all</b>');
    expect(svg).toContain('regulars');
    expect(svg).toContain('lapsed');
    expect(svg).not.toMatch(/<b>|"one"|& /);
    expect(chartOf({}, 'empty')).not.toMatch(/NaN|Infinity|undefined/);
  });
});
