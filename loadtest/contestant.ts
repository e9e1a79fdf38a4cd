/** What a contestant of the benchmark is, and the processes that it is made of. */
import { on } from 'node:events';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { type Command, endProcess, launch, logTail } from '#src/platform/local/processes.ts';
import type { Lag } from './lag.ts';
import type { Share } from './requests.ts';

/** What was started and can be called. */
export interface Standing {
  readonly port: number;
  /** Process numbers by what the process is. */
  readonly processes: Readonly<Record<string, number>>;
  /** Present where something is to be brought to the books later. */
  readonly lag?: Lag;
  /** How many accruals are stored, by the store's own count; absent where nothing is. */
  stored?(): Promise<number>;
  stop(): Promise<void>;
}

/** One load on what stands, and what the figures say about it. */
export interface Contestant {
  readonly name: string;
  readonly title: string;
  readonly durability: string;
  readonly connections: number;
  /** What a figure counts, and how many of it one request is: 1,000 of a bulk call, half of a hold with its capture. */
  readonly counted: { readonly name: string; readonly perRequest: number };
  /** Everything counted is one stored accrual, so the store's count can be compared. */
  readonly isAccrual: boolean;
  /** So many members take part, from the first on; all when absent. */
  readonly members?: number;
  readonly traffic: readonly Share[];
}

/** What stands during a round: started alone, loaded by one contestant after the other, stopped. */
export interface Stage {
  readonly name: string;
  readonly contestants: readonly Contestant[];
  /** Done once, before the rounds. Answers what it chose. */
  prepare(): Promise<string>;
  start(): Promise<Standing>;
}

/** What every contestant may use. */
export interface Surroundings {
  /** An empty folder on the disk of the checkout. */
  readonly folder: string;
  readonly checkout: string;
  /** Where the Redis that had to be downloaded is kept. */
  readonly cacheDir: string;
  readonly members: number;
  /** Sizes to choose a pool of connections from; 5, 10 and 20 when absent. */
  readonly poolSizes?: readonly [number, ...number[]];
  /** Processes behind the port of this service's API; one where nothing is said. */
  readonly apiProcesses?: number;
  /** An interrupt: whatever waits ends, and what was started is stopped on the way out. */
  readonly abort: AbortSignal;
  readonly print: (text: string) => void;
}

const listenMsMax = 60_000;
const stopSteps = [
  { signal: 'SIGTERM' as const, waitMs: 20_000 },
  { signal: 'SIGKILL' as const, waitMs: 5_000 },
];

export type NodeProcess = ReturnType<typeof startNode>;

/** Starts a Node process that ends with this one. */
export function startNode(
  name: string,
  args: readonly string[],
  { folder, checkout, abort }: Surroundings,
  env: Readonly<Record<string, string>> = {},
) {
  const logPath = join(folder, `${name}.log`);
  const command: Command = { file: process.execPath, args, cwd: checkout, env };
  const running = launch(command, logPath, 'ipc');
  // Kept until they are asked for: two can come at once.
  const messages = on(running.process, 'message', { signal: abort });
  return {
    pid: running.pid!,
    /** Waits for the next message; throws with the end of the log when the process ends first. */
    async message(timeoutMs = listenMsMax): Promise<unknown> {
      const ended = running.exited.then(async (how) => {
        throw new Error(`${name} ended (${how}):\n${await logTail(logPath)}`);
      });
      const late = delay(timeoutMs, undefined, { ref: false }).then(() => {
        throw new Error(`${name} said nothing for ${timeoutMs / 1_000} s:\n${logPath}`);
      });
      const { value } = (await Promise.race([messages.next(), ended, late])) as { value: [unknown] };
      return value[0];
    },
    send: (message: object) => void running.process.send(message),
    exited: running.exited,
    hasExited: () => running.hasExited(),
    logPath,
    async stop(): Promise<void> {
      await endProcess(running.pid!, () => running.hasExited(), stopSteps);
    },
  };
}

/** Starts a contestant's process with a free port among its settings, and waits until it listens there. */
export async function startListening(
  script: string,
  settings: Readonly<Record<string, unknown>>,
  around: Surroundings,
): Promise<NodeProcess & { readonly port: number }> {
  const port = await freeLoopbackPort();
  const argument = JSON.stringify({ ...settings, port });
  const started = startNode(basename(script, '.ts'), [script, argument], around);
  try {
    await started.message();
  } catch (error) {
    await started.stop();
    throw error;
  }
  return { ...started, port };
}
