/** What `npm run loadtest` makes of its arguments, of k6's figures, and of what it saw after: it fails when it must. */
import { describe, expect, test } from 'vitest';
import { UsageFault } from '#src/platform/command.ts';
import { type Options, optionsOf } from '../loadtest/k6/options.ts';
import { type Figures, figuresOf } from '../loadtest/k6/summary.ts';
import {
  type Aftermath,
  exitCodeOf,
  failuresOf,
  type Run,
  reportLine,
  reportText,
} from '../loadtest/k6/verdict.ts';

const machine = {
  date: '2026-11-22T12:00:00.000Z',
  node: 'v24.21.0',
  cores: 2,
  cpu: 'a processor',
  memoryGb: 8,
  platform: 'linux x64',
};
const sound: Aftermath = {
  drain: 0.25,
  missing: 0,
  audit: 'clean',
  unchecked: [],
  isInterrupted: false,
};

function trend(med: number, p99: number) {
  return {
    type: 'trend',
    contains: 'time',
    values: { med, 'p(90)': p99, 'p(99)': p99, 'p(99.9)': p99, max: p99 },
  };
}

function counter(count: number) {
  return { type: 'counter', contains: 'default', values: { count, rate: count / 60 } };
}

/** A summary as k6 1.8 gives it to `handleSummary`, with what our scripts add. */
function summary() {
  return {
    root_group: { name: '', path: '', groups: [], checks: [] },
    options: { summaryTimeUnit: '' },
    state: { isStdOutTTY: false, testRunDurationMs: 60_000 },
    selections: ['kind:redemption', 'kind:hold'],
    metrics: {
      accepted: counter(5_990),
      'accepted{kind:redemption}': { ...counter(2_990), thresholds: { 'count>0': { ok: true } } },
      'accepted{kind:hold}': { ...counter(3_000), thresholds: { 'count>0': { ok: true } } },
      movements: counter(5_990),
      books_late: counter(3),
      dropped_iterations: { ...counter(4), thresholds: { 'count<=6': { ok: true } } },
      errors: {
        type: 'rate',
        contains: 'default',
        values: { rate: 10 / 6_000, passes: 10, fails: 5_990 },
        thresholds: { 'rate<0.001': { ok: false } },
      },
      latency: { ...trend(12.5, 80), thresholds: { 'p(99)<500': { ok: true } } },
      'latency{kind:redemption}': { ...trend(13, 90), thresholds: { 'p(99)<500': { ok: true } } },
      'latency{kind:hold}': { ...trend(12, 70), thresholds: { 'p(99)<500': { ok: true } } },
    },
  };
}

function options(...args: string[]): Options {
  const parsed = optionsOf(args);
  if (parsed === 'help') throw new Error('asked for help');
  return parsed;
}

function runWith(name: string, figures: Partial<Figures>, after: Partial<Aftermath> = {}): Run {
  const read = { ...figuresOf(JSON.stringify(summary())), failedThresholds: [], ...figures };
  return { options: options(name), figures: read, after: { ...sound, ...after }, machine, loadBefore: 0.5 };
}

describe('arguments', () => {
  test('a name alone runs its scenario with its own rate, duration and threshold', () => {
    expect(options('soak')).toEqual({
      name: 'soak',
      script: 'k6/soak.js',
      rate: 200,
      seconds: 3_600,
      members: 10_000,
      p99MsMax: 500,
      drainSecondsMax: 120,
      money: 'EUR',
      target: undefined,
    });
  });

  test('flags replace what the scenario would do', () => {
    const typed = ['mixed', '--rate', '50', '--duration', '2m', '--p99-max', '90', '--members', '7'];
    expect(options(...typed, '--drain-max', '1h', '--money', 'JPY')).toMatchObject({
      rate: 50,
      seconds: 120,
      p99MsMax: 90,
      members: 7,
      drainSecondsMax: 3_600,
      money: 'JPY',
    });
  });

  test('a running service is called with its own keys, the till key also at the checkout unless there is another', () => {
    const typed = ['accrual', '--url', 'http://points.example:3000/', '--key', 'k1'];
    expect(options(...typed).target).toEqual({
      url: 'http://points.example:3000',
      key: 'k1',
      checkoutKey: 'k1',
    });
    expect(options(...typed, '--checkout-key', 'k2').target?.checkoutKey).toBe('k2');
  });

  test.each([
    ['no name', []],
    ['an unknown name', ['accruals']],
    ['a name of every object', ['constructor']],
    ['two names', ['accrual', 'mixed']],
    ['no rate at all', ['accrual', '--rate', '0']],
    ['a rate that is no whole number', ['accrual', '--rate', '1.5']],
    ['a member day whose spike would be beyond every rate', ['member-day', '--rate', '2001']],
    ['a duration without digits', ['soak', '--duration', 'h']],
    ['a duration of two days', ['soak', '--duration', '48h']],
    ['a url without a key', ['accrual', '--url', 'http://127.0.0.1:3000']],
    ['a key without a url', ['accrual', '--key', 'k1']],
    ['a url of another protocol', ['accrual', '--url', 'ftp://points.example', '--key', 'k1']],
    ['a currency in words', ['accrual', '--money', 'euro']],
  ])('%s is refused with a sentence', (_, args) => {
    expect(() => optionsOf(args)).toThrow(UsageFault);
  });
});

describe("k6's summary", () => {
  test('is read into figures, kinds in the order of the script, failed thresholds by name', () => {
    expect(figuresOf(JSON.stringify(summary()))).toEqual({
      seconds: 60,
      accepted: 5_990,
      movements: 5_990,
      errors: 10,
      dropped: 4,
      booksLate: 3,
      p50Ms: 12.5,
      p99Ms: 80,
      p999Ms: 80,
      longestMs: 80,
      selections: [
        { name: 'redemption', accepted: 2_990, p50Ms: 13, p99Ms: 90, lagSecondsP90: undefined },
        { name: 'hold', accepted: 3_000, p50Ms: 12, p99Ms: 70, lagSecondsP90: undefined },
      ],
      failedThresholds: ['errors rate<0.001'],
    });
  });

  test('what never happened counts 0: k6 leaves out metrics without a sample', () => {
    const { accepted, errors } = summary().metrics;
    const figures = figuresOf(
      JSON.stringify({ ...summary(), selections: [], metrics: { accepted, errors } }),
    );
    expect([figures.dropped, figures.booksLate, figures.accepted]).toEqual([0, 0, 5_990]);
  });

  test.each([
    ['nothing', ''],
    ['a table for people', '     accepted...: 5990'],
    ['another object', '{}'],
  ])('%s is no summary', (_, text) => {
    expect(() => figuresOf(text)).toThrow();
  });
});

describe('the verdict', () => {
  test('a sound run passes', () => {
    const run = runWith('redemption', {});
    expect([failuresOf(run), exitCodeOf(run)]).toEqual([[], 0]);
  });

  test.each<[string, Partial<Figures>, Partial<Aftermath>, RegExp]>([
    ['a threshold', { failedThresholds: ['latency p(99)<500'] }, {}, /latency p\(99\)<500/],
    ['a run in which nothing was accepted', { accepted: 0 }, {}, /nothing was accepted/],
    ['books that do not catch up', {}, { drain: 'not reached' }, /did not catch up within 120 s/],
    ['an acknowledged movement that is in no book', {}, { missing: 1 }, /lack 1 movement/],
    ['a finding of the audit', {}, { audit: 'findings' }, /audit has findings/],
    ['an audit that broke off', {}, { audit: 'failed' }, /audit did not come to its end/],
  ])('%s fails the run', (_, figures, after, sentence) => {
    const run = runWith('redemption', figures, after);
    expect(failuresOf(run)).toEqual([expect.stringMatching(sentence)]);
    expect(exitCodeOf(run)).toBe(1);
    expect(reportText(run)).toMatch(sentence);
  });

  test('checks that could not be made are named and fail nothing', () => {
    const run = runWith(
      'accrual',
      {},
      { missing: undefined, audit: 'not made', unchecked: ['the audit needs …'] },
    );
    expect(exitCodeOf(run)).toBe(0);
    expect(reportText(run)).toContain('the audit needs …');
  });

  test('a run that was ended by Ctrl-C says so by its code, whatever else it found', () => {
    expect(
      exitCodeOf(runWith('accrual', { failedThresholds: ['errors rate<0.001'] }, { isInterrupted: true })),
    ).toBe(130);
  });

  test('the last line is JSON with rates, drain and audit', () => {
    expect(JSON.parse(reportLine(runWith('redemption', { accepted: 5_990, seconds: 59.9 })))).toMatchObject({
      object: 'loadtest',
      name: 'redemption',
      ownInstallation: true,
      acceptedPerSecond: 100,
      p99Ms: 80,
      drainSeconds: 0.25,
      missing: 0,
      audit: 'clean',
      failures: [],
      machine: { cores: 2, loadBefore: 0.5 },
    });
  });
});

describe('a soak', () => {
  function quarters(
    p50Ms: number[],
    p99Ms: number[],
    lagSecondsP90: (number | undefined)[],
  ): Partial<Figures> {
    const selections = p50Ms.map((p50, i) => ({
      name: `quarter${i + 1}`,
      accepted: 1_000,
      p50Ms: p50,
      p99Ms: p99Ms[i]!,
      lagSecondsP90: lagSecondsP90[i],
    }));
    return { selections };
  }
  const flat = [10, 11, 10, 12];
  const flatLag = [0.2, 0.1, 0.2, 0.2];

  test('whose quarters are alike passes, noise included', () => {
    expect(failuresOf(runWith('soak', quarters(flat, [40, 90, 60, 100], [0.1, 0.3, 0.2, 0.6])))).toEqual([]);
  });

  test.each([
    ['p50', quarters([20, 30, 45, 60], flat, flatLag), /p50 grew from 20 ms to 60 ms/],
    ['p99', quarters(flat, [100, 150, 190, 210], flatLag), /p99 grew from 100 ms to 210 ms/],
    [
      'the lag of the books',
      quarters(flat, flat, [0.2, 1, 2, 3]),
      /lag of the books grew from 0.2 s to 3.0 s/,
    ],
  ])('in which %s grows fails', (_, figures, sentence) => {
    expect(failuresOf(runWith('soak', figures))).toEqual([expect.stringMatching(sentence)]);
  });

  test('that could not read the lag, or has an empty quarter, does not pass', () => {
    const unread = quarters(flat, flat, [0.2, 0.2, 0.2, undefined]);
    expect(failuresOf(runWith('soak', unread))).toEqual(['the lag of the books was not read']);
    expect(failuresOf(runWith('soak', { selections: [] }))).toEqual([expect.stringMatching(/no figures/)]);
  });
});
