/** Statements as calls, commands and files show them. */
import { z } from 'zod';
import type { Program } from '#src/earning/program.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import type { EpochMs } from '#src/values.ts';
import { type Draft, type Line, roundingOf } from './lines.ts';
import { type Balance, moneyAccounts } from './money.ts';
import {
  type Settlement,
  type SettlementStep,
  type StoredLine,
  settlementId,
  statuses,
} from './settlements.ts';
import type { Netted } from './settling.ts';
import { minorUnits } from './statements.ts';

const month = z.string().meta({ description: 'A month in the zone of the program, such as 2026-11.' });
const minor = z.int().meta({ description: 'Minor units; positive where the partner owes the program.' });
const lineReply = z
  .object({
    line: z.int(),
    kind: z.string(),
    price: z.enum(['issue', 'redemption', 'none']).nullable().meta({
      description: 'Of the contract; `none` of points that are billed when they are spent.',
    }),
    contract: z.int().nullable(),
    currency: z.string().nullable().meta({ description: 'Of the points.' }),
    rule: z.string().nullable(),
    shareBasisPoints: z.int(),
    period: month,
    entries: z.int(),
    points: z.int().meta({ description: 'As in the ledger: positive went to the partner.' }),
    prepaid: z.int().meta({ description: 'Of the points, what blocks bought in advance have paid for.' }),
    exact: z
      .string()
      .meta({ description: 'The amount before it was rounded, as a fraction of minor units.' }),
    amount: minor,
    taxBasisPoints: z.int(),
    tax: minor,
  })
  .meta({ id: 'SettlementLine' });
const bodyFields = {
  mode: z.enum(['live', 'test']),
  partner: z.string(),
  period: month,
  currency: z.string(),
  amount: minor,
  tax: minor,
  total: minor,
};

export const draftReply = z
  .object({
    object: z.literal('settlementDraft'),
    ...bodyFields,
    rounding: z.string().meta({ description: 'What rounding has added to the exact amounts.' }),
    lines: z.array(lineReply),
  })
  .meta({ id: 'SettlementDraft' });
export const draftListReply = z
  .object({ object: z.literal('list'), data: z.array(draftReply), nextCursor: z.null() })
  .meta({ id: 'SettlementDraftList' });

export const settlementReply = z
  .object({
    object: z.literal('settlement'),
    id: z.string(),
    ...bodyFields,
    number: z.int().nullable().meta({ description: 'Without gaps; null where it is carried over.' }),
    status: z.enum(statuses),
    settled: minor.meta({ description: 'Of the total, what was paid or netted.' }),
    contract: z.int().nullable(),
    nettingGroup: z.string().nullable(),
    issuedAt: z.iso.datetime(),
    disputeUntil: z.iso.datetime(),
    disputed: z.array(z.int()).meta({ description: 'Lines in dispute.' }),
  })
  .meta({ id: 'Settlement' });
export const settlementListReply = z
  .object({ object: z.literal('list'), data: z.array(settlementReply), nextCursor: z.string().nullable() })
  .meta({ id: 'SettlementList' });
export const wholeSettlementReply = settlementReply
  .extend({
    rounding: z.string(),
    lines: z.array(lineReply),
    steps: z.array(
      z.object({
        at: z.iso.datetime(),
        action: z.string(),
        actor: z.string(),
        reason: z.string().nullable(),
        lines: z.array(z.int()),
        amount: z.int().nullable(),
        early: z.boolean().meta({
          description:
            'Paid or netted before the days were over in which it could be disputed, because the partner has agreed.',
        }),
      }),
    ),
  })
  .meta({ id: 'SettlementWithLines' });

const payment = z.object({ from: z.string(), to: z.string(), amount: z.int() });
export const nettingListReply = z
  .object({
    object: z.literal('list'),
    data: z.array(
      z
        .object({
          object: z.literal('netting'),
          mode: z.enum(['live', 'test']),
          currency: z.string(),
          booked: z.boolean(),
          settlements: z.array(z.string()),
          gross: z.array(payment),
          positions: z.record(z.string(), z.int()).meta({
            description: 'What each receives in the end; negative pays. They sum to zero.',
          }),
          payments: z.array(payment),
          disputableUntil: z.iso.datetime().nullable().meta({
            description: 'Until when one of the statements may be disputed; null: none of them any more.',
          }),
        })
        .meta({ id: 'Netting' }),
    ),
    nextCursor: z.null(),
  })
  .meta({ id: 'NettingList' });

export const balanceListReply = z
  .object({
    object: z.literal('list'),
    data: z.array(
      z
        .object({
          object: z.literal('partnerBalance'),
          mode: z.enum(['live', 'test']),
          partner: z.string(),
          currency: z.string(),
          account: z.enum(moneyAccounts),
          amount: z.int().meta({ description: 'Minor units; a debit, or negative a credit.' }),
        })
        .meta({ id: 'PartnerBalance' }),
    ),
    nextCursor: z.null(),
  })
  .meta({ id: 'PartnerBalanceList' });

const text = (at: EpochMs) => new Date(at).toISOString();
type Shown = Pick<Program, 'mode' | 'currencyByNumber'>;

export function lineView({ currencyByNumber }: Shown, line: Line | StoredLine, number: number) {
  const { kind, price, contract, pointsCurrency, rule, share, ofPeriod, entries, taxBasisPoints } = line;
  return {
    line: number,
    kind,
    price,
    contract,
    currency:
      pointsCurrency === null ? null : (currencyByNumber.get(pointsCurrency)?.code ?? String(pointsCurrency)),
    rule,
    shareBasisPoints: share,
    period: ofPeriod.slice(0, 7),
    entries,
    points: minorUnits(BigInt(line.points)),
    prepaid: minorUnits(BigInt(line.prepaid)),
    exact: `${line.numerator}/${line.denominator}`,
    amount: minorUnits(BigInt(line.amount)),
    taxBasisPoints,
    tax: minorUnits(BigInt(line.tax)),
  };
}

function roundingView(lines: readonly (Line | StoredLine)[]): string {
  const whole = lines.map(({ numerator, denominator, amount }) => ({
    numerator,
    denominator,
    amount: BigInt(amount),
  }));
  const { numerator, denominator } = roundingOf(whole);
  return `${numerator}/${denominator}`;
}

export function draftView(
  program: Shown,
  { name }: Pick<Partner, 'name'>,
  period: string,
  { currency, lines, amount, tax, total }: Draft,
) {
  return {
    object: 'settlementDraft' as const,
    mode: program.mode,
    partner: name,
    period: period.slice(0, 7),
    currency,
    amount: minorUnits(amount),
    tax: minorUnits(tax),
    total: minorUnits(total),
    rounding: roundingView(lines),
    lines: lines.map((line, i) => lineView(program, line, i + 1)),
  };
}

export function settlementView({ mode }: Pick<Program, 'mode'>, found: Settlement) {
  const { amount, tax, total, settled, number, status, currency, contract, nettingGroup, disputed } = found;
  return {
    object: 'settlement' as const,
    id: settlementId(found.settlement),
    mode,
    partner: found.partnerName,
    period: found.period.slice(0, 7),
    ...{ currency, amount, tax, total, number, status, settled, contract, nettingGroup },
    issuedAt: text(found.issuedAt),
    disputeUntil: text(found.disputeUntil),
    disputed,
  };
}

export function wholeSettlementView(
  program: Shown,
  found: Settlement,
  lines: readonly StoredLine[],
  steps: readonly SettlementStep[],
) {
  return {
    ...settlementView(program, found),
    rounding: roundingView(lines),
    lines: lines.map((line) => lineView(program, line, line.line)),
    steps: steps.map((step) => ({ ...step, at: text(step.at) })),
  };
}

export function nettedView({ mode }: Pick<Program, 'mode'>, netted: Netted, isBooked: boolean) {
  const { disputableUntil } = netted;
  return {
    object: 'netting' as const,
    mode,
    booked: isBooked,
    ...netted,
    disputableUntil: disputableUntil === null ? null : text(disputableUntil),
  };
}

export function balanceView({ mode }: Pick<Program, 'mode'>, { amount, ...balance }: Balance) {
  return { object: 'partnerBalance' as const, mode, ...balance, amount: minorUnits(amount) };
}
