/**
 * What the books have and the diary (or whoever else follows them) has not read, shard by shard in the order in which it was booked.
 *
 * The writer books a shard's records in the order of (epoch, seq): seq is dense within an epoch, and once its position is in
 * a later epoch nothing is ever booked in an earlier one (what a stale Redis acknowledged there gets numbers of the new
 * epoch). Operations and position are one commit. So everything up to the writer's position is there, and what is booked
 * later is greater: reading on from the last number skips nothing, over any number of epochs, whichever were never served.
 *
 * Operations lie in months by their ids, and each month has its own index of numbers. An id is made moments before its
 * record is booked, so what follows the last operation is looked for in its month and later ones: a ledger of many years
 * costs what one of a month costs. Where that finds a gap or an epoch ends, all months are asked: an operation that was
 * booked long after its id was made (by a recovery) is only slower to find.
 */
import type pg from 'pg';
import { type EpochMs, type MemberNumber, type OperationHex, timeOfOperation } from '#src/values.ts';

/** How far a shard is read, and how far it is booked. */
export interface Bookmark {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly operation: string | null;
  readonly written_epoch: number;
  readonly written_seq: number;
}

/** What every reader of the books knows of an operation. */
export interface NumberedRow {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly operation: string;
  readonly posted_at: EpochMs;
}

/** An operation as the diary reads it; `request` and `effect` only of kinds that may concern it. */
export interface BookedRow extends NumberedRow {
  readonly kind: string;
  readonly program: number;
  readonly member: MemberNumber;
  readonly occurred_at: EpochMs;
  /** It repeats a reference: it is taken back as if it had never been. */
  readonly is_conflict: boolean;
  readonly request: string | null;
  readonly effect: string | null;
}

/** What was read of a shard, and the bookmark behind it. */
export interface Page<Row extends NumberedRow = BookedRow> {
  readonly shard: number;
  readonly rows: readonly Row[];
  readonly next: { readonly epoch: number; readonly seq: number; readonly operation: string | null };
}

/** A reader of the books with bookmarks of its own. */
export interface Unread<Row extends NumberedRow> {
  /** Whether there is anything to read. Cheap: a row a shard. */
  hasUnread(pool: pg.Pool): Promise<boolean>;
  /** Locks the bookmarks of shards that have something to read and that nobody else reads now. */
  lockBookmarks(tx: pg.ClientBase): Promise<Bookmark[]>;
  /** The next operations of the shards, `rowsMax` in all. */
  readPages(tx: pg.ClientBase, marks: readonly Bookmark[], rowsMax: number): Promise<Page<Row>[]>;
  /** Writes the bookmarks behind what was read. */
  moveBookmarks(tx: pg.ClientBase, pages: readonly Page<Row>[]): Promise<void>;
}

/** How far behind the books a turn found its reader, and how much of it the turn has read. */
export interface Lag {
  readonly operations: number;
  /** Booked and not read, before the turn. */
  readonly unread: number;
  /** When the oldest of what the turn read was booked. */
  readonly oldestPostedAt: EpochMs | undefined;
}

export function lagOf(marks: readonly Bookmark[], pages: readonly Page<NumberedRow>[]): Lag {
  const rows = pages.flatMap((page) => page.rows);
  return {
    operations: rows.length,
    unread: marks.reduce(
      (sum, { epoch, seq, written_epoch, written_seq }) =>
        sum + (epoch === written_epoch ? written_seq - seq : written_seq),
      0,
    ),
    oldestPostedAt: rows.length > 0 ? Math.min(...rows.map((row) => row.posted_at)) : undefined,
  };
}

/** Shows what a turn has left. */
export function showLag(
  { operations, unread: found, oldestPostedAt }: Lag,
  records: { set(value: number): void },
  seconds: { set(value: number): void },
): void {
  records.set(Math.max(0, found - operations));
  if (oldestPostedAt !== undefined) seconds.set(Math.max(0, (Date.now() - oldestPostedAt) / 1_000));
}

/** How many operations a shard has to read; more than can be counted here where epochs lie between. */
function pendingOf(mark: Bookmark): number {
  return mark.epoch === mark.written_epoch ? mark.written_seq - mark.seq : Number.MAX_SAFE_INTEGER;
}

interface Share {
  readonly mark: Bookmark;
  readonly rowsMax: number;
}

/** Divides a turn over the shards; those with little to read leave their share to the others. */
export function sharesOf(marks: readonly Bookmark[], rowsMax: number): Share[] {
  const sorted = marks.toSorted((a, b) => pendingOf(a) - pendingOf(b));
  let rest = rowsMax;
  return sorted.map((mark, i) => {
    const share = Math.min(pendingOf(mark), Math.max(1, Math.floor(rest / (sorted.length - i))));
    rest -= share;
    return { mark, rowsMax: share };
  });
}

const numbers = `o.shard, o.epoch, o.seq, o.operation, (extract(epoch from o.posted_at) * 1000)::float8 as posted_at`;

/** Longer than any operation waits between its id and the books while the service runs. */
const idsMarginMs = 86_400_000;

/** The first id that what follows an operation may have. */
function idsFrom(operation: string | null): string {
  const made = operation === null ? 0 : timeOfOperation(operation.replaceAll('-', '') as OperationHex);
  const digits = Math.max(0, made - idsMarginMs)
    .toString(16)
    .padStart(12, '0');
  return `${digits.slice(0, 8)}-${digits.slice(8)}-0000-0000-000000000000`;
}

/** Of the bookmark's epoch, in the month of its last operation and later ones. */
const nextQuery = (columns: string) => `
  select o.* from unnest($1::smallint[], $2::int[], $3::bigint[], $4::int[], $5::uuid[]) s (shard, epoch, seq, rows_max, ids_from)
  cross join lateral (select ${numbers}, ${columns} from operation o
    where o.shard = s.shard and o.epoch = s.epoch and o.seq > s.seq and o.seq <= s.seq + s.rows_max
      and o.operation >= s.ids_from order by o.seq limit s.rows_max) o`;

/** Of all epochs and months. */
const everywhereQuery = (columns: string) => `
  select o.* from unnest($1::smallint[], $2::int[], $3::bigint[], $4::int[], $5::int[], $6::bigint[])
    s (shard, epoch, seq, rows_max, written_epoch, written_seq)
  cross join lateral (select ${numbers}, ${columns} from operation o
    where o.shard = s.shard and (o.epoch, o.seq) > (s.epoch, s.seq) and (o.epoch, o.seq) <= (s.written_epoch, s.written_seq)
    order by o.epoch, o.seq limit s.rows_max) o`;

function valuesOf(shares: readonly Share[]): unknown[] {
  return [
    shares.map(({ mark }) => mark.shard),
    shares.map(({ mark }) => mark.epoch),
    shares.map(({ mark }) => mark.seq),
    shares.map(({ rowsMax }) => rowsMax),
  ];
}

function isDense(rows: readonly NumberedRow[], { mark, rowsMax }: Share): boolean {
  return rows.length === rowsMax && rows.every(({ seq }, i) => seq === mark.seq + 1 + i);
}

function pageOf<Row extends NumberedRow>({ mark }: Share, rows: readonly Row[]): Page<Row> {
  const last = rows.at(-1);
  // Nothing lies between: an epoch was opened, or what stood there is archived.
  const next = last ?? { epoch: mark.written_epoch, seq: mark.written_seq, operation: mark.operation };
  return {
    shard: mark.shard,
    rows,
    next: { epoch: next.epoch, seq: next.seq, operation: next.operation },
  };
}

type ReadRows<Row> = (tx: pg.ClientBase, shares: readonly Share[]) => Promise<Row[]>;

/** Reads the next operations within an epoch; where these are not all, those of every epoch and month. */
async function pagesOf<Row extends NumberedRow>(
  tx: pg.ClientBase,
  shares: readonly Share[],
  readNext: ReadRows<Row>,
  readEverywhere: ReadRows<Row>,
): Promise<Page<Row>[]> {
  const isWithinEpoch = ({ mark }: Share) => mark.epoch === mark.written_epoch;
  const next = Map.groupBy(await readNext(tx, shares.filter(isWithinEpoch)), ({ shard }) => shard);
  const dense = new Set(
    shares.filter((share) => isWithinEpoch(share) && isDense(next.get(share.mark.shard) ?? [], share)),
  );
  const gaps = shares.filter((share) => !dense.has(share));
  const found = Map.groupBy(await readEverywhere(tx, gaps), ({ shard }) => shard);
  return shares.map((share) => {
    const { shard } = share.mark;
    return pageOf(share, (dense.has(share) ? next : found).get(shard) ?? []);
  });
}

/**
 * A reader whose bookmarks are in the table `<name>_position`; `columns` are what it wants to know of an operation `o` beside
 * its number.
 */
export function createUnread<Row extends NumberedRow>(name: string, columns: string): Unread<Row> {
  const rowsOf = async (tx: pg.ClientBase, query: { name: string; text: string; values: unknown[] }) =>
    (await tx.query<Row>(query)).rows;
  const readNext: ReadRows<Row> = async (tx, shares) => {
    if (shares.length === 0) return [];
    const from = shares.map(({ mark }) => idsFrom(mark.operation));
    return rowsOf(tx, {
      name: `${name}-next`,
      text: nextQuery(columns),
      values: [...valuesOf(shares), from],
    });
  };
  const readEverywhere: ReadRows<Row> = async (tx, shares) => {
    if (shares.length === 0) return [];
    const written = [
      shares.map(({ mark }) => mark.written_epoch),
      shares.map(({ mark }) => mark.written_seq),
    ];
    return rowsOf(tx, {
      name: `${name}-everywhere`,
      text: everywhereQuery(columns),
      values: [...valuesOf(shares), ...written],
    });
  };

  return {
    async hasUnread(pool) {
      const { rows } = await pool.query({
        name: `${name}-unread`,
        text: `select 1 from position p left join ${name}_position d using (shard)
          where d.shard is null or (p.epoch, p.seq) > (d.epoch, d.seq) limit 1`,
      });
      return rows.length > 0;
    },
    async lockBookmarks(tx) {
      await tx.query({
        name: `${name}-new-shards`,
        text: `insert into ${name}_position (shard) select shard from position p
          where not exists (select from ${name}_position d where d.shard = p.shard) on conflict do nothing`,
      });
      const { rows } = await tx.query<Bookmark>({
        name: `${name}-lock`,
        text: `select d.shard, d.epoch, d.seq, d.operation, p.epoch as written_epoch, p.seq as written_seq
          from ${name}_position d join position p using (shard) where (p.epoch, p.seq) > (d.epoch, d.seq)
          order by d.shard for update of d skip locked`,
      });
      return rows;
    },
    readPages: (tx, marks, rowsMax) => pagesOf(tx, sharesOf(marks, rowsMax), readNext, readEverywhere),
    async moveBookmarks(tx, pages) {
      await tx.query({
        name: `${name}-move`,
        text: `update ${name}_position d set epoch = n.epoch, seq = n.seq, operation = n.operation,
            read_through_at = coalesce(to_timestamp(n.posted_at / 1000.0), d.read_through_at)
          from unnest($1::smallint[], $2::int[], $3::bigint[], $4::uuid[], $5::float8[]) n (shard, epoch, seq, operation, posted_at)
          where d.shard = n.shard`,
        values: [
          pages.map(({ shard }) => shard),
          pages.map(({ next }) => next.epoch),
          pages.map(({ next }) => next.seq),
          pages.map(({ next }) => next.operation),
          pages.map(({ rows }) => rows.at(-1)?.posted_at ?? null),
        ],
      });
    },
  };
}

const ofDiary = `o.kind, o.program, o.member, o.conflict_with is not null as is_conflict,
  (extract(epoch from o.occurred_at) * 1000)::float8 as occurred_at,
  case when o.kind in ('accrual', 'reversal', 'return', 'correction') then o.request::text end as request,
  case when o.kind in ('accrual', 'status') then o.effect::text end as effect`;

/** What the diary has not read. */
export const unread = createUnread<BookedRow>('diary', ofDiary);
