/**
 * Brings up this service as it is shipped: its own PostgreSQL and Redis, the API and one ledger writer, the sample program
 * with its keys. The processes are stopped and started for every round; the data stays.
 */
import { join } from 'node:path';
import type { Contestant, Stage, Standing, Surroundings } from '../contestant.ts';
import { drained } from '../lag.ts';
import {
  accrual,
  accrualByReceipt,
  accrualInBooks,
  balances,
  bulkOf,
  holdAndCapture,
  only,
  redemption,
} from '../requests.ts';
import { meet, populate } from './members.ts';
import { countBooked, inJournal, openStand } from './stand.ts';

/** How the one installation of all of the service's contestants is started. */
function startOf(around: Surroundings): () => Promise<Standing> {
  const dataDir = join(around.folder, 'service');
  const { apiProcesses = 1 } = around;
  let isPopulated = false;
  return async () => {
    await using stack = new AsyncDisposableStack();
    const { installation, standing } = await openStand(around, dataDir);
    stack.defer(() => standing.stop());
    const { port, lag } = standing;
    if (!isPopulated) await populate(port, around.members);
    isPopulated = true;
    await meet(port, around.members, apiProcesses);
    await drained(lag);
    const started = stack.move();
    return {
      ...standing,
      stored: () => countBooked(installation.postgres.url, 'accrual'),
      stop: () => started.disposeAsync(),
    };
  };
}

const inBooks = 'PostgreSQL, synchronous commit, and the journal';

type Load = Pick<Contestant, 'name' | 'title' | 'traffic'> & Partial<Contestant>;

function contestantOf(load: Load): Contestant {
  const counted = { name: 'accruals', perRequest: 1 };
  return { durability: inJournal, connections: 128, counted, isAccrual: true, ...load };
}

const accruals: readonly Load[] = [
  { name: 'service', title: 'this service, accrual at journal', traffic: only(accrual) },
  {
    name: 'service-natural',
    title: 'this service, accrual at journal with references of store, till, day and number',
    traffic: only(accrualByReceipt),
  },
  {
    name: 'service-256',
    title: 'this service, accrual at journal, 256 connections',
    connections: 256,
    traffic: only(accrual),
  },
  {
    name: 'service-ledger',
    title: 'this service, accrual at ledger, 256 connections',
    durability: inBooks,
    connections: 256,
    traffic: only(accrualInBooks),
  },
  ...[100, 1_000].map((items) => ({
    name: `service-bulk-${items}`,
    title: `this service, bulk calls of ${items} accruals`,
    connections: items === 100 ? 16 : 4,
    counted: { name: 'accruals', perRequest: items },
    traffic: only(bulkOf(items)),
  })),
];

const others: readonly Load[] = [
  {
    name: 'service-redemption',
    title: 'this service, redemption (at ledger)',
    durability: inBooks,
    counted: { name: 'redemptions', perRequest: 1 },
    traffic: only(redemption),
  },
  {
    name: 'service-hold',
    title: 'this service, hold and its capture (both at ledger), latencies of each',
    durability: inBooks,
    counted: { name: 'pairs', perRequest: 0.5 },
    traffic: only(...holdAndCapture),
  },
  {
    name: 'service-mixed',
    title: 'this service, 80 % accruals at journal, 15 % redemptions at ledger, 5 % balance reads',
    durability: 'that of each request',
    counted: { name: 'requests', perRequest: 1 },
    traffic: [
      { percent: 80, steps: [accrual] },
      { percent: 15, steps: [redemption] },
      { percent: 5, steps: [balances] },
    ],
  },
  {
    name: 'service-balances',
    title: 'this service, balance read',
    durability: 'none needed',
    counted: { name: 'reads', perRequest: 1 },
    traffic: only(balances),
  },
];

/**
 * This service and its loads. The one that most marks are about comes first, right after the processes' start, as the other
 * contestants' loads do; the hot member comes last, beside the single statement's.
 */
export function thisEngine(around: Surroundings): Stage {
  const start = startOf(around);
  return {
    name: 'service',
    contestants: [
      ...accruals.map(contestantOf),
      ...others.map((load) => contestantOf({ ...load, isAccrual: false })),
      contestantOf({
        name: 'service-hot-member',
        title: 'this service, accrual at journal, one member hit by everybody',
        members: 1,
        traffic: only(accrual),
      }),
    ],
    async prepare() {
      // The first start populates, so that no round does.
      const standing = await start();
      await standing.stop();
      return `${around.members.toLocaleString('en')} members that the API has met, API_PROCESSES=${around.apiProcesses ?? 1}, one ledger writer, settings as shipped`;
    },
    start,
  };
}
