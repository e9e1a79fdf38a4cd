/**
 * The diary made again from the books, beside the one in use: for `check`, which compares the two, and `rebuild`, which
 * makes the one in use what the books say.
 *
 * Everything of it stands in a schema of its own, whose tables have the names of the diary's, and is filled by the same
 * turns: their `search_path` finds the tables here before those in use. Its `position`, up to which it reads, are the
 * bookmarks of the diary in use, so both are compared at the same numbers of every shard. Its `operation` has archived
 * months in it too, as long as their tables are in the database. Readers and followers go on meanwhile; a rebuild holds
 * followers up only for the last of it, while it compares and writes what differs.
 */
import pg from 'pg';
import type { Programs } from '#src/earning/program.ts';
import { inTransactionOn } from '#src/platform/postgres.ts';
import { readTurn } from './follower.ts';
import { createProgramFor, type ProgramFor } from './programs.ts';

/** Why the diary cannot be made again, in words for the operator. */
export class RebuildRefusal extends Error {}

export interface Difference {
  readonly table: string;
  /** Rows that the books have and the diary has not, that only the diary has, and that say different things. */
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
}

export interface Comparison {
  readonly operations: number;
  readonly days: number;
  readonly differences: readonly Difference[];
}

const schema = 'diary_again';
const oneRebuild = 7_305_411_203;
const rowsPerTurnMax = 10_000;
const turnsMax = 10_000_000;
/** Under load the bookmarks move on all the time: so many turns that were not full are near enough. */
const smallTurnsMax = 20;
/** Comparing two diaries of 20 million days takes minutes. */
const statementMsMax = 3_600_000;

interface Table {
  readonly name: string;
  readonly key: readonly string[];
  readonly values: readonly string[];
  /** A row that says nothing is as good as none. */
  readonly says: (row: string) => string;
}

const anything = () => 'true';
const tables: readonly Table[] = [
  {
    name: 'diary_day',
    key: ['member', 'day'],
    values: ['visits', 'spend', 'flights', 'distance'],
    says: (row) => `(${row}.visits, ${row}.spend, ${row}.flights, ${row}.distance) <> (0, 0, 0, 0)`,
  },
  {
    name: 'diary_points',
    key: ['member', 'currency', 'day'],
    values: ['earned'],
    says: (row) => `${row}.earned <> 0`,
  },
  { name: 'diary_order', key: ['member', 'order_key'], values: ['day', 'receipts'], says: anything },
  { name: 'diary_return', key: ['accrual'], values: ['spend_left', 'is_gone', 'taken'], says: anything },
  { name: 'diary_moved', key: ['member'], values: ['into_member'], says: anything },
];

/** Archived months whose operations are still in this database, as selects. */
async function archivedMonths(connection: pg.ClientBase): Promise<string[]> {
  const { rows } = await connection.query<{ month: string; there: boolean }>(
    `select month, to_regclass('archive.operation_' || month) is not null as there from archived_month order by end_id`,
  );
  const gone = rows.filter(({ there }) => !there).map(({ month }) => month);
  if (gone.length > 0)
    throw new RebuildRefusal(
      `the archived months ${gone.join(', ')} are not in the database: restore their tables in the schema "archive" first`,
    );
  return rows.map(({ month }) => `select * from archive.operation_${month}`);
}

async function begin(connection: pg.ClientBase): Promise<void> {
  await connection.query(`drop schema if exists ${schema} cascade`);
  const archived = await archivedMonths(connection);
  const made = [...tables.map(({ name }) => name), 'diary_position'].map(
    (name) => `create unlogged table ${schema}.${name} (like public.${name} including all)`,
  );
  const operations = ['select * from public.operation', ...archived].join(' union all ');
  await connection.query(
    [
      `create schema ${schema}`,
      ...made,
      `create view ${schema}.position as select shard, epoch, seq from public.diary_position`,
      `create view ${schema}.operation as ${operations}`,
    ].join('; '),
  );
}

interface Step {
  readonly operations: number;
  /** An epoch without operations moves a bookmark as well. */
  readonly isEnd: boolean;
}

async function turn(connection: pg.ClientBase, programFor: ProgramFor): Promise<Step> {
  await connection.query(`set local search_path = ${schema}, public`);
  const read = await readTurn(connection, programFor, undefined, rowsPerTurnMax);
  await connection.query('set local search_path = public');
  return { operations: read.operations, isEnd: read.pages.length === 0 };
}

/** Reads until the bookmarks of the diary in use are reached, or until `isNear` says that it was small steps for long. */
async function catchUp(
  one: () => Promise<Step>,
  onRead: (operations: number) => void,
  isNear: (smallTurns: number) => boolean,
): Promise<void> {
  let smallTurns = 0;
  for (let i = 0; i < turnsMax; i += 1) {
    const { operations, isEnd } = await one();
    onRead(operations);
    smallTurns = operations < rowsPerTurnMax / 2 ? smallTurns + 1 : 0;
    if (isEnd || isNear(smallTurns)) return;
  }
  throw new Error('the books do not end');
}

function joined({ name, key }: Table): string {
  return `public.${name} l full join ${schema}.${name} r on ${key.map((column) => `l.${column} = r.${column}`).join(' and ')}`;
}

function differs({ values }: Table): string {
  const texts = (row: string) => values.map((column) => `${row}.${column}::text`).join(', ');
  return `(${texts('l')}) is distinct from (${texts('r')})`;
}

async function compare(connection: pg.ClientBase): Promise<Difference[]> {
  const differences: Difference[] = [];
  for (const table of tables) {
    const [first] = table.key;
    const says = {
      l: `l.${first} is not null and ${table.says('l')}`,
      r: `r.${first} is not null and ${table.says('r')}`,
    };
    const { rows } = await connection.query<Omit<Difference, 'table'>>(
      `select count(*) filter (where (${says.r}) and (${says.l}) is not true) as missing,
         count(*) filter (where (${says.l}) and (${says.r}) is not true) as extra,
         count(*) filter (where (${says.l}) and (${says.r}) and ${differs(table)}) as different from ${joined(table)}`,
    );
    differences.push({ table: table.name, ...rows[0]! });
  }
  return differences;
}

/** Makes the tables in use what was made again; whoever reads meanwhile sees the one or the other. */
async function takeOver(connection: pg.ClientBase): Promise<void> {
  for (const table of tables) {
    const { name, key, values } = table;
    const same = key.map((column) => `l.${column} = r.${column}`).join(' and ');
    const all = [...key, ...values].map((column) => `r.${column}`).join(', ');
    const set = values.map((column) => `${column} = excluded.${column}`).join(', ');
    await connection.query(
      `delete from public.${name} l where not exists (select from ${schema}.${name} r where ${same})`,
    );
    await connection.query(
      `insert into public.${name} (${[...key, ...values].join(', ')})
       select ${all} from ${schema}.${name} r left join public.${name} l on ${same}
       where l.${key[0]} is null or ${differs(table)}
       on conflict (${key.join(', ')}) do update set ${set}`,
    );
  }
}

async function sizeOf(connection: pg.ClientBase): Promise<number> {
  const { rows } = await connection.query<{ days: number }>(
    `select count(*) as days from ${schema}.diary_day`,
  );
  return rows[0]!.days;
}

/** Fills the diary that is made again, and compares it where both have read the same. */
async function fillAndCompare(
  connection: pg.ClientBase,
  programFor: ProgramFor,
  isRebuild: boolean,
  onProgress: (operations: number) => void,
): Promise<Comparison> {
  let operations = 0;
  const onRead = (read: number) => {
    operations += read;
    onProgress(operations);
  };
  const one = () => inTransactionOn(connection, () => turn(connection, programFor));
  await catchUp(one, onRead, (smallTurns) => smallTurns >= smallTurnsMax);
  // A check compares one moment of both; a rebuild ends with nobody reading on.
  const readToTheEnd = async () => {
    if (isRebuild) await connection.query('select from public.diary_position order by shard for update');
    await catchUp(
      () => turn(connection, programFor),
      onRead,
      () => false,
    );
    const days = await sizeOf(connection);
    const differences = await compare(connection);
    if (isRebuild) await takeOver(connection);
    return { operations, days, differences };
  };
  return await inTransactionOn(connection, readToTheEnd, isRebuild ? '' : 'isolation level repeatable read');
}

/**
 * Makes the diary again and compares it with the one in use; with `isRebuild` the one in use becomes what was made. Throws
 * RebuildRefusal where the books are not whole.
 */
export async function makeAgain(
  databaseUrl: string,
  programs: Programs,
  isRebuild: boolean,
  onProgress: (operations: number) => void = () => {},
): Promise<Comparison> {
  const connection = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 });
  await connection.connect();
  try {
    const alone = await connection.query<{ held: boolean }>('select pg_try_advisory_lock($1) as held', [
      oneRebuild,
    ]);
    if (!alone.rows[0]!.held) throw new RebuildRefusal('another rebuild or check runs; wait for it');
    await connection.query(`set statement_timeout = ${statementMsMax}`);
    await begin(connection);
    const programFor = createProgramFor(programs);
    const comparison = await fillAndCompare(connection, programFor, isRebuild, onProgress);
    await connection.query(`drop schema ${schema} cascade`);
    return comparison;
  } finally {
    await connection.end().catch(() => {});
  }
}
