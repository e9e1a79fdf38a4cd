/**
 * PURE. The hash chain over a shard's records, one hash a block: sha256 of the previous hash and the records as they
 * stand in the books. Writer and audit share it, so a changed, removed or swapped row breaks exactly one block.
 */
import { createHash } from 'node:crypto';
import type { JournalRecord } from '#src/journal.ts';

export type ChainedRecord = Pick<
  JournalRecord,
  | 'epoch'
  | 'seq'
  | 'kind'
  | 'program'
  | 'client'
  | 'member'
  | 'operation'
  | 'order'
  | 'referenceKey'
  | 'fingerprint'
  | 'at'
  | 'occurredAt'
  | 'request'
  | 'effectText'
>;

/** Hash of a block of records that follows a block with hash `previous`. */
export function blockHash(previous: Uint8Array, records: readonly ChainedRecord[]): Buffer {
  let text = '';
  for (const r of records) {
    text += `${r.epoch}-${r.seq}\t${r.kind}\t${r.program}\t${r.client}\t${r.member}\t${r.operation}\t${r.order}\t${r.referenceKey}\t${r.fingerprint}\t${r.at}\t${r.occurredAt}\t${r.request}\t${r.effectText}\n`;
  }
  return createHash('sha256').update(previous).update(text).digest();
}
