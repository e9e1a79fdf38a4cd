/** The machine under the figures: what it is, what its disk takes to sync, what CPU time processes use. */
import { closeSync, fdatasyncSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';

export interface Machine {
  readonly date: string;
  readonly node: string;
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGb: number;
  readonly platform: string;
}

/** What the machine says of itself. */
export function machine(): Machine {
  const cores = cpus();
  return {
    date: new Date().toISOString(),
    node: process.version,
    cores: cores.length,
    cpu: cores[0]?.model ?? 'unknown',
    memoryGb: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
  };
}

export interface Syncs {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const probeMs = 1_000;

/** Appends 4 kB and calls fdatasync for a second, as Redis and PostgreSQL do. */
export function syncSpeed(folder: string): Syncs {
  const path = join(folder, 'sync-probe');
  const file = openSync(path, 'a', 0o600);
  const page = Buffer.alloc(4_096, 1);
  const times: number[] = [];
  const end = performance.now() + probeMs;
  while (performance.now() < end) {
    const startedAt = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    times.push(performance.now() - startedAt);
  }
  closeSync(file);
  rmSync(path);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
  return { perSecond: times.length / (probeMs / 1_000), p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Linux counts CPU time in hundredths of a second, whatever its clock is. */
const ticksPerSecond = 100;

/** Fields of /proc/<pid>/stat after the name: state is 0, parent 1, utime 11, stime 12, cutime 13, cstime 14. */
function statOf(pid: number): number[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
  } catch {
    return undefined;
  }
}

/** CPU seconds of a process and of its children, ended or not; undefined where the system does not tell. */
export function cpuSeconds(pid: number): number | undefined {
  const own = statOf(pid);
  if (!own) return undefined;
  let ticks = own[11]! + own[12]! + own[13]! + own[14]!;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat?.[1] === pid) ticks += stat[11]! + stat[12]!;
  }
  return ticks / ticksPerSecond;
}
