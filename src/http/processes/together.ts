/** PURE. What several API processes behind one port say with one voice, because a caller meets any of them. */
import type { NotReady } from '../health.ts';
import type { ProcessStanding } from './messages.ts';

const isPart = ({ isPartial }: NotReady) => isPartial === true;

/**
 * Why the port should get no traffic, or not all: the reasons of every process that takes connections, each once. As long as
 * one of them serves, a reason of another one is partial, so that a balancer may keep the machine; when none does, it is not.
 */
export function reasonsTogether(standings: readonly ProcessStanding[]): NotReady[] {
  const someServe = standings.some(({ reasons }) => reasons.every(isPart));
  const all = standings.flatMap(({ number, reasons }) => reasons.map((each) => ({ number, each })));
  return [...Map.groupBy(all, ({ each }) => each.reason)].map(([reason, said]) => {
    const numbers = [...new Set(said.map(({ number }) => number))].toSorted((a, b) => a - b);
    const isOfAll = numbers.length === standings.length;
    const { detail } = said[0]!.each;
    return {
      reason,
      detail: isOfAll ? detail : `process ${numbers.join(', ')} of ${standings.length}: ${detail}`,
      isPartial: someServe || said.every(({ each }) => isPart(each)),
    };
  });
}

/**
 * One page of metrics from those of several processes. Each sample has the label `process`, so nothing is added up: a sum of
 * counters goes back when a process is started again, which Prometheus would take for a start of them all.
 */
export function metricsTogether(texts: readonly string[]): string {
  const families = new Map<string, string[]>();
  for (const text of texts) {
    for (const family of text.trimEnd().split('\n\n')) {
      const [help, type, ...samples] = family.split('\n') as [string, string, ...string[]];
      const head = `${help}\n${type}`;
      families.set(head, [...(families.get(head) ?? [head]), ...samples]);
    }
  }
  return `${[...families.values()].map((lines) => lines.join('\n')).join('\n\n')}\n`;
}
