/** An operation as the books have it, for a person or a program that asks what happened and why. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import type { EpochMs, OperationHex, OperationKind } from '#src/values.ts';
import { memberId, operationId, positionText } from '#src/values.ts';
import { balancesAfter } from '#src/wallet/balances.ts';
import { partnerOfLot } from '#src/wallet/lot-party.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import type { Account } from './accounts.ts';

type Related = readonly [operation: OperationHex, kind: OperationKind];
type EntryTuple = readonly [
  account: Account,
  currency: number,
  points: number,
  lot: number | null,
  hold: string | null,
  party: number | null,
];

interface Surroundings {
  readonly client: string | null;
  readonly posted_at: EpochMs;
  readonly conflict_with: OperationHex | null;
  readonly answered: readonly [epoch: number, seq: number] | null;
  readonly entries: readonly EntryTuple[] | null;
  readonly origins: readonly Related[] | null;
  readonly consequences: readonly Related[] | null;
}

// The row keeps the first origin; a return of several operations names all of them in its request.
const surroundingsQuery = `
  select (select name from client c where c.number = o.client) as client, (extract(epoch from o.posted_at) * 1000)::bigint as posted_at,
    replace(o.conflict_with::text, '-', '') as conflict_with,
    (select json_build_array(d.answered_epoch, d.answered_seq) from decided_stale d where d.operation = o.operation) as answered,
    (select json_agg(json_build_array(e.account, e.currency, e.points, e.lot, replace(e.hold::text, '-', ''), e.party) order by e.line)
      from entry e where e.operation = o.operation) as entries,
    (select json_agg(json_build_array(replace(k.operation::text, '-', ''), k.kind) order by k.at, k.operation)
      from (select o.origin as operation union select (undone ->> 0)::uuid from json_array_elements(coalesce(o.request -> 'undone', '[]')) undone) w
      cross join lateral (select operation, kind, at from operation k where k.operation = w.operation offset 0) k) as origins,
    (select json_agg(json_build_array(replace(k.operation::text, '-', ''), k.kind) order by k.at, k.operation)
      from consequence c cross join lateral (select operation, kind, at from operation k where k.operation = c.operation offset 0) k
      where c.origin = o.operation) as consequences
  from operation o where o.operation = $1`;

function entryView(
  program: Program,
  [account, currency, points, lot, hold, party]: EntryTuple,
): Record<string, unknown> {
  const funder = party === null ? undefined : program.funderByNumber.get(party);
  const isFunded = account === 'wallet' || account === 'issuance' || account === 'adjustment';
  const partner = account === 'partner' ? party : partnerOfLot(party ?? 0);
  return {
    account,
    currency: program.currencyByNumber.get(currency)?.code ?? String(currency),
    points,
    ...(lot === null ? {} : { lot }),
    ...(hold === null ? {} : { hold: operationId('hold', hold as OperationHex) }),
    ...(isFunded && funder !== undefined ? { party: funder } : {}),
    ...(partner === null || partner === undefined ? {} : { party: String(partner) }),
  };
}

function relatedView([operation, kind]: Related): { id: string; kind: OperationKind } {
  return { id: operationId(kind, operation), kind };
}

/** Where an operation was answered that had to be booked elsewhere. */
function decidedStaleView(
  { position: { shard } }: Recorded,
  answered: Surroundings['answered'],
): Record<string, unknown> {
  if (answered === null) return {};
  const [epoch, seq] = answered;
  return { decidedStale: { answered: positionText({ shard, epoch, seq }) } };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** What `GET /v1/operations/:id` answers; undefined when the books do not have the operation. */
export async function operationView(
  pool: pg.Pool,
  program: Program,
  recorded: Recorded,
  explain: (recorded: Recorded) => Promise<unknown>,
): Promise<Record<string, unknown> | undefined> {
  const { rows } = await pool.query<Surroundings>({
    name: 'operation-surroundings',
    text: surroundingsQuery,
    values: [recorded.operation],
  });
  const around = rows[0];
  if (!around) return undefined;
  const { kind, request } = recorded;
  const { body, metadata } = request;
  const reference = textOf((body as { reference?: unknown } | undefined)?.reference);
  const explanation = request.explanation ?? (await explain(recorded));
  return {
    object: 'operation',
    id: operationId(kind, recorded.operation),
    mode: program.mode,
    kind,
    status: 'posted',
    member: memberId(recorded.member),
    ...(reference === undefined ? {} : { reference }),
    ...(recorded.order === '' ? {} : { order: recorded.order }),
    occurredAt: new Date(recorded.occurredAt).toISOString(),
    at: new Date(recorded.at).toISOString(),
    postedAt: new Date(around.posted_at).toISOString(),
    ...(around.client === null ? {} : { client: around.client }),
    origins: (around.origins ?? []).map((origin) => relatedView(origin).id),
    consequences: (around.consequences ?? []).map(relatedView),
    ...(around.conflict_with === null ? {} : { conflictWith: operationId(kind, around.conflict_with) }),
    ...decidedStaleView(recorded, around.answered),
    entries: (around.entries ?? []).map((entry) => entryView(program, entry)),
    ...(metadata === undefined ? {} : { metadata }),
    ...(body === undefined ? {} : { request: body }),
    balances: balancesAfter(program, recorded.effect.balances),
    ...(explanation === undefined ? {} : { explanation }),
    ledger: { position: positionText(recorded.position), durability: 'ledger' },
  };
}
