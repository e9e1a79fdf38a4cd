/** What the two local servers have in common: port, start, readiness, early death, stop. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freeLoopbackPort } from './ports.ts';
import {
  boundLog,
  type Command,
  endProcess,
  launch,
  logTail,
  type Running,
  StartRefusal,
  type StopStep,
  sizeOf,
} from './processes.ts';

export interface LocalOptions {
  readonly dataDir: string;
  /** Where what had to be downloaded is kept; the data folder when absent. */
  readonly cacheDir?: string;
  readonly abort?: AbortSignal;
  /** Told what takes long, one sentence at a time. */
  readonly onProgress?: (sentence: string) => void;
}

export interface LocalServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the process ends, asked to or not, with a few words on how. */
  readonly exited: Promise<string>;
  /** Stops it so that nothing is lost, and returns when the process is gone. A second call waits for the first. */
  stop(): Promise<void>;
}

export interface ServerPlan {
  readonly name: string;
  readonly logPath: string;
  readonly preferredPort: number | undefined;
  /** Prepares the configuration for a port and says how to start. */
  command(port: number): Promise<Command>;
  /** Whether it answers; throws when it never will. */
  isReady(port: number): Promise<boolean>;
  readonly readyMs: number;
  readonly stopSteps: readonly StopStep[];
  /** What the log says when an early death is worth another try. */
  readonly transient: RegExp;
}

const attemptsMax = 40;
const attemptPauseMs = 250;

/**
 * Starts a server and waits until it answers. Between finding a free port and listening on it somebody else may take it,
 * and the remains of a killed server may need a moment to go: both are tried again, ten seconds at most.
 */
export async function startServer(
  plan: ServerPlan,
  abort: AbortSignal | undefined,
): Promise<{ port: number; running: Running; stop: () => Promise<void> }> {
  await mkdir(dirname(plan.logPath), { recursive: true, mode: 0o700 });
  await boundLog(plan.logPath);
  let port = await freeLoopbackPort(plan.preferredPort);
  for (let attempt = 1; ; attempt += 1) {
    const logStart = await sizeOf(plan.logPath);
    const running = launch(await plan.command(port), plan.logPath);
    const stop = stopper(plan, running);
    try {
      await untilReady(plan, running, port, abort);
      return { port, running, stop };
    } catch (error) {
      if (!running.hasExited()) {
        await stop();
        throw error;
      }
      const log = await logTail(plan.logPath, logStart);
      if (attempt >= attemptsMax || abort?.aborted || !plan.transient.test(log)) {
        throw new StartRefusal(
          `${plan.name} did not start (${await running.exited}):\n${log}\nLog: ${plan.logPath}`,
        );
      }
      await delay(attemptPauseMs);
      port = await freeLoopbackPort(port);
    }
  }
}

async function untilReady(
  plan: ServerPlan,
  running: Running,
  port: number,
  abort: AbortSignal | undefined,
): Promise<void> {
  const deadline = performance.now() + plan.readyMs;
  for (;;) {
    if (running.hasExited()) throw new StartRefusal(`${plan.name} ended while starting.`);
    if (await plan.isReady(port)) return;
    abort?.throwIfAborted();
    if (performance.now() > deadline) {
      throw new StartRefusal(
        `${plan.name} did not answer within ${plan.readyMs / 1000} s. Log: ${plan.logPath}`,
      );
    }
    await Promise.race([delay(25), running.exited]);
  }
}

function stopper(plan: ServerPlan, running: Running): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    if (running.pid !== undefined) await endProcess(running.pid, () => running.hasExited(), plan.stopSteps);
  };
  return () => {
    stopping ??= end();
    return stopping;
  };
}
