/** What the commands that measure and break things share: how an interrupt ends them, and how they end when they fail. */
import { print, UsageFault } from '#src/platform/command.ts';

/** Aborted by the first Ctrl-C or SIGTERM: whatever waits ends, and what was started is stopped on the way out. */
export function interruption(): AbortSignal {
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interrupt.abort(new UsageFault(`Ended by ${signal}.`)));
  }
  return interrupt.signal;
}

/** Sets the exit code that `main` answers. What was typed wrongly is said in a sentence, every other error with its stack. */
export async function runToEnd(main: () => Promise<number>, failedCode: number): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    const isUsage = error instanceof UsageFault || (error instanceof TypeError && 'code' in error);
    print(
      error instanceof Error ? (isUsage ? error.message : (error.stack ?? error.message)) : String(error),
    );
    process.exitCode = failedCode;
  }
}
