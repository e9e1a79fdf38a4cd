/** How two sides find where their days differ, without servers: what is found, in how many calls, and how long each answer is. */
import { describe, expect, test } from 'vitest';
import {
  bucketsPerCallMax,
  type DayMovement,
  dayReply,
  movementsPerAnswerMax,
  nodesPerCallMax,
} from '#src/partners/protocol/days.ts';
import { type FarDay, type Found, findDiffering } from '#src/partners/reconciliation/comparing-days.ts';
import { instantText, type Movement } from '#src/partners/reconciliation/movement.ts';
import { createTree, keyHash, nodeName, type Tree, treeSide } from '#src/partners/reconciliation/tree.ts';

const from = Date.UTC(2026, 10, 22) / 1_000;
const answerBytesMax = 65_536;

/** As long as a movement can be: four bytes a character, and two characters of JSON for a quote. */
const longest = `${'"'.repeat(20)}${'\u{1F600}'.repeat(54)}`;

function movementsOf(count: number, reference = (i: number) => `flight-${i}`): Movement[] {
  return Array.from({ length: count }, (_, i) => ({
    madeBy: i % 3 === 0 ? 'us' : 'them',
    kind: i % 2 === 0 ? 'accrual' : 'redemption',
    reference: reference(i),
    points: 1 + (i % 5_000),
    currency: 'points',
    occurredAt: from + (i % 86_400),
    status: 'succeeded',
  }));
}

function treeOf(movements: readonly Movement[], asks: boolean): Tree {
  const builder = createTree();
  for (const each of movements) builder.add(treeSide(each.madeBy, asks), each);
  return builder.tree();
}

interface Seen {
  calls: number;
  longestBytes: number;
}

/** The other side with these movements, as it would answer; `tells` is what it says of its movements. */
function farWith(
  movements: readonly Movement[],
  seen: Seen,
  tells: (movement: DayMovement) => DayMovement = (each) => each,
): FarDay {
  const tree = treeOf(movements, false);
  const day = '2026-11-22';
  function answered<Reply>(reply: Reply): Promise<Reply> {
    seen.calls += 1;
    seen.longestBytes = Math.max(seen.longestBytes, Buffer.byteLength(JSON.stringify(reply)));
    return Promise.resolve(reply);
  }
  return {
    day(nodes) {
      const { digest, movements: count } = tree;
      const digests = nodes
        ? {
            buckets: Object.fromEntries(
              nodes.map((name) => [name, tree.bucketsOf(Number.parseInt(name, 16))]),
            ),
          }
        : { nodes: [...tree.nodes] };
      return answered(dayReply.parse({ object: 'partnerDay', day, movements: count, digest, ...digests }));
    },
    async movements(buckets) {
      const found = movements
        .map(({ madeBy, occurredAt, ...rest }): DayMovement => {
          return { ...rest, madeBy: treeSide(madeBy, false), occurredAt: instantText(occurredAt) };
        })
        .filter((each) => buckets.includes(keyHash(each.madeBy, each).slice(0, 4)))
        .map(tells);
      for (let at = 0; at === 0 || at < found.length; at += movementsPerAnswerMax) {
        const page = found.slice(at, at + movementsPerAnswerMax);
        await answered({ object: 'partnerDayMovements', day, movements: page, next: 'f'.repeat(32) });
      }
      return found;
    },
  };
}

/** The other side calls ours its own caller's, so both name the same. */
const mirrored = (movements: readonly Movement[]): Movement[] =>
  movements.map(({ madeBy, ...rest }) => ({ ...rest, madeBy: madeBy === 'us' ? 'them' : 'us' }));

function find(mine: readonly Movement[], far: FarDay): Promise<Found> {
  return findDiffering(() => Promise.resolve(treeOf(mine, true)), far);
}

describe('two days of 5,000 movements', () => {
  const mine = movementsOf(5_000);

  test.each([0, 1, 3, 40, 300])(
    'that differ in %i are compared in so many calls and no more',
    async (count) => {
      const altered = new Set(Array.from({ length: count }, (_, i) => (i * 7_919) % mine.length));
      const theirs = mirrored(mine).map((each, i) =>
        altered.has(i) ? { ...each, points: each.points + 1 } : each,
      );
      const seen: Seen = { calls: 0, longestBytes: 0 };
      const found = await find(mine, farWith(theirs, seen));
      const references = new Set(found.theirs.map(({ reference }) => reference));
      for (const i of altered) expect(references).toContain(mine[i]!.reference);
      expect(found.buckets.length).toBeLessThanOrEqual(altered.size);
      const [nodes, buckets] = [Math.min(count, 256), Math.min(count, 1_024)];
      const pages = Math.ceil(found.theirs.length / movementsPerAnswerMax);
      expect(seen.calls).toBeLessThanOrEqual(
        1 + Math.ceil(nodes / nodesPerCallMax) + Math.ceil(buckets / bucketsPerCallMax) + pages,
      );
      expect(seen.longestBytes).toBeLessThan(answerBytesMax);
      // Of a few differences few movements are sent.
      expect(found.theirs.length).toBeLessThan(10 * (count + 1));
    },
  );

  test('that have hardly anything in common are left to files', async () => {
    const others = mirrored(mine).map((each) => ({ ...each, points: each.points + 1 }));
    const seen: Seen = { calls: 0, longestBytes: 0 };
    await expect(find(mine, farWith(others, seen))).rejects.toThrow(/compare the day by a file/);
    expect(seen.calls).toBeLessThanOrEqual(1 + 256 / nodesPerCallMax);
  });
});

test('an answer of the longest movements is below what an answer may have', async () => {
  const movements = movementsOf(movementsPerAnswerMax, () => longest);
  const seen: Seen = { calls: 0, longestBytes: 0 };
  const page = movements.map(({ madeBy, occurredAt, ...rest }): DayMovement => {
    return {
      ...rest,
      points: Number.MAX_SAFE_INTEGER,
      currency: 'c'.repeat(32),
      madeBy: treeSide(madeBy, false),
      occurredAt: instantText(occurredAt),
    };
  });
  expect(Buffer.byteLength(JSON.stringify({ movements: page, next: 'f'.repeat(32) }))).toBeLessThan(
    answerBytesMax,
  );
  const whole = await farWith(movementsOf(30_000), seen).day(['00', nodeName(255), '01', '02']);
  expect(Object.keys(whole.buckets!)).toHaveLength(nodesPerCallMax);
  expect(seen.longestBytes).toBeLessThan(answerBytesMax);
});

test('a partner that tells other movements than it digests is believed in neither', async () => {
  const mine = movementsOf(500);
  const theirs = mirrored(mine).toSpliced(7, 1);
  const seen: Seen = { calls: 0, longestBytes: 0 };
  const hidden = mine[7]!;
  const lying = farWith(
    [...theirs, { ...mirrored([hidden])[0]!, points: hidden.points + 5 }],
    seen,
    (each) => ({ ...each, points: hidden.points }),
  );
  await expect(find(mine, lying)).rejects.toThrow(/still changing at the partner, or its movements/);
});
