/**
 * PURE. From a partner's file to versions: days become instants in the program's zone, a version without a last day ends where
 * the next of its line begins, and whatever cannot be meant is found with its place in the file.
 *
 * A line is what versions follow one another on: the contract, and each direction, currency and tier of rates.
 */
import { DateTime } from 'luxon';
import type { Finding } from '#src/earning/file/check.ts';
import { type FileKind, type Reading, readFileText } from '#src/earning/file/read.ts';
import type { EpochMs } from '#src/values.ts';
import { type ContractEntry, type PartnerFile, partnerFileSchema, type RateEntry } from './schema.ts';
import type { AbuseLimits, Bonus, ContractTerms, Direction, Period, Rate, Velocity } from './types.ts';

export type RateTerms = Omit<
  Rate,
  keyof Period | 'version' | 'partner' | 'direction' | 'currency' | 'tier' | 'announcedAt'
>;

/** One entry of a file, as it would be stored. */
export interface WantedVersion<Terms> extends Period {
  /** Where in the file it stands. */
  readonly pointer: string;
  readonly terms: Terms;
}

export interface WantedRate extends WantedVersion<RateTerms> {
  readonly direction: Direction;
  readonly currency: string;
  readonly tier: string | null;
  readonly announcedAt: EpochMs | null;
}

export interface WantedPartner {
  readonly name: string;
  readonly title: string;
  readonly status: 'active' | 'suspended';
  readonly contracts: readonly WantedVersion<ContractTerms>[];
  readonly rates: readonly WantedRate[];
}

function startOf(text: string, timeZone: string): EpochMs {
  return DateTime.fromISO(text, { zone: timeZone }).toMillis();
}

/** The instant after the last day. */
function endOf(day: string, timeZone: string): EpochMs {
  return DateTime.fromISO(day, { zone: timeZone }).startOf('day').plus({ days: 1 }).startOf('day').toMillis();
}

interface Placed extends Period {
  readonly pointer: string;
}

/** Periods of one line in their order; two that overlap are found. */
function periodsOf(
  entries: readonly {
    readonly pointer: string;
    readonly from: string;
    readonly through?: string | undefined;
  }[],
  timeZone: string,
  findings: Finding[],
): Map<string, Period> {
  const placed = entries
    .map(({ pointer, from, through }): Placed => {
      const until = through === undefined ? null : endOf(through, timeZone);
      return { pointer, from: startOf(from, timeZone), until };
    })
    .toSorted((a, b) => a.from - b.from);
  const periods = new Map<string, Period>();
  for (const [i, { pointer, from, until }] of placed.entries()) {
    const next = placed[i + 1];
    if (until !== null && until <= from)
      findings.push({ pointer: `${pointer}/through`, detail: 'lies before the beginning' });
    if (next && next.from === from)
      findings.push({ pointer: `${next.pointer}/from`, detail: `is when ${pointer} begins too` });
    else if (next && until !== null && until > next.from)
      findings.push({ pointer: `${pointer}/through`, detail: `lies after ${next.pointer} has begun` });
    periods.set(pointer, { from, until: until ?? next?.from ?? null });
  }
  return periods;
}

const off = <Limit>(limit: Limit | 'none'): Limit | undefined => (limit === 'none' ? undefined : limit);

function limitsOf(entry: ContractEntry['limits']): AbuseLimits {
  const velocity = (limit: Velocity | 'none') => off<Velocity>(limit);
  return {
    accountAge: off(entry.accountAge),
    contactHold: off(entry.contactHold),
    member: velocity(entry.member),
    card: velocity(entry.card),
    terminal: velocity(entry.terminal),
    roundTrip: off(entry.roundTrip),
    sameName: off(entry.sameName),
    links: off(entry.links),
    partnerDaily: off(entry.partnerDaily),
  };
}

function contractTerms(entry: ContractEntry): ContractTerms {
  const { billing } = entry;
  return {
    billing:
      billing.kind === 'prepaid' ? billing : { kind: 'postpaid', alertAmount: billing.alertAmount ?? null },
    settleOn: entry.settleOn,
    currency: entry.currency,
    prices: entry.prices,
    billedBasisPoints: entry.billedPercent,
    taxBasisPoints: entry.taxPercent,
    invoiceMinimum: entry.invoiceMinimum,
    nettingGroup: entry.nettingGroup ?? null,
    disputeDays: entry.disputeDays,
    claimDays: entry.claimDays,
    noticeDays: entry.noticeDays,
    costShares: entry.costShares.map(({ promotion, percent }) => ({ promotion, basisPoints: percent })),
    earning: entry.earning ?? null,
    limits: limitsOf(entry.limits),
    quoteSeconds: entry.quoteSeconds,
  };
}

function bonusesOf(entry: RateEntry, pointer: string, timeZone: string, findings: Finding[]): Bonus[] {
  return entry.bonuses.map(({ name, percent, from, through, tiers }, i) => {
    const bonus = {
      name,
      from: startOf(from, timeZone),
      until: endOf(through, timeZone),
      share: { numerator: percent, denominator: 10_000 },
      ...(tiers === undefined ? {} : { tiers }),
    };
    const at = `${pointer}/bonuses/${i}`;
    if (bonus.until <= bonus.from)
      findings.push({ pointer: `${at}/through`, detail: 'lies before the beginning' });
    if (entry.bonuses.findIndex((other) => other.name === name) !== i)
      findings.push({ pointer: `${at}/name`, detail: `${name} stands twice here` });
    return bonus;
  });
}

function rateTerms(entry: RateEntry, bonuses: readonly Bonus[]): RateTerms {
  const { fee } = entry;
  return {
    partnerCurrency: entry.partnerCurrency,
    ratio: { numerator: entry.ratio.receive, denominator: entry.ratio.give },
    rounding: entry.rounding,
    minimum: entry.minimum,
    step: entry.step,
    maximum: entry.maximum ?? null,
    block: entry.block ?? null,
    bonuses,
    caps: entry.caps,
    fee: fee
      ? {
          currency: fee.currency,
          fixed: fee.fixed,
          perPoints: { numerator: fee.amount, denominator: fee.perPoints },
          ...(fee.maximum === undefined ? {} : { maximum: fee.maximum }),
          rounding: fee.rounding,
        }
      : null,
  };
}

/** What a rate says that cannot be. */
function rateFindings(entry: RateEntry, pointer: string): Finding[] {
  const findings: Finding[] = [];
  const { minimum, step, maximum } = entry;
  const wrong = (field: string, detail: string) => findings.push({ pointer: `${pointer}/${field}`, detail });
  if (minimum % step !== 0 && minimum !== 1) wrong('minimum', `has to be a multiple of the step, ${step}`);
  if (maximum !== undefined && maximum % step !== 0)
    wrong('maximum', `has to be a multiple of the step, ${step}`);
  if (maximum !== undefined && maximum < minimum) wrong('maximum', 'is less than the minimum');
  for (const [i, { period, of }] of entry.caps.entries()) {
    if (entry.caps.findIndex((other) => other.period === period && other.of === of) !== i)
      wrong(`caps/${i}`, `is a second cap of what members ${of} in a ${period}`);
  }
  return findings;
}

/** Whether a rate was announced as early as its contract says; the first of a line need not be. */
function noticeFindings(
  rates: readonly WantedRate[],
  contracts: readonly WantedVersion<ContractTerms>[],
): Finding[] {
  return rates.flatMap((rate) => {
    const { pointer, from, announcedAt } = rate;
    const isFirst = !rates.some((other) => lineOf(other) === lineOf(rate) && other.from < from);
    const contract = contracts.find(
      (each) => each.from <= from && (each.until === null || from < each.until),
    );
    const noticeDays = contract?.terms.noticeDays ?? 0;
    if (isFirst || noticeDays === 0) return [];
    if (announcedAt === null)
      return [
        { pointer, detail: `needs the day on which it was announced, ${noticeDays} days before it begins` },
      ];
    const days = Math.floor((from - announcedAt) / 86_400_000 + 0.5);
    if (days >= noticeDays) return [];
    return [
      {
        pointer: `${pointer}/announced`,
        detail: `is ${days} days before the rate begins; the contract says ${noticeDays}`,
      },
    ];
  });
}

/** The name of the line that a rate is on. */
export function lineOf({ direction, currency, tier }: Pick<Rate, 'direction' | 'currency' | 'tier'>): string {
  return `${direction} ${currency} ${tier ?? ''}`;
}

function ratesOf(file: PartnerFile, timeZone: string, findings: Finding[]): WantedRate[] {
  const placed = file.rates.map((entry, i) => ({
    entry,
    pointer: `/rates/${i}`,
    line: { direction: entry.direction, currency: entry.currency, tier: entry.tier ?? null },
  }));
  const periods = new Map<string, Period>();
  for (const line of Map.groupBy(placed, (each) => lineOf(each.line)).values()) {
    const entries = line.map(({ pointer, entry }) => ({ pointer, from: entry.from, through: entry.through }));
    for (const [pointer, period] of periodsOf(entries, timeZone, findings)) periods.set(pointer, period);
  }
  return placed.map(({ entry, pointer, line }) => {
    findings.push(...rateFindings(entry, pointer));
    const bonuses = bonusesOf(entry, pointer, timeZone, findings);
    return {
      pointer,
      ...line,
      ...periods.get(pointer)!,
      announcedAt: entry.announced === undefined ? null : startOf(entry.announced, timeZone),
      terms: rateTerms(entry, bonuses),
    };
  });
}

/** The versions that a file describes, and what is wrong in it. */
export function resolveFile(
  file: PartnerFile,
  timeZone: string,
): { readonly wanted: WantedPartner; readonly findings: readonly Finding[] } {
  const findings: Finding[] = [];
  const placed = file.contracts.map((entry, i) => ({ entry, pointer: `/contracts/${i}` }));
  const periods = periodsOf(
    placed.map(({ entry, pointer }) => ({ pointer, from: entry.from, through: entry.through })),
    timeZone,
    findings,
  );
  const contracts = placed.map(({ entry, pointer }) => ({
    pointer,
    ...periods.get(pointer)!,
    terms: contractTerms(entry),
  }));
  const rates = ratesOf(file, timeZone, findings);
  findings.push(...noticeFindings(rates, contracts));
  const { partner: name, title, status } = file;
  return { wanted: { name, title, status, contracts, rates }, findings };
}

/** Reads a partner's file; its days are of this zone. */
export function readPartnerFile(source: string, timeZone: string): Reading<PartnerFile> {
  const kind: FileKind<PartnerFile> = {
    schema: partnerFileSchema,
    check: (file) => ({ faults: resolveFile(file, timeZone).findings, warnings: [] }),
  };
  return readFileText(source, kind);
}
