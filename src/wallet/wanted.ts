/**
 * Brings what a script wants from the books: members and originals into Redis, counters and what became of lots as a part of
 * the script's next input.
 */
import { Problem } from '#src/errors.ts';
import type { MemberNumber, OperationHex, Position } from '#src/values.ts';
import { shardOfMember, shardOfOperation } from '#src/values.ts';
import type { Loaded, Loader, Place } from './load.ts';
import type { LotOf } from './outcome.ts';
import type { Waited, Written } from './written.ts';

/** How long a movement waits for the books to have what a script has just seen. */
const booksWaitMs = 1_000;

export interface Wanted {
  member(member: MemberNumber): Promise<'loaded' | 'not_found'>;
  /** An original that is not in the books yet may still be in the journal: it is waited for once. */
  operation(operation: OperationHex, shard: number): Promise<'loaded' | 'not_found'>;
  /**
   * What the books say about places. Asked again, they must have caught up with the journal: whoever waits in vain is answered
   * by the script, and the attempts end.
   */
  counters(member: MemberNumber, places: Iterable<Place>, isAgain: boolean): Promise<string>;
  /** What the books say about lots that originals gave, once they have caught up with the journal. */
  lots(member: MemberNumber, given: Iterable<LotOf>): Promise<string>;
}

export function createWanted(
  loader: Loader,
  written: Written,
  journalEnd: (shard: number) => Promise<Position>,
  shardCount: number,
): Wanted {
  function fromBooks<T>(read: Promise<T>): Promise<T> {
    return read.catch((error: unknown) => {
      throw new Problem('not_ready', 'the books cannot be read at the moment', {}, { cause: error });
    });
  }

  async function warm(load: Promise<Loaded>): Promise<'loaded' | 'not_found'> {
    const loaded = await fromBooks(load);
    if (loaded === 'fenced') throw new Problem('shard_recovering');
    return loaded;
  }

  async function waitFor(shard: number): Promise<Waited> {
    return written.wait(await journalEnd(shard), booksWaitMs);
  }

  return {
    member: (member) => warm(loader.member(member)),
    async operation(operation, shard) {
      const loaded = await warm(loader.operation(operation, shard));
      if (loaded === 'loaded') return loaded;
      await waitFor(shardOfOperation(operation));
      return warm(loader.operation(operation, shard));
    },
    async counters(member, places, isAgain) {
      if (isAgain) await waitFor(shardOfMember(member, shardCount));
      const { epoch, seq, values } = await fromBooks(loader.counters(member, [...places]));
      return `,"known":${JSON.stringify([epoch, seq, values])}`;
    },
    async lots(member, given) {
      if ((await waitFor(shardOfMember(member, shardCount))) === 'timeout')
        throw new Problem('not_ready', 'the books are behind; ask again');
      const read = await fromBooks(loader.lots(member, [...given]));
      // An original that was taken back before is in the books.
      if (read === 'not_found') throw new Problem('original_not_found');
      return `,"past":${JSON.stringify([read.epoch, read.seq, member, read.member, read.rows, read.lots])}`;
    },
  };
}
