/**
 * Accounts in money of partners, double entry: every statement, payment and netting is postings that sum to zero. They are the view
 * `partner_posting` over what is stored of statements and only ever added to. Positive is a debit.
 *
 *   receivable   what the partner owes by statements that have a number; negative: what it is owed
 *   carried      what was too small for a statement, until one has it
 *   issue        points given in the partner's name; redemption: points that went there; cost_share: its part of promotions
 *   credit       what disputes took back; tax
 *   bank         what was paid; netting: what was netted, of a program all together what it was paid by nettings
 */
import { epochMsOf, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import { settlementId } from './settlements.ts';

export const moneyAccounts = [
  'receivable',
  'carried',
  'issue',
  'redemption',
  'cost_share',
  'credit',
  'tax',
  'bank',
  'netting',
] as const;
export type MoneyAccount = (typeof moneyAccounts)[number];

export interface Balance {
  readonly partner: string;
  readonly currency: string;
  readonly account: MoneyAccount;
  /** Minor units. */
  readonly amount: bigint;
}

/** Balances of a program's partners, or of one; accounts that come to nothing are left out. */
export async function balancesOf(db: Queryable, program: number, partner?: number): Promise<Balance[]> {
  const { rows } = await db.query<Omit<Balance, 'amount'> & { amount: string }>(
    `select p.name as partner, m.currency, m.account, sum(m.amount)::text as amount from partner_posting m join partner p using (partner)
     where m.program = $1 and ($2::int is null or m.partner = $2) group by p.name, m.currency, m.account having sum(m.amount) <> 0
     order by p.name, m.currency, array_position($3::text[], m.account)`,
    [program, partner ?? null, moneyAccounts],
  );
  return rows.map((row) => ({ ...row, amount: BigInt(row.amount) }));
}

export interface Posting {
  readonly at: EpochMs;
  /** `statement`, `paid` or `netted`. */
  readonly cause: string;
  /** Of the statement's lines, by number. */
  readonly line: number | null;
  readonly account: MoneyAccount;
  readonly amount: number;
}

/** The postings of a statement and of what was paid of it, in the order in which they were made. */
export async function postingsOf(db: Queryable, settlement: number): Promise<Posting[]> {
  const { rows } = await db.query<Posting>(
    `select ${epochMsOf('at')} as at, cause, number as line, account, amount from partner_posting
     where settlement = $1 order by cause <> 'statement', at, number, array_position($2::text[], account)`,
    [settlement, moneyAccounts],
  );
  return rows;
}

/** What does not fit in sentences, each by a query of `what`, `had` and `wanted`. */
const comparisons = [
  // Statements keep how much of them is settled; the postings have it by steps.
  `select 'statement ' || s.settlement as what, coalesce(sum(m.amount), 0) as had, s.amount + s.tax - s.settled as wanted, s.settlement
   from settlement s left join partner_posting m on m.settlement = s.settlement and m.account = 'receivable'
   where s.status <> 'carried' group by s.settlement
   having coalesce(sum(m.amount), 0) <> s.amount + s.tax - s.settled`,
  `select 'what is carried over of partner ' || p.name || ' in ' || t.currency, sum(t.had), sum(t.wanted), null
   from (select partner, currency, amount as had, 0 as wanted from partner_posting where account = 'carried'
     union all select a.partner, a.currency, 0, a.amount + a.tax from settlement_adjustment a
       where a.kind = 'carried' and not exists (
         select from settlement s where (s.partner, s.period, s.currency) = (a.partner, a.period, a.currency))) t
   join partner p using (partner) group by p.name, t.currency having sum(t.had) <> sum(t.wanted)`,
  `select 'what program ' || p.name || ' was paid by nettings in ' || t.currency, sum(t.had), sum(t.wanted), null
   from (select program, currency, amount as had, 0 as wanted from partner_posting where account = 'netting'
     union all select program, currency, 0, coalesce((positions ->> 'program')::bigint, 0) from settlement_netting) t
   join program p on p.number = t.program group by p.name, t.currency having sum(t.had) <> sum(t.wanted)`,
  `select 'positions of netting ' || netting, (select sum(value::bigint) from json_each_text(positions)), 0, null
   from settlement_netting where (select sum(value::bigint) from json_each_text(positions)) <> 0`,
];

/** Where the accounts in money are not what statements, adjustments and nettings say, in sentences. */
export async function moneyFaults(db: Queryable): Promise<string[]> {
  const faults: string[] = [];
  for (const comparison of comparisons) {
    const { rows } = await db.query<{ what: string; had: string; wanted: string; settlement: number | null }>(
      `select what, had::text, wanted::text, settlement from (${comparison}) c (what, had, wanted, settlement)`,
    );
    for (const { what, had, wanted, settlement } of rows) {
      const name = settlement === null ? what : `statement ${settlementId(settlement)}`;
      faults.push(`${name}: the accounts in money have ${had}, not ${wanted}`);
    }
  }
  return faults;
}
