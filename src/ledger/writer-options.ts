/** What a ledger writer is given and what it reports. */
import type pg from 'pg';
import type { Logger } from 'pino';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import type { Conflict } from './books.ts';
import type { Posting } from './postings.ts';

/**
 * `recovering` and `serving` follow one another by themselves. `stopped` (the journal cannot be read, or is another
 * installation's) and `ledger_behind` (PostgreSQL came back older than the journal reaches) wait for a person.
 */
export const shardStates = ['recovering', 'serving', 'stopped', 'ledger_behind'] as const;
export type ShardState = (typeof shardStates)[number];

/** What the process reports; the worker turns it into metrics. */
export interface WriterEvents {
  written(postings: readonly Posting[], seconds: number): void;
  lag(shard: number, records: number, seconds: number): void;
  state(shard: number, state: ShardState | undefined): void;
  conflict(conflict: Conflict): void;
  quarantined(member: number, reason: string): void;
}

export interface WriterOptions {
  readonly databaseUrl: string;
  readonly pool: pg.Pool;
  readonly nodes: RedisNodes;
  readonly log: Logger;
  readonly journalKeepMs: number;
  /** A shard's journal above this keeps nothing that is in the books already. */
  readonly journalBytesMax: number;
  readonly events: WriterEvents;
}
