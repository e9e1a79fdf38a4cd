/** What a load balancer, an orchestrator and Prometheus ask: does it live, may it get traffic, how is it doing. */
import { createServer, type Server } from 'node:http';
import type { Telemetry } from '#src/platform/telemetry.ts';
import type { Page, PageContent } from './page.ts';

/** Why a process should get no traffic: a word for alarms and a sentence for people. */
export interface NotReady {
  readonly reason: string;
  readonly detail: string;
  /** Only a part of what it serves cannot be served. */
  readonly isPartial?: boolean;
}

export type Readiness = () => Promise<readonly NotReady[]>;

/** An orchestrator asks every few seconds; an answer that takes longer than this is itself a reason. */
const readinessTimeoutMs = 2000;

function json(status: number, body: object): PageContent {
  return { status, type: 'application/json; charset=utf-8', body: JSON.stringify(body) };
}

async function reasonsOf(readiness: Readiness): Promise<readonly NotReady[]> {
  const timeout = Promise.withResolvers<readonly NotReady[]>();
  const late = {
    reason: 'readiness_timeout',
    detail: `The checks took longer than ${readinessTimeoutMs} ms.`,
  };
  const timer = setTimeout(() => timeout.resolve([late]), readinessTimeoutMs);
  try {
    return await Promise.race([readiness(), timeout.promise]);
  } catch {
    return [{ reason: 'readiness_failed', detail: 'The checks themselves failed; the log says why.' }];
  } finally {
    clearTimeout(timer);
  }
}

function readinessPage(reasons: readonly NotReady[], ofPartial: boolean): PageContent {
  const said = reasons.map(({ reason, detail }) => ({ reason, detail }));
  const isReady = reasons.every(({ isPartial }) => ofPartial && isPartial === true);
  return json(isReady ? 200 : 503, { status: isReady ? 'ready' : 'not_ready', reasons: said });
}

/** What one process says of itself. */
export interface Health {
  reasons(): Promise<readonly NotReady[]>;
  metrics(): Promise<string>;
  readonly metricsType: string;
}

/** Asks a process's own checks, within a time of their own. */
export function healthOf({ registry, metrics, log }: Telemetry, readiness: Readiness): Health {
  const checked: Readiness = async () => {
    try {
      return await readiness();
    } catch (error) {
      log.error({ err: error }, 'readiness check failed');
      throw error;
    }
  };
  const reasons = () => reasonsOf(checked);
  return {
    reasons,
    async metrics() {
      const found = await reasons();
      metrics.notReady.reset();
      for (const { reason } of found) metrics.notReady.set({ reason }, 1);
      return registry.metrics();
    },
    metricsType: registry.contentType,
  };
}

/** The other processes behind the same port. A caller meets any of them, so each answers for all. */
export interface Siblings {
  reasons(own: readonly NotReady[]): Promise<readonly NotReady[]>;
  metrics(own: string): Promise<string>;
}

const noSiblings: Siblings = {
  reasons: (own) => Promise.resolve(own),
  metrics: (own) => Promise.resolve(own),
};

/**
 * `/healthz`, `/readyz` and `/metrics`; and `/readyz/partly` for balancers, which is ready too while only a part is not
 * served: where one master of several is being replaced, or PostgreSQL is away, all APIs say so, and taking out every one of
 * them helps nobody.
 */
export function healthPages(health: Health, siblings: Siblings = noSiblings): Page[] {
  const reasons = async () => siblings.reasons(await health.reasons());
  return [
    { path: '/healthz', content: () => json(200, { status: 'alive' }) },
    { path: '/readyz', content: async () => readinessPage(await reasons(), false) },
    { path: '/readyz/partly', content: async () => readinessPage(await reasons(), true) },
    {
      path: '/metrics',
      content: async () => ({
        status: 200,
        type: health.metricsType,
        body: await siblings.metrics(await health.metrics()),
      }),
    },
  ];
}

/** A server of the health pages alone, for worker processes. */
export function createHealthServer(telemetry: Telemetry, readiness: Readiness): Server {
  const pages = new Map(healthPages(healthOf(telemetry, readiness)).map((page) => [page.path, page]));
  return createServer({ requestTimeout: 10_000, keepAliveTimeout: 65_000 }, (request, response) => {
    const page = request.method === 'GET' ? pages.get(request.url ?? '') : undefined;
    const missing: PageContent = { status: 404, type: 'text/plain; charset=utf-8', body: 'not found\n' };
    const failed: PageContent = { status: 500, type: 'text/plain; charset=utf-8', body: 'failed\n' };
    const write = (content: PageContent) =>
      response.writeHead(content.status, { 'Content-Type': content.type }).end(content.body);
    Promise.resolve(page?.content() ?? missing).then(write, (error: unknown) => {
      telemetry.log.error({ err: error }, 'health page failed');
      write(failed);
    });
  });
}
