/** What several API processes behind one port say with one voice. */
import { expect, test } from 'vitest';
import { metricsTogether, reasonsTogether } from '#src/http/processes/together.ts';

const closed = { reason: 'shards_closed', detail: 'shards 3 are not open yet' };
const behind = { reason: 'books_behind', detail: 'the books are 40 s behind', isPartial: true };
const skew = { reason: 'clock_skew', detail: 'this clock is 9 s off' };

test('all ready: nothing is said', () => {
  expect(
    reasonsTogether([
      { number: 1, reasons: [] },
      { number: 2, reasons: [] },
    ]),
  ).toEqual([]);
});

test('a reason of all is said once, and is partial only where each says so', () => {
  const of = (number: number) => ({ number, reasons: [closed, behind] });
  expect(reasonsTogether([of(1), of(2)])).toEqual([{ ...closed, isPartial: false }, behind]);
});

test('a reason of some names them, and is partial as long as another one serves', () => {
  const standings = [
    { number: 3, reasons: [closed] },
    { number: 1, reasons: [] },
    { number: 2, reasons: [closed] },
  ];
  expect(reasonsTogether(standings)).toEqual([
    { reason: 'shards_closed', detail: 'process 2, 3 of 3: shards 3 are not open yet', isPartial: true },
  ]);
});

test('each unready for a reason of its own: nobody serves, so nothing is partial', () => {
  const together = reasonsTogether([
    { number: 1, reasons: [closed] },
    { number: 2, reasons: [skew] },
  ]);
  expect(together.map(({ reason, isPartial }) => [reason, isPartial])).toEqual([
    ['shards_closed', false],
    ['clock_skew', false],
  ]);
});

test('metrics of several processes are one page: every family once, every sample kept', () => {
  const page = (number: number, more = '') =>
    `# HELP a_total What a is.\n# TYPE a_total counter\na_total{process="${number}"} ${number}\n\n` +
    `# HELP b What b is.\n# TYPE b gauge${more}\n`;
  const together = metricsTogether([page(1), page(2, '\nb{process="2"} 7'), page(3)]);
  expect(together).toBe(
    '# HELP a_total What a is.\n# TYPE a_total counter\na_total{process="1"} 1\na_total{process="2"} 2\na_total{process="3"} 3\n\n' +
      '# HELP b What b is.\n# TYPE b gauge\nb{process="2"} 7\n',
  );
});
