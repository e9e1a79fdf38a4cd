/** What is taken back: in any pieces and order, never more than it was, and what is voided never comes. */
import { inquiryOf, isRefusal, outcomeOf } from '#src/partners/protocol/outcomes.ts';
import type { Bench } from './bench.ts';
import type { Check } from './checks.ts';
import { Fault } from './client.ts';
import { A, a, retold } from './movements.ts';

const calls = { accrual: 'accrue', redemption: 'redeem' } as const;
type Original = keyof typeof calls;

const sign = (kind: Original) => (kind === 'accrual' ? 1 : -1);

/** Takes 1,000 points back in three pieces, with tries for more between them. */
async function inPieces(bench: Bench, kind: Original): Promise<void> {
  const body = bench.accrual(1_000);
  await bench.move(calls[kind], body);
  const reverse = (points?: number) => bench.reversal(kind, body.reference, points);
  const refused = (points: number, left: number) =>
    bench.expectRefused(
      'reverse',
      reverse(points),
      'reversal_exceeds_original',
      `Taking back ${points} points of ${a[kind]} of 1000 points, of which ${left} were left,`,
    );
  await refused(1_001, 1_000);
  await bench.move('reverse', reverse(300));
  await bench.move('reverse', reverse(250));
  await refused(451, 450);
  await bench.expectMoved(
    sign(kind) * 450,
    `Of ${a[kind]} of 1000 points 550 were taken back in two pieces.`,
  );
  const found = await bench.decided(kind, body.reference);
  if (found.reversed !== 550)
    throw new Fault(
      `Of ${a[kind]} of which 550 points were taken back, the inquiry says ${found.reversed ?? 'nothing about what was'} reversed.`,
    );
  const rest = await bench.move('reverse', reverse());
  if (rest.points !== 450)
    throw new Fault(`A reversal of all that was left, 450 points, was answered with ${rest.points} points.`);
  await refused(1, 0);
  await bench.expectMoved(sign(kind) * -450, `${A[kind]} of 1000 points was taken back in three pieces.`);
}

/** Five pieces of 300 of 1,000 points at one time: three fit. */
async function together(bench: Bench, kind: Original): Promise<void> {
  const body = bench.accrual(1_000);
  await bench.move(calls[kind], body);
  const pieces = Array.from({ length: 5 }, () => bench.reversal(kind, body.reference, 300));
  const answers = await Promise.all(pieces.map((piece) => bench.client.call('reverse', piece)));
  const outcomes = answers.map((sent) => outcomeOf(sent.httpStatus, sent.body).outcome);
  const done = outcomes.filter((outcome) => outcome === 'succeeded' || outcome === 'pending').length;
  for (const [i, outcome] of outcomes.entries())
    if (outcome === 'pending') await bench.decided('reversal', pieces[i]!.reference);
  if (done !== 3)
    throw new Fault(
      `Of five reversals of 300 points at one time, of ${a[kind]} of 1000, ${done} were answered as done in place of 3.`,
    );
  await bench.expectMoved(
    sign(kind) * 100,
    `Three of five reversals of 300 points at one time were done, of ${a[kind]} of 1000.`,
  );
}

const pieces = (['accrual', 'redemption'] as const).flatMap((kind): Check[] => [
  {
    name: `partial-${kind}`,
    says: `${A[kind]} is taken back in pieces, and never more than it was`,
    run: (bench) => inPieces(bench, kind),
  },
  {
    name: `partial-together-${kind}`,
    says: `Reversals of one ${kind} that arrive at one time take no more than it was`,
    run: (bench) => together(bench, kind),
  },
]);

const repeated: Check = {
  name: 'repeat-reversal',
  says: 'The same reversal sent again gets the first answer again, and moves nothing more',
  async run(bench) {
    const body = bench.accrual(800);
    await bench.move('accrue', body);
    const reversal = bench.reversal('accrual', body.reference, 300);
    const first = await bench.move('reverse', reversal);
    const sent = await bench.client.call('reverse', reversal);
    const again = outcomeOf(sent.httpStatus, sent.body);
    if (!('reply' in again)) throw new Fault(`The same reversal again was answered with ${retold(sent)}.`);
    if (again.reply.id !== first.id || again.reply.points !== first.points)
      throw new Fault(
        `The same reversal again was answered as another one: first ${first.id}, then ${again.reply.id}.`,
      );
    await bench.expectMoved(500, 'A reversal of 300 points, of an accrual of 800, was sent twice.');
  },
};

const missing: Check = {
  name: 'original-missing',
  says: 'A reversal of what was never done is refused with original_not_found',
  async run(bench) {
    for (const kind of ['accrual', 'redemption'] as const) {
      const body = bench.reversal(kind, bench.reference(), 5);
      await bench.expectRefused(
        'reverse',
        body,
        'original_not_found',
        `A reversal of ${a[kind]} that was never sent`,
      );
    }
    await bench.expectMoved(0, 'Reversals of what was never done were refused.');
  },
};

/** Gives a movement up that never arrived, lets it arrive then, and watches. */
async function voided(bench: Bench, kind: Original): Promise<void> {
  const late = bench.accrual(300);
  const { account } = bench.settings;
  const body = { ...bench.reversal(kind, late.reference), account, voidIfMissing: true };
  const reply = await bench.move('reverse', body);
  if (reply.points !== 0)
    throw new Fault(
      `Voiding ${a[kind]} that never arrived was answered with ${reply.points} points in place of 0.`,
    );
  const sent = await bench.client.call(calls[kind], late);
  const { outcome } = outcomeOf(sent.httpStatus, sent.body);
  if (!isRefusal(outcome))
    throw new Fault(
      `${A[kind]} that arrived after it was voided was answered with ${retold(sent)} in place of a refusal.`,
    );
  await bench.expectStill(`${A[kind]} that arrived after it was voided was answered with ${retold(sent)}.`);
  const inquiry = await bench.client.inquire(kind, late.reference);
  const { found } = inquiryOf(inquiry.httpStatus, inquiry.body);
  if (typeof found === 'string' || found.status !== 'failed')
    throw new Fault(
      `An inquiry for ${a[kind]} that was voided is answered with ${retold(inquiry)} in place of failed.`,
    );
}

const givenUp = (['accrual', 'redemption'] as const).map(
  (kind): Check => ({
    name: `void-${kind}`,
    says: `${A[kind]} that was voided before it arrived moves nothing when it arrives, then or later`,
    run: (bench) => voided(bench, kind),
  }),
);

export const reversalChecks: readonly Check[] = [...pieces, repeated, missing, ...givenUp];
