/**
 * Compares clearing and statements with the books, in one moment of the database: the entries of each partner with its account in
 * the ledger, to the point; the lines of statements with the entries, to the minor unit; statements with their lines; their
 * numbers, which have no gaps; and the accounts in money with what statements say is open. What clearing has not read yet is added up from the books themselves.
 */
import pg from 'pg';
import { readPartners } from '#src/partners/contracts/store.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import { inTransactionOn, type Queryable } from '#src/platform/postgres.ts';
import type { Line } from './lines.ts';
import { moneyFaults } from './money.ts';
import { linesOf, type StoredLine, settlementId } from './settlements.ts';
import { draftOf } from './statements.ts';

/** Points of one partner and currency of the program. */
export interface AccountCheck {
  readonly program: number;
  readonly partner: number;
  readonly currency: number;
  /** The account in the ledger, and how much of it clearing has not read yet. */
  readonly ledger: bigint;
  readonly unread: bigint;
  readonly entries: bigint;
  /** The same by statements: of closed months, and of what is open. */
  readonly stated: bigint;
  readonly open: bigint;
  readonly isRight: boolean;
}

export interface Checked {
  readonly accounts: readonly AccountCheck[];
  readonly statements: number;
  /** What does not fit, in sentences. */
  readonly faults: readonly string[];
}

interface AccountRow {
  readonly program: number;
  readonly partner: number;
  readonly currency: number;
  readonly ledger: string;
  readonly unread: string;
  readonly entries: string;
  readonly stated: string;
  readonly open: string;
}

/** Sums of all sides by partner and currency; shares of what others fund, and what members spend, stand in no account of the partner. */
const accountsQuery = `
  with parts as (
    select party as partner, currency, sum(points) as ledger, 0::numeric as unread, 0::numeric as entries, 0::numeric as stated, 0::numeric as open
      from account_balance where account = 'partner' group by party, currency
    union all
    select e.party, e.currency, 0, sum(e.points), 0, 0, 0
      from position p left join clearing_position c using (shard)
      join operation o on o.shard = p.shard and (o.epoch, o.seq) > (coalesce(c.epoch, 0), coalesce(c.seq, 0))
      join entry e on e.operation = o.operation and e.account = 'partner' group by e.party, e.currency
    union all
    select partner, currency, 0, 0, sum(points), 0,
      coalesce(sum(points) filter (where period > coalesce((select through from clearing_closed x where x.partner = n.partner), '-infinity')), 0)
      from clearing_entry n where account = 'partner' group by partner, currency
    union all
    select s.partner, l.points_currency, 0, 0, 0, sum(l.points), 0
      from settlement_line l join settlement s using (settlement)
      where l.kind not in ('cost_share', 'cost_share_reversal', 'spent', 'spent_reversal') and l.points_currency is not null group by s.partner, l.points_currency)
  select p.program, t.partner, t.currency, sum(t.ledger)::text as ledger, sum(t.unread)::text as unread, sum(t.entries)::text as entries,
    sum(t.stated)::text as stated, sum(t.open)::text as open
  from parts t join partner p using (partner) group by p.program, t.partner, t.currency order by 1, 2, 3`;

function accountOf({ program, partner, currency, ...sums }: AccountRow): AccountCheck {
  const [ledger, unread, entries] = [BigInt(sums.ledger), BigInt(sums.unread), BigInt(sums.entries)];
  const [stated, open] = [BigInt(sums.stated), BigInt(sums.open)];
  const isRight = entries === ledger - unread && stated + open === entries;
  return { program, partner, currency, ledger, unread, entries, stated, open, isRight };
}

interface StoredRow {
  readonly settlement: number;
  readonly partner: number;
  readonly period: string;
  readonly currency: string;
  readonly amount: number;
  readonly tax: number;
}

/** Everything that a line says, as text. */
function textOf(line: Line | StoredLine): string {
  const { kind, price, contract, pointsCurrency, rule, share, ofPeriod, entries, points, prepaid } = line;
  const { numerator, denominator, amount, taxBasisPoints, tax } = line;
  return JSON.stringify(
    [
      ...[kind, price, contract, pointsCurrency, rule, share, ofPeriod, entries, points, prepaid],
      ...[numerator, denominator, amount, taxBasisPoints, tax],
    ].map(String),
  );
}

async function statementFaults(
  db: Queryable,
  partner: Partner,
  rows: readonly StoredRow[],
): Promise<string[]> {
  const faults: string[] = [];
  for (const [period, of] of Map.groupBy(rows, (row) => row.period)) {
    const drafts = await draftOf(db, partner, period, 'entries');
    for (const row of of) {
      const id = settlementId(row.settlement);
      const stored = await linesOf(db, row.settlement);
      const draft = drafts.find(({ currency }) => currency === row.currency);
      const wanted = (draft?.lines ?? []).map(textOf).toSorted();
      if (JSON.stringify(stored.map(textOf).toSorted()) !== JSON.stringify(wanted))
        faults.push(`statement ${id}: its lines are not what the entries of the month come to`);
      const [amount, tax] = ['amount', 'tax'].map((of) =>
        stored.reduce((sum, line) => sum + line[of as 'amount' | 'tax'], 0),
      );
      if (amount !== row.amount || tax !== row.tax)
        faults.push(
          `statement ${id}: its lines come to ${amount} and ${tax}, not ${row.amount} and ${row.tax}`,
        );
    }
    const lost = drafts.filter(({ currency }) => !of.some((row) => row.currency === currency));
    for (const { currency } of lost)
      faults.push(
        `partner ${partner.name}: ${period.slice(0, 7)} is closed without a statement in ${currency}`,
      );
  }
  return faults;
}

async function numberFaults(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ name: string; last: number; count: number }>(
    `select p.name, coalesce(n.last, 0) as last, count(s.number)::int as count
     from program p left join settlement_number n on n.program = p.number left join settlement s on s.program = p.number
     group by p.name, n.last having count(s.number) <> coalesce(n.last, 0) or coalesce(max(s.number), 0) <> coalesce(n.last, 0)`,
  );
  return rows.map(
    ({ name, last, count }) => `program ${name}: ${count} statements have numbers, the last is ${last}`,
  );
}

/** Sums that are kept, and are not what the entries come to. */
async function sumFaults(db: Queryable, names: ReadonlyMap<number, string>): Promise<string[]> {
  const { rows } = await db.query<{ partner: number; month: string; kept: string; entries: string }>(
    `select partner, to_char(period, 'YYYY-MM') as month, sum(kept)::text as kept, sum(points)::text as entries
     from (select partner, period, kind, price, contract, currency, rule, share, of_period, entries as count, points as kept, prepaid, 0 as points
         from clearing_sum
       union all select partner, period, kind, price, contract, currency, rule, share, of_period, -1, 0, - prepaid, points from clearing_entry) t
     group by partner, period, kind, price, contract, currency, rule, share, of_period
     having sum(count) <> 0 or sum(prepaid) <> 0 or sum(kept) <> sum(points) order by 1, 2`,
  );
  return rows.map(
    ({ partner, month, kept, entries }) =>
      `partner ${names.get(partner)}: the sums of ${month} have ${kept} points, its entries ${entries}`,
  );
}

/** Months that are closed and have entries, but no statement at all. */
async function unstated(db: Queryable): Promise<StoredRow[]> {
  const { rows } = await db.query<{ partner: number; period: string }>(
    `select distinct e.partner, e.period::text from clearing_entry e join clearing_closed c using (partner)
     where e.period <= c.through and not exists (select from settlement s where s.partner = e.partner and s.period = e.period)`,
  );
  return rows.map((row) => ({ ...row, settlement: 0, currency: '', amount: 0, tax: 0 }));
}

async function checkOn(db: Queryable, names: ReadonlyMap<number, string>): Promise<Checked> {
  const accounts = (await db.query<AccountRow>(accountsQuery)).rows.map(accountOf);
  const faults = accounts
    .filter(({ isRight }) => !isRight)
    .map(
      ({ partner, currency, ledger, unread, entries, stated, open }) =>
        `partner ${names.get(partner)}, currency ${currency}: the ledger has ${ledger}, of them not read ${unread}; entries ${entries}, statements ${stated} and open ${open}`,
    );
  const { rows } = await db.query<StoredRow>(
    'select settlement, partner, period::text, currency, amount, tax from settlement order by settlement',
  );
  for (const partner of await readPartners(db)) {
    const of = rows.filter((row) => row.partner === partner.number);
    faults.push(...(await statementFaults(db, partner, of)));
  }
  for (const { partner, period } of await unstated(db))
    faults.push(
      `partner ${names.get(partner)}: ${period.slice(0, 7)} is closed and has entries, but no statement`,
    );
  faults.push(...(await sumFaults(db, names)), ...(await numberFaults(db)), ...(await moneyFaults(db)));
  return { accounts, statements: rows.length, faults };
}

const statementMsMax = 600_000;

/** Compares everything; `faults` is empty where all of it fits. */
export async function checkSettlement(databaseUrl: string): Promise<Checked> {
  const connection = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 });
  await connection.connect();
  try {
    await connection.query(`set statement_timeout = ${statementMsMax}`);
    return await inTransactionOn(
      connection,
      async () => {
        const partners = await readPartners(connection);
        return checkOn(connection, new Map(partners.map(({ number, name }) => [number, name])));
      },
      'isolation level repeatable read read only',
    );
  } finally {
    await connection.end().catch(() => {});
  }
}
