/** What the writer reads ahead of a commit counts only where that commit brought the books to the very place it was read from. */
import { describe, expect, test } from 'vitest';
import type { Posting } from '#src/ledger/postings.ts';
import { createReadAhead } from '#src/ledger/read-ahead.ts';
import type { ShardProgress, ShardTurn } from '#src/ledger/writer.ts';

const place = (shard: number, seq: number): ShardProgress => ({
  shard,
  term: 2,
  epoch: 7,
  seq,
  hash: Buffer.from(`${shard}.${seq}`),
  operation: `operation-${seq}`,
});

/** A turn of so many records from a place on; only what names them is looked at here. */
function turnFrom(progress: ShardProgress, records: number): ShardTurn {
  const postings = Array.from({ length: records }, (_, i) => {
    const seq = progress.seq + i + 1;
    return { record: { seq, operation: `operation-${seq}` } } as unknown as Posting;
  });
  const { shard, seq } = progress;
  const hash = records === 0 ? progress.hash : place(shard, seq + records).hash;
  return { shard, progress, postings, quarantined: [], decidedStale: [], hash, readAt: 1 };
}

/** Reads three records behind every place, and notes where it was asked to read from. */
function reading() {
  const asked: ShardProgress[] = [];
  const prepared: number[] = [];
  const ahead = createReadAhead(
    async (from) => {
      asked.push(...from);
      return from.map((progress) => turnFrom(progress, 3));
    },
    ({ shard }) => void prepared.push(shard),
  );
  return { asked, prepared, ahead };
}

describe('a turn read ahead', () => {
  test('follows the last record of the one that is being written, and goes on from the writer’s own place', async () => {
    const { asked, prepared, ahead } = reading();
    ahead.begin([turnFrom(place(1, 10), 5), turnFrom(place(2, 40), 0)]);
    expect(asked).toEqual([place(1, 15), place(2, 40)]);
    const now = [place(1, 15), place(2, 40)];
    const taken = await ahead.take(now);
    expect(taken.map(({ progress, postings }) => [progress, postings.length])).toEqual([
      [now[0], 3],
      [now[1], 3],
    ]);
    // A commit moves the place on in the object that the writer keeps.
    expect(taken[0]!.progress).toBe(now[0]);
    expect(prepared).toEqual([1, 2]);
  });

  test.each([
    ['did not commit', place(1, 10)],
    ['was written in part', place(1, 12)],
    ['was booked under another hash', { ...place(1, 15), hash: Buffer.from('other') }],
    ['ended with another operation', { ...place(1, 15), operation: 'other' }],
    ['belongs to an epoch that is over', { ...place(1, 15), epoch: 9 }],
    ['belongs to a lease that was lost and taken again', { ...place(1, 15), term: 4 }],
  ])('is dropped where the turn before it %s', async (_, stands) => {
    const { ahead } = reading();
    ahead.begin([turnFrom(place(1, 10), 5)]);
    expect(await ahead.take([stands])).toEqual([]);
  });

  test('is taken once, and not for a shard that is not due any more', async () => {
    const { ahead } = reading();
    ahead.begin([turnFrom(place(1, 10), 5), turnFrom(place(2, 40), 1)]);
    expect((await ahead.take([place(2, 41)])).map(({ shard }) => shard)).toEqual([2]);
    expect(await ahead.take([place(1, 15), place(2, 41)])).toEqual([]);
  });

  test('that could not be read is read again in its own time', async () => {
    const ahead = createReadAhead(
      () => Promise.reject(new Error('Redis is away')),
      () => {},
    );
    ahead.begin([turnFrom(place(1, 10), 5)]);
    expect(await ahead.take([place(1, 15)])).toEqual([]);
  });
});
