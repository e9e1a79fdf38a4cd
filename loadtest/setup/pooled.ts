/** A stage of one contestant that is a process beside a PostgreSQL of its own, with the best number of connections between them. */
import {
  type Contestant,
  type Stage,
  type Standing,
  type Surroundings,
  startListening,
} from '../contestant.ts';
import { bestPoolSize } from './pool-size.ts';
import { openDatabase } from './postgres.ts';

interface Pooled {
  readonly contestant: Contestant;
  /** The database's folder, and the file of its tables. */
  readonly database: string;
  readonly sqlPath: string;
  /** Where accruals are counted. */
  readonly table: string;
  readonly indexes: string;
  readonly script: string;
  /** Settings of the process beside URL and pool; asked for when the stage is prepared. */
  settings(): Promise<Readonly<Record<string, unknown>>>;
}

export function pooledStage(pooled: Pooled, around: Surroundings): Stage {
  const { contestant, indexes, script, table } = pooled;
  let settings: Readonly<Record<string, unknown>> = {};
  let poolSize = 0;
  const open = () => openDatabase(pooled.database, pooled.sqlPath, around);
  const startApi = (databaseUrl: string, size: number) =>
    startListening(script, { ...settings, databaseUrl, poolSize: size }, around);
  return {
    name: contestant.name,
    contestants: [contestant],
    async prepare() {
      settings = await pooled.settings();
      await using database = await open();
      const best = await bestPoolSize(contestant, around, (size) => startApi(database.url, size));
      poolSize = best.size;
      return `${best.found}; indexes: ${indexes}`;
    },
    async start(): Promise<Standing> {
      await using stack = new AsyncDisposableStack();
      const database = stack.use(await open());
      const api = await startApi(database.url, poolSize);
      stack.defer(() => api.stop());
      const standing = stack.move();
      return {
        port: api.port,
        processes: { api: api.pid, postgres: database.pid },
        stored: () => database.count(table),
        stop: () => standing.disposeAsync(),
      };
    },
  };
}
