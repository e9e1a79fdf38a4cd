// The rejects file: CSV, opened at the first reject, so a clean run leaves none behind.

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

export type Reject = {
  row: number;
  reference: string;
  code: string;
  reason: string;
  source: readonly string[];
};

export type RejectsFile = {
  /** Writes rejects; waits when the disk is slower than they come. */
  write(rejects: readonly Reject[]): Promise<void>;
  close(): Promise<void>;
};

/** Makes the rejects file of one run; `header` names the columns of the imported file. */
export function rejectsFile(path: string, header: () => readonly string[]): RejectsFile {
  let stream: WriteStream | undefined;
  let failed: Error | undefined;
  const open = (): WriteStream => {
    const opened = createWriteStream(path);
    opened.on('error', (error) => {
      failed = error;
    });
    opened.write(csvLine(['row', 'reference', 'code', 'reason', ...header()]));
    return opened;
  };
  return {
    async write(rejects) {
      if (rejects.length === 0) return;
      stream ??= open();
      const text = rejects.map((reject) =>
        csvLine([String(reject.row), reject.reference, reject.code, reject.reason, ...reject.source]),
      );
      if (failed !== undefined) throw failed;
      if (!stream.write(text.join(''))) await Promise.race([once(stream, 'drain'), once(stream, 'close')]);
    },
    async close() {
      if (stream === undefined) return;
      stream.end();
      await finished(stream);
    },
  };
}

/** One line of CSV as RFC 4180 quotes it. */
export function csvLine(values: readonly string[]): string {
  return `${values.map((value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(',')}\n`;
}
