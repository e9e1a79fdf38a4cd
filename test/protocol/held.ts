/** Redis, a connection and a pool that stand still at named calls until they are told to go on. */
import type { Redis } from 'ioredis';
import type pg from 'pg';

/** The same object, with some of its functions replaced. */
function withFunctions<T extends object>(target: T, changed: Readonly<Record<string, unknown>>): T {
  return new Proxy(target, {
    get(of, name) {
      if (typeof name === 'string' && name in changed) return changed[name];
      const value: unknown = Reflect.get(of, name);
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
}

/** Stands in the script of the opening record, and not in that of the fence. */
const ofOpening = "'coldBelow', ARGV[2]";

/** Redis as a recovery sees it that is held before the opening record, before the new epoch is read, and around the scripts. */
export function heldRedis(redis: Redis, pause: () => Promise<void>): Redis {
  let pipelines = -1;
  return withFunctions(redis, {
    async eval(...args: [string, number, ...string[]]) {
      if (!args[0].includes(ofOpening)) return redis.eval(...args);
      await pause();
      const answer = await redis.eval(...args);
      pipelines = 0;
      return answer;
    },
    pipeline() {
      const pipeline = redis.pipeline();
      const exec = pipeline.exec.bind(pipeline);
      async function held(): ReturnType<typeof exec> {
        if (pipelines < 0) return exec();
        pipelines += 1;
        // The first reads what stands in the new epoch, the second loads its scripts.
        await pause();
        const answer = await exec();
        if (pipelines === 2) await pause();
        return answer;
      }
      return Object.assign(pipeline, { exec: held });
    },
    // Rewriting the file changes nothing that is compared here.
    bgrewriteaof: () => Promise.resolve('OK'),
  });
}

/** How the comparison and the commit of the epoch begin. */
const places = ['previous_last_seq as seq from epoch', 'select 1 from position p join lease l'];
const reservation = /greatest\(term|\$4::bigint \+ 2/;

/** A connection as a recovery sees it that is held after the reservation, before the comparison and before the commit. */
export function heldConnection(connection: pg.Client, pause: () => Promise<void>): pg.Client {
  const query = (connection.query as (...args: unknown[]) => unknown).bind(connection);
  async function reserve(args: unknown[]): Promise<unknown> {
    const answer = (await query(...args)) as pg.QueryResult;
    // A reservation without an answer ends the work here.
    if (answer.rowCount !== 0) await pause();
    return answer;
  }
  return withFunctions(connection, {
    query(...args: unknown[]) {
      const text = String(args[0]);
      if (reservation.test(text)) return reserve(args);
      // Everything else goes as it is: a COPY answers with a stream.
      return places.some((place) => text.includes(place))
        ? pause().then(() => query(...args))
        : query(...args);
    },
  });
}

/** A pool that is held after every answer. */
export function heldPool(pool: pg.Pool, pause: () => Promise<void>): pg.Pool {
  const query = (pool.query as (...args: unknown[]) => unknown).bind(pool);
  async function held(args: unknown[]): Promise<unknown> {
    const answer = await query(...args);
    await pause();
    return answer;
  }
  return withFunctions(pool, { query: (...args: unknown[]) => held(args) });
}
