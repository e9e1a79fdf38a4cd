/** What processes count and measure, by what it is about: requests, points, the ledger, the audit, gifts, the diary. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { clearingMetrics } from './clearing-metrics.ts';
import type { exchangeMetrics } from './exchange-metrics.ts';
import type { reconciliationMetrics } from './reconciliation-metrics.ts';

/**
 * Decided operations by kind and outcome, counted in plain numbers that the metric takes over when it is read: prom-client
 * puts the labels of every single increment together as text. Both words come from closed lists.
 */
export function createDecisions() {
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
export interface Load {
  inFlight: number;
}

export function httpMetrics(registers: Registry[], load: Load) {
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

export function pointMetrics(registers: Registry[], decisions: ReturnType<typeof createDecisions>) {
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

export function ledgerMetrics(registers: Registry[]) {
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

export function auditMetrics(registers: Registry[]) {
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

export function giftMetrics(registers: Registry[]) {
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

export function diaryMetrics(registers: Registry[]) {
  return {
    diaryLagRecords: new Gauge({
      name: 'loyalty_diary_lag_records',
      help: 'Operations in the books that the diary has not read.',
      registers,
    }),
    diaryLagSeconds: new Gauge({
      name: 'loyalty_diary_lag_seconds',
      help: 'For how long the oldest operation that the last turn read had been in the books; since when turns fail.',
      registers,
    }),
    diaryOperations: new Counter({
      name: 'loyalty_diary_operations_total',
      help: 'Operations that the diary has read.',
      registers,
    }),
    diaryTurnDuration: new Histogram({
      name: 'loyalty_diary_turn_duration_seconds',
      help: 'Time of one turn of the diary, with what tiers make of it.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    diaryUncounted: new Counter({
      name: 'loyalty_diary_uncounted_total',
      help: 'Operations that could not be counted: money without a rate, returns of what the books do not have.',
      registers,
    }),
  };
}

export function segmentMetrics(registers: Registry[]) {
  return {
    dayWait: new Gauge({
      name: 'loyalty_day_wait_seconds',
      help: 'For how long work of a day has been waiting for the diary to have read the days before.',
      labelNames: ['work'] as const,
      registers,
    }),
    segmentLag: new Gauge({
      name: 'loyalty_segment_lag_seconds',
      help: 'For how long the members of a program could have been measured through its last whole day and are not.',
      registers,
    }),
  };
}

export function poolMetrics(registers: Registry[]) {
  return {
    poolMovementsLeft: new Gauge({
      name: 'loyalty_pool_movements_left',
      help: 'Redemptions and refunds of pools that were begun more than a minute ago and have no end yet.',
      registers,
    }),
  };
}

export function tierMetrics(registers: Registry[]) {
  return {
    tierChanges: new Counter({
      name: 'loyalty_tier_changes_total',
      help: 'Changes of tier that became known to every process.',
      registers,
    }),
    tierSilence: new Gauge({
      name: 'loyalty_tier_silence_seconds',
      help: 'For how long the oldest change of tier has been waiting to become known.',
      registers,
    }),
    tierRunsOpen: new Gauge({
      name: 'loyalty_tier_runs_open',
      help: 'Recalculations of tiers that are under way.',
      registers,
    }),
  };
}

export function partnerMetrics(registers: Registry[]) {
  return {
    exchangeJudgements: new Counter({
      name: 'loyalty_exchange_judgements_total',
      help: 'Exchanges judged by the limits against abuse, by outcome; once with limit none, and once for each limit reached. Bounds of the rate by which a quote is refused are counted by their name alone.',
      labelNames: ['outcome', 'limit'],
      registers,
    }),
    partnerRefusals: new Counter({
      name: 'loyalty_partner_refusals_total',
      help: 'Calls of partners that were refused, by the fault of the signature or the code of the problem.',
      labelNames: ['word'],
      registers,
    }),
    exchangeRefusals: new Counter({
      name: 'loyalty_exchange_refusals_total',
      help: 'Calls about exchanges with partners (area exchange) and links with them (link) that were refused, by the code of the problem.',
      labelNames: ['area', 'code'],
      registers,
    }),
  };
}

export type Metrics = ReturnType<typeof httpMetrics> &
  ReturnType<typeof pointMetrics> &
  ReturnType<typeof ledgerMetrics> &
  ReturnType<typeof auditMetrics> &
  ReturnType<typeof giftMetrics> &
  ReturnType<typeof diaryMetrics> &
  ReturnType<typeof segmentMetrics> &
  ReturnType<typeof poolMetrics> &
  ReturnType<typeof tierMetrics> &
  ReturnType<typeof partnerMetrics> &
  ReturnType<typeof exchangeMetrics> &
  ReturnType<typeof clearingMetrics> &
  ReturnType<typeof reconciliationMetrics>;
