/** PURE. From rounds to medians, ratios and marks, and how they are printed. */
import type { Contestant } from './contestant.ts';
import type { Machine, Syncs } from './machine.ts';
import type { Round } from './round.ts';

export interface Entry {
  readonly contestant: Contestant;
  readonly chosen: string;
  readonly rounds: readonly Round[];
}

export interface Mark {
  readonly measure: string;
  readonly value: number;
  readonly smallest: number;
  readonly largest: number;
  readonly bound: string;
  readonly isMet: boolean;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Median, smallest and largest of a figure over the rounds. */
function spread(values: readonly number[]): { median: number; smallest: number; largest: number } {
  return { median: median(values), smallest: Math.min(...values), largest: Math.max(...values) };
}

/** The marks that can be judged with the contestants that ran. */
export function marksOf(entries: readonly Entry[]): Mark[] {
  const service = entries.find(({ contestant }) => contestant.name === 'service');
  if (!service) return [];
  const marks: Mark[] = [];
  for (const [name, atLeast] of [
    ['script-only', 0.5],
    ['prisma', 10],
  ] as const) {
    const other = entries.find(({ contestant }) => contestant.name === name);
    if (!other) continue;
    // Each round's ratio is of two runs that followed one another, so a slow minute of the machine falls on both.
    const ratios = service.rounds.map((round, i) => round.perSecond / other.rounds[i]!.perSecond);
    const { median: value, smallest, largest } = spread(ratios);
    const measure = `requests a second, service / ${name}`;
    marks.push({ measure, value, smallest, largest, bound: `at least ${atLeast}`, isMet: value >= atLeast });
  }
  const lags = service.rounds.flatMap(({ lag }) => (lag ? [lag.seconds] : []));
  if (lags.length > 0) {
    const { smallest, largest } = spread(lags);
    const isMet = largest < 1;
    marks.push({
      measure: 'ledger lag, largest, seconds',
      value: largest,
      smallest,
      largest,
      bound: 'below 1',
      isMet,
    });
  }
  return marks;
}

function faultsOf({ contestant, rounds }: Entry): string[] {
  return rounds.flatMap(({ refused, firstRefusal, missing, cores }, i) => {
    const at = `${contestant.name}, round ${i + 1}`;
    return [
      ...(refused > 0 ? [`${at}: ${refused} replies were not 2xx, the first:\n${firstRefusal}`] : []),
      ...(missing ? [`${at}: ${missing} accepted accruals are not in the store`] : []),
      ...(cores > 0.9
        ? [`${at}: the load generator used ${cores.toFixed(2)} of a core and may be the limit`]
        : []),
    ];
  });
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  return rows.map(line).join('\n');
}

function figures({ contestant, rounds }: Entry): string[] {
  const of = (figure: (round: Round) => number) => spread(rounds.map(figure));
  const speed = of((round) => round.perSecond);
  const lag = rounds.some((round) => round.lag)
    ? of((round) => round.lag?.seconds ?? 0).largest.toFixed(2)
    : '-';
  const drain = rounds.some((round) => round.lag)
    ? of((round) => round.drainSeconds ?? 0).largest.toFixed(2)
    : '-';
  return [
    contestant.name,
    Math.round(speed.median).toString(),
    `${Math.round(speed.smallest)}-${Math.round(speed.largest)}`,
    of((round) => round.p50Ms).median.toFixed(2),
    of((round) => round.p99Ms).median.toFixed(2),
    rounds.reduce((sum, { refused }) => sum + refused, 0).toString(),
    lag,
    drain,
    of((round) => round.cores).median.toFixed(2),
  ];
}

function cpuLine({ contestant, rounds }: Entry): string | undefined {
  const names = Object.keys(rounds[0]?.cpuPerThousand ?? {});
  if (names.length === 0) return undefined;
  const parts = names.map((name) => {
    const seconds = median(rounds.map(({ cpuPerThousand }) => cpuPerThousand[name] ?? 0));
    return `${name} ${seconds.toFixed(3)}`;
  });
  const whole = median(
    rounds.map(({ cpuPerThousand }) => Object.values(cpuPerThousand).reduce((a, b) => a + b, 0)),
  );
  return `  ${contestant.name}: ${parts.join(', ')}; together ${whole.toFixed(3)}`;
}

/** The whole report as text. */
export function reportText(machine: Machine, syncs: readonly Syncs[], entries: readonly Entry[]): string {
  const heads = [
    'contestant',
    'requests/s',
    'spread',
    'p50 ms',
    'p99 ms',
    'not 2xx',
    'lag s',
    'drain s',
    'generator cores',
  ];
  const cpu = entries.flatMap((entry) => cpuLine(entry) ?? []);
  const marks = marksOf(entries).map(({ measure, value, smallest, largest, bound, isMet }) => [
    measure,
    value.toFixed(2),
    `${smallest.toFixed(2)}-${largest.toFixed(2)}`,
    bound,
    isMet ? 'met' : 'missed',
  ]);
  const faults = entries.flatMap(faultsOf);
  const sync = syncs
    .map(({ p50Ms, p99Ms }) => `${p50Ms.toFixed(2)} (p99 ${p99Ms.toFixed(2)})`)
    .join(', then ');
  return [
    `${machine.date.slice(0, 16)}Z · Node ${machine.node} · ${machine.cores} cores, ${machine.cpu} · ${machine.memoryGb} GB · ${machine.platform}`,
    `fdatasync of 4 kB, ms: ${sync}`,
    '',
    table([heads, ...entries.map(figures)]),
    '',
    ...entries.map(
      ({ contestant, chosen }) =>
        `${contestant.name}: ${contestant.title}. ${contestant.durability}. ${chosen}.`,
    ),
    '',
    ...(cpu.length > 0 ? ['CPU seconds per 1,000 requests', ...cpu, ''] : []),
    ...(marks.length > 0 ? [table([['measure', 'value', 'rounds', 'mark', ''], ...marks]), ''] : []),
    ...faults.map((fault) => `Fault: ${fault}`),
  ].join('\n');
}

/** The same as data, for `--json`. */
export function reportJson(machine: Machine, syncs: readonly Syncs[], entries: readonly Entry[]): object {
  return {
    machine,
    fdatasync: syncs,
    contestants: entries.map(
      ({ contestant: { request: _, prepare: _p, start: _s, ...contestant }, chosen, rounds }) => ({
        ...contestant,
        chosen,
        requestsPerSecond: spread(rounds.map(({ perSecond }) => perSecond)),
        p50Ms: spread(rounds.map(({ p50Ms }) => p50Ms)),
        p99Ms: spread(rounds.map(({ p99Ms }) => p99Ms)),
        rounds,
      }),
    ),
    marks: marksOf(entries),
    faults: entries.flatMap(faultsOf),
  };
}
