/** What the supervisor of several API processes measures; a page of metrics carries it beside those of the processes. */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** The metrics, and their text. */
export function supervisorMetrics(wanted: number) {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  registry.setDefaultLabels({ process: 'supervisor' });
  new Gauge({
    name: 'loyalty_api_processes_wanted',
    help: 'API processes that the port should have (API_PROCESSES).',
    registers,
  }).set(wanted);
  return {
    registry,
    processes: new Gauge({
      name: 'loyalty_api_processes',
      help: 'API processes behind the port that take connections.',
      registers,
    }),
    text: () => registry.metrics(),
  };
}

export type SupervisorMetrics = ReturnType<typeof supervisorMetrics>;
