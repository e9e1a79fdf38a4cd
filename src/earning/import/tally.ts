// What an import counts, and the two ways its progress is shown.
import { SingleBar } from 'cli-progress';

export type Tally = {
  bytesRead: number;
  rows: number;
  receipts: number;
  accepted: number;
  replayed: number;
  rejected: number;
  rejectedRows: number;
  /** By currency: what this run awarded, and what earlier runs had awarded for the receipts it replayed. */
  points: Map<string, number>;
  pointsReplayed: Map<string, number>;
  startedAt: number;
};

/** A tally that has counted nothing yet. */
export function emptyTally(startedAt: number): Tally {
  return {
    bytesRead: 0,
    rows: 0,
    receipts: 0,
    accepted: 0,
    replayed: 0,
    rejected: 0,
    rejectedRows: 0,
    points: new Map(),
    pointsReplayed: new Map(),
    startedAt,
  };
}

/** Adds awards to a sum by currency. */
export function addPoints(
  sum: Map<string, number>,
  awards: readonly { currency: string; points: number }[],
): void {
  for (const { currency, points } of awards) sum.set(currency, (sum.get(currency) ?? 0) + points);
}

const lineEveryMs = 5_000;
const barEveryMs = 200;

/** Shows progress on standard error: a bar on a terminal, else a line every five seconds. */
export function showProgress(tally: Tally, bytesTotal: number): { stop(): void } {
  if (!process.stderr.isTTY) {
    const timer = setInterval(() => console.error(progressLine(tally, bytesTotal)), lineEveryMs);
    return { stop: () => clearInterval(timer) };
  }
  const bar = new SingleBar({
    format:
      '{bar} {percentage} % | {receipts} receipts | {rate}/s | {rejected} rejected | {eta_formatted} to go',
    hideCursor: true,
    etaBuffer: 50,
  });
  const figures = () => ({
    receipts: grouped(settled(tally)),
    rate: grouped(ratePerSecond(tally)),
    rejected: grouped(tally.rejected),
  });
  bar.start(Math.max(1, bytesTotal), 0, figures());
  const timer = setInterval(() => bar.update(tally.bytesRead, figures()), barEveryMs);
  return {
    stop() {
      clearInterval(timer);
      bar.update(tally.bytesRead, figures());
      bar.stop();
    },
  };
}

function progressLine(tally: Tally, bytesTotal: number): string {
  const percent = Math.floor((tally.bytesRead / Math.max(1, bytesTotal)) * 100);
  return (
    `${percent} % read, ${grouped(tally.rows)} rows, ${grouped(settled(tally))} receipts answered, ` +
    `${grouped(tally.rejected)} rejected, ${grouped(ratePerSecond(tally))} receipts/s`
  );
}

function settled(tally: Tally): number {
  return tally.accepted + tally.replayed + tally.rejected;
}

function ratePerSecond(tally: Tally): number {
  return Math.round(settled(tally) / Math.max(0.001, (performance.now() - tally.startedAt) / 1000));
}

/** The final figures, one a line. */
export function summaryLines(tally: Tally, rejectsPath: string): string[] {
  const seconds = (performance.now() - tally.startedAt) / 1000;
  const lines: [string, string][] = [
    ['rows', grouped(tally.rows)],
    ['receipts', grouped(tally.receipts)],
    ['accepted', grouped(tally.accepted)],
    [
      'replayed',
      `${grouped(tally.replayed)}${tally.replayed > 0 ? ' (were in already: nothing added)' : ''}`,
    ],
    ['rejected', `${grouped(tally.rejected)}${rejectedWhere(tally, rejectsPath)}`],
    ['points awarded', pointsLine(tally.points)],
  ];
  if (tally.pointsReplayed.size > 0) lines.push(['points replayed', pointsLine(tally.pointsReplayed)]);
  lines.push(['receipts/s', `${grouped(ratePerSecond(tally))} (${seconds.toFixed(1)} s)`]);
  return lines.map(([label, figure]) => `${label.padEnd(16)} ${figure}`);
}

function rejectedWhere(tally: Tally, rejectsPath: string): string {
  return tally.rejectedRows > 0 ? ` (${grouped(tally.rejectedRows)} rows, in ${rejectsPath})` : '';
}

function pointsLine(points: ReadonlyMap<string, number>): string {
  return [...points].map(([currency, sum]) => `${grouped(sum)} ${currency}`).join(', ') || '0';
}

/** 1234567 as 1,234,567. */
export function grouped(figure: number): string {
  return figure.toLocaleString('en-US');
}
