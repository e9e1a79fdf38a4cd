/** What calls about partners answer. */
import { z } from 'zod';
import type { EpochMs, Mode } from '#src/values.ts';
import { contractAt, holdsAt } from './arithmetic.ts';
import type { StoredBlock } from './prepaid.ts';
import {
  type AbuseLimits,
  type Bonus,
  type Contract,
  capPeriods,
  directions,
  type Partner,
  type Period,
  type Rate,
} from './types.ts';

const modeField = z.enum(['live', 'test']);
const time = z.iso.datetime();
const ratio = z.object({ numerator: z.int(), denominator: z.int() });
const statuses = ['superseded', 'in_force', 'scheduled', 'withdrawn'] as const;
const versionFields = {
  mode: modeField,
  partner: z.string(),
  version: z.int(),
  status: z.enum(statuses),
  effectiveFrom: time,
  effectiveUntil: time.nullable().meta({ description: 'The first instant at which it no longer holds.' }),
};

export const partnerReply = z
  .object({
    object: z.literal('partner'),
    mode: modeField,
    name: z.string(),
    title: z.string(),
    status: z.enum(['active', 'suspended']),
    party: z.int().meta({ description: 'Its number in the ledger.' }),
    client: z.int(),
    contract: z.int().nullable().meta({ description: 'The version in force.' }),
    billing: z.enum(['prepaid', 'postpaid']).nullable(),
  })
  .meta({ id: 'Partner' });
export const partnerListReply = z
  .object({ object: z.literal('list'), data: z.array(partnerReply), nextCursor: z.null() })
  .meta({ id: 'PartnerList' });
export const partnerFileReply = partnerReply
  .extend({ source: z.string().meta({ description: 'The file, byte for byte as it was applied last.' }) })
  .meta({ id: 'PartnerWithSource' });

const price = z.object({ amount: z.int(), perPoints: z.int() });
export const contractReply = z
  .object({
    object: z.literal('partnerContract'),
    ...versionFields,
    billing: z.record(z.string(), z.unknown()),
    settleOn: z.enum(['issue', 'redemption']),
    currency: z.string(),
    prices: z.object({ issue: price, redemption: price }),
    billedBasisPoints: z.int(),
    taxBasisPoints: z.int(),
    invoiceMinimum: z.int(),
    nettingGroup: z.string().nullable(),
    disputeDays: z.int(),
    claimDays: z.int(),
    noticeDays: z.int(),
    costShares: z.array(z.object({ promotion: z.string(), basisPoints: z.int() })),
    earning: z.record(z.string(), z.unknown()).nullable(),
    limits: z.record(z.string(), z.unknown()),
    quoteSeconds: z.int(),
  })
  .meta({ id: 'PartnerContract' });
export const contractListReply = z
  .object({ object: z.literal('list'), data: z.array(contractReply), nextCursor: z.null() })
  .meta({ id: 'PartnerContractList' });

export const rateReply = z
  .object({
    object: z.literal('exchangeRate'),
    ...versionFields,
    announcedAt: time.nullable(),
    direction: z.enum(directions),
    currency: z.string(),
    partnerCurrency: z.string(),
    tier: z.string().nullable(),
    ratio: ratio.meta({ description: 'Points received for points given.' }),
    rounding: z.string(),
    minimum: z.int(),
    step: z.int(),
    maximum: z.int().nullable(),
    block: z.object({ points: z.int(), adds: z.int() }).nullable(),
    bonuses: z.array(
      z.object({
        name: z.string(),
        share: ratio,
        effectiveFrom: time,
        effectiveUntil: time.nullable(),
        tiers: z.array(z.string()).optional(),
      }),
    ),
    caps: z.array(z.object({ period: z.enum(capPeriods), of: z.enum(['give', 'receive']), points: z.int() })),
    fee: z.record(z.string(), z.unknown()).nullable(),
  })
  .meta({ id: 'ExchangeRate' });
export const rateListReply = z
  .object({ object: z.literal('list'), data: z.array(rateReply), nextCursor: z.null() })
  .meta({ id: 'ExchangeRateList' });

export const blockReply = z
  .object({
    object: z.literal('pointBlock'),
    mode: modeField,
    reference: z.string(),
    points: z.int(),
    left: z.int(),
    reserve: z.boolean(),
    effectiveFrom: time,
    effectiveUntil: time.nullable(),
  })
  .meta({ id: 'PointBlock' });
export const blockListReply = z
  .object({
    object: z.literal('list'),
    data: z.array(blockReply),
    nextCursor: z.null(),
    left: z.int().meta({ description: 'What can be drawn now, without the reserve.' }),
    reserve: z.int(),
    alert: z.boolean().meta({ description: 'No more is left than the contract wants to be told of.' }),
  })
  .meta({ id: 'PointBlockList' });

const text = (at: EpochMs) => new Date(at).toISOString();
const textOrNull = (at: EpochMs | null) => (at === null ? null : text(at));

function statusOf({ from, until }: Period, now: EpochMs): (typeof statuses)[number] {
  if (until !== null && until <= from) return 'withdrawn';
  if (from > now) return 'scheduled';
  return until === null || now < until ? 'in_force' : 'superseded';
}

interface Shown {
  readonly mode: Mode;
  readonly now: EpochMs;
}

export function partnerView(partner: Partner, { mode, now }: Shown) {
  const contract = contractAt(partner, now);
  return {
    object: 'partner' as const,
    mode,
    name: partner.name,
    title: partner.title,
    status: partner.status,
    party: partner.number,
    client: partner.client,
    contract: contract?.version ?? null,
    billing: contract?.billing.kind ?? null,
  };
}

function versionView({ name }: Partner, each: Period & { readonly version: number }, { mode, now }: Shown) {
  return {
    mode,
    partner: name,
    version: each.version,
    status: statusOf(each, now),
    effectiveFrom: text(each.from),
    effectiveUntil: textOrNull(each.until),
  };
}

/** Limits that are off are not shown. */
function limitsView(limits: AbuseLimits) {
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== undefined));
}

export function contractView(partner: Partner, contract: Contract, shown: Shown) {
  const { from: _from, until: _until, version: _version, limits, ...terms } = contract;
  return {
    object: 'partnerContract' as const,
    ...versionView(partner, contract, shown),
    ...terms,
    limits: limitsView(limits),
  };
}

function bonusView({ name, share, from, until, tiers }: Bonus) {
  return {
    name,
    share,
    effectiveFrom: text(from),
    effectiveUntil: textOrNull(until),
    ...(tiers === undefined ? {} : { tiers }),
  };
}

export function rateView(partner: Partner, rate: Rate, shown: Shown) {
  const {
    from: _from,
    until: _until,
    version: _version,
    partner: _partner,
    announcedAt,
    bonuses,
    ...terms
  } = rate;
  return {
    object: 'exchangeRate' as const,
    ...versionView(partner, rate, shown),
    announcedAt: textOrNull(announcedAt),
    ...terms,
    bonuses: bonuses.map(bonusView),
  };
}

export function blockView(block: StoredBlock, mode: Mode) {
  return {
    object: 'pointBlock' as const,
    mode,
    reference: block.reference,
    points: block.points,
    left: block.left,
    reserve: block.isReserve,
    effectiveFrom: text(block.from),
    effectiveUntil: textOrNull(block.until),
  };
}

/** The blocks of a partner, and what can be drawn of them now. */
export function blocksView(partner: Partner, blocks: readonly StoredBlock[], { mode, now }: Shown) {
  const leftOf = (isReserve: boolean) =>
    blocks
      .filter((block) => block.isReserve === isReserve && holdsAt(block, now))
      .reduce((sum, block) => sum + block.left, 0);
  const left = leftOf(false);
  const billing = contractAt(partner, now)?.billing;
  return {
    object: 'list' as const,
    data: blocks.map((block) => blockView(block, mode)),
    nextCursor: null,
    left,
    reserve: leftOf(true),
    alert: billing?.kind === 'prepaid' && left <= billing.alertPoints,
  };
}
