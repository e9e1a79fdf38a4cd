/** Points that are given and taken: exactly, once, and as it was said. */
import { outcomeOf } from '#src/partners/protocol/outcomes.ts';
import type { Bench } from './bench.ts';
import type { Check } from './checks.ts';
import { Fault, type MovementCall, type Sent } from './client.ts';
import { A, a, kindOf, retold } from './movements.ts';

const amounts = [1, 7, 333, 1_001];
const copiesMax = 8;

const exactly: Check = {
  name: 'exact',
  says: 'What is credited is exactly what was sent, to the point, and so is what is debited',
  async run(bench) {
    for (const points of amounts) {
      await bench.move('accrue', bench.accrual(points));
      await bench.expectMoved(points, `An accrual of ${points} points was answered as succeeded.`);
    }
    for (const points of amounts) {
      await bench.move('redeem', bench.redemption(points));
      await bench.expectMoved(-points, `A redemption of ${points} points was answered as succeeded.`);
    }
  },
};

const unused: Check = {
  name: 'inquiry-unused',
  says: 'An inquiry for a reference that was never used is answered with 404 not_found',
  async run(bench) {
    for (const kind of ['accrual', 'redemption', 'reversal'] as const)
      await bench.expectUnknown(kind, bench.reference(), `${A[kind]} was never sent`);
  },
};

const inquired: Check = {
  name: 'inquiry-same',
  says: 'An inquiry tells of a movement what its answer told',
  async run(bench) {
    const body = bench.accrual(250);
    const reply = await bench.move('accrue', body);
    const found = await bench.decided('accrual', body.reference);
    for (const field of ['id', 'status', 'points', 'account', 'currency', 'reference'] as const) {
      if (found[field] !== reply[field])
        throw new Fault(`The answer said ${field} ${reply[field]}, the inquiry after it ${found[field]}.`);
    }
    await bench.expectMoved(250, 'An accrual was made and inquired for.');
  },
};

function sign(call: MovementCall): 1 | -1 {
  return call === 'accrue' ? 1 : -1;
}

/** The same reference and body again, in a new envelope, gets the first answer and moves nothing. */
async function repeated(bench: Bench, call: 'accrue' | 'redeem'): Promise<void> {
  const kind = kindOf[call];
  const body = bench.accrual(300);
  const first = await bench.move(call, body);
  for (let i = 0; i < 2; i += 1) {
    const sent = await bench.client.call(call, body);
    const answer = outcomeOf(sent.httpStatus, sent.body);
    if (answer.outcome !== 'succeeded' && answer.outcome !== 'pending')
      throw new Fault(
        `The same ${kind} again, reference and body, was answered with ${retold(sent)} in place of its first answer.`,
      );
    if (answer.reply.id !== first.id || answer.reply.points !== first.points)
      throw new Fault(
        `The same ${kind} again was answered as another one: first ${first.id} with ${first.points} points, then ${answer.reply.id} with ${answer.reply.points}.`,
      );
  }
  await bench.expectMoved(sign(call) * 300, `The same ${kind} was sent three times.`);
}

/** Copies that arrive at one time move once. */
async function together(bench: Bench, call: 'accrue' | 'redeem'): Promise<void> {
  const kind = kindOf[call];
  const body = bench.accrual(200);
  const copies = await Promise.all(Array.from({ length: copiesMax }, () => bench.client.call(call, body)));
  const isOne = (sent: Sent) =>
    ['succeeded', 'pending'].includes(outcomeOf(sent.httpStatus, sent.body).outcome);
  const other = copies.find((sent) => !isOne(sent));
  if (other)
    throw new Fault(
      `One of ${copiesMax} copies of ${a[kind]} at one time was answered with ${retold(other)}.`,
    );
  await bench.decided(kind, body.reference);
  await bench.expectMoved(sign(call) * 200, `${copiesMax} copies of one ${kind} were sent at one time.`);
}

const twice = (['accrue', 'redeem'] as const).flatMap((call): Check[] => [
  {
    name: `repeat-${kindOf[call]}`,
    says: `The same ${kindOf[call]} sent again gets the first answer again, and moves nothing more`,
    run: (bench) => repeated(bench, call),
  },
  {
    name: `together-${kindOf[call]}`,
    says: `Copies of one ${kindOf[call]} that arrive at one time move it once`,
    run: (bench) => together(bench, call),
  },
]);

const otherBody: Check = {
  name: 'reference-reused',
  says: 'A reference that stands for another movement is refused with reference_reused, and nothing moves',
  async run(bench) {
    const body = bench.accrual(250);
    await bench.move('accrue', body);
    const what = 'A used reference with other points';
    await bench.expectRefused('accrue', { ...body, points: 251 }, 'reference_reused', what);
    await bench.expectMoved(250, `${what} was refused.`);
  },
};

const eachKind: Check = {
  name: 'reference-by-kind',
  says: 'Accruals and redemptions have references of their own',
  async run(bench) {
    const body = bench.accrual(120);
    await bench.move('accrue', body);
    await bench.move('redeem', body);
    await bench.expectMoved(0, 'An accrual and a redemption of one reference and 120 points were made.');
  },
};

const tooMuch: Check = {
  name: 'insufficient',
  says: 'More than the account has is refused with insufficient_points, and nothing moves',
  async run(bench) {
    const body = bench.redemption(bench.level() + 1);
    await bench.expectRefused('redeem', body, 'insufficient_points', 'A redemption of one point too many');
    await bench.expectStill('A redemption of one point too many was refused.');
  },
};

const unfit: readonly (readonly [string, (good: Record<string, unknown>) => Record<string, unknown>])[] = [
  ['no points', (good) => ({ ...good, points: 0 })],
  ['points below zero', (good) => ({ ...good, points: -5 })],
  ['half a point', (good) => ({ ...good, points: 1.5 })],
  ['points as text', (good) => ({ ...good, points: '5' })],
  ['no reference', ({ reference: _, ...good }) => good],
  ['a time without an offset', (good) => ({ ...good, occurredAt: '2026-11-22T10:15:00' })],
  ['a field that the protocol does not have', (good) => ({ ...good, bonus: true })],
];

const malformed: Check = {
  name: 'malformed',
  says: 'A body that does not fit the protocol is refused, and nothing moves',
  async run(bench) {
    for (const [what, change] of unfit) {
      for (const call of ['accrue', 'redeem'] as const)
        await bench.expectRefused(
          call,
          change(bench.accrual(5)),
          undefined,
          `${A[kindOf[call]]} with ${what}`,
        );
    }
    await bench.expectMoved(0, 'Bodies that do not fit the protocol were refused.');
  },
};

const strangers: Check = {
  name: 'unknown-account',
  says: 'An account that is not there is refused with member_not_found, a currency that is not with currency_unknown',
  async run(bench) {
    const account = 'NOBODY-000000';
    for (const call of ['accrue', 'redeem'] as const) {
      const what = `${A[kindOf[call]]} for an account that is not there`;
      await bench.expectRefused(call, { ...bench.accrual(5), account }, 'member_not_found', what);
    }
    const currency = { ...bench.accrual(5), currency: 'nobodys_coins' };
    await bench.expectRefused(
      'accrue',
      currency,
      'currency_unknown',
      'An accrual in a currency that is not there',
    );
    await bench.expectMoved(0, 'Movements that cannot be were refused.');
  },
};

export const movementChecks: readonly Check[] = [
  unused,
  exactly,
  inquired,
  ...twice,
  otherBody,
  eachKind,
  tooMuch,
  malformed,
  strangers,
];
