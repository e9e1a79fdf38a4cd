/** Commands of the service as a person runs them: processes of their own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { checkout } from './folders.ts';

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly complaint: string;
}

/** Runs a file below `src/` with this environment, once for each call; it has to end within a minute, or the time named. `input` is what it reads. */
export function commandOf(
  file: string,
  env: NodeJS.ProcessEnv,
  timeoutMs = 60_000,
  input = '',
): (...args: string[]) => Promise<Ended> {
  const path = join(checkout, 'src', file);
  return (...args) =>
    new Promise((resolve) => {
      const options = {
        env: { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE, ...env },
        timeout: timeoutMs,
      };
      const running = execFile(process.execPath, [path, ...args], options, (error, out, complaint) =>
        resolve({ code: error ? Number(error.code) : 0, out, complaint }),
      );
      // One that reads nothing may have ended before.
      running.stdin?.on('error', () => {});
      running.stdin?.end(input);
    });
}
