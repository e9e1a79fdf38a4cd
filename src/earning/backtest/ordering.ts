/**
 * PURE. From the order of operations' ids to the order in which each shard's journal has them.
 *
 * An id's time is when its movement was looked up, its position is where the script put it, some milliseconds later: two
 * movements of one member at once may stand the other way round. Reading in the order of ids is reading the ledger from
 * its first page to its last, so rows are read like that and the newest are held back. What leaves is in the order of its
 * shard, and over all shards nearly in that of time, which is the order in which budgets were used. A row that comes later
 * than what was held back is counted in `lateRows`: counters may then differ from those of the ledger.
 */
export interface Positioned {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

export interface Ordering<Row extends Positioned> {
  /** Takes rows in the order of their ids; gives those that are ready. */
  take(rows: readonly Row[]): Row[];
  /** Gives what is left. */
  end(): Row[];
  readonly lateRows: number;
}

function byPosition(a: Positioned, b: Positioned): number {
  return a.epoch - b.epoch || a.seq - b.seq;
}

export function createOrdering<Row extends Positioned>(heldMax: number): Ordering<Row> {
  let held: Row[] = [];
  let lateRows = 0;
  const last = new Map<number, Row>();

  /** The first `count` held rows, and those of their shards that stand before them in the journal. */
  function release(count: number): Row[] {
    const upTo = new Map<number, Row>();
    for (let i = 0; i < count; i += 1) {
      const row = held[i]!;
      const newest = upTo.get(row.shard);
      if (!newest || byPosition(row, newest) > 0) upTo.set(row.shard, row);
    }
    const byShard = new Map<number, Row[]>();
    const [ready, rest]: [Row[], Row[]] = [[], []];
    for (const row of held) {
      const newest = upTo.get(row.shard);
      if (!newest || byPosition(row, newest) > 0) {
        rest.push(row);
        continue;
      }
      ready.push(row);
      const ofShard = byShard.get(row.shard);
      if (ofShard) ofShard.push(row);
      else byShard.set(row.shard, [row]);
    }
    for (const [shard, rows] of byShard) {
      rows.sort(byPosition);
      const before = last.get(shard);
      if (before) for (const row of rows) lateRows += byPosition(row, before) < 0 ? 1 : 0;
      last.set(shard, rows.at(-1)!);
    }
    held = rest;
    // Each row's place goes to the next of its shard.
    const next = new Map<number, number>();
    return ready.map(({ shard }) => {
      const index = next.get(shard) ?? 0;
      next.set(shard, index + 1);
      return byShard.get(shard)![index]!;
    });
  }

  return {
    take(rows) {
      held = held.concat(rows);
      return held.length > heldMax ? release(held.length - heldMax) : [];
    },
    end: () => release(held.length),
    get lateRows() {
      return lateRows;
    },
  };
}
