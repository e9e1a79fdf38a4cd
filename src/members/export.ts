/**
 * Everything that is held about a person, in clear: the member, all who were merged into it, and their history. The
 * history comes in pages, oldest first within each member; everything else stands on every page.
 */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { faultProblem } from '#src/http/problem.ts';
import type { Caller } from '#src/http/route.ts';
import { type PoolNumber, poolId } from '#src/pools/ids.ts';
import { buyerView } from '#src/segments/reading.ts';
import { tiersHeld } from '#src/tiers/held.ts';
import type { MemberNumber, OperationHex, OperationKind } from '#src/values.ts';
import { memberId, operationId } from '#src/values.ts';
import { ledgerBegins } from '#src/wallet/archived.ts';
import { balancesView } from '#src/wallet/balances.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { auditOf } from './audit-note.ts';
import { codesHeld } from './codes.ts';
import { waitUntil } from './engine.ts';
import type { Identity } from './identity.ts';
import type { MemberRef } from './member-ref.ts';
import { familyOf, identifiersOf, namedMember, profileOfRow, survivingMember } from './records.ts';

export interface Exports {
  export(
    caller: Caller,
    member: MemberRef,
    page: { readonly limit: number; readonly cursor?: string | undefined },
    waitMs: number,
  ): Promise<Record<string, unknown>>;
}

type Cursor = readonly [member: number, operation: OperationHex];
const start: Cursor = [0, '0'.repeat(32) as OperationHex];

function cursorText(cursor: Cursor): string {
  return Buffer.from(cursor.join('.')).toString('base64url');
}

function cursorOf(text: string | undefined): Cursor {
  if (text === undefined) return start;
  const match = /^(\d{1,15})\.([0-9a-f]{32})$/.exec(Buffer.from(text, 'base64url').toString('latin1'));
  if (!match) throw faultProblem('query:cursor', 'is not a cursor of this list');
  return [Number(match[1]), match[2] as OperationHex];
}

interface OperationRow {
  operation: OperationHex;
  kind: OperationKind;
  member: MemberNumber;
  occurred_at: Date;
  at: Date;
  posted_at: Date;
  order_reference: string | null;
  request: Record<string, unknown>;
  entries: [account: string, currency: number, points: number, lot: number | null][] | null;
}

const operationsQuery = `
  select replace(o.operation::text, '-', '') as operation, o.kind, o.member, o.occurred_at, o.at, o.posted_at,
    o.order_reference, o.request,
    (select json_agg(json_build_array(e.account, e.currency, e.points, e.lot) order by e.line) from entry e
     where e.operation = o.operation) as entries
  from operation o
  where o.member = any($1::bigint[]) and (o.member, o.operation) > ($2::bigint, $3::uuid)
  order by o.member, o.operation limit $4`;

function operationView(program: Program, row: OperationRow): Record<string, unknown> {
  const codeOf = (number: number) => program.currencyByNumber.get(number)?.code ?? String(number);
  return {
    object: 'operation',
    id: operationId(row.kind, row.operation),
    kind: row.kind,
    member: memberId(row.member),
    occurredAt: row.occurred_at.toISOString(),
    decidedAt: row.at.toISOString(),
    postedAt: row.posted_at.toISOString(),
    ...(row.order_reference === null ? {} : { order: row.order_reference }),
    request: row.request,
    entries: (row.entries ?? []).map(([account, currency, points, lot]) => ({
      account,
      currency: codeOf(currency),
      points,
      ...(lot === null ? {} : { lot }),
    })),
  };
}

interface HoldRow {
  hold: OperationHex;
  member: MemberNumber;
  status: string;
  expires_at: number;
  lots: [currency: number, lot: number, points: number][];
}

const holdsMax = 1_000;

async function holdsOf(pool: pg.Pool, program: Program, family: readonly MemberNumber[]): Promise<unknown[]> {
  const result = await pool.query<HoldRow>(
    `select replace(hold::text, '-', '') as hold, member, status, expires_at, lots from hold
     where member = any($1::bigint[]) and status = 'held' order by expires_at limit $2`,
    [family, holdsMax],
  );
  return result.rows.map((row) => ({
    id: operationId('hold', row.hold),
    member: memberId(row.member),
    status: row.status,
    expiresAt: new Date(row.expires_at).toISOString(),
    lots: row.lots.map(([currency, lot, points]) => ({
      currency: program.currencyByNumber.get(currency)?.code ?? String(currency),
      lot,
      points,
    })),
  }));
}

interface PlaceRow {
  pool: PoolNumber;
  member: MemberNumber;
  joined_at: number;
  consent: string;
  left_at: number | null;
}

/** Pools that they are or were in. */
async function poolsOf(pool: pg.Pool, family: readonly MemberNumber[]): Promise<unknown[]> {
  const result = await pool.query<PlaceRow>(
    'select pool, member, joined_at, consent, left_at from pool_place where member = any($1::bigint[]) order by place',
    [family],
  );
  return result.rows.map((row) => ({
    id: poolId(row.pool),
    member: memberId(row.member),
    joinedAt: new Date(row.joined_at).toISOString(),
    consent: row.consent,
    ...(row.left_at === null ? {} : { leftAt: new Date(row.left_at).toISOString() }),
  }));
}

const partnerLinksMax = 200;

/** Accounts at partners that were linked; of an erased member only when. */
async function partnerLinksOf(
  pool: pg.Pool,
  identity: Identity,
  program: Program,
  family: readonly MemberNumber[],
): Promise<unknown[]> {
  const result = await pool.query<{
    client: string;
    member: MemberNumber;
    account_sealed: Buffer | null;
    linked_at: Date;
    unlinked_at: Date | null;
  }>(
    `select (select name from client c where c.number = l.client) as client, member, account_sealed, linked_at, unlinked_at
     from partner_link l where member = any($1::bigint[]) order by linked_at, link limit $2`,
    [family, partnerLinksMax],
  );
  return result.rows.map((row) => ({
    partner: row.client,
    member: memberId(row.member),
    ...(row.account_sealed
      ? { account: identity.decrypt(program.number, row.member, row.account_sealed) }
      : {}),
    linkedAt: row.linked_at.toISOString(),
    ...(row.unlinked_at ? { unlinkedAt: row.unlinked_at.toISOString() } : {}),
  }));
}

export function createExports(operations: Operations, pool: pg.Pool, identity: Identity): Exports {
  const { wallet } = operations;

  async function personOf(program: Program, member: MemberNumber): Promise<Record<string, unknown>> {
    const row = await namedMember(pool, identity, program, memberId(member));
    const identifiers = await identifiersOf(pool, [member]);
    const reading = await wallet.read(member, programNow(program));
    return {
      id: memberId(member),
      status: row.status,
      joinedAt: new Date(row.joined_at).toISOString(),
      ...(row.merged_into === null ? {} : { mergedInto: memberId(row.merged_into) }),
      ...(row.erased_at === null ? {} : { erasedAt: new Date(row.erased_at).toISOString() }),
      profile: profileOfRow(identity, program, row),
      identifiers: identifiers.map((identifier) => ({
        type: identifier.type,
        value: identity.decrypt(program.number, identifier.member, identifier.value_encrypted),
        linkedAt: identifier.linked_at.toISOString(),
      })),
      codes: await codesHeld(pool, member),
      balances: reading ? balancesView(program, reading, member).balances : {},
      audit: await auditOf(pool, identity, program, member),
      ...(await tiersHeld(pool, { identity, program, member, isPersonal: true }, row.joined_at)),
      asBuyer: await buyerView(pool, program, member),
    };
  }

  return {
    async export(caller, ref, { limit, cursor }, waitMs) {
      const { program } = caller;
      const after = cursorOf(cursor);
      const { number } = await survivingMember(pool, identity, program, ref);
      const family = await familyOf(pool, number);
      const deadlineMs = Date.now() + waitMs;
      const shards = new Set(family.map((member) => wallet.shardOf(member)));
      for (const shard of shards) await wallet.readBarrier(shard, waitUntil(deadlineMs));
      const result = await pool.query<OperationRow>(operationsQuery, [family, ...after, limit + 1]);
      const page = result.rows.slice(0, limit);
      const last = page.at(-1);
      const begins = await ledgerBegins(pool);
      const people: Record<string, unknown>[] = [];
      for (const member of family) people.push(await personOf(program, member));
      return {
        object: 'memberExport',
        mode: program.mode,
        exportedAt: new Date(programNow(program)).toISOString(),
        member: people[0],
        merged: people.slice(1),
        holds: await holdsOf(pool, program, family),
        pools: await poolsOf(pool, family),
        partnerLinks: await partnerLinksOf(pool, identity, program, family),
        operations: page.map((row) => operationView(program, row)),
        ...(begins ? { operationsSince: begins.toISOString() } : {}),
        nextCursor: last && result.rows.length > limit ? cursorText([last.member, last.operation]) : null,
      };
    },
  };
}
