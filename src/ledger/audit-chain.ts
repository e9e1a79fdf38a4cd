/**
 * Recomputes the hash chain of a shard from its operations, handed over in order. A block is recomputed from its own
 * `previous_hash`, and links are compared apart, so a changed, removed or swapped row names exactly the blocks it stands in.
 */
import type pg from 'pg';
import type { ArchivedNumbers } from './audit-archived.ts';
import type { Collector } from './audit-report.ts';
import { blockHash, type ChainedRecord } from './chain.ts';

export interface BlockRow {
  readonly epoch: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly previous_hash: Buffer;
  readonly hash: Buffer;
}

export interface ChainCheck {
  /** Takes the next operation of the shard. */
  record(record: ChainedRecord): Promise<void>;
  /** Closes the chain; its last hash must be the position's. */
  end(positionHash: Buffer): Promise<void>;
  /** Ends a part of the walk at its last block. */
  pause(): Promise<void>;
}

/** A stretch of the chain: after the block `from`, through the block `through`. */
export interface ChainStretch {
  readonly from: BlockRow | undefined;
  readonly through: BlockRow | undefined;
}

const blocksPerPage = 1_000;
/** The hash of a position that has written nothing yet (`installation.ts`). */
const firstHash = Buffer.from([0]);

const blocksQuery = `select epoch, first_seq, last_seq, previous_hash, hash from block
  where shard = $1 and (epoch, first_seq) > ($2, $3) order by epoch, first_seq limit $4`;

async function* blocksOf(tx: pg.ClientBase, shard: number, stretch: ChainStretch): AsyncGenerator<BlockRow> {
  const { from, through } = stretch;
  let after = { epoch: from?.epoch ?? -1, first_seq: from?.first_seq ?? -1 };
  for (;;) {
    const { rows } = await tx.query<BlockRow>({
      name: 'audit-blocks',
      text: blocksQuery,
      values: [shard, after.epoch, after.first_seq, blocksPerPage],
    });
    for (const row of rows) {
      yield row;
      if (row.epoch === through?.epoch && row.first_seq === through.first_seq) return;
    }
    if (rows.length < blocksPerPage) return;
    after = rows.at(-1)!;
  }
}

/** Whether a record stands before (-1), in (0) or after (1) a block. */
function side(record: ChainedRecord, block: BlockRow): -1 | 0 | 1 {
  if (record.epoch !== block.epoch) return record.epoch < block.epoch ? -1 : 1;
  if (record.seq < block.first_seq) return -1;
  return record.seq > block.last_seq ? 1 : 0;
}

export function createChainCheck(
  tx: pg.ClientBase,
  shard: number,
  collector: Collector,
  archived: ArchivedNumbers,
  stretch: ChainStretch = { from: undefined, through: undefined },
): ChainCheck {
  const blocks = blocksOf(tx, shard, stretch);
  let block: BlockRow | undefined;
  let previous = stretch.from;
  let held: ChainedRecord[] = [];
  let started = false;
  let uncovered = false;

  function found(at: BlockRow, detail: string): void {
    const where = { shard, epoch: at.epoch, block: `${at.first_seq}-${at.last_seq}` };
    collector.found({ check: 'blocks', where, detail, points: 0 });
  }

  function checkLink(at: BlockRow): void {
    if (!at.previous_hash.equals(previous?.hash ?? firstHash)) {
      found(
        at,
        previous ? 'does not name the hash of the block before it' : 'does not start from the empty chain',
      );
    }
    const first = previous?.epoch === at.epoch ? previous.last_seq + 1 : 1;
    if (at.first_seq !== first) found(at, `should start at number ${first}`);
  }

  function finish(at: BlockRow): void {
    collector.compared('blocks', 1);
    checkLink(at);
    const gone = archived.count(at.epoch, at.first_seq, at.last_seq);
    const wanted = at.last_seq - at.first_seq + 1 - gone;
    if (held.length !== wanted) found(at, `covers ${wanted} operations, of which ${held.length} are there`);
    // What of its operations is archived cannot be hashed: the block still links, and numbers say that all are accounted for.
    else if (gone === 0 && !blockHash(at.previous_hash, held).equals(at.hash))
      found(at, 'its hash is not that of its operations');
    held = [];
    uncovered = false;
    previous = at;
  }

  async function next(): Promise<void> {
    if (started && block) finish(block);
    started = true;
    const { value } = await blocks.next();
    block = value ?? undefined;
  }

  async function finishAll(): Promise<void> {
    if (!started) await next();
    while (block) await next();
  }

  return {
    pause: finishAll,
    async record(record) {
      if (!started) await next();
      while (block && side(record, block) > 0) await next();
      if (block && side(record, block) === 0) {
        held.push(record);
        return;
      }
      // One finding for a run of operations without a block.
      if (uncovered) return;
      uncovered = true;
      const where = { shard, epoch: record.epoch, seq: record.seq };
      collector.found({
        check: 'blocks',
        where,
        detail: 'no block covers the operations from here on',
        points: 0,
      });
    },
    async end(positionHash) {
      await finishAll();
      if (!positionHash.equals(previous?.hash ?? firstHash)) {
        collector.found({
          check: 'blocks',
          where: { shard },
          detail: 'the last block is not the one at the written position',
          points: 0,
        });
      }
    },
  };
}
