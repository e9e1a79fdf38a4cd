/**
 * The ledger's operations of a program from the first to the newest, a page at a time by a cursor over one snapshot that
 * changes nothing. The next page is on its way while the one before is judged. Read in the order of ids, which is that of
 * the months' partitions and, nearly, of the pages on disk.
 */
import type pg from 'pg';
import type { EpochMs, MemberNumber, OperationHex, OperationKind } from '#src/values.ts';
import type { KeptRequest, LedgerRow } from './replay.ts';

/** Which receipts are replayed, by when they occurred; absent: no bound. */
export interface Span {
  readonly from?: EpochMs | undefined;
  /** The first instant after it. */
  readonly to?: EpochMs | undefined;
}

const pageRows = 1_000;

const milliseconds = (column: string) => `round(date_part('epoch', ${column}) * 1000)::bigint`;
/** Looking for the word costs less than reading the JSON. */
const fromEffect = (name: string, opening: string) =>
  `case when strpos(o.effect::text, '"${name}":${opening}') > 0 then o.effect ->> '${name}' end`;
const isReplayed = `(o.kind = 'accrual' and o.occurred_at >= $2::timestamptz and o.occurred_at < $3::timestamptz)`;

const ledgerQuery = `declare ledger no scroll cursor for
  select concat_ws(' ', replace(o.operation::text, '-', ''), o.shard, o.epoch, o.seq, o.kind, o.member, ${milliseconds('o.at')}, ${milliseconds('o.occurred_at')},
      ${isReplayed} and exists (select from consequence c where c.origin = o.operation)),
    case when ${isReplayed} or o.kind in ('reversal', 'return') then o.request end,
    case when ${isReplayed} then ${fromEffect('given', '[')} end,
    case when not ${isReplayed} then ${fromEffect('counters', '[[')} end
  from operation o where o.program = $1 order by o.operation`;

type RawRow = readonly (string | null)[];

/**
 * What every row has comes as one text: of a dozen columns, taking each out of the answer costs more than reading its JSON. Texts
 * stay what PostgreSQL sends.
 */
const asText = { getTypeParser: () => (text: unknown) => text };

function rowOf(raw: RawRow): LedgerRow {
  const [operation, shard, epoch, seq, kind, member, at, occurredAt, isUndone] = raw[0]!.split(' ');
  return {
    operation: operation as OperationHex,
    shard: Number(shard),
    epoch: Number(epoch),
    seq: Number(seq),
    kind: kind as OperationKind,
    member: Number(member) as MemberNumber,
    at: Number(at),
    occurredAt: Number(occurredAt),
    request: raw[1] == null ? undefined : (JSON.parse(raw[1]) as KeptRequest),
    given: raw[2] ?? undefined,
    counters: raw[3] ?? undefined,
    isUndone: isUndone === 't',
  };
}

function instant(at: EpochMs | undefined, otherwise: string): string {
  return at === undefined ? otherwise : new Date(at).toISOString();
}

async function open(tx: pg.PoolClient, program: number, { from, to }: Span): Promise<void> {
  await tx.query('begin isolation level repeatable read read only');
  // All rows are wanted, in the order of an index that every month has: nothing is sorted on disk before the first comes.
  await tx.query('set local cursor_tuple_fraction = 1; set local enable_sort = off');
  await tx.query(ledgerQuery, [program, instant(from, '-infinity'), instant(to, 'infinity')]);
}

/** Pages of the ledger, in the order of ids. */
export async function* ledgerPages(pool: pg.Pool, program: number, span: Span): AsyncGenerator<LedgerRow[]> {
  const tx = await pool.connect();
  const fetch = () =>
    tx.query<RawRow[]>({
      text: `fetch ${pageRows} from ledger`,
      rowMode: 'array',
      types: asText as pg.CustomTypesConfig,
    });
  try {
    await open(tx, program, span);
    let page = await fetch();
    while (page.rows.length > 0) {
      const next = fetch();
      // Whoever stops early, or fails meanwhile, does not wait for it.
      next.catch(() => {});
      yield page.rows.map((raw) => rowOf(raw as unknown as RawRow));
      page = await next;
    }
  } finally {
    // The snapshot ends with its connection; another report opens its own.
    tx.release(true);
  }
}
