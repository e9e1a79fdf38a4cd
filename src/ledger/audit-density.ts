/**
 * Numbers of a shard are 1, 2, 3 … in each epoch, up to where the next epoch was opened or the books stand. The numbers of
 * archived operations are taken from the list that was made of them.
 */
import type pg from 'pg';
import type { ArchivedNumbers } from './audit-archived.ts';
import type { Collector, Where } from './audit-report.ts';

interface EpochRow {
  readonly epoch: number;
  readonly previous_epoch: number;
  readonly previous_last_seq: number;
  readonly cold_below: number;
  readonly lost_from: number | null;
  readonly lost_to: number | null;
}

export interface DensityCheck {
  /** Takes the next operation's number, in order. */
  number(epoch: number, seq: number): void;
  /** Compares the ends of all epochs with where the shard stands. */
  end(position: { readonly epoch: number; readonly seq: number }): void;
  /** Ends a part of the walk: the ends of all epochs before this one are compared. */
  pause(epoch: number): void;
}

const epochsQuery =
  'select epoch, previous_epoch, previous_last_seq, cold_below, lost_from, lost_to from epoch where shard = $1 order by epoch';

export async function createDensityCheck(
  tx: pg.ClientBase,
  shard: number,
  collector: Collector,
  archived: ArchivedNumbers,
  from?: { readonly epoch: number; readonly seq: number },
): Promise<DensityCheck> {
  const epochs = (await tx.query<EpochRow>(epochsQuery, [shard])).rows;
  const known = new Set(epochs.map((row) => row.epoch));
  /** The last number of every epoch that has any. */
  const lastSeq = new Map<number, number>(from ? [[from.epoch, from.seq]] : []);
  /** Epochs up to this one were compared when the walk passed them. */
  const doneThrough = from?.epoch ?? 0;

  function found(where: Where, detail: string): void {
    collector.found({ check: 'density', where: { shard, ...where }, detail, points: 0 });
  }

  function missing(epoch: number, from: number, to: number): void {
    for (const [first, last] of archived.gaps(epoch, from, to)) sayMissing(epoch, first, last);
  }

  function sayMissing(epoch: number, from: number, to: number): void {
    const numbers = from === to ? `number ${from} is missing` : `numbers ${from} to ${to} are missing`;
    found({ epoch, ...(from === to ? { seq: from } : {}) }, numbers);
  }

  /** Epochs must follow one another, and what the next one says of the end of the last must be what the books hold. */
  function checkEpochs(through: number): void {
    let previous = 0;
    for (const row of epochs) {
      const { epoch, previous_epoch: before } = row;
      if (epoch > through) return;
      if (epoch <= doneThrough) {
        previous = epoch;
        continue;
      }
      if (before !== previous)
        found({ epoch }, `follows epoch ${before}, but the one before it is ${previous}`);
      const held = Math.max(lastSeq.get(before) ?? 0, archived.last(before));
      missing(before, (lastSeq.get(before) ?? 0) + 1, Math.max(held, row.previous_last_seq));
      // After a cold recovery the journal may have had less than the books; after a warm one they are equal.
      if (held > row.previous_last_seq && row.cold_below !== epoch) {
        found({ epoch: before }, `goes on to number ${held}, but was closed at ${row.previous_last_seq}`);
      }
      if (row.lost_from !== null) {
        collector.note(
          `shard ${shard}, epoch ${before}: numbers ${row.lost_from} to ${row.lost_to} were acknowledged by the journal alone and lost with it`,
        );
      }
      previous = epoch;
    }
  }

  return {
    number(epoch, seq) {
      const last = lastSeq.get(epoch);
      if (last === undefined && !known.has(epoch)) found({ epoch }, 'the epoch was never opened');
      const expected = (last ?? 0) + 1;
      if (seq > expected) missing(epoch, expected, seq - 1);
      else if (seq < expected) found({ epoch, seq }, 'a number below 1');
      if (archived.count(epoch, seq, seq) > 0) found({ epoch, seq }, 'stands in the archive, too');
      lastSeq.set(epoch, seq);
      collector.compared('density', 1);
    },
    pause: checkEpochs,
    end(position) {
      checkEpochs(Number.MAX_SAFE_INTEGER);
      const latest = epochs.at(-1)?.epoch ?? 0;
      if (position.epoch !== latest)
        found({}, `the position is in epoch ${position.epoch}, the latest epoch is ${latest}`);
      const held = Math.max(lastSeq.get(position.epoch) ?? 0, archived.last(position.epoch));
      missing(position.epoch, (lastSeq.get(position.epoch) ?? 0) + 1, Math.max(held, position.seq));
      if (held > position.seq)
        found({ epoch: position.epoch }, `goes on to number ${held}, beyond the position ${position.seq}`);
    },
  };
}
