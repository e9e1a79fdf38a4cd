/** Five seconds of `npm run loadtest -- accrual`, where k6 is there; building it takes minutes, so a test does not. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findRunning } from '#src/platform/local/processes.ts';
import { presentK6 } from '../loadtest/k6/k6.ts';
import { cacheFolder, checkout } from './house/folders.ts';

test('k6 loads an installation of its own; it ends with the books complete, the audit clean and nothing left running', async ({
  skip,
}) => {
  if (!(await presentK6(cacheFolder)))
    skip('k6 is neither on the PATH nor built by an earlier npm run loadtest');
  const ofLoadtests = [new RegExp(`${checkout}\\.data/loadtest-`)];
  const before = await findRunning(ofLoadtests);
  const flags = ['--rate', '40', '--duration', '5s', '--members', '100', '--p99-max', '20000'];
  const { code, text } = await new Promise<{ code: number; text: string }>((resolve) => {
    execFile(
      process.execPath,
      [join(checkout, 'loadtest/k6/command.ts'), 'accrual', ...flags],
      // Interrupted, it stops what it started.
      { timeout: 150_000, killSignal: 'SIGINT' },
      (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code ?? -1) : 0, text: stdout + stderr }),
    );
  });
  const line = text.split('\n').find((each) => each.startsWith('{')) ?? '{}';
  const report = JSON.parse(line) as Record<string, unknown>;
  // Dropped arrivals say something of this machine only, so the code may be 1 for them and for nothing else.
  const failures = (report.failures as string[] | undefined)?.filter(
    (each) => !each.includes('dropped_iterations'),
  );
  expect({ failures, missing: report.missing, audit: report.audit, errors: report.errors }, text).toEqual({
    failures: [],
    missing: 0,
    audit: 'clean',
    errors: 0,
  });
  expect(code, text).toBe((report.failures as string[]).length > 0 ? 1 : 0);
  expect(report.movements, text).toBeGreaterThan(50);
  expect(report.drainSeconds, text).toBeLessThan(120);
  expect((await findRunning(ofLoadtests)).filter((pid) => !before.includes(pid))).toEqual([]);
}, 200_000);
