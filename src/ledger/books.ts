/**
 * Writes a turn's postings to PostgreSQL inside the caller's database transaction. Rows go in by COPY, balances as one
 * aggregated row an account (measured: COPY 165,000 rows/s, multi-row VALUES 54,000, see research/ledger.md).
 */
import { once } from 'node:events';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { Posting } from './postings.ts';
import { balanceDeltas, debtDeltas, holdChanges, lotDeltas } from './postings.ts';

/** The postings of one shard, dense and in order. */
export interface ShardBatch {
  readonly shard: number;
  readonly postings: readonly Posting[];
}

/** An operation whose reference was already used by another one. */
export interface Conflict {
  readonly operation: string;
  readonly first: string;
}

const special = /[\\\t\n\r]/;
const specials = /[\\\t\n\r]/g;
const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** A value in COPY's text format. */
function cell(value: string | number | null | undefined): string {
  if (value === null || value === undefined || value === '') return '\\N';
  if (typeof value === 'number') return String(value);
  return special.test(value) ? value.replace(specials, (character) => escapes[character]!) : value;
}

function instant(ms: number): string {
  return new Date(ms).toISOString();
}

/** Above any turn; a COPY has no timeout of its own. */
const copyMs = 15_000;

async function copy(tx: pg.ClientBase, target: string, rows: readonly Buffer[]): Promise<void> {
  const stream = tx.query(copyFrom(`copy ${target} from stdin`));
  const finished = once(stream, 'finish', { signal: AbortSignal.timeout(copyMs) });
  stream.end(Buffer.concat(rows));
  await finished;
}

/** Whether PostgreSQL refused a turn because a reference of it stands in the books already. */
export function isReferenceUsed(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error as Partial<pg.DatabaseError>).code === '23505' &&
    (error as Partial<pg.DatabaseError>).table?.startsWith('reference') === true
  );
}

/**
 * Of a million turns hardly one holds a reference that was used, so all are inserted as if they were new: `on conflict`
 * would insert each row speculatively, 5.3 µs of PostgreSQL a row instead of 3.4 (and 218 bytes of its log instead of 170).
 * A turn that is refused for it (`isReferenceUsed`) is written again with `mayBeUsed`.
 */
async function insertReferences(
  tx: pg.ClientBase,
  postings: readonly Posting[],
  mayBeUsed: boolean,
): Promise<Map<string, string>> {
  const keyed = postings.filter(({ record }) => record.referenceKey !== '');
  if (keyed.length === 0) return new Map();
  const keys = keyed.map(({ record }) => record.referenceKey);
  const operations = keyed.map(({ record }) => record.operation);
  const text =
    'insert into reference (reference_key, operation) select * from unnest($1::uuid[], $2::uuid[])';
  if (!mayBeUsed) {
    await tx.query({ name: 'references', text, values: [keys, operations] });
    return new Map();
  }
  await tx.query(`${text} on conflict do nothing`, [keys, operations]);
  const found = await tx.query<{ operation: string; first: string }>(
    `select replace(k.operation::text, '-', '') as operation, replace(r.operation::text, '-', '') as first
     from unnest($1::uuid[], $2::uuid[]) as k(reference_key, operation) join reference r using (reference_key) where r.operation <> k.operation`,
    [keys, operations],
  );
  return new Map(found.rows.map((row) => [row.operation, row.first]));
}

function operationRows({ shard, postings }: ShardBatch, conflicts?: ReadonlyMap<string, string>): Buffer {
  let rows = '';
  for (const { record } of postings) {
    rows += `${record.operation}\t${shard}\t${record.epoch}\t${record.seq}\t${record.program}\t${record.client}\t${record.kind}\t${record.member}\t${cell(record.origins[0])}\t${cell(record.order)}\t${cell(record.referenceKey)}\t${cell(record.fingerprint)}\t${instant(record.at)}\t${instant(record.occurredAt)}\t${cell(conflicts?.get(record.operation))}\t${cell(record.request)}\t${cell(record.effectText)}\n`;
  }
  return Buffer.from(rows);
}

function entryRows({ shard, postings }: ShardBatch): Buffer {
  let rows = '';
  for (const { record, entries } of postings) {
    for (const entry of entries) {
      const member =
        entry.account === 'wallet' || entry.account === 'held' || entry.account === 'debt'
          ? record.member
          : null;
      rows += `${record.operation}\t${entry.points}\t${cell(member)}\t${record.program}\t${entry.account}\t${cell(entry.lot)}\t${cell(entry.party)}\t${entry.currency}\t${entry.line}\t${shard}\t${cell(entry.hold)}\n`;
    }
  }
  return Buffer.from(rows);
}

interface Rows {
  readonly operations: Buffer;
  readonly entries: Buffer;
}

const prepared = new WeakMap<readonly Posting[], Rows>();

/** A batch's rows in COPY's format. Made once, so that they can be made before PostgreSQL waits for them. */
export function rowsOf(batch: ShardBatch): Rows {
  let rows = prepared.get(batch.postings);
  if (!rows) {
    rows = { operations: operationRows(batch), entries: entryRows(batch) };
    prepared.set(batch.postings, rows);
  }
  return rows;
}

async function upsertLots(tx: pg.ClientBase, postings: readonly Posting[]): Promise<void> {
  const deltas = lotDeltas(postings).sort(
    (a, b) => a.member - b.member || a.currency - b.currency || a.lot - b.lot,
  );
  if (deltas.length === 0) return;
  await tx.query({
    name: 'lots',
    text: `insert into lot (member, currency, lot, points, party, expires_at, available_at)
     select * from unnest($1::bigint[], $2::smallint[], $3::int[], $4::bigint[], $5::int[], $6::bigint[], $7::bigint[])
     on conflict (member, currency, lot) do update set points = lot.points + excluded.points`,
    values: [
      deltas.map((d) => d.member),
      deltas.map((d) => d.currency),
      deltas.map((d) => d.lot),
      deltas.map((d) => d.points),
      deltas.map((d) => d.party),
      deltas.map((d) => d.expiresAt),
      deltas.map((d) => d.availableAt),
    ],
  });
}

async function upsertBalances(tx: pg.ClientBase, batches: readonly ShardBatch[]): Promise<void> {
  const deltas = batches.flatMap(({ shard, postings }) => balanceDeltas(shard, postings));
  if (deltas.length === 0) return;
  await tx.query({
    name: 'balances',
    text: `insert into account_balance (shard, program, currency, account, party, points)
     select * from unnest($1::smallint[], $2::int[], $3::smallint[], $4::account[], $5::int[], $6::numeric[])
     on conflict (shard, program, currency, account, party) do update set points = account_balance.points + excluded.points`,
    values: [
      deltas.map((d) => d.shard),
      deltas.map((d) => d.program),
      deltas.map((d) => d.currency),
      deltas.map((d) => d.account),
      deltas.map((d) => d.party),
      deltas.map((d) => d.points),
    ],
  });
}

async function upsertDebts(tx: pg.ClientBase, postings: readonly Posting[]): Promise<void> {
  const deltas = debtDeltas(postings);
  if (deltas.length === 0) return;
  await tx.query(
    `insert into debt (member, currency, points) select * from unnest($1::bigint[], $2::smallint[], $3::bigint[])
     on conflict (member, currency) do update set points = debt.points + excluded.points`,
    [deltas.map((d) => d.member), deltas.map((d) => d.currency), deltas.map((d) => d.points)],
  );
}

async function writeHolds(tx: pg.ClientBase, postings: readonly Posting[]): Promise<void> {
  const changes = postings.flatMap(holdChanges);
  const opened = changes.filter((change) => change.status === 'held');
  const resolved = changes.filter((change) => change.status !== 'held');
  if (opened.length > 0) {
    await tx.query(
      `insert into hold (hold, member, status, expires_at, lots)
       select hold, member, 'held', expires_at, lots from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::json[]) as h(hold, member, expires_at, lots)`,
      [
        opened.map((change) => change.hold),
        opened.map((change) => change.member),
        opened.map((change) => change.expiresAt),
        opened.map((change) => change.lots),
      ],
    );
  }
  if (resolved.length > 0) {
    // A hold resolves once; what a stale Redis resolved a second time leaves the first resolution as it is.
    await tx.query(
      `update hold set status = r.status, resolved_by = r.by from unnest($1::uuid[], $2::text[], $3::uuid[]) as r(hold, status, by)
       where hold.hold = r.hold and hold.status = 'held'`,
      [
        resolved.map((change) => change.hold),
        resolved.map((change) => change.status),
        resolved.map((change) => change.resolvedBy),
      ],
    );
  }
}

async function writeConsequences(tx: pg.ClientBase, postings: readonly Posting[]): Promise<void> {
  const pairs = postings.flatMap(({ record }) =>
    record.origins.map((origin) => [origin, record.operation] as const),
  );
  if (pairs.length === 0) return;
  await tx.query(
    'insert into consequence (origin, operation) select * from unnest($1::uuid[], $2::uuid[]) on conflict do nothing',
    [pairs.map(([origin]) => origin), pairs.map(([, operation]) => operation)],
  );
}

async function writeStatuses(tx: pg.ClientBase, postings: readonly Posting[]): Promise<void> {
  for (const { record, effect } of postings) {
    // A quarantined record may not say which status.
    if (record.kind !== 'status' || effect.status === undefined) continue;
    await tx.query(
      'update member set status = $2, frozen = $3, facts_version = $4, merged_into = $5 where number = $1',
      [record.member, effect.status, effect.frozen === 1, effect.facts, effect.into ? effect.into : null],
    );
  }
}

const transferStates = {
  transfer_credit: 'credited',
  transfer_refusal: 'refused',
  transfer_return: 'returned',
} as const;

async function writeTransfers(tx: pg.ClientBase, postings: readonly Posting[]): Promise<void> {
  for (const { record } of postings) {
    if (record.kind === 'transfer') {
      const { transfer } = JSON.parse(record.request) as { transfer?: { to?: number } };
      await tx.query(
        `insert into transfer (transfer, program, from_member, to_member, state) values ($1, $2, $3, $4, 'debited') on conflict do nothing`,
        [record.operation, record.program, record.member, transfer?.to ?? record.member],
      );
    } else if (record.kind in transferStates) {
      const state = transferStates[record.kind as keyof typeof transferStates];
      await tx.query('update transfer set state = $2, credit = $3, changed_at = now() where transfer = $1', [
        record.origins[0],
        state,
        record.operation,
      ]);
    }
  }
}

/**
 * Writes everything but positions and blocks. Answers the references that were used twice; unless they may be, such a
 * reference makes PostgreSQL refuse the turn (`isReferenceUsed`).
 */
export async function writePostings(
  tx: pg.ClientBase,
  batches: readonly ShardBatch[],
  { mayBeUsed }: { readonly mayBeUsed: boolean },
): Promise<Conflict[]> {
  const postings = batches.flatMap((batch) => batch.postings);
  const conflicts = await insertReferences(tx, postings, mayBeUsed);
  await copy(
    tx,
    'operation (operation, shard, epoch, seq, program, client, kind, member, origin, order_reference, reference_key, fingerprint, at, occurred_at, conflict_with, request, effect)',
    batches.map((batch) => (conflicts.size > 0 ? operationRows(batch, conflicts) : rowsOf(batch).operations)),
  );
  const entries = batches.map((batch) => rowsOf(batch).entries);
  if (entries.some(({ length }) => length > 0)) {
    await copy(
      tx,
      'entry (operation, points, member, program, account, lot, party, currency, line, shard, hold)',
      entries,
    );
  }
  await upsertLots(tx, postings);
  await upsertDebts(tx, postings);
  await writeHolds(tx, postings);
  await writeConsequences(tx, postings);
  await writeStatuses(tx, postings);
  await writeTransfers(tx, postings);
  await upsertBalances(tx, batches);
  return [...conflicts].map(([operation, first]) => ({ operation, first }));
}
