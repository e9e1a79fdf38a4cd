/** PURE. The figures of a run as text and as data. */
import type { Machine, Syncs } from './machine.ts';
import { type Entry, type Mark, marksOf, spread } from './marks.ts';
import type { Round } from './round.ts';

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

/** Rows in columns; the first column is words. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  return rows.map(line).join('\n');
}

/** Marks in columns; `head` says what is measured. */
export function marksText(marks: readonly Mark[], head = 'measure'): string {
  const rows = marks.map(({ measure, median, smallest, largest, bound, aim, isMet }) => [
    measure,
    median.toFixed(2),
    `${smallest.toFixed(2)}-${largest.toFixed(2)}`,
    bound,
    aim,
    isMet ? 'met' : 'missed',
  ]);
  return table([[head, 'median', 'rounds', 'mark', 'aim', ''], ...rows]);
}

function figures({ contestant, rounds }: Entry): string[] {
  const of = (figure: (round: Round) => number) => spread(rounds.map(figure));
  const speed = of((round) => round.perSecond);
  const booked = rounds.flatMap(({ bookedPerSecond }) => bookedPerSecond ?? []);
  const lag = rounds.some((round) => round.lag)
    ? of((round) => round.lag?.seconds ?? 0).largest.toFixed(2)
    : '-';
  const drain = rounds.some((round) => round.lag)
    ? of((round) => round.drainSeconds ?? 0).largest.toFixed(2)
    : '-';
  return [
    contestant.name,
    contestant.counted.name,
    Math.round(speed.median).toString(),
    `${Math.round(speed.smallest)}-${Math.round(speed.largest)}`,
    booked.length > 0 ? Math.round(spread(booked).median).toString() : '-',
    of((round) => round.p50Ms).median.toFixed(2),
    of((round) => round.p99Ms).median.toFixed(2),
    rounds.reduce((sum, { refused }) => sum + refused, 0).toString(),
    lag,
    drain,
    of((round) => round.cores).median.toFixed(2),
  ];
}

/** A contestant's CPU by process, and together: all its seconds for a million of what it counts. */
function cpuLine({ contestant, rounds }: Entry): string | undefined {
  const names = Object.keys(rounds[0]?.cpuPerMillion ?? {});
  if (names.length === 0) return undefined;
  const secondsOf = (figure: (round: Round) => number) => spread(rounds.map(figure)).median.toFixed(0);
  const parts = names.map((name) => `${name} ${secondsOf(({ cpuPerMillion }) => cpuPerMillion[name] ?? 0)}`);
  const whole = secondsOf(({ cpuPerMillion }) => Object.values(cpuPerMillion).reduce((a, b) => a + b, 0));
  return `  ${contestant.name}: ${parts.join(', ')}; together ${whole}`;
}

/** The whole report as text. */
export function reportText(machine: Machine, syncs: readonly Syncs[], entries: readonly Entry[]): string {
  const heads = [
    'contestant',
    'counted',
    'a second',
    'spread',
    'booked/s',
    'p50 ms',
    'p99 ms',
    'not 2xx',
    'lag s',
    'drain s',
    'generator cores',
  ];
  const cpu = entries.flatMap((entry) => cpuLine(entry) ?? []);
  const marks = marksOf(entries);
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
    ...entries.map(({ contestant, chosen }, i) => {
      const isSaid = entries[i - 1]?.chosen === chosen;
      const { name, title, durability } = contestant;
      return `${name}: ${title}. ${durability}.${isSaid ? '' : ` ${chosen}.`}`;
    }),
    '',
    ...(cpu.length > 0 ? ['CPU seconds per million of what is counted, by process', ...cpu, ''] : []),
    ...(marks.length > 0 ? [marksText(marks, 'a second, one / the other'), ''] : []),
    ...faults.map((fault) => `Fault: ${fault}`),
  ].join('\n');
}

/** The same as data, for `--json`. */
export function reportJson(machine: Machine, syncs: readonly Syncs[], entries: readonly Entry[]): object {
  return {
    machine,
    fdatasync: syncs,
    contestants: entries.map(({ contestant: { traffic: _, ...contestant }, chosen, rounds }) => ({
      ...contestant,
      chosen,
      perSecond: spread(rounds.map(({ perSecond }) => perSecond)),
      p50Ms: spread(rounds.map(({ p50Ms }) => p50Ms)),
      p99Ms: spread(rounds.map(({ p99Ms }) => p99Ms)),
      rounds,
    })),
    marks: marksOf(entries),
    faults: entries.flatMap(faultsOf),
  };
}
