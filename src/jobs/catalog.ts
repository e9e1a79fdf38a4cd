/**
 * Every BullMQ job: its payload and its schedule. A tick is a hint: what is due is computed from the books, so a missed
 * tick is made up by the next one and a job that runs twice changes nothing the second time.
 */
import { z } from 'zod';

/** One hash tag, so that BullMQ's scripts work on Redis Cluster too. */
export const queuePrefix = '{bull}';

const nothing = z.strictObject({});

export interface JobEntry {
  readonly payload: z.ZodType;
  readonly everyMs: number;
  readonly purpose: string;
}

export const catalog = {
  due: {
    payload: nothing,
    everyMs: 30_000,
    purpose: 'books expired lots and ended holds of members nobody touched',
  },
  warnings: {
    payload: nothing,
    everyMs: 300_000,
    purpose: 'writes events that warn of points about to expire',
  },
  transfers: { payload: nothing, everyMs: 2_000, purpose: 'finishes transfers whose process died' },
  merges: {
    payload: nothing,
    everyMs: 5_000,
    purpose: 'finishes merges and moves on what reached merged members since',
  },
  pools: { payload: nothing, everyMs: 2_000, purpose: 'finishes redemptions of pools whose process died' },
  conflicts: {
    payload: nothing,
    everyMs: 5_000,
    purpose: 'takes back what was acknowledged twice under one reference',
  },
  quarantine: {
    payload: nothing,
    everyMs: 2_000,
    purpose: 'freezes the spending of members with a record in quarantine',
  },
  openWork: {
    payload: nothing,
    everyMs: 10_000,
    purpose: 'counts transfers in flight and repeats that stay',
  },
  auditHot: {
    payload: nothing,
    everyMs: 2_000,
    purpose: 'compares what is hot with the books, for a second',
  },
  auditBooks: {
    payload: nothing,
    everyMs: 5_000,
    purpose: 'recomputes numbers, hash chain, entries, rows and transfers, for a second each',
  },
  auditState: {
    payload: nothing,
    everyMs: 5_000,
    purpose: 'settles what the audit found and is good again, and publishes how it stands',
  },
  months: {
    payload: nothing,
    everyMs: 600_000,
    purpose: 'adds months to the ledger before they begin',
  },
  eviction: {
    payload: nothing,
    everyMs: 60_000,
    purpose: 'lets members leave Redis that nobody has asked for',
  },
} as const satisfies Record<string, JobEntry>;

export type JobName = keyof typeof catalog;
export const jobNames = Object.keys(catalog) as JobName[];

/** Jobs that one sort of worker process does. */
export interface JobQueue<Name extends string> {
  readonly name: string;
  readonly jobs: Readonly<Record<Name, JobEntry>>;
}

export const upkeepQueue: JobQueue<JobName> = { name: 'upkeep', jobs: catalog };

/** Giving to a million members takes a core for a minute: a process of its own keeps that from timers and audit. */
export const promotionsQueue: JobQueue<'gives'> = {
  name: 'promotions',
  jobs: {
    gives: {
      payload: nothing,
      everyMs: 2_000,
      purpose: 'plans what promotions give to members, and gives it',
    },
  },
};

/** A partner that does not answer keeps a process waiting that nobody else waits for. */
export const allianceQueue: JobQueue<'exchanges' | 'exchangeTidings' | 'prepaid'> = {
  name: 'alliance',
  jobs: {
    exchanges: {
      payload: nothing,
      everyMs: 1_000,
      purpose: 'goes on with exchanges that nobody works on',
    },
    exchangeTidings: {
      payload: nothing,
      everyMs: 2_000,
      purpose: 'tells what became of exchanges, asks partners once more, counts what is stuck',
    },
    prepaid: {
      payload: nothing,
      everyMs: 30_000,
      purpose: 'puts back what was drawn for nothing, and counts partners whose points or credit end',
    },
  },
};

/** Looking at a million members takes a core for half a minute; measuring them takes longer. */
export const tiersQueue: JobQueue<'tiers' | 'segments'> = {
  name: 'tiers',
  jobs: {
    tiers: {
      payload: nothing,
      everyMs: 2_000,
      purpose: "looks at all members at the beginning of a program's day and with new ladders",
    },
    segments: {
      payload: nothing,
      everyMs: 30_000,
      purpose: 'measures members through the last day, once its time has come',
    },
  },
};
