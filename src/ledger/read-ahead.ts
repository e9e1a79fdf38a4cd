/**
 * Reads the writer's next turn while PostgreSQL writes the present one, so that neither waits for the other while there is a
 * backlog. What was read ahead is only a guess that the present turn commits: it counts for a shard whose position is then
 * exactly the one that it was read from, and is dropped for any other. Faults in it are nobody's until they are read again.
 */
import type { ShardProgress, ShardTurn } from './writer.ts';
import { progressAfter } from './writer.ts';

export interface ReadAhead {
  /** Begins to read what follows these turns. */
  begin(turns: readonly ShardTurn[]): void;
  /** What was read ahead from the positions where these shards stand now. */
  take(due: readonly ShardProgress[]): Promise<ShardTurn[]>;
}

function isSame(one: ShardProgress, other: ShardProgress): boolean {
  return (
    one.shard === other.shard &&
    one.term === other.term &&
    one.epoch === other.epoch &&
    one.seq === other.seq &&
    one.operation === other.operation &&
    one.hash.equals(other.hash)
  );
}

export function createReadAhead(
  read: (from: readonly ShardProgress[]) => Promise<readonly ShardTurn[]>,
  /** Does now what can be done of a turn before it is written. */
  prepare: (turn: ShardTurn) => void,
): ReadAhead {
  let ahead: Promise<readonly ShardTurn[]> | undefined;
  async function readBehind(turns: readonly ShardTurn[]): Promise<readonly ShardTurn[]> {
    const following = await read(turns.map(progressAfter));
    for (const turn of following) prepare(turn);
    return following;
  }
  return {
    begin(turns) {
      ahead = readBehind(turns).catch(() => []);
    },
    async take(due) {
      const turns = (await ahead) ?? [];
      ahead = undefined;
      return turns.flatMap((turn) => {
        const progress = due.find((one) => isSame(one, turn.progress));
        return progress ? [{ ...turn, progress }] : [];
      });
    },
  };
}
