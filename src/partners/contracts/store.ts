/** Reading and writing partners, their contracts and rates. `applying.ts` decides what is written. */

import type pg from 'pg';
import type { Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import type { RateTerms } from './resolve.ts';
import type { Contract, ContractTerms, Direction, Partner, Period, Rate } from './types.ts';

const epochMs = (column: string) => `(extract(epoch from ${column}) * 1000)::float8 as ${column}`;

interface PartnerRow {
  readonly partner: number;
  readonly program: number;
  readonly name: string;
  readonly title: string;
  readonly client: number;
  readonly status: 'active' | 'suspended';
}

interface VersionRow {
  readonly partner: number;
  readonly version: number;
  readonly effective_from: EpochMs;
  readonly effective_until: EpochMs | null;
}

interface ContractRow extends VersionRow {
  readonly terms: ContractTerms;
}

interface RateRow extends VersionRow {
  readonly direction: Direction;
  readonly currency: string;
  readonly tier: string | null;
  readonly announced_at: EpochMs | null;
  readonly terms: RateTerms;
}

function contractOf(row: ContractRow): Contract {
  return { version: row.version, from: row.effective_from, until: row.effective_until, ...row.terms };
}

function rateOf(row: RateRow): Rate {
  return {
    version: row.version,
    partner: row.partner,
    direction: row.direction,
    currency: row.currency,
    tier: row.tier,
    announcedAt: row.announced_at,
    from: row.effective_from,
    until: row.effective_until,
    ...row.terms,
  };
}

const versionColumns = `version, ${epochMs('effective_from')}, ${epochMs('effective_until')}`;

/** Partners by a condition on `partner p`, whole, by their numbers. */
async function partnersWhere(
  db: Queryable,
  condition: string,
  values: readonly unknown[],
): Promise<Partner[]> {
  const { rows } = await db.query<PartnerRow>(
    `select partner, program, name, title, client, status from partner p where ${condition} order by partner`,
    [...values],
  );
  const numbers = [rows.map(({ partner }) => partner)];
  const contracts = await db.query<ContractRow>(
    `select partner, ${versionColumns}, terms from partner_contract where partner = any($1) order by partner, version`,
    numbers,
  );
  const rates = await db.query<RateRow>(
    `select r.partner, ${versionColumns}, ${epochMs('announced_at')}, l.direction, l.currency, l.tier, r.terms
     from partner_rate r join partner_line l using (line) where r.partner = any($1) order by r.partner, version`,
    numbers,
  );
  const contractsOf = Map.groupBy(contracts.rows, ({ partner }) => partner);
  const ratesOf = Map.groupBy(rates.rows, ({ partner }) => partner);
  return rows.map(({ partner: number, ...row }) => ({
    number,
    ...row,
    contracts: (contractsOf.get(number) ?? []).map(contractOf),
    rates: (ratesOf.get(number) ?? []).map(rateOf),
  }));
}

/** Every partner of the installation. */
export function readPartners(db: Queryable): Promise<Partner[]> {
  return partnersWhere(db, 'true', []);
}

export function partnersOfProgram(db: Queryable, program: number): Promise<Partner[]> {
  return partnersWhere(db, 'p.program = $1', [program]);
}

export async function partnerNamed(
  db: Queryable,
  program: number,
  name: string,
): Promise<Partner | undefined> {
  return (await partnersWhere(db, 'p.program = $1 and p.name = $2', [program, name]))[0];
}

/** Makes a partner or changes its title and status, and holds its row; the client of its name becomes its own. */
export async function keepPartner(
  tx: pg.PoolClient,
  program: number,
  { name, title, status }: Pick<Partner, 'name' | 'title' | 'status'>,
): Promise<number> {
  const { rows } = await tx.query<{ partner: number }>(
    `with c as (
       insert into client (program, name) values ($1, $2)
       on conflict (program, name) do update set name = excluded.name returning number
     )
     insert into partner (program, name, title, status, client) select $1, $2, $3, $4, number from c
     on conflict (program, name) do update
       set title = excluded.title, status = excluded.status, changed_at = clock_timestamp() returning partner`,
    [program, name, title, status],
  );
  return rows[0]!.partner;
}

const instant = (at: EpochMs | null) => (at === null ? null : new Date(at).toISOString());

export interface NewVersion extends Period {
  readonly partner: number;
  readonly version: number;
  readonly terms: unknown;
  readonly actor: string;
}

export async function insertContract(tx: pg.PoolClient, each: NewVersion): Promise<void> {
  await tx.query(
    `insert into partner_contract (partner, version, effective_from, effective_until, terms, applied_by)
     values ($1, $2, $3, $4, $5, $6)`,
    [
      each.partner,
      each.version,
      instant(each.from),
      instant(each.until),
      JSON.stringify(each.terms),
      each.actor,
    ],
  );
}

export interface NewRate extends NewVersion {
  readonly direction: Direction;
  readonly currency: string;
  readonly tier: string | null;
  readonly announcedAt: EpochMs | null;
}

export async function insertRate(tx: pg.PoolClient, each: NewRate): Promise<void> {
  const { rows } = await tx.query<{ line: number }>(
    `insert into partner_line (partner, direction, currency, tier) values ($1, $2, $3, $4)
     on conflict (partner, direction, currency, tier) do update set direction = excluded.direction returning line`,
    [each.partner, each.direction, each.currency, each.tier],
  );
  await tx.query(
    `insert into partner_rate (partner, version, line, effective_from, effective_until, announced_at, terms, applied_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      each.partner,
      each.version,
      rows[0]!.line,
      instant(each.from),
      instant(each.until),
      instant(each.announcedAt),
      JSON.stringify(each.terms),
      each.actor,
    ],
  );
}

export async function endVersion(
  tx: pg.PoolClient,
  table: 'partner_contract' | 'partner_rate',
  partner: number,
  { version, until }: { readonly version: number; readonly until: EpochMs | null },
): Promise<void> {
  await tx.query(`update ${table} set effective_until = $3 where partner = $1 and version = $2`, [
    partner,
    version,
    instant(until),
  ]);
}

export interface AppliedFile {
  readonly source: string;
  readonly digest: string;
}

/** The file that was applied last. */
export async function newestFile(db: Queryable, partner: number): Promise<AppliedFile | undefined> {
  const { rows } = await db.query<AppliedFile>(
    'select source, digest from partner_file where partner = $1 order by change desc limit 1',
    [partner],
  );
  return rows[0];
}

export async function insertFile(
  tx: pg.PoolClient,
  partner: number,
  { source, digest, actor }: AppliedFile & { readonly actor: string },
): Promise<void> {
  await tx.query(
    `insert into partner_file (partner, change, source, digest, applied_by)
     select $1, coalesce(max(change), 0) + 1, $2, $3, $4 from partner_file where partner = $1`,
    [partner, source, digest, actor],
  );
}
