/**
 * The processes of the service: started, started again when they die, and stopped.
 *
 * Each has a session of its own, so that Ctrl-C reaches only the supervisor; a channel to the supervisor, whose closing
 * tells it that the supervisor is gone; and the data folder as an argument, by which the next start recognises it.
 */
import { boundLog, endProcess, launch, logTail, type Running, sizeOf } from './processes.ts';

export interface ChildProgram {
  readonly name: string;
  /** Absolute path of the script. */
  readonly script: string;
}

export interface ChildSurroundings {
  readonly env: Readonly<Record<string, string>>;
  readonly envDefaults: Readonly<Record<string, string>>;
  readonly dataDir: string;
  readonly cwd: string;
  readonly logFolder: string;
  readonly onNotice: (sentence: string) => void;
  /** It died too often and is not started again. */
  readonly onGivenUp: (sentence: string) => void;
}

export interface Child {
  readonly name: string;
  /** Asks it to stop, waits until it has drained, kills it after the bound. Answers false when it had to be killed. */
  stop(drainMs: number): Promise<boolean>;
  /** Ends it at once. */
  kill(): void;
}

/** A counter for what is tried again only so often: each call adds one and answers how many the last minute had. */
export function recentCount(): () => number {
  const times: number[] = [];
  return () => {
    const now = performance.now();
    times.push(now);
    while (times[0]! < now - 60_000) times.shift();
    return times.length;
  };
}

export const restartsPerMinuteMax = 5;

/** 0.2 s, 0.4 s, … up to 5 s. */
export function restartPauseMs(deaths: number): number {
  return Math.min(200 * 2 ** (deaths - 1), 5_000);
}

/** Starts a process of the service and keeps it running until it is stopped. */
export async function startChild(program: ChildProgram, around: ChildSurroundings): Promise<Child> {
  const logPath = `${around.logFolder}/${program.name}.log`;
  await boundLog(logPath);
  const died = recentCount();
  let running: Running | undefined;
  let stopping = false;
  let restart: NodeJS.Timeout | undefined;

  const begin = async (): Promise<void> => {
    const logStart = await sizeOf(logPath);
    if (stopping) return;
    const args = [program.script, around.dataDir];
    const begun = launch(
      { file: process.execPath, args, cwd: around.cwd, env: around.env, envDefaults: around.envDefaults },
      logPath,
      'ipc',
    );
    running = begun;
    const how = await begun.exited;
    if (stopping) return;
    const count = died();
    const tail = (await logTail(logPath, logStart)).split('\n').slice(-8).join('\n');
    const sentence = `The ${program.name} process ended unexpectedly (${how})`;
    if (count > restartsPerMinuteMax) {
      around.onGivenUp(`${sentence}, ${count} times within a minute. The end of ${logPath}:\n${tail}`);
      return;
    }
    around.onNotice(`${sentence}; starting it again. Log: ${logPath}`);
    restart = setTimeout(keepRunning, restartPauseMs(count));
  };
  const keepRunning = (): void => {
    begin().catch((error: unknown) =>
      around.onGivenUp(`The ${program.name} process cannot be started: ${String(error)}`),
    );
  };
  keepRunning();

  return {
    name: program.name,
    async stop(drainMs) {
      stopping = true;
      clearTimeout(restart);
      const current = running;
      if (current?.pid === undefined) return true;
      const steps = [
        { signal: 'SIGTERM' as const, waitMs: drainMs },
        { signal: 'SIGKILL' as const, waitMs: 5_000 },
      ];
      return (await endProcess(current.pid, () => current.hasExited(), steps)) !== 'SIGKILL';
    },
    kill() {
      stopping = true;
      if (running !== undefined && !running.hasExited()) running.process.kill('SIGKILL');
    },
  };
}
