/** What the commands of the service share: how they print, and how they end when they cannot run. */

/** A command that cannot be run as it was typed. */
export class UsageFault extends Error {}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Rows in columns, each as wide as its widest cell. */
export function inColumns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

/** Calls `parse`, whose errors are about what was typed. */
export function typed<Parsed>(parse: () => Parsed): Parsed {
  try {
    return parse();
  } catch (error) {
    throw new UsageFault(error instanceof Error ? error.message : 'unreadable arguments');
  }
}

/**
 * Runs `npm run NAME -- …` with what was typed; `main` may answer an exit code. Code 2 and a hint where the
 * command was typed wrongly, `failedCode` for every other error.
 */
export async function runCommand(
  name: string,
  main: (args: readonly string[]) => Promise<unknown>,
  failedCode = 1,
): Promise<void> {
  // A reader such as `head` may close the pipe before everything is printed.
  process.stdout.on('error', () => {});
  try {
    const answered = await main(process.argv.slice(2));
    process.exitCode = typeof answered === 'number' ? answered : 0;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const isUsage = error instanceof UsageFault;
    process.stderr.write(isUsage ? `${text}\n\nnpm run ${name} -- --help shows how.\n` : `${text}\n`);
    process.exitCode = isUsage ? 2 : failedCode;
  }
}
