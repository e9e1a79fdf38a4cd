// What the demo asks the books at the end: how far the ledger is behind, and whether the audit finds drift.
import { spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ApiClient } from '#src/earning/import/client.ts';
import { largestSample } from './metrics.ts';

export type LedgerLag = { records: number; seconds: number };

const auditCommand = fileURLToPath(new URL('../../ledger/audit-command.ts', import.meta.url));
const auditTimeoutMs = 300_000;

/** The largest lag over all shards, as the API publishes it; undefined when it publishes none. */
export async function readLedgerLag(client: ApiClient): Promise<LedgerLag | undefined> {
  const text = await client.getText('/metrics');
  const records = largestSample(text, 'loyalty_ledger_lag_records');
  const seconds = largestSample(text, 'loyalty_ledger_lag_seconds');
  if (records === undefined) return undefined;
  return { records, seconds: seconds ?? 0 };
}

/** Waits until the ledger has everything, at most `boundMs`; returns the wait, or undefined when it did not get there. */
export async function ledgerDrainMs(client: ApiClient, boundMs: number): Promise<number | undefined> {
  const startedAt = performance.now();
  while (performance.now() - startedAt < boundMs) {
    const lag = await readLedgerLag(client);
    if (lag === undefined) return undefined;
    if (lag.records === 0) return performance.now() - startedAt;
    await wait(100);
  }
  return undefined;
}

/** Runs the audit as `npm run audit` would and shows its lines; true when it found no drift. */
export async function auditIsClean(): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const child = spawn(process.execPath, [auditCommand], {
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: auditTimeoutMs,
  });
  child.on('error', () => resolve(false));
  child.on('close', (code) => resolve(code === 0));
  return promise;
}
