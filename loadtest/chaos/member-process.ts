/** One process of the service as the house runs it: with links of its own to the stores, each of them breakable. */
import { readFile } from 'node:fs/promises';
import { endProcess, launch, type Running, waitUntil } from '#src/platform/local/processes.ts';
import type { Link } from './proxy.ts';

export type Role = 'api' | 'writer' | 'upkeep' | 'evictor';

export interface MemberProcess {
  readonly role: Role;
  readonly name: string;
  /** Those that are its own. */
  readonly links: readonly Link[];
  /** By which it reaches Redis: its own to the one, or those that all share to the nodes of a cluster. */
  readonly redisLinks: readonly Link[];
  readonly postgresLink: Link;
  /** Where callers reach it, through a link too; only APIs have one. */
  readonly httpLink: Link | undefined;
  readonly clockFile: string;
  readonly logPath: string;
  pid(): number;
  isGone(): boolean;
  start(): Promise<void>;
  /** Its next start runs the code of another tree. */
  moveTo(root: string): void;
  /** Sends a signal that does not end it. */
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGUSR2'): void;
  kill(): Promise<void>;
  /** SIGTERM, and waits for its drain. Answers how it ended. */
  stop(): Promise<string>;
}

export interface ProcessPlan {
  readonly role: Role;
  readonly name: string;
  /** The checkout whose code runs. */
  readonly root: string;
  readonly script: string;
  readonly dataDir: string;
  readonly logPath: string;
  readonly env: Readonly<Record<string, string>>;
  readonly redisLinks: readonly Link[];
  readonly ownLinks: readonly Link[];
  readonly postgresLink: Link;
  readonly httpLink: Link | undefined;
  readonly clockFile: string;
  readonly preload: string | undefined;
}

const drainMs = 25_000;
const killMs = 5_000;

/** The process of a plan; it is not started yet. */
export function processOf(plan: ProcessPlan): MemberProcess {
  let running: Running | undefined;
  let { root } = plan;
  const isGone = () => running === undefined || running.hasExited();
  const pid = () => {
    if (running?.pid === undefined) throw new Error(`${plan.name} was never started`);
    return running.pid;
  };
  return {
    ...plan,
    links: plan.ownLinks,
    pid,
    isGone,
    async start() {
      const preload = plan.preload === undefined ? [] : ['--import', plan.preload];
      const args = [...preload, `${root}/${plan.script}`, plan.dataDir];
      running = launch({ file: process.execPath, args, cwd: root, env: plan.env }, plan.logPath, 'ipc');
    },
    moveTo(next) {
      root = next;
    },
    signal: (name) => void process.kill(pid(), name),
    async kill() {
      await endProcess(pid(), isGone, [{ signal: 'SIGKILL', waitMs: killMs }]);
    },
    async stop() {
      if (isGone()) return 'gone before';
      await endProcess(pid(), isGone, [
        { signal: 'SIGTERM', waitMs: drainMs },
        { signal: 'SIGKILL', waitMs: killMs },
      ]);
      return running!.exited;
    },
  };
}

/** The kernel's word for what a process is doing: `T` stopped, `Z` dead; undefined when there is none. Linux only. */
export async function processState(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return /\) ([A-Za-z]) /.exec(stat)?.[1];
}

/** The numbers of the processes that a process has started and that live; lowest first. Linux only. */
export async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const pids = text.split(' ').filter(Boolean).map(Number);
  const states = await Promise.all(pids.map(processState));
  return pids.filter((_, i) => states[i] !== undefined && states[i] !== 'Z').toSorted((a, b) => a - b);
}

/** Waits until a process is stopped. */
export function isStopped(pid: number): Promise<boolean> {
  return waitUntil(async () => (await processState(pid)) === 'T', 3_000, 5);
}
