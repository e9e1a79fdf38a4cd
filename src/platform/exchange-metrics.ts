/** What is counted of exchanges and of calls on partners. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

function requestMetrics(registers: Registry[]) {
  return {
    partnerRequests: new Counter({
      name: 'loyalty_partner_requests_total',
      help: 'Calls on partners, by what was asked and what the answer means.',
      labelNames: ['partner', 'operation', 'outcome'],
      registers,
    }),
    partnerRequestDuration: new Histogram({
      name: 'loyalty_partner_request_duration_seconds',
      help: 'Time of a call on a partner, also of one that was given up.',
      labelNames: ['partner', 'operation'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    partnerCircuitOpen: new Gauge({
      name: 'loyalty_partner_circuit_open',
      help: '1 while this process leaves the partner alone because calls on it have failed.',
      labelNames: ['partner'],
      registers,
    }),
  };
}

export function exchangeMetrics(registers: Registry[]) {
  return {
    ...requestMetrics(registers),
    exchangesOpen: new Gauge({
      name: 'loyalty_exchanges_open',
      help: 'Exchanges under way.',
      registers,
    }),
    exchangesInDoubt: new Gauge({
      name: 'loyalty_exchanges_in_doubt',
      help: 'Exchanges of which something was sent and nobody knows what became; they are inquired.',
      registers,
    }),
    exchangesStuck: new Gauge({
      name: 'loyalty_exchanges_stuck',
      help: 'Exchanges of which nothing has become for a quarter of an hour, those pending at their partner not counted.',
      registers,
    }),
    exchangesInReview: new Gauge({
      name: 'loyalty_exchanges_in_review',
      help: 'Exchanges that a person has to decide on.',
      registers,
    }),
    exchangeSteps: new Counter({
      name: 'loyalty_exchange_steps_total',
      help: 'Steps of exchanges, by what was done and what came of it; a call counts when it is sent and when it is answered.',
      labelNames: ['action', 'outcome'],
      registers,
    }),
    exchangeFaults: new Counter({
      name: 'loyalty_exchange_faults_total',
      help: 'Steps of exchanges that could not be done: waits (it will pass), fails (tried again), in_review (left to a person).',
      labelNames: ['action', 'outcome'],
      registers,
    }),
    exchangesRestored: new Counter({
      name: 'loyalty_exchanges_restored_total',
      help: 'Holds whose exchange PostgreSQL had lost, by what became of it: goes_on, in_review, impossible.',
      labelNames: ['outcome'],
      registers,
    }),
    exchangeBreaks: new Counter({
      name: 'loyalty_exchange_breaks_total',
      help: 'Exchanges of which the partner says otherwise than was decided here, by kind.',
      labelNames: ['kind'],
      registers,
    }),
    exchangeBreaksOpen: new Gauge({
      name: 'loyalty_exchange_breaks_open',
      help: 'Exchanges that do not fit and that nobody has settled; anything but 0 is an alarm.',
      registers,
    }),
  };
}
