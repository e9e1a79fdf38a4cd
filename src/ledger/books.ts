/**
 * Writes a turn's postings to PostgreSQL inside the caller's database transaction. Rows go in by COPY, balances as one
 * aggregated row an account (measured: COPY 165,000 rows/s, multi-row VALUES 54,000, see research/ledger.md).
 */
import type pg from 'pg';
import { type Account, memberAccounts } from './accounts.ts';
import { instant, int2, int4, int8, row, rowsOf, text, uuid } from './binary-rows.ts';
import { budgetDeltas, writeBudgets } from './budget-rows.ts';
import { counterDeltas, upsertCounters } from './counter-rows.ts';
import type { BalanceDelta, LotDelta, Posting } from './postings.ts';
import { balanceDeltas, debtDeltas, holdChanges, lotDeltas } from './postings.ts';
import type { Statements } from './statements.ts';

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

/** Values without quotes as PostgreSQL writes an array. `pg` looks into each of them, which was 13 % of a writer's time. */
function list(values: readonly (number | bigint | Account)[]): string {
  return `{${values.join(',')}}`;
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
 * Of a million turns hardly one holds a reference that was used, so all go in as if they were new: `on conflict` would
 * insert each row speculatively, 5.3 µs of PostgreSQL a row instead of 3.4 (and 218 bytes of its log instead of 170).
 * A turn that is refused for it (`isReferenceUsed`) is written again, with the answer of this.
 */
export async function usedReferences(
  tx: pg.ClientBase,
  batches: readonly ShardBatch[],
): Promise<ReadonlyMap<string, string>> {
  const keyed = batches.flatMap(({ postings }) => postings.filter(hasReference));
  const values = [
    keyed.map(({ record }) => record.referenceKey),
    keyed.map(({ record }) => record.operation),
  ];
  await tx.query(
    'insert into reference (reference_key, operation) select * from unnest($1::uuid[], $2::uuid[]) on conflict do nothing',
    values,
  );
  const found = await tx.query<{ operation: string; first: string }>(
    `select replace(k.operation::text, '-', '') as operation, replace(r.operation::text, '-', '') as first
     from unnest($1::uuid[], $2::uuid[]) as k(reference_key, operation) join reference r using (reference_key) where r.operation <> k.operation`,
    values,
  );
  return new Map(found.rows.map((row) => [row.operation, row.first]));
}

function hasReference({ record }: Posting): boolean {
  return record.referenceKey !== '';
}

/** After the operations' rows were made: those refuse what is no key. (By COPY it is 8,000 instructions a row more.) */
function insertReferences(tx: Statements, batches: readonly ShardBatch[]): void {
  const keyed = batches.flatMap(({ postings }) => postings.filter(hasReference));
  if (keyed.length === 0) return;
  tx.send(
    'insert into reference (reference_key, operation) select * from unnest($1::uuid[], $2::uuid[])',
    [
      `{${keyed.map(({ record }) => record.referenceKey).join(',')}}`,
      `{${keyed.map(({ record }) => record.operation).join(',')}}`,
    ],
    'references',
  );
}

function operationRows({ shard, postings }: ShardBatch, used?: ReadonlyMap<string, string>): Buffer {
  return rowsOf(() => {
    for (const { record } of postings) {
      row(17);
      uuid(record.operation);
      int2(shard);
      int4(record.epoch);
      int8(record.seq);
      int4(record.program);
      int4(record.client);
      text(record.kind);
      int8(record.member);
      uuid(record.origins[0]);
      text(record.order);
      uuid(record.referenceKey);
      text(record.fingerprint);
      instant(record.at);
      instant(record.occurredAt);
      uuid(used?.get(record.operation));
      text(record.request);
      text(record.effectText);
    }
  });
}

const ofMember: ReadonlySet<Account> = new Set(memberAccounts);

function entryRows({ shard, postings }: ShardBatch): Buffer {
  return rowsOf(() => {
    for (const { record, entries } of postings) {
      for (const entry of entries) {
        row(11);
        uuid(record.operation);
        int8(entry.points);
        int8(ofMember.has(entry.account) ? record.member : null);
        int4(record.program);
        text(entry.account);
        int4(entry.lot);
        int4(entry.party);
        int2(entry.currency);
        int2(entry.line);
        int2(shard);
        uuid(entry.hold);
      }
    }
  });
}

/** Whether a record changes more than lots and balances. Most do not, and are looked at once for all tables that it could be. */
function changesMore({ record, effect, entries }: Posting): boolean {
  return (
    record.kind !== 'accrual' ||
    record.origins.length > 0 ||
    effect.holds !== undefined ||
    entries.some(({ account }) => account === 'debt')
  );
}

/** Makes something of a batch once, so that it can be made before PostgreSQL waits for it. */
function once<T>(make: (batch: ShardBatch) => T): (batch: ShardBatch) => T {
  const made = new WeakMap<readonly Posting[], T>();
  return (batch) => {
    const found = made.get(batch.postings) ?? make(batch);
    made.set(batch.postings, found);
    return found;
  };
}

const operationsOf = once((batch) => operationRows(batch));
const changesOf = once((batch) => ({
  entries: entryRows(batch),
  lots: lotDeltas(batch.postings).sort(
    (a, b) => a.member - b.member || a.currency - b.currency || a.lot - b.lot,
  ),
  balances: balanceDeltas(batch.shard, batch.postings),
  counters: counterDeltas(batch.postings),
  budgets: budgetDeltas(batch.shard, batch.postings),
  others: batch.postings.filter(changesMore),
}));

/** Makes a batch's rows and sums before they are written. */
export function prepare(batch: ShardBatch): void {
  operationsOf(batch);
  changesOf(batch);
}

/**
 * Nobody else writes lots of the writer's shards, so none can appear in between: `merge` is 9,000 instructions a row cheaper
 * than `on conflict`, which locks each row first.
 */
function upsertLots(tx: Statements, deltas: readonly LotDelta[]): void {
  if (deltas.length === 0) return;
  tx.send(
    `merge into lot using unnest($1::bigint[], $2::smallint[], $3::int[], $4::bigint[], $5::int[], $6::bigint[], $7::bigint[])
       as n(member, currency, lot, points, party, expires_at, available_at)
     on lot.member = n.member and lot.currency = n.currency and lot.lot = n.lot
     when matched then update set points = lot.points + n.points
     when not matched then insert (member, currency, lot, points, party, expires_at, available_at)
       values (n.member, n.currency, n.lot, n.points, n.party, n.expires_at, n.available_at)`,
    [
      list(deltas.map((d) => d.member)),
      list(deltas.map((d) => d.currency)),
      list(deltas.map((d) => d.lot)),
      list(deltas.map((d) => d.points)),
      list(deltas.map((d) => d.party)),
      list(deltas.map((d) => d.expiresAt)),
      list(deltas.map((d) => d.availableAt)),
    ],
    'lots',
  );
}

function upsertBalances(tx: Statements, deltas: readonly BalanceDelta[]): void {
  if (deltas.length === 0) return;
  tx.send(
    `insert into account_balance (shard, program, currency, account, party, points)
     select * from unnest($1::smallint[], $2::int[], $3::smallint[], $4::account[], $5::int[], $6::numeric[])
     on conflict (shard, program, currency, account, party) do update set points = account_balance.points + excluded.points`,
    [
      list(deltas.map((d) => d.shard)),
      list(deltas.map((d) => d.program)),
      list(deltas.map((d) => d.currency)),
      list(deltas.map((d) => d.account)),
      list(deltas.map((d) => d.party)),
      list(deltas.map((d) => d.points)),
    ],
    'balances',
  );
}

function upsertDebts(tx: Statements, postings: readonly Posting[]): void {
  const deltas = debtDeltas(postings);
  if (deltas.length === 0) return;
  tx.send(
    `insert into debt (member, currency, points) select * from unnest($1::bigint[], $2::smallint[], $3::bigint[])
     on conflict (member, currency) do update set points = debt.points + excluded.points`,
    [deltas.map((d) => d.member), deltas.map((d) => d.currency), deltas.map((d) => d.points)],
  );
}

function writeHolds(tx: Statements, postings: readonly Posting[]): void {
  const changes = postings.flatMap(holdChanges);
  const opened = changes.filter((change) => change.status === 'held');
  const resolved = changes.filter((change) => change.status !== 'held');
  if (opened.length > 0) {
    tx.send(
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
    tx.send(
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

function writeConsequences(tx: Statements, postings: readonly Posting[]): void {
  const pairs = postings.flatMap(({ record }) =>
    record.origins.map((origin) => [origin, record.operation] as const),
  );
  if (pairs.length === 0) return;
  tx.send(
    'insert into consequence (origin, operation) select * from unnest($1::uuid[], $2::uuid[]) on conflict do nothing',
    [pairs.map(([origin]) => origin), pairs.map(([, operation]) => operation)],
  );
}

function writeStatuses(tx: Statements, postings: readonly Posting[]): void {
  for (const { record, effect } of postings) {
    const mayChange = record.kind === 'status' || record.kind === 'tier';
    // A quarantined record may not say which status.
    if (!mayChange || effect.status === undefined) continue;
    tx.send(
      'update member set status = $2, frozen = $3, facts_version = $4, merged_into = $5 where number = $1',
      [record.member, effect.status, effect.frozen === 1, effect.facts, effect.into ? effect.into : null],
    );
  }
}

/**
 * From this record on its change of tier is what receipts are judged by. In the same commit as the version of the member's
 * facts: whoever reads the one sees the other.
 */
function writeTiers(tx: Statements, postings: readonly Posting[]): void {
  for (const { record, effect } of postings) {
    if (record.kind !== 'tier' || effect.facts === undefined) continue;
    const { tier } = JSON.parse(record.request) as { tier?: { change?: string } };
    if (tier?.change === undefined) continue;
    tx.send('update tier_change set facts = $2, epoch = $3, seq = $4 where change = $1', [
      tier.change,
      effect.facts,
      record.epoch,
      record.seq,
    ]);
  }
}

const transferStates = {
  transfer_credit: 'credited',
  transfer_refusal: 'refused',
  transfer_return: 'returned',
} as const;

function writeTransfers(tx: Statements, postings: readonly Posting[]): void {
  for (const { record } of postings) {
    if (record.kind === 'transfer') {
      const { transfer } = JSON.parse(record.request) as { transfer?: { to?: number } };
      tx.send(
        `insert into transfer (transfer, program, from_member, to_member, state) values ($1, $2, $3, $4, 'debited') on conflict do nothing`,
        [record.operation, record.program, record.member, transfer?.to ?? record.member],
      );
    } else if (record.kind in transferStates) {
      const state = transferStates[record.kind as keyof typeof transferStates];
      tx.send('update transfer set state = $2, credit = $3, changed_at = now() where transfer = $1', [
        record.origins[0],
        state,
        record.operation,
      ]);
    }
  }
}

/**
 * Sends everything but positions and blocks. `used` names, for each operation whose reference was used by another one, that
 * one; without it a reference that was used makes PostgreSQL refuse the turn (`isReferenceUsed`).
 */
export function sendPostings(
  tx: Statements,
  batches: readonly ShardBatch[],
  used?: ReadonlyMap<string, string>,
): void {
  tx.copy(
    'operation (operation, shard, epoch, seq, program, client, kind, member, origin, order_reference, reference_key, fingerprint, at, occurred_at, conflict_with, request, effect)',
    batches.map((batch) => (used?.size ? operationRows(batch, used) : operationsOf(batch))),
  );
  if (!used) insertReferences(tx, batches);
  // PostgreSQL has something to do while the rest is made.
  tx.flush();
  const changes = batches.map(changesOf);
  tx.copy(
    'entry (operation, points, member, program, account, lot, party, currency, line, shard, hold)',
    changes.map(({ entries }) => entries),
  );
  upsertLots(
    tx,
    changes.flatMap(({ lots }) => lots),
  );
  upsertCounters(
    tx,
    changes.flatMap(({ counters }) => counters),
  );
  writeBudgets(
    tx,
    changes.flatMap(({ budgets }) => budgets),
  );
  const others = changes.flatMap((change) => change.others);
  upsertDebts(tx, others);
  writeHolds(tx, others);
  writeConsequences(tx, others);
  writeStatuses(tx, others);
  writeTiers(tx, others);
  writeTransfers(tx, others);
  upsertBalances(
    tx,
    changes.flatMap(({ balances }) => balances),
  );
}
