/** Ends what a test run leaves behind when it is interrupted or killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { checkout } from './folders.ts';

/** A process of its own session, whose input ends when this process does, however that happens: see guardian.ts. */
export function guard(folder: string): ChildProcess {
  const script = `${checkout}test/house/guardian.ts`;
  const guardian = spawn(process.execPath, [script], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  guardian.stdin?.write(`${folder}\n`);
  guardian.unref();
  return guardian;
}
