/**
 * Stops a process at chosen steps: the first statement that does what is named waits in PostgreSQL until it is let go. Whatever
 * the process had done before is done by then, and nothing of what comes after.
 */
import pg from 'pg';
import { onTestFinished } from 'vitest';
import { waitFor } from './waiting.ts';

/** A change of rows, such as `insert on pool_part`; `when` is SQL over `new` and `old`. */
export interface Step {
  readonly on: string;
  readonly when?: string;
  /** Of which rows alone: SQL over `$1`, the new row, which may ask other tables. */
  readonly of?: string;
}

export interface Stall {
  /** Waits until somebody stands there. */
  reached(): Promise<void>;
  /** Lets it go on, and everybody after it. */
  letGo(): Promise<void>;
  /** Ends its connection: what it was about to write is not written, as PostgreSQL would write it also for a process that is gone. */
  cut(): Promise<void>;
}

export interface Stalls {
  /** In the order of the steps. */
  readonly at: readonly Stall[];
  /** Nobody stands anywhere any more. */
  remove(): Promise<void>;
}

const locks = 471_100;

const stallFunction = `
  create or replace function stall() returns trigger language plpgsql as $$
  declare
    is_meant boolean := true;
  begin
    if tg_nargs > 1 then execute 'select ' || tg_argv[1] into is_meant using new; end if;
    if is_meant and nextval('stalled_' || tg_argv[0]) = 1 then
      perform pg_advisory_lock_shared(tg_argv[0]::bigint);
      perform pg_advisory_unlock_shared(tg_argv[0]::bigint);
    end if;
    return new;
  end $$`;

/** `atEnd` is told what leaves nobody standing; where the stalls are not those of one test, it is for their owner to call it. */
export async function stallAt(
  databaseUrl: string,
  steps: readonly Step[],
  atEnd: (remove: () => Promise<void>) => void = onTestFinished,
): Promise<Stalls> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(stallFunction);
  // Many may be waited for at once, and a connection does one thing after the other.
  let last: Promise<unknown> = Promise.resolve();
  // Files of tests have databases of their own on one server, and locks by the same numbers there.
  const standing = `from pg_locks where locktype = 'advisory' and objid = $1 and not granted
    and database = (select oid from pg_database where datname = current_database())`;
  const inTurn = (text: string, lock: number) => {
    const mine = last.then(() => client.query(text, [lock]));
    last = mine.catch(() => {});
    return mine;
  };
  const at: Stall[] = [];
  for (const [i, { on, when, of }] of steps.entries()) {
    const lock = locks + i;
    const condition = when === undefined ? '' : `when (${when})`;
    await client.query('select pg_advisory_lock($1)', [lock]);
    await client.query(`create sequence stalled_${lock}`);
    await client.query(
      `create trigger stall_${lock} before ${on} for each row ${condition} execute function stall('${lock}'${of === undefined ? '' : `, ${client.escapeLiteral(of)}`})`,
    );
    at.push({
      async reached() {
        const isThere = async () => {
          const { rowCount } = await inTurn(`select ${standing}`, lock);
          return rowCount === 1;
        };
        await waitFor(`somebody stands at ${on} ${condition}`, isThere, 30_000);
      },
      cut: async () => void (await inTurn(`select pg_terminate_backend(pid) ${standing}`, lock)),
      letGo: async () => void (await inTurn('select pg_advisory_unlock($1)', lock)),
    });
  }
  let isRemoved = false;
  const stalls: Stalls = {
    at,
    async remove() {
      if (isRemoved) return;
      isRemoved = true;
      await client.query('select pg_advisory_unlock_all()');
      await client.query(`set lock_timeout = '2s'`);
      const drop = async () => {
        await client.query('drop function stall() cascade');
        return true;
      };
      await waitFor('the triggers are removed', drop, 30_000);
      for (const i of steps.keys()) await client.query(`drop sequence stalled_${locks + i}`);
      await client.end();
    },
  };
  // A test that fails in between leaves nobody standing for those that follow.
  atEnd(() => stalls.remove());
  return stalls;
}
