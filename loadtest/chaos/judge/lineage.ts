/**
 * PURE. Whether the numbers of the books are whole: dense from 1 in each epoch of a shard, every epoch opened by a row that
 * names the one before and where it ended. A number that is missing and that no row names is a hole nobody has explained.
 */
import type { Books, EpochRow, Finding } from './evidence.ts';

export interface LostRange {
  readonly shard: number;
  /** The epoch that lost them. */
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  /** When recovery named the range. */
  readonly namedAtMs: number;
}

/** The ranges that recovery named as lost. */
export function lostRanges(epochs: readonly EpochRow[]): LostRange[] {
  return epochs.flatMap(({ shard, previousEpoch, lostFrom, lostTo, openedAtMs }) =>
    lostFrom === null || lostTo === null
      ? []
      : [{ shard, epoch: previousEpoch, from: lostFrom, to: lostTo, namedAtMs: openedAtMs }],
  );
}

function checkEpochs(
  rows: readonly EpochRow[],
  lastSeqs: ReadonlyMap<string, number>,
  found: Finding[],
): void {
  const ordered = rows.toSorted((a, b) => a.shard - b.shard || a.epoch - b.epoch);
  ordered.forEach((row, i) => {
    const before = ordered[i - 1]?.shard === row.shard ? ordered[i - 1] : undefined;
    const name = `epoch ${row.epoch} of shard ${row.shard}`;
    if ((before?.epoch ?? 0) !== row.previousEpoch) {
      found.push({
        charge: 'unnamed',
        detail: `${name} follows ${row.previousEpoch}, not ${before?.epoch ?? 0}`,
      });
    }
    const last = lastSeqs.get(`${row.shard}.${row.previousEpoch}`) ?? 0;
    const named =
      row.lostFrom !== null && row.lostFrom <= last + 1 && (row.lostTo ?? 0) >= row.previousLastSeq;
    if (row.previousLastSeq > last && !named) {
      found.push({
        charge: 'unnamed',
        detail: `${name} says that ${row.previousEpoch} ended at ${row.previousLastSeq}; the books end at ${last}`,
      });
    }
  });
}

/** Checks that no number is missing and that every epoch is explained. */
export function checkLineage(books: Books): Finding[] {
  const found: Finding[] = [];
  const lastSeqs = new Map<string, number>();
  const opened = new Set(books.epochs.map(({ shard, epoch }) => `${shard}.${epoch}`));
  for (const { shard, epoch, seq } of books.records) {
    const key = `${shard}.${epoch}`;
    const last = lastSeqs.get(key) ?? 0;
    if (last === 0 && !opened.has(key)) {
      found.push({ charge: 'unnamed', detail: `epoch ${epoch} of shard ${shard} was opened by nobody` });
    }
    if (seq !== last + 1) {
      found.push({ charge: 'unnamed', detail: `shard ${shard} epoch ${epoch}: after ${last} comes ${seq}` });
    }
    lastSeqs.set(key, seq);
  }
  checkEpochs(books.epochs, lastSeqs, found);
  for (const { shard, epoch, seq } of books.positions) {
    const last = lastSeqs.get(`${shard}.${epoch}`) ?? 0;
    if (seq !== last) {
      found.push({
        charge: 'unnamed',
        detail: `shard ${shard} stands at ${epoch}.${seq}; its records end at ${last}`,
      });
    }
  }
  for (const { shard, epoch, seq } of books.quarantined) {
    found.push({ charge: 'unbalanced', detail: `${shard}.${epoch}.${seq} is in quarantine` });
  }
  return found;
}
