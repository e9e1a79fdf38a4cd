// npm run import -- FILE: receipts of a file, of any size, into a running engine through its bulk endpoint.
//
// One pass, nothing kept: pieces of the file become rows, rows become receipts, receipts fill bulk calls, and a full
// set of calls in flight stops the reading. The references make it safe to run again at any point.
import { stat } from 'node:fs/promises';
import { clientConfig } from '#src/config.ts';
import { type ApiClient, ApiRefusal, ApiUnreachable, apiClient, readProgram } from './client.ts';
import { FileFault } from './csv.ts';
import { dateReader } from './dates.ts';
import { help } from './help.ts';
import { chosenColumns, type RowReader, rowReader } from './mapping.ts';
import { type ImportOptions, readOptions, UsageFault } from './options.ts';
import { completeAccrual, type ReadRow, type RowGroup, readReceipt, receiptGrouping } from './receipts.ts';
import { type RejectsFile, rejectsFile } from './rejects.ts';
import { type SourceRow, sourcePieces } from './rows.ts';
import { type BulkItem, bulkSender } from './send.ts';
import { emptyTally, showProgress, summaryLines, type Tally } from './tally.ts';

/** Where receipts go: to the API, or nowhere in a dry run. */
type Sink = { submit(item: BulkItem): Promise<void>; drain(): Promise<void> };
type Run = { options: ImportOptions; tally: Tally; sink: Sink; rejects: RejectsFile };

async function main(args: readonly string[]): Promise<number> {
  const { url, key = 'demo-pos' } = clientConfig();
  const options = readOptions(args, { url, key });
  if (options === undefined) {
    console.log(help);
    return 0;
  }
  const { size } = await stat(options.file.path).catch(() => {
    throw new UsageFault(`there is no file ${options.file.path}`);
  });
  const zone = options.zone ?? (options.dryRun ? 'UTC' : (await readProgram(options)).timeZone);
  const tally = emptyTally(performance.now());
  const header: { names: readonly string[] } = { names: [] };
  const rejects = rejectsFile(options.rejectsPath, () =>
    options.file.format === 'ndjson' ? ['input'] : header.names,
  );
  const client = apiClient(options);
  const sink = options.dryRun ? dryRunSink(tally) : bulkSender(client, { ...options, tally, rejects });
  const progress = showProgress(tally, size);
  let stopped: unknown;
  try {
    await importFile({ options, tally, sink, rejects }, zone, header);
  } catch (error) {
    // Calls in flight are awaited before anything is closed: their answers still count.
    await sink.drain().catch(() => undefined);
    if (error instanceof UsageFault) throw error;
    stopped = error;
  } finally {
    progress.stop();
    await rejects.close();
  }
  return report(options, tally, client, stopped);
}

async function importFile(run: Run, zone: string, header: { names: readonly string[] }): Promise<void> {
  const { options, tally, sink } = run;
  const columns = chosenColumns(options.receipts.choices);
  const grouping = receiptGrouping(options.receipts);
  const readDate = dateReader(options.receipts.dateFormat, zone);
  let read: RowReader | undefined;
  for await (const piece of sourcePieces(options.file, columns)) {
    tally.bytesRead = piece.bytesRead;
    header.names = piece.header;
    if (piece.header.length > 0) read ??= rowReader(piece.header, options.receipts, readDate);
    for (const row of piece.rows) {
      tally.rows += 1;
      if ('fields' in row && read !== undefined) {
        const readRow: ReadRow = { number: row.number, source: row.source, reading: read(row.fields) };
        const complete = grouping.add(readRow);
        if (complete.length > 0) await sendGroups(run, complete);
      } else await sendWhole(run, row);
      if (tally.receipts >= options.receiptsMax) return sink.drain();
    }
  }
  await sendGroups(run, grouping.flush());
  await sink.drain();
}

async function sendGroups(run: Run, groups: readonly RowGroup[]): Promise<void> {
  const { options, tally, rejects, sink } = run;
  for (const group of groups) {
    if (tally.receipts >= options.receiptsMax) return;
    tally.receipts += 1;
    const receipt = readReceipt(group, options.receipts);
    if ('accrual' in receipt) {
      const { reference, accrual, rows } = receipt;
      const kept = rows.map(({ number, source }) => ({ number, source }));
      await sink.submit({ reference, json: JSON.stringify(accrual), rows: kept });
      continue;
    }
    const { reference, rejected } = receipt;
    tally.rejected += 1;
    tally.rejectedRows += rejected.length;
    await rejects.write(
      rejected.map(({ number, ...row }) => ({ ...row, row: number, reference, code: 'row_unreadable' })),
    );
  }
}

/** A row that is a receipt by itself (an accrual in NDJSON) or cannot be read at all. */
async function sendWhole({ options, tally, sink, rejects }: Run, row: SourceRow): Promise<void> {
  tally.receipts += 1;
  const { number, source } = row;
  if ('accrual' in row) {
    const { reference, accrual } = completeAccrual(row.accrual, number, options.receipts);
    await sink.submit({ reference, json: JSON.stringify(accrual), rows: [{ number, source }] });
    return;
  }
  tally.rejected += 1;
  tally.rejectedRows += 1;
  const reason = 'fault' in row ? row.fault : 'the file has no header';
  const reference = `${options.receipts.name}:${number}`;
  await rejects.write([{ row: number, reference, code: 'row_unreadable', reason, source }]);
}

function dryRunSink(tally: Tally): Sink {
  return {
    async submit(item) {
      if (tally.accepted === 0)
        console.log(`the first receipt:\n${JSON.stringify(JSON.parse(item.json), null, 2)}`);
      tally.accepted += 1;
    },
    drain: async () => undefined,
  };
}

function report(options: ImportOptions, tally: Tally, client: ApiClient, stopped: unknown): number {
  for (const line of summaryLines(tally, options.rejectsPath)) console.log(line);
  if (options.dryRun)
    console.log(`dry run: nothing was sent${options.zone === undefined ? '; zone UTC' : ''}`);
  if (client.sent.repeats > 0) console.log(`${client.sent.repeats} calls were repeated`);
  if (stopped === undefined) return tally.rejected === 0 ? 0 : 1;
  console.error('Stopped early:', isExpected(stopped) ? stopped.message : stopped);
  console.error('Run the same command again to continue: what is in already is only replayed.');
  return 1;
}

function isExpected(error: unknown): error is Error {
  return [UsageFault, FileFault, ApiUnreachable, ApiRefusal].some((kind) => error instanceof kind);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const expected =
    error instanceof UsageFault || error instanceof ApiUnreachable || error instanceof ApiRefusal;
  console.error(expected ? error.message : error);
  if (error instanceof UsageFault) console.error('See npm run import -- --help.');
  process.exitCode = error instanceof UsageFault ? 2 : 1;
}
