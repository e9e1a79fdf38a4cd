/**
 * The calls about a day, which an endpoint may have or not: what they answer fits what was moved, and every digest is that of what it stands
 * for. An endpoint without them answers 404, and keeps what it never promised.
 */
import type { z } from 'zod';
import {
  bucketsPerCallMax,
  type DayMovement,
  type DayReply,
  dayCalls,
  movementsPerAnswerMax,
} from '#src/partners/protocol/days.ts';
import { secondsOf } from '#src/partners/reconciliation/movement.ts';
import { createTree, digestOver, keyHash } from '#src/partners/reconciliation/tree.ts';
import type { Bench } from './bench.ts';
import type { Check } from './checks.ts';
import { Fault } from './client.ts';
import { A, retold } from './movements.ts';

/** The endpoint has other callers' movements too, and this one's come between two calls at most a few times. */
const attemptsMax = 3;
const pagesMax = 100;

/** The day has changed between two calls. */
class Moved extends Error {}

type Expected = Pick<DayMovement, 'kind' | 'reference' | 'points' | 'occurredAt'>;

const bucketOf = (movement: Pick<Expected, 'kind' | 'reference'>) => keyHash('caller', movement).slice(0, 4);

/** Undefined where the endpoint has no such call. */
async function ask<Reply>(
  { client }: Bench,
  { path, reply }: { readonly path: string; readonly reply: z.ZodType<Reply> },
  query: Readonly<Record<string, string>>,
): Promise<Reply | undefined> {
  const sent = await client.read(`${path}?${new URLSearchParams(query).toString()}`);
  if (sent.httpStatus === 404) return undefined;
  const parsed = reply.safeParse(sent.body);
  if (sent.httpStatus === 200 && parsed.success) return parsed.data;
  throw new Fault(`GET ${path} was answered with ${retold(sent)}.`);
}

async function movementsIn(bench: Bench, day: string, buckets: readonly string[]): Promise<DayMovement[]> {
  const found: DayMovement[] = [];
  const query: Record<string, string> = { day, buckets: buckets.join(',') };
  for (let page = 0; page < pagesMax; page += 1) {
    const reply = await ask(bench, dayCalls.movements, query);
    if (!reply) throw new Fault('The endpoint tells of a day and not of its movements.');
    found.push(...reply.movements);
    if (reply.next === null) return found;
    query.after = reply.next;
  }
  throw new Fault(`A few buckets of a day have more than ${pagesMax * movementsPerAnswerMax} movements.`);
}

/** The buckets of each movement, with the digests that the endpoint has for them. */
async function digestsOf(
  bench: Bench,
  first: DayReply,
  expected: readonly Expected[],
): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for (const bucket of new Set(expected.map(bucketOf))) {
    const node = bucket.slice(0, 2);
    const query = { day: first.day, nodes: node, digest: first.digest };
    const reply = await ask(bench, dayCalls.tree, query);
    if (reply?.digest !== first.digest) throw new Moved();
    const buckets = reply.buckets?.[node] ?? [];
    if (digestOver(buckets) !== first.nodes![Number.parseInt(node, 16)])
      throw new Fault(`The digest of node ${node} of a day is not that of its buckets.`);
    digests.set(bucket, buckets[Number.parseInt(bucket.slice(2), 16)] ?? '');
  }
  return digests;
}

function checkMovements(
  found: readonly DayMovement[],
  expected: readonly Expected[],
  digests: ReadonlyMap<string, string>,
): void {
  for (const { kind, reference, points, occurredAt } of expected) {
    const one = found.find(
      (each) => each.madeBy === 'caller' && each.kind === kind && each.reference === reference,
    );
    if (!one) throw new Fault(`${A[kind]} that was booked is not among the movements of its day.`);
    const said = `${one.status} with ${one.points} points at ${one.occurredAt}`;
    const was = `succeeded with ${points} points at ${occurredAt}`;
    if (said !== was)
      throw new Fault(`${A[kind]} that was ${was} is among the movements of its day as ${said}.`);
  }
  const builder = createTree();
  for (const { madeBy, occurredAt, ...rest } of found)
    builder.add(madeBy, { ...rest, occurredAt: secondsOf(occurredAt) ?? 0 });
  const tree = builder.tree();
  for (const [bucket, digest] of digests) {
    const [node, place] = [bucket.slice(0, 2), bucket.slice(2)].map((name) => Number.parseInt(name, 16));
    if (tree.bucketsOf(node!)[place!] !== digest)
      throw new Fault(`The digest of bucket ${bucket} of a day is not that of its movements.`);
  }
}

async function compareOnce(bench: Bench, first: DayReply, expected: readonly Expected[]): Promise<void> {
  if (!first.nodes || digestOver(first.nodes) !== first.digest)
    throw new Fault('The digest of a day is not that of its nodes.');
  const digests = await digestsOf(bench, first, expected);
  const found: DayMovement[] = [];
  const buckets = [...digests.keys()];
  for (let from = 0; from < buckets.length; from += bucketsPerCallMax)
    found.push(...(await movementsIn(bench, first.day, buckets.slice(from, from + bucketsPerCallMax))));
  checkMovements(found, expected, digests);
}

async function compared(bench: Bench, day: string, expected: readonly Expected[]): Promise<void> {
  for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
    const first = await ask(bench, dayCalls.tree, { day });
    if (!first) throw new Fault('The endpoint tells of a day, and a moment later not.');
    try {
      return await compareOnce(bench, first, expected);
    } catch (error) {
      if (!(error instanceof Moved)) throw error;
    }
  }
  throw new Fault('The day changes between two calls, again and again.');
}

const day: Check = {
  name: 'day',
  says: 'Where it has the calls about days, what was moved is among the movements of its day, and each digest is that of what it stands for',
  async run(bench) {
    const given = bench.accrual(300);
    const { occurredAt } = given;
    const name = occurredAt.slice(0, 10);
    if (!(await ask(bench, dayCalls.tree, { day: name }))) return;
    const taken = { ...bench.redemption(120), occurredAt };
    const back = { ...bench.reversal('accrual', given.reference, 100), occurredAt };
    await bench.move('accrue', given);
    await bench.move('redeem', taken);
    await bench.move('reverse', back);
    const second = `${occurredAt.slice(0, 19)}Z`;
    await compared(bench, name, [
      { kind: 'accrual', reference: given.reference, points: 300, occurredAt: second },
      { kind: 'redemption', reference: taken.reference, points: 120, occurredAt: second },
      { kind: 'reversal', reference: back.reference, points: 100, occurredAt: second },
    ]);
    await bench.expectMoved(
      80,
      'Of an accrual of 300 points 100 were taken back, and 120 points were taken.',
    );
  },
};

export const dayChecks: readonly Check[] = [day];
