/**
 * Every partner in memory. Whoever asks waits for a reading where the last one is older than half a second, so what was applied
 * is known everywhere within that time; a version that begins later than that begins for all processes at once.
 */
import type pg from 'pg';
import type { EpochMs } from '#src/values.ts';
import { readPartners } from './store.ts';
import type { Partner } from './types.ts';

const freshMs = 500;

export interface PartnerBook {
  named(program: number, name: string): Promise<Partner | undefined>;
  /** By its party in the ledger. */
  numbered(partner: number): Promise<Partner | undefined>;
  ofClient(client: number): Promise<Partner | undefined>;
  ofProgram(program: number): Promise<readonly Partner[]>;
  /** What is asked next is read anew. */
  forget(): void;
}

export function createPartnerBook(pool: pg.Pool, now: () => EpochMs = Date.now): PartnerBook {
  let known: readonly Partner[] = [];
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<readonly Partner[]> | undefined;

  function read(): Promise<readonly Partner[]> {
    const at = now();
    const mine = readPartners(pool)
      .then((partners) => {
        // What was forgotten meanwhile is read anew by whoever asks next.
        if (reading === mine) [known, readAt] = [partners, at];
        return partners;
      })
      .finally(() => {
        if (reading === mine) reading = undefined;
      });
    return mine;
  }
  async function all(): Promise<readonly Partner[]> {
    if (now() - readAt < freshMs) return known;
    reading ??= read();
    return reading;
  }

  return {
    named: async (program, name) =>
      (await all()).find((each) => each.program === program && each.name === name),
    numbered: async (partner) => (await all()).find(({ number }) => number === partner),
    ofClient: async (client) => (await all()).find((each) => each.client === client),
    ofProgram: async (program) => (await all()).filter((each) => each.program === program),
    forget() {
      reading = undefined;
      readAt = Number.NEGATIVE_INFINITY;
    },
  };
}
