/** Puts the members' functions together: what `app.ts` composes and what upkeep runs. */
import type pg from 'pg';
import type { Programs } from '#src/earning/program.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { type Changes, createChanges } from './change.ts';
import { type Codes, createCodes } from './codes.ts';
import type { Enrolment } from './enrolment.ts';
import { createErasure, type Erasure } from './erasure.ts';
import { createExports, type Exports } from './export.ts';
import type { Identity } from './identity.ts';
import { createLife, type Life } from './life.ts';
import { createMerges, type Merges } from './merge.ts';
import { createReadings, type Readings } from './reading.ts';
import { createTransferRelay, type TransferRelay } from './transfer-relay.ts';
import { createTransfers, type Transfers } from './transfers.ts';

/** What the members' functions are made of; `app.ts` has it all. */
export interface MembersContext {
  readonly operations: Operations;
  readonly pool: pg.Pool;
  readonly programs: Programs;
  readonly identity: Identity;
  readonly enrolment: Enrolment;
}

export interface Members {
  readonly readings: Readings;
  readonly changes: Changes;
  readonly codes: Codes;
  readonly life: Life;
  /** Upkeep: `resume` finishes merges and moves on what reached merged members. */
  readonly merges: Merges;
  readonly transfers: Transfers;
  /** Upkeep: `relayOpen` finishes transfers that nobody finished. */
  readonly relay: TransferRelay;
  readonly exports: Exports;
  readonly erasure: Erasure;
}

export function createMembers(context: MembersContext): Members {
  const { operations, pool, programs, identity, enrolment } = context;
  const relay = createTransferRelay(operations, pool, programs);
  const life = createLife(operations, pool, identity);
  return {
    readings: createReadings(operations, pool, identity, enrolment),
    changes: createChanges(operations, pool, identity),
    codes: createCodes(operations, pool, identity),
    life,
    merges: createMerges(operations, pool, programs, identity, relay),
    transfers: createTransfers(operations, identity, relay),
    relay,
    exports: createExports(operations, pool, identity),
    erasure: createErasure(operations, pool, identity, life),
  };
}
