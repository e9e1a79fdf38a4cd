/** The API process's routes and pages: every domain's calls, the keys, the documents. */
import type { Server } from 'node:http';
import type { App } from '#src/app.ts';
import { budgetRoutes } from '#src/earning/budget-routes.ts';
import { explainAccrual } from '#src/earning/explanation.ts';
import { explainGift } from '#src/earning/gives/gift.ts';
import { givesRoutes } from '#src/earning/gives/routes.ts';
import { decidedBy } from '#src/earning/reversals.ts';
import { earningRoutes } from '#src/earning/routes.ts';
import { eventRoutes } from '#src/ledger/event-routes.ts';
import { operationRoutes } from '#src/ledger/operation-routes.ts';
import { statementRoutes } from '#src/ledger/statement-routes.ts';
import { memberRoutes } from '#src/members/routes.ts';
import { settlementRoutes } from '#src/partners/clearing/routes.ts';
import { contractRoutes } from '#src/partners/contracts/routes.ts';
import { createDoor } from '#src/partners/door.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { exchangeRoutes } from '#src/partners/exchange/routes.ts';
import { partnerRoutes } from '#src/partners/inbound/routes.ts';
import { linkingRoutes } from '#src/partners/linking/routes.ts';
import { createNonces } from '#src/partners/nonces.ts';
import { dayRoutes } from '#src/partners/reconciliation/day-routes.ts';
import { createDays } from '#src/partners/reconciliation/days.ts';
import { reconciliationRoutes } from '#src/partners/reconciliation/routes.ts';
import { createRefusals } from '#src/partners/refusals.ts';
import { createCollector } from '#src/pools/collecting.ts';
import { createPooledReturns } from '#src/pools/returning.ts';
import { poolRoutes } from '#src/pools/routes.ts';
import { redemptionRoutes } from '#src/redemption/routes.ts';
import { explainWorth } from '#src/redemption/worth.ts';
import { segmentRoutes } from '#src/segments/routes.ts';
import { tierRoutes } from '#src/tiers/routes.ts';
import { walletRoutes } from '#src/wallet/routes.ts';
import { docsPages } from './docs.ts';
import { type Health, healthOf, healthPages, type Siblings } from './health.ts';
import { keyRoutes } from './key-routes.ts';
import { type Keys, watchKeys } from './keys.ts';
import { openapiPage } from './openapi.ts';
import { programRoutes } from './program-routes.ts';
import type { Route } from './route.ts';
import { createServer } from './server.ts';
import { versionRoutes } from './version-routes.ts';

/** Every call of the API, in the order of the documents. */
export function allRoutes(app: App, keys: Keys): Route[] {
  const context = { ...app, keys, relayDeadlineMs: 10_000 };
  const exchanging = createExchanging(app, { timeoutMs: app.config.partnerTimeoutMs });
  return [
    ...earningRoutes(context),
    ...redemptionRoutes({
      ...context,
      pooled: createPooledReturns({ ...context, collector: createCollector(context) }),
    }),
    ...walletRoutes(context),
    ...memberRoutes(context),
    ...tierRoutes({
      ...context,
      failed: (change, error) =>
        app.telemetry.log.warn({ err: error, change }, 'a change of tier is left to the worker'),
    }),
    ...segmentRoutes(context),
    ...poolRoutes(context),
    ...contractRoutes(context),
    ...linkingRoutes(exchanging),
    ...partnerRoutes(context),
    ...exchangeRoutes(exchanging),
    ...settlementRoutes(context),
    ...dayRoutes({ ...context, days: createDays(app.pool) }),
    ...reconciliationRoutes({ ...app, ...app.telemetry, databaseUrl: app.config.databaseUrl }),
    ...statementRoutes(context),
    ...eventRoutes(context),
    ...operationRoutes({
      ...context,
      async explain(recorded) {
        const program = app.programs.get(recorded.program);
        if (!program) return undefined;
        const gift = explainGift(program, recorded);
        if (gift) return gift;
        const facts = await app.operations.lookup.member(program.number, recorded.member);
        const asOf = { at: recorded.occurredAt, decided: decidedBy(recorded) };
        const judged = facts && (await app.judgedMember(program, facts, asOf));
        return explainAccrual(program, recorded, judged) ?? explainWorth(program, recorded);
      },
    }),
    ...programRoutes(context),
    ...versionRoutes(context),
    ...budgetRoutes(context),
    ...givesRoutes(context),
    ...keyRoutes(context),
  ];
}

/** A revoked key is refused within a second; beyond this the keys in memory cannot be trusted. */
const keysStaleMsMax = 5_000;

export interface Api {
  readonly server: Server;
  readonly keys: Keys;
  /** Of this process alone, whoever else stands behind its port. */
  readonly health: Health;
}

/** Builds the server; the caller lets it listen. */
export async function createApi(app: App, siblings?: Siblings): Promise<Api> {
  const { pool, programs, telemetry, config } = app;
  const keys = await watchKeys({ pool, programs, log: telemetry.log, fixedTokensAllowed: config.demoKeys });
  app.onChanged((table) => {
    if (table === 'api_key') keys.refresh().catch(() => {});
  });
  const routes = allRoutes(app, keys);
  const readiness = () => {
    const stale = keys.staleMs() > keysStaleMsMax;
    const faults = stale ? [{ reason: 'keys_stale', detail: 'revoked keys would not be noticed' }] : [];
    return Promise.resolve([...app.standing.faults(), ...faults]);
  };
  const health = healthOf(telemetry, readiness);
  const pages = [...healthPages(health, siblings), openapiPage(routes), ...(await docsPages())];
  const { log, metrics } = telemetry;
  const refusals = createRefusals(pool, log, metrics);
  const nonces = createNonces(pool, log);
  const door = createDoor({ signer: keys.signer, sealing: app.sealing, nonces, refusals });
  const server = createServer({ routes, pages, authenticate: keys.authenticate, door, refusals, telemetry });
  return { server, keys, health };
}
