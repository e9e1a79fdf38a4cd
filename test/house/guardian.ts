/**
 * Outlives a test run that is interrupted or killed: when its input ends, it ends whatever still runs on the run's folder
 * and removes the folder. The folder comes as the first line of the input, so that it does not find itself.
 */
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { endRunning } from '#src/platform/local/processes.ts';

let folder = '';
for await (const line of createInterface({ input: process.stdin })) folder = line;
if (folder !== '') {
  const steps = [
    { signal: 'SIGINT', waitMs: 10_000 },
    { signal: 'SIGKILL', waitMs: 5_000 },
  ] as const;
  await endRunning([new RegExp(`${folder}/`)], steps);
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
