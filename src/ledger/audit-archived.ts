/** Which numbers of a shard's journal are archived: whole stretches, and a few more where a month ended. */
import type pg from 'pg';

export interface ArchivedNumbers {
  /** How many numbers from one through another are archived. */
  count(epoch: number, from: number, to: number): number;
  /** The stretches of numbers from one through another that are not. */
  gaps(epoch: number, from: number, to: number): [from: number, to: number][];
  /** The largest archived number of an epoch; 0 where there is none. */
  last(epoch: number): number;
}

interface Island {
  readonly epoch: number;
  readonly first_seq: number;
  readonly last_seq: number;
}

/** Reads the archived numbers of a shard. */
export async function archivedNumbers(
  tx: Pick<pg.ClientBase, 'query'>,
  shard: number,
): Promise<ArchivedNumbers> {
  const { rows } = await tx.query<Island>(
    'select epoch, first_seq, last_seq from archived_numbers where shard = $1 order by epoch, first_seq',
    [shard],
  );
  const byEpoch = Map.groupBy(rows, (row) => row.epoch);

  /** The islands that reach into a range. */
  function within(epoch: number, from: number, to: number): readonly Island[] {
    return (byEpoch.get(epoch) ?? []).filter((each) => each.last_seq >= from && each.first_seq <= to);
  }

  return {
    count(epoch, from, to) {
      const lengths = within(epoch, from, to).map(
        (each) => Math.min(each.last_seq, to) - Math.max(each.first_seq, from) + 1,
      );
      return lengths.reduce((sum, length) => sum + length, 0);
    },
    gaps(epoch, from, to) {
      const gaps: [number, number][] = [];
      let next = from;
      for (const each of within(epoch, from, to)) {
        if (each.first_seq > next) gaps.push([next, each.first_seq - 1]);
        next = each.last_seq + 1;
      }
      if (next <= to) gaps.push([next, to]);
      return gaps;
    },
    last: (epoch) => byEpoch.get(epoch)?.at(-1)?.last_seq ?? 0,
  };
}
