/**
 * What a process tells about itself: a logger and the metrics, all defined here so that a dashboard can rely on them.
 *
 * Two rules. Nothing personal: no body, identifier, query string or key is ever logged, and of a database error only its
 * code, because PostgreSQL repeats values in its messages. Bounded labels: a label's values come from a closed list in the
 * code or from what an operator configured, never from a request.
 */
import { performance } from 'node:perf_hooks';
import { type Logger, pino } from 'pino';
import { type Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { clearingMetrics } from './clearing-metrics.ts';
import { exchangeMetrics } from './exchange-metrics.ts';
import {
  auditMetrics,
  createDecisions,
  diaryMetrics,
  giftMetrics,
  httpMetrics,
  type Load,
  ledgerMetrics,
  type Metrics,
  partnerMetrics,
  pointMetrics,
  poolMetrics,
  segmentMetrics,
  tierMetrics,
} from './metrics.ts';
import { reconciliationMetrics } from './reconciliation-metrics.ts';

export type { Logger } from 'pino';
export type { Metrics } from './metrics.ts';

/** Requests that took longer are worth a line in the log. */
const slowRequestMs = 1000;
/** Lines about failed or slow requests in one second; beyond it they are only counted. */
const requestLinesPerSecondMax = 20;

interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly stack: string | undefined;
}

function framesOf(error: Error): string | undefined {
  const start = error.stack?.indexOf('\n    at ') ?? -1;
  return start < 0 ? undefined : error.stack?.slice(start + 1);
}

/** What of an error may be logged. Database and syntax errors quote values, so theirs is replaced. */
export function loggedError(error: unknown): LoggedError {
  if (!(error instanceof Error))
    return { type: typeof error, message: 'not an error', code: undefined, stack: undefined };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const quotesValues = error instanceof SyntaxError || 'severity' in error;
  const message = quotesValues ? `${error.name} ${code ?? ''}`.trimEnd() : error.message;
  return { type: error.name, message, code, stack: framesOf(error) };
}

/** A JSON logger on standard output. */
export function createLogger(level: string, processName: string): Logger {
  return pino({
    level,
    base: { process: processName },
    messageKey: 'message',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: loggedError, error: loggedError },
    redact: ['authorization', '*.authorization', 'headers', '*.headers', 'token', '*.token'],
  });
}

/** One finished request: what is counted, and what is logged when it failed or was slow. */
export interface FinishedRequest {
  readonly status: number;
  readonly startedAt: number;
  readonly requestId: string;
  readonly code?: string;
  readonly error?: unknown;
}

/** Counts the requests of one route. Its labels are resolved once. */
export interface RequestMeter {
  begin(): void;
  end(finished: FinishedRequest): void;
}

export interface Telemetry {
  readonly log: Logger;
  readonly registry: Registry;
  readonly metrics: Metrics;
  requestMeter(method: string, route: string): RequestMeter;
  /** Counts an operation that was decided: `done`, `replayed`, or the word of the refusal. */
  decided(kind: string, outcome: string): void;
  /** Requests without a reply, over all routes. */
  requestsInFlight(): number;
}

/** At most so many lines in a second; the rest is counted. */
function lineBudget(dropped: Counter): () => boolean {
  let second = 0;
  let lines = 0;
  return () => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      second = now;
      lines = 0;
    }
    lines += 1;
    if (lines <= requestLinesPerSecondMax) return true;
    dropped.inc();
    return false;
  };
}

function requestMeters(log: Logger, metrics: Metrics, load: Load) {
  const mayLog = lineBudget(metrics.requestLinesDropped);
  const report = (method: string, route: string, finished: FinishedRequest, durationMs: number) => {
    const { requestId, status, code, error } = finished;
    const line = { requestId, route, method, status, code, durationMs: Math.round(durationMs), err: error };
    if (status >= 500) log.error(line, 'request failed');
    else log.warn(line, 'slow request');
  };
  return (method: string, route: string): RequestMeter => {
    const byClass = [1, 2, 3, 4, 5].map((digit) =>
      metrics.requestDuration.labels(route, method, `${digit}xx`),
    );
    return {
      begin() {
        load.inFlight += 1;
      },
      end(finished) {
        load.inFlight -= 1;
        const durationMs = performance.now() - finished.startedAt;
        byClass[Math.floor(finished.status / 100) - 1]?.observe(durationMs / 1000);
        // A refusal to work (503) is expected while a part is down; it is counted, and logged only with a cause.
        const failed = finished.status >= 500 && (finished.status !== 503 || finished.error !== undefined);
        if ((failed || durationMs > slowRequestMs) && mayLog()) report(method, route, finished, durationMs);
      },
    };
  };
}

/** Logger and metrics of one process, with the process's own defaults (memory, CPU, event loop). */
export function createTelemetry(options: {
  logLevel: string;
  processName: string;
  version: string;
}): Telemetry {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const load: Load = { inFlight: 0 };
  const decisions = createDecisions();
  const metrics = {
    ...httpMetrics(registers, load),
    ...pointMetrics(registers, decisions),
    ...ledgerMetrics(registers),
    ...auditMetrics(registers),
    ...giftMetrics(registers),
    ...diaryMetrics(registers),
    ...segmentMetrics(registers),
    ...poolMetrics(registers),
    ...tierMetrics(registers),
    ...partnerMetrics(registers),
    ...exchangeMetrics(registers),
    ...clearingMetrics(registers),
    ...reconciliationMetrics(registers),
  };
  new Gauge({
    name: 'loyalty_build_info',
    help: 'The running version.',
    labelNames: ['version'],
    registers,
  }).set({ version: options.version }, 1);
  const log = createLogger(options.logLevel, options.processName);
  return {
    log,
    registry,
    metrics,
    requestMeter: requestMeters(log, metrics, load),
    decided: decisions.note,
    requestsInFlight: () => load.inFlight,
  };
}
