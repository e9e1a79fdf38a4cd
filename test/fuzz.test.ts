/** A thousand calls of the fuzzer with a fixed seed; `npm run fuzz` runs longer and with other seeds. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { FuzzReport } from '../loadtest/fuzz/run.ts';

test('valid, broken and random calls at every route: no 5xx, no change without an answer, no death, no drift', async () => {
  const command = fileURLToPath(new URL('../loadtest/fuzz/command.ts', import.meta.url));
  const cluster = process.env.REDIS_MODE === 'cluster' ? ['--cluster'] : [];
  const { code, text } = await new Promise<{ code: number; text: string }>((resolve) => {
    execFile(
      process.execPath,
      [command, '--steps', '1000', '--seconds', '120', '--seed', '7', ...cluster],
      { timeout: 240_000, maxBuffer: 16_777_216 },
      (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code ?? -1) : 0, text: stdout + stderr }),
    );
  });
  const last = text.trim().split('\n').at(-1)!;
  expect(last, text.slice(-4_000)).toMatch(/^\{.*\}$/);
  const report = JSON.parse(last) as FuzzReport;
  expect(report.findings).toEqual([]);
  expect(code).toBe(0);
  expect(report.drift).toBe(0);
  // It got past the schemas: most routes have answered with a success, and points have moved. Settlements and reconciliations want
  // months and files of the partner: of these it reaches the refusals.
  expect(report.routesReached, JSON.stringify(report.unreached)).toBeGreaterThan(0.6 * report.routes);
  expect(report.operations).toBeGreaterThan(100);
  expect(report.steps).toBe(1_000);
}, 270_000);
