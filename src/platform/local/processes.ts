/**
 * Starting, recognising and ending other programs.
 *
 * A process is recognised by its command line, which holds the absolute path of its data folder, never by its number
 * alone: after kill -9 or a reboot the number in a file may belong to a stranger. Servers run in sessions of their own
 * (`detached`), so Ctrl-C in a terminal reaches the supervisor only, which then decides the order of stopping.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { copyFile, readdir, readFile, stat, truncate } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** Something a person has to do: its message is printed alone, without a stack. */
export class StartRefusal extends Error {}

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Added to the environment that this process was given. */
  readonly env?: Readonly<Record<string, string>>;
  /** Added to it where it says nothing. */
  readonly envDefaults?: Readonly<Record<string, string>>;
}

export interface Outcome {
  /** Exit code; null when the program could not be started or was ended by a signal or the time limit. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The environment as it was given, with additions. Nothing is read from it here: settings are `config.ts`'s. */
export function environmentWith(
  additions: Readonly<Record<string, string>>,
  defaults: Readonly<Record<string, string>> = {},
): NodeJS.ProcessEnv {
  return { ...defaults, ...process.env, ...additions };
}

/** Runs a program to its end. Never throws: a program that is missing answers code null. */
export function run(command: Command, timeoutMs: number, abort?: AbortSignal): Promise<Outcome> {
  const options = {
    timeout: timeoutMs,
    killSignal: 'SIGKILL' as const,
    maxBuffer: 16 * 1024 * 1024,
    env: environmentWith({ LC_ALL: 'C', ...command.env }),
    ...(abort === undefined ? {} : { signal: abort }),
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
    ...(command.uid === undefined ? {} : { uid: command.uid }),
    ...(command.gid === undefined ? {} : { gid: command.gid }),
  };
  return new Promise((resolve) => {
    try {
      const child = execFile(command.file, [...command.args], options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
        const outcome = { code, stdout, stderr: stderr === '' && error !== null ? error.message : stderr };
        // An abort is told before the program has ended.
        const hasEnded = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
        if (hasEnded) resolve(outcome);
        else child.once('exit', () => resolve(outcome));
      });
    } catch (error) {
      resolve({ code: null, stdout: '', stderr: error instanceof Error ? error.message : String(error) });
    }
  });
}

/** A process started here. `exited` resolves once, with a few words on how it ended. */
export interface Running {
  readonly pid: number | undefined;
  readonly process: ChildProcess;
  readonly exited: Promise<string>;
  hasExited(): boolean;
}

/** Starts a program in a session of its own, with both outputs appended to a file. */
export function launch(command: Command, logPath: string, channel: 'ipc' | 'none' = 'none'): Running {
  const log = openSync(logPath, 'a', 0o600);
  try {
    const child = spawn(command.file, [...command.args], {
      detached: true,
      stdio: channel === 'ipc' ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
      env: environmentWith(command.env ?? {}, command.envDefaults),
      ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
      ...(command.uid === undefined ? {} : { uid: command.uid }),
      ...(command.gid === undefined ? {} : { gid: command.gid }),
    });
    let ended = false;
    const exited = new Promise<string>((resolve) => {
      const end = (how: string): void => {
        ended = true;
        resolve(how);
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`));
    });
    return { pid: child.pid, process: child, exited, hasExited: () => ended };
  } finally {
    closeSync(log);
  }
}

/** Asks again and again until the answer is yes or the time is up. Answers whether it became true. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
  intervalMs = 25,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= deadline) return false;
    await delay(intervalMs);
  }
}

/** How a process is recognised: words that stand, whole, on its command line, and patterns found in it. */
export type Traits = readonly (string | RegExp)[];

/** The processes of this machine with all of these traits, other than this one. */
export async function findRunning(traits: Traits): Promise<number[]> {
  const lines = process.platform === 'linux' ? await linuxCommandLines() : await psCommandLines();
  const matches = (line: string): boolean =>
    traits.every((trait) =>
      typeof trait === 'string' ? ` ${line} `.includes(` ${trait} `) : trait.test(line),
    );
  return [...lines].flatMap(([pid, line]) => (pid !== process.pid && matches(line) ? [pid] : []));
}

/** A zombie has an empty command line and so counts as gone, which it is. */
async function linuxCommandLines(): Promise<Map<number, string>> {
  const lines = new Map<number, string>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (line !== '') lines.set(Number(name), line.replaceAll('\0', ' ').trim());
  }
  return lines;
}

async function psCommandLines(): Promise<Map<number, string>> {
  const { stdout } = await run({ file: 'ps', args: ['-axww', '-o', 'pid=,command='] }, 5_000);
  return new Map(
    [...stdout.matchAll(/^\s*(\d+) (.*)$/gm)].map((match) => [Number(match[1]), match[2]!.trim()] as const),
  );
}

/** Ends what an earlier start has left running. Answers whether there was anything. */
export async function endRunning(traits: Traits, steps: readonly StopStep[]): Promise<boolean> {
  const pids = await findRunning(traits);
  for (const pid of pids)
    await endProcess(pid, async () => !(await findRunning(traits)).includes(pid), steps);
  return pids.length > 0;
}

export interface StopStep {
  /** Absent: only wait. */
  readonly signal?: NodeJS.Signals;
  readonly waitMs: number;
}

/** Sends one signal after the other until the process is gone; throws when none helps. Answers the one that did. */
export async function endProcess(
  pid: number,
  isGone: () => boolean | Promise<boolean>,
  steps: readonly StopStep[],
): Promise<NodeJS.Signals | undefined> {
  if (await isGone()) return undefined;
  for (const { signal, waitMs } of steps) {
    try {
      if (signal !== undefined) process.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) {
        throw new StartRefusal(
          `Process ${pid} belongs to another user and cannot be stopped: stop it and try again.`,
        );
      }
    }
    if (await waitUntil(isGone, waitMs)) return signal;
  }
  throw new StartRefusal(`Process ${pid} does not end, not even by ${steps.at(-1)?.signal}.`);
}

/** The end of a log: what was written after `fromByte`, at most 4 kB of it. */
export async function logTail(logPath: string, fromByte = 0): Promise<string> {
  const bytes = await readFile(logPath).catch(() => Buffer.alloc(0));
  return bytes
    .subarray(Math.max(fromByte, bytes.length - 4096))
    .toString('utf8')
    .trim();
}

export async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** Keeps a log below some 64 MB and one older one beside it. It may be open: it is emptied, not replaced. */
export async function boundLog(logPath: string): Promise<void> {
  if ((await sizeOf(logPath)) < 64 * 1024 * 1024) return;
  await copyFile(logPath, `${logPath}.old`);
  await truncate(logPath);
}
