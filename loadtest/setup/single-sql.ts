/**
 * Brings up the best single-store design, with all members and with one that everybody hits, and as it is usually written;
 * each has its own best number of connections.
 */
import type { Contestant, Stage, Surroundings } from '../contestant.ts';
import { accrual, only } from '../requests.ts';
import { pooledStage } from './pooled.ts';

interface Settings {
  readonly isPipelined: boolean;
  readonly hasBudget?: boolean;
}

const allMembers: Contestant = {
  name: 'single-sql',
  title: 'Express with one SQL statement, connections pipelined',
  durability: 'PostgreSQL, synchronous commit',
  connections: 128,
  counted: { name: 'accruals', perRequest: 1 },
  isAccrual: true,
  traffic: only(accrual),
};
const hotMember: Contestant = {
  ...allMembers,
  name: 'single-sql-hot-member',
  title: 'Express with one SQL statement, connections pipelined, one member hit by everybody',
  members: 1,
};

const withPool: Contestant = {
  ...allMembers,
  name: 'single-sql-pool',
  title: 'Express with one SQL statement, an ordinary pool',
};

const campaign: Contestant = {
  ...allMembers,
  name: 'single-sql-campaign',
  title: 'Express with one SQL statement, connections pipelined, one budget hit by everybody',
};

function stageOf(contestant: Contestant, settings: Settings, around: Surroundings): Stage {
  const pooled = {
    contestant,
    database: 'single-sql',
    sqlPath: 'single-sql.sql',
    table: 'ledger',
    indexes: 'member (id), (code); ledger (id), (reference), (member, id)',
    script: 'loadtest/contestants/single-sql.ts',
    settings: () => Promise.resolve({ ...settings }),
  };
  return pooledStage(pooled, around);
}

export function singleStatement(around: Surroundings): Stage[] {
  return [
    stageOf(hotMember, { isPipelined: true }, around),
    stageOf(allMembers, { isPipelined: true }, around),
    stageOf(withPool, { isPipelined: false }, around),
  ];
}

export function singleStatementWithBudget(around: Surroundings): Stage {
  return stageOf(campaign, { isPipelined: true, hasBudget: true }, around);
}
