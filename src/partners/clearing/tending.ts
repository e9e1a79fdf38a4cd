/** What goes on beside clearing: draws of movements that never were go back, and partners whose points or credit end are counted. */
import type pg from 'pg';
import { type Program, type Programs, programNow } from '#src/earning/program.ts';
import { contractAt, holdsAt } from '#src/partners/contracts/arithmetic.ts';
import { blocksOf } from '#src/partners/contracts/prepaid.ts';
import { readPartners } from '#src/partners/contracts/store.ts';
import type { Contract, Partner } from '#src/partners/contracts/types.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import type { Logger, Metrics } from '#src/platform/telemetry.ts';
import { returnStrays } from './covering.ts';
import { draftOf, openMonths } from './statements.ts';

/** Points that a prepaid partner can still give, without its reserve. */
export async function pointsLeft(db: Queryable, partner: number, now: number): Promise<number> {
  const blocks = await blocksOf(db, partner);
  return blocks
    .filter((block) => !block.isReserve && holdsAt(block, now))
    .reduce((sum, { left }) => sum + left, 0);
}

/** Minor units that a partner owes and has not paid: of its statements, and of months that are open. */
export async function moneyOpen(db: Queryable, partner: Partner, currency: string): Promise<bigint> {
  const { rows } = await db.query<{ open: string }>(
    `select coalesce(sum(amount + tax - settled), 0)::text as open from settlement
     where partner = $1 and currency = $2 and status in ('issued', 'disputed')`,
    [partner.number, currency],
  );
  let open = BigInt(rows[0]!.open);
  for (const month of await openMonths(db, partner.number))
    for (const draft of await draftOf(db, partner, month))
      if (draft.currency === currency) open += draft.total;
  return open;
}

async function isAlert(db: Queryable, partner: Partner, contract: Contract, now: number): Promise<boolean> {
  const { billing, currency } = contract;
  if (billing.kind === 'prepaid') return (await pointsLeft(db, partner.number, now)) <= billing.alertPoints;
  if (billing.alertAmount === null) return false;
  return (await moneyOpen(db, partner, currency)) >= BigInt(billing.alertAmount);
}

/** Partners whose contract wants somebody to be told. */
export async function alertsOf(
  db: Queryable,
  programs: Pick<Programs, 'get'>,
): Promise<
  { readonly partner: Partner; readonly program: Program; readonly billing: Contract['billing']['kind'] }[]
> {
  const alerts = [];
  for (const partner of await readPartners(db)) {
    const program = programs.get(partner.program);
    const now = program && programNow(program);
    const contract = now !== undefined && partner.status === 'active' ? contractAt(partner, now) : undefined;
    if (program && contract && (await isAlert(db, partner, contract, now!)))
      alerts.push({ partner, program, billing: contract.billing.kind });
  }
  return alerts;
}

export interface Tending {
  readonly pool: pg.Pool;
  readonly programs: Pick<Programs, 'get'>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly metrics: Pick<Metrics, 'partnerAlerts'>;
}

/** One round of it; answers how many movements gave back what they had drawn. */
export async function tendPrepaid({ pool, programs, log, metrics }: Tending): Promise<number> {
  const returned = await returnStrays(pool);
  if (returned > 0) log.info({ movements: returned }, 'what was drawn for movements that never were is back');
  const alerts = await alertsOf(pool, programs);
  for (const kind of ['prepaid', 'postpaid'] as const) {
    const names = alerts.filter(({ billing }) => billing === kind).map(({ partner }) => partner.name);
    metrics.partnerAlerts.set({ billing: kind }, names.length);
    if (names.length > 0)
      log.warn({ billing: kind, partners: names }, 'partners are at the bound of their contract');
  }
  return returned;
}
