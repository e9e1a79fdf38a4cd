/**
 * What a process tells about itself: a logger and the metrics, all defined here so that a dashboard can rely on them.
 *
 * Two rules. Nothing personal: no body, identifier, query string or key is ever logged, and of a database error only its
 * code, because PostgreSQL repeats values in its messages. Bounded labels: a label's values come from a closed list in the
 * code or from what an operator configured, never from a request.
 */
import { performance } from 'node:perf_hooks';
import { type Logger, pino } from 'pino';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export type { Logger } from 'pino';

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

/**
 * Decided operations by kind and outcome, counted in plain numbers that the metric takes over when it is read: prom-client
 * puts the labels of every single increment together as text. Both words come from closed lists.
 */
function createDecisions() {
  const byKind = new Map<string, Map<string, number>>();
  return {
    note(kind: string, outcome: string): void {
      let byOutcome = byKind.get(kind);
      if (!byOutcome) {
        byOutcome = new Map();
        byKind.set(kind, byOutcome);
      }
      byOutcome.set(outcome, (byOutcome.get(outcome) ?? 0) + 1);
    },
    moveTo(counter: Counter<'kind' | 'outcome'>): void {
      for (const [kind, byOutcome] of byKind)
        for (const [outcome, count] of byOutcome) counter.inc({ kind, outcome }, count);
      byKind.clear();
    },
  };
}

/** Requests without a reply: a plain number, because the hot path changes it twice a request. */
interface Load {
  inFlight: number;
}

function httpMetrics(registers: Registry[], load: Load) {
  return {
    requestDuration: new Histogram({
      name: 'loyalty_http_request_duration_seconds',
      help: 'Time from the request headers to the reply, by route pattern.',
      labelNames: ['route', 'method', 'status_class'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    requestsInFlight: new Gauge({
      name: 'loyalty_http_requests_in_flight',
      help: 'Requests that have no reply yet.',
      registers,
      collect() {
        this.set(load.inFlight);
      },
    }),
    notReady: new Gauge({
      name: 'loyalty_not_ready',
      help: '1 for each reason for which this process is not ready.',
      labelNames: ['reason'],
      registers,
    }),
    requestLinesDropped: new Counter({
      name: 'loyalty_http_request_log_lines_dropped_total',
      help: 'Failed or slow requests that were not logged because there were too many.',
      registers,
    }),
  };
}

function pointMetrics(registers: Registry[], decisions: ReturnType<typeof createDecisions>) {
  return {
    operations: new Counter({
      name: 'loyalty_operations_total',
      help: 'Operations decided, by kind and outcome.',
      labelNames: ['kind', 'outcome'],
      registers,
      collect() {
        decisions.moveTo(this);
      },
    }),
    points: new Counter({
      name: 'loyalty_points_total',
      help: 'Points that reached the books, by number of the program and kind of operation.',
      labelNames: ['program', 'kind'],
      registers,
    }),
    rulesFailed: new Counter({
      name: 'loyalty_rules_failed_total',
      help: 'Rules that failed while they ran; their receipts were judged without them.',
      labelNames: ['program', 'rule'],
      registers,
    }),
    referenceConflicts: new Counter({
      name: 'loyalty_reference_conflicts_total',
      help: 'References that were acknowledged twice and taken back.',
      registers,
    }),
    referenceConflictsOpen: new Gauge({
      name: 'loyalty_reference_conflicts_open',
      help: 'Operations under a repeated reference that were not taken back; anything but 0 for a minute is an alarm.',
      registers,
    }),
    decidedStale: new Gauge({
      name: 'loyalty_decided_stale_operations',
      help: 'Operations that a Redis older than the books acknowledged, since the installation; a rise is an alarm.',
      registers,
    }),
    membersLoaded: new Counter({
      name: 'loyalty_members_loaded_total',
      help: 'Members brought from the books into Redis.',
      registers,
    }),
    membersEvicted: new Counter({
      name: 'loyalty_members_evicted_total',
      help: 'Members that left Redis.',
      registers,
    }),
    redisMemoryRatio: new Gauge({
      name: 'loyalty_redis_memory_ratio',
      help: 'Memory that Redis uses, of the maxmemory it may; 0 where it has no limit.',
      registers,
    }),
    transfersOpen: new Gauge({
      name: 'loyalty_transfers_open',
      help: 'Transfers that are debited and have no end yet.',
      registers,
    }),
  };
}

function ledgerMetrics(registers: Registry[]) {
  return {
    ledgerLagRecords: new Gauge({
      name: 'loyalty_ledger_lag_records',
      help: 'Journal records that are not in the books yet.',
      labelNames: ['shard'],
      registers,
    }),
    ledgerLagSeconds: new Gauge({
      name: 'loyalty_ledger_lag_seconds',
      help: 'Age of the oldest journal record that is not in the books yet.',
      labelNames: ['shard'],
      registers,
    }),
    journalBytes: new Gauge({
      name: 'loyalty_journal_bytes',
      help: 'Bytes of all journals together.',
      registers,
    }),
    journalLimitBytes: new Gauge({
      name: 'loyalty_journal_limit_bytes',
      help: 'Bytes that all journals together may have; movements are refused from nine tenths on.',
      registers,
    }),
    recordsQuarantined: new Counter({
      name: 'loyalty_records_quarantined_total',
      help: 'Journal records that did not balance and were booked to suspense.',
      registers,
    }),
    ledgerRecordsWritten: new Counter({
      name: 'loyalty_ledger_records_written_total',
      help: 'Journal records written to the books.',
      registers,
    }),
    ledgerBatchDuration: new Histogram({
      name: 'loyalty_ledger_batch_duration_seconds',
      help: 'Time of one database transaction of the ledger writer.',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    ledgerAhead: new Gauge({
      name: 'loyalty_ledger_operations_ahead',
      help: 'Operations whose month had no partition when they were booked (10,000 at most are counted); upkeep moves them.',
      registers,
    }),
    shardState: new Gauge({
      name: 'loyalty_shard_state',
      help: '1 for the state that the shard is in.',
      labelNames: ['shard', 'state'],
      registers,
    }),
    queueJobs: new Gauge({
      name: 'loyalty_queue_jobs',
      help: 'Jobs of timers and side work, by queue and state.',
      labelNames: ['queue', 'state'],
      registers,
    }),
  };
}

function auditMetrics(registers: Registry[]) {
  return {
    ledgerDrift: new Gauge({
      name: 'loyalty_ledger_drift_points',
      help: 'Points of members whose balance and books differ, or did within ten minutes; anything but 0 is an alarm.',
      registers,
    }),
    auditMismatches: new Counter({
      name: 'loyalty_audit_mismatches_total',
      help: 'Members whose balance and books were found to differ, by which side was at fault.',
      labelNames: ['fault'],
      registers,
    }),
    auditCompared: new Counter({
      name: 'loyalty_audit_compared_total',
      help: 'What the continuous audit has compared: states in Redis, operations, members, transfers.',
      labelNames: ['part'],
      registers,
    }),
    auditPassSeconds: new Gauge({
      name: 'loyalty_audit_pass_seconds',
      help: 'How long the last whole pass of a part of the audit took.',
      labelNames: ['part'],
      registers,
    }),
    auditPassAge: new Gauge({
      name: 'loyalty_audit_pass_age_seconds',
      help: 'How long the present pass of a part of the audit has been going on.',
      labelNames: ['part'],
      registers,
    }),
    auditFindings: new Gauge({
      name: 'loyalty_audit_findings',
      help: 'Findings of the present pass of a part of the audit, or of the one before where that has more.',
      labelNames: ['part'],
      registers,
    }),
  };
}

function giftMetrics(registers: Registry[]) {
  return {
    gifts: new Counter({
      name: 'loyalty_gifts_total',
      help: 'Members to whom a promotion gave points, and those it could not give them to, by outcome.',
      labelNames: ['outcome'],
      registers,
    }),
    giveRuns: new Gauge({
      name: 'loyalty_give_runs',
      help: 'Runs of promotions that give points and are not done, by state.',
      labelNames: ['status'],
      registers,
    }),
    giveLag: new Gauge({
      name: 'loyalty_give_lag_seconds',
      help: 'For how long the oldest gifts that are not paused have been due.',
      registers,
    }),
  };
}

export type Metrics = ReturnType<typeof httpMetrics> &
  ReturnType<typeof pointMetrics> &
  ReturnType<typeof ledgerMetrics> &
  ReturnType<typeof auditMetrics> &
  ReturnType<typeof giftMetrics>;

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
