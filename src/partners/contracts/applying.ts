/**
 * Bringing a partner up to date with its file. The program's row is locked meanwhile, so that two files are applied one after
 * the other, and what is shared over partners (a promotion's costs) is looked at by one alone.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { parseDocument } from 'yaml';
import type { Finding } from '#src/earning/file/check.ts';
import { type Program, programNow } from '#src/earning/program.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { type Planned, planLine } from './planning.ts';
import { lineOf, resolveFile, type WantedPartner, type WantedRate, type WantedVersion } from './resolve.ts';
import type { PartnerFile } from './schema.ts';
import {
  endVersion,
  insertContract,
  insertFile,
  insertRate,
  keepPartner,
  newestFile,
  partnersOfProgram,
} from './store.ts';
import type { ContractTerms, Partner, Period } from './types.ts';

export interface PartnerDraft {
  /** Digest of the file that this one was made of; where another one was applied since, nothing is done. */
  readonly replaces?: string | undefined;
  readonly file: PartnerFile;
  readonly source: string;
  readonly actor: string;
}

/** Versions that an application adds, ends or withdraws. */
export interface Changes {
  readonly contracts: { readonly added: number; readonly ended: number };
  readonly rates: { readonly added: number; readonly ended: number };
}

export type AppliedPartner =
  | { readonly status: 'created' | 'changed' | 'unchanged'; readonly name: string; readonly changes: Changes }
  | { readonly status: 'refused'; readonly findings: readonly Finding[] }
  /** Another file was applied since the one that this one was made of. */
  | { readonly status: 'outdated' };

/** Without versions that were withdrawn before they began. */
function kept<Version extends Period>(versions: readonly Version[]): Version[] {
  return versions.filter(({ from, until }) => until === null || until > from);
}

const rateKeys = new Set([
  'version',
  'partner',
  'direction',
  'currency',
  'tier',
  'announcedAt',
  'from',
  'until',
]);

/** A stored version with its terms apart from what tells when and for whom it holds. */
function storedOf<Version extends Period & { readonly version: number }>(each: Version) {
  const terms = Object.fromEntries(Object.entries(each).filter(([key]) => !rateKeys.has(key)));
  // `currency` of a contract is that of its prices; of a rate it names the line.
  const withCurrency = 'prices' in each && 'currency' in each ? { ...terms, currency: each.currency } : terms;
  return { version: each.version, from: each.from, until: each.until, terms: withCurrency };
}

function planContracts(
  known: Partner | undefined,
  wanted: WantedPartner,
  now: number,
): Planned<WantedVersion<ContractTerms>> {
  return planLine(kept(known?.contracts ?? []).map(storedOf), wanted.contracts, { now, place: '/contracts' });
}

function planRates(known: Partner | undefined, wanted: WantedPartner, now: number): Planned<WantedRate> {
  const stored = Map.groupBy(kept(known?.rates ?? []), lineOf);
  const inFile = Map.groupBy(wanted.rates, lineOf);
  const lines = [...new Set([...stored.keys(), ...inFile.keys()])].map((line) =>
    planLine((stored.get(line) ?? []).map(storedOf), inFile.get(line) ?? [], { now, place: '/rates' }),
  );
  return {
    added: lines.flatMap(({ added }) => added),
    ended: lines.flatMap(({ ended }) => ended),
    findings: lines.flatMap(({ findings }) => findings),
  };
}

function overlap(a: Period, b: Period): boolean {
  return (b.until === null || a.from < b.until) && (a.until === null || b.from < a.until);
}

/** A promotion whose partners would pay more than all of it. */
function shareFindings(wanted: WantedPartner, others: readonly Partner[]): Finding[] {
  const findings: Finding[] = [];
  for (const contract of wanted.contracts) {
    for (const [i, { promotion, basisPoints }] of contract.terms.costShares.entries()) {
      const elsewhere = others.flatMap((other) => {
        const shares = kept(other.contracts)
          .filter((each) => overlap(each, contract))
          .flatMap(({ costShares }) => costShares.filter((share) => share.promotion === promotion));
        // Versions of one partner follow one another: the largest counts.
        return shares.length > 0 ? [Math.max(...shares.map((share) => share.basisPoints))] : [];
      });
      const sum = elsewhere.reduce((total, each) => total + each, basisPoints);
      if (sum <= 10_000) continue;
      const detail = `would make partners pay ${sum / 100} % of promotion ${promotion}`;
      findings.push({ pointer: `${contract.pointer}/costShares/${i}/percent`, detail });
    }
  }
  return findings;
}

/** What the file names that the program does not have. */
function nameFindings(wanted: WantedPartner, program: Program): Finding[] {
  const findings: Finding[] = [];
  for (const { pointer, currency } of wanted.rates) {
    const known = program.currencyByCode.get(currency);
    if (known?.spendable !== true) {
      const detail = known
        ? `${currency} cannot be spent, so it cannot be exchanged`
        : `the program has no currency ${currency}`;
      findings.push({ pointer: `${pointer}/currency`, detail });
    }
  }
  return findings;
}

/**
 * Blocks are drawn when points are given, so that nothing is given beyond them: they pay for what is never spent as well. One that was
 * stored before stays, and is settled when points are given.
 */
function settleFindings(added: readonly WantedVersion<ContractTerms>[]): Finding[] {
  return added
    .filter(({ terms }) => terms.settleOn === 'redemption' && terms.billing.kind === 'prepaid')
    .map(({ pointer }) => ({
      pointer: `${pointer}/settleOn`,
      detail: 'is redemption, and blocks are drawn when points are given: settle on issue, or bill postpaid',
    }));
}

interface Plan {
  readonly contracts: Planned<WantedVersion<ContractTerms>>;
  readonly rates: Planned<WantedRate>;
}

async function store(
  tx: pg.PoolClient,
  program: Program,
  {
    wanted,
    plan,
    known,
    actor,
  }: { wanted: WantedPartner; plan: Plan; known: Partner | undefined; actor: string },
): Promise<number> {
  const partner = await keepPartner(tx, program.number, wanted);
  // The end of one version and the beginning of another are compared at the end of the database transaction.
  await tx.query('set constraints partner_contract_overlap, partner_rate_overlap deferred');
  for (const each of plan.contracts.ended) await endVersion(tx, 'partner_contract', partner, each);
  for (const each of plan.rates.ended) await endVersion(tx, 'partner_rate', partner, each);
  let version = known?.contracts.at(-1)?.version ?? 0;
  for (const each of plan.contracts.added) {
    version += 1;
    await insertContract(tx, { ...each, partner, version, actor });
  }
  version = known?.rates.at(-1)?.version ?? 0;
  for (const each of plan.rates.added) {
    version += 1;
    await insertRate(tx, { ...each, partner, version, actor });
  }
  return partner;
}

function digestOf(source: string): string {
  return createHash('sha256').update(source).digest('hex');
}

/**
 * Makes the stored partner what its file says, or says what stands against it; with `dryRun` nothing is stored. The same file
 * again changes nothing.
 */
export async function applyPartner(
  pool: pg.Pool,
  program: Program,
  { file, source, actor, replaces }: PartnerDraft,
  { dryRun = false }: { readonly dryRun?: boolean } = {},
): Promise<AppliedPartner> {
  const { wanted, findings } = resolveFile(file, program.timeZone);
  const early = [...findings, ...nameFindings(wanted, program)];
  if (early.length > 0) return { status: 'refused', findings: early };
  return inTransaction(pool, async (tx): Promise<AppliedPartner> => {
    await tx.query('select from program where number = $1 for no key update', [program.number]);
    const all = await partnersOfProgram(tx, program.number);
    const known = all.find(({ name }) => name === wanted.name);
    const newest = known && (await newestFile(tx, known.number))?.digest;
    if (replaces !== undefined && newest !== replaces) return { status: 'outdated' };
    const now = programNow(program);
    const plan = { contracts: planContracts(known, wanted, now), rates: planRates(known, wanted, now) };
    const against = [
      ...plan.contracts.findings,
      ...plan.rates.findings,
      ...settleFindings(plan.contracts.added),
      ...shareFindings(
        wanted,
        all.filter((each) => each !== known),
      ),
    ];
    if (against.length > 0) return { status: 'refused', findings: against };
    const digest = digestOf(source);
    const counts = (planned: Planned<unknown>) => ({
      added: planned.added.length,
      ended: planned.ended.length,
    });
    const changes = { contracts: counts(plan.contracts), rates: counts(plan.rates) };
    if (newest === digest) return { status: 'unchanged', name: wanted.name, changes };
    if (!dryRun) {
      const partner = await store(tx, program, { wanted, plan, known, actor });
      await insertFile(tx, partner, { source, digest, actor });
      await tx.query(
        `insert into audit_log (program, actor, action, subject) values ($1, $2, 'partner.apply', $3)`,
        [program.number, actor, wanted.name],
      );
    }
    return { status: known ? 'changed' : 'created', name: wanted.name, changes };
  });
}

/** The text of a file with one more contract or rate at the end of its list; comments stay. */
export function withEntry(source: string, list: 'contracts' | 'rates', entry: unknown): string {
  const document = parseDocument(source, { version: '1.2', schema: 'core' });
  if (document.hasIn([list])) document.addIn([list], document.createNode(entry));
  else document.setIn([list], [entry]);
  return document.toString();
}
