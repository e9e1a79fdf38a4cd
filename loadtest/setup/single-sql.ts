/**
 * Brings up the best single-store design, with all members and with one that everybody hits, and as it is usually written;
 * each has its own best number of connections.
 */
import {
  type Contestant,
  type Stage,
  type Standing,
  type Surroundings,
  startListening,
} from '../contestant.ts';
import { accrual, only } from '../requests.ts';
import { bestPoolSize } from './pool-size.ts';
import { type Database, openDatabase } from './postgres.ts';

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

function stageOf(contestant: Contestant, around: Surroundings): Stage {
  let poolSize = 0;
  const open = () => openDatabase('single-sql', 'single-sql.sql', around);
  const startApi = (database: Database, size: number) =>
    startListening(
      'loadtest/contestants/single-sql.ts',
      { databaseUrl: database.url, poolSize: size },
      around,
    );
  return {
    name: contestant.name,
    contestants: [contestant],
    async prepare() {
      await using database = await open();
      const best = await bestPoolSize(contestant, around, (size) => startApi(database, size));
      poolSize = best.size;
      return `${best.found}; indexes: member (id), (code); ledger (id), (reference), (member, id)`;
    },
    async start(): Promise<Standing> {
      await using stack = new AsyncDisposableStack();
      const database = stack.use(await open());
      const api = await startApi(database, poolSize);
      stack.defer(() => api.stop());
      const standing = stack.move();
      return {
        port: api.port,
        processes: { api: api.pid, postgres: database.pid },
        stored: () => database.count('ledger'),
        stop: () => standing.disposeAsync(),
      };
    },
  };
}

export function singleStatement(around: Surroundings): Stage[] {
  return [hotMember, allMembers, withPool].map((contestant) => stageOf(contestant, around));
}
