/** What is counted of clearing and settlement with partners. */
import { Counter, Gauge, type Registry } from 'prom-client';

export function clearingMetrics(registers: Registry[]) {
  return {
    clearingLagRecords: new Gauge({
      name: 'loyalty_clearing_lag_records',
      help: 'Operations in the books that clearing has not read.',
      registers,
    }),
    clearingLagSeconds: new Gauge({
      name: 'loyalty_clearing_lag_seconds',
      help: 'For how long the oldest operation that the last turn read had been in the books; since when turns fail.',
      registers,
    }),
    clearingEntries: new Counter({
      name: 'loyalty_clearing_entries_total',
      help: 'Entries that clearing made of the books, by kind.',
      labelNames: ['kind'],
      registers,
    }),
    clearingUncovered: new Counter({
      name: 'loyalty_clearing_uncovered_total',
      help: 'Entries of prepaid partners that the blocks had not enough points for when they were cleared: they are billed.',
      registers,
    }),
    partnerAlerts: new Gauge({
      name: 'loyalty_partner_alerts',
      help: 'Partners with no more points left in their blocks, or as much money open, as their contract wants to be told of.',
      labelNames: ['billing'],
      registers,
    }),
    clearingUnpriced: new Counter({
      name: 'loyalty_clearing_unpriced_total',
      help: 'Entries without a contract to price them by, and points in an account of no partner; anything but 0 is an alarm.',
      registers,
    }),
  };
}
