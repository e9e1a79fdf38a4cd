/** What is counted of reconciliations with partners, and of disputes. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export function reconciliationMetrics(registers: Registry[]) {
  return {
    reconciliations: new Counter({
      name: 'loyalty_reconciliations_total',
      help: 'Comparisons with partners, by source (file, tree) and outcome: matched, differs, refused.',
      labelNames: ['source', 'outcome'],
      registers,
    }),
    reconciliationLines: new Counter({
      name: 'loyalty_reconciliation_lines_total',
      help: 'Movements of partners that were compared.',
      registers,
    }),
    reconciliationDifferences: new Counter({
      name: 'loyalty_reconciliation_differences_total',
      help: 'Movements on which a partner and our books differ, by what differs.',
      labelNames: ['difference'],
      registers,
    }),
    reconciliationDuration: new Histogram({
      name: 'loyalty_reconciliation_duration_seconds',
      help: 'Time to take in and compare a file of a partner.',
      buckets: [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
      registers,
    }),
    disputesOpen: new Gauge({
      name: 'loyalty_partner_disputes_open',
      help: 'Disputed movements that are not settled.',
      registers,
    }),
    disputesOverdue: new Gauge({
      name: 'loyalty_partner_disputes_overdue',
      help: 'Of them, those whose day has passed; anything but 0 is an alarm.',
      registers,
    }),
  };
}
