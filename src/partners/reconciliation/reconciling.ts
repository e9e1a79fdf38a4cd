/**
 * A partner's file against our books. It is read as it comes, checked line by line and copied into a temporary table; only when its
 * trailer has vouched for all of it anything is compared, and only when its number is the next of the partner's anything is kept.
 * All of it is one database transaction: of a file that is refused nothing stays but a line in the audit log.
 */
import pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import type { Copying } from '#src/platform/copying.ts';
import { inTransactionOn } from '#src/platform/postgres.ts';
import type { Logger, Metrics } from '#src/platform/telemetry.ts';
import { cleared, type Pair } from './books.ts';
import {
  beginComparison,
  compare,
  copyTheirs,
  type DifferenceCounts,
  differences,
  readOurs,
  rowsOf,
  storeDifferences,
} from './comparing.ts';
import { createFileReader, FileFault, type FileReader, type Header, type Trailer } from './format.ts';
import {
  insertReconciliation,
  lockSeries,
  type Reconciliation,
  reconciliationId,
  reconciliationNumbered,
  seriesOf,
} from './reports.ts';

export interface ReconciliationContext {
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly log: Pick<Logger, 'warn'>;
  readonly metrics: Pick<
    Metrics,
    'reconciliations' | 'reconciliationDifferences' | 'reconciliationDuration' | 'reconciliationLines'
  >;
}

export interface GivenFile {
  readonly program: Program;
  /** The key or the person. */
  readonly actor: string;
  readonly bytes: AsyncIterable<Buffer>;
}

/** A million lines take some twenty seconds on two cores, six million some minutes. */
const statementMsMax = 600_000;
/** How long a comparison waits for what was booked to be cleared. */
const clearingMsMax = 10_000;

/** A connection for work that takes longer than a request may: the pool's are cut off after 30 s. */
export async function onLongConnection<T>(
  databaseUrl: string,
  work: (connection: pg.Client) => Promise<T>,
): Promise<T> {
  const connection = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 5_000,
    statement_timeout: statementMsMax,
  });
  connection.on('error', () => {});
  await connection.connect();
  try {
    return await work(connection);
  } finally {
    await connection.end().catch(() => {});
  }
}

function outOfSequence(sequence: number, last: number | null, same: number | null): Problem | undefined {
  if (last === null || sequence === last + 1) return undefined;
  const isRepeat = sequence <= last;
  const [reason, detail] = isRepeat
    ? ['repeat', `The file ${sequence} of this partner was taken before; the next is ${last + 1}.`]
    : ['gap', `The file ${last + 1} of this partner is missing before ${sequence}.`];
  return new Problem('file_out_of_sequence', detail, {
    reason,
    sequence,
    expected: last + 1,
    ...(same === null ? {} : { reconciliation: reconciliationId(same) }),
  });
}

/** Who wrote the file; throws where it may not be taken from its header on. */
async function pairOf(pool: pg.Pool, program: Program, { sender, sequence }: Header): Promise<Pair> {
  const partner = await partnerNamed(pool, program.number, sender);
  if (!partner) throw new FileFault(1, 'sender_differs', 'the program has no partner of this name');
  const { last, same } = await seriesOf(pool, partner.number, sequence);
  const problem = outOfSequence(sequence, last, same);
  if (problem) throw problem;
  return { program, partner: partner.number };
}

interface Taken {
  readonly pair: Pair;
  readonly header: Header;
  readonly trailer: Trailer;
}

/** Reads the file into the table of theirs. */
async function takeFile(
  context: ReconciliationContext,
  tx: pg.Client,
  { program, bytes }: GivenFile,
): Promise<Taken> {
  let header: Header | undefined;
  let begun: { readonly pair: Pair; readonly copying: Copying } | undefined;
  const reader: FileReader = createFileReader((found) => {
    header = found;
  });
  try {
    for await (const piece of bytes) {
      const details = reader.take(piece);
      if (header && !begun) {
        const pair = await pairOf(context.pool, program, header);
        begun = { pair, copying: await copyTheirs(tx) };
      }
      await begun?.copying.write(rowsOf(details));
    }
    const trailer = reader.end();
    await begun!.copying.end();
    return { pair: begun!.pair, header: header!, trailer };
  } catch (error) {
    await begun?.copying.abandon();
    throw error;
  }
}

function differing(counts: DifferenceCounts): number {
  // What is missing in the file is no line of it.
  return differences.reduce((sum, each) => sum + (each === 'missing_there' ? 0 : counts[each]), 0);
}

async function reconcile(context: ReconciliationContext, tx: pg.Client, file: GivenFile): Promise<number> {
  await beginComparison(tx);
  const { pair, header, trailer } = await takeFile(context, tx, file);
  if (!(await cleared(context.pool, clearingMsMax)))
    throw new Problem('not_ready', 'The books have more than was cleared; is the worker `alliance` running?');
  await readOurs(tx, pair, header);
  const counts = await compare(tx, pair);
  await lockSeries(tx, pair.partner);
  const { last, same } = await seriesOf(tx, pair.partner, header.sequence);
  const problem = outOfSequence(header.sequence, last, same);
  if (problem) throw problem;
  const { program } = file;
  const number = await insertReconciliation(tx, {
    program: program.number,
    partner: pair.partner,
    sequence: header.sequence,
    from: header.from,
    until: header.until,
    digest: trailer.digest,
    lines: trailer.details,
    matched: trailer.details - differing(counts),
    differences: counts,
    actor: file.actor,
  });
  await storeDifferences(tx, number);
  await noteAudit(tx, file, 'reconciliation.file', reconciliationId(number));
  return number;
}

async function noteAudit(
  db: Pick<pg.ClientBase, 'query'>,
  { program, actor }: Pick<GivenFile, 'program' | 'actor'>,
  action: string,
  subject: string,
): Promise<void> {
  await db.query('insert into audit_log (program, actor, action, subject) values ($1, $2, $3, $4)', [
    program.number,
    actor,
    action,
    subject,
  ]);
}

/** Counts what was found. */
export function countFound(
  { metrics }: Pick<ReconciliationContext, 'metrics'>,
  { differences: counts, lines, source }: Reconciliation,
): void {
  const found = differences.filter((each) => counts[each] > 0);
  metrics.reconciliations.inc({ source, outcome: found.length === 0 ? 'matched' : 'differs' });
  metrics.reconciliationLines.inc(lines);
  for (const difference of found) metrics.reconciliationDifferences.inc({ difference }, counts[difference]);
}

async function refused(
  context: ReconciliationContext,
  file: GivenFile,
  word: string,
  subject: string,
): Promise<void> {
  context.metrics.reconciliations.inc({ source: 'file', outcome: 'refused' });
  try {
    await noteAudit(context.pool, file, `reconciliation.refused ${word}`, subject);
  } catch (error) {
    context.log.warn({ err: error, word }, 'a refused file of a partner is not in the audit log');
  }
}

/** Compares a file and keeps what was found. Throws `file_refused`, `file_out_of_sequence` or `not_ready`; then nothing was kept. */
export async function reconcileFile(
  context: ReconciliationContext,
  file: GivenFile,
): Promise<Reconciliation> {
  const end = context.metrics.reconciliationDuration.startTimer();
  try {
    const number = await onLongConnection(context.databaseUrl, (connection) =>
      inTransactionOn(connection, () => reconcile(context, connection, file)),
    );
    const found = (await reconciliationNumbered(context.pool, file.program.number, number))!;
    end();
    countFound(context, found);
    return found;
  } catch (error) {
    if (error instanceof FileFault) {
      const { line, word, message } = error;
      await refused(context, file, word, `line ${line}`);
      throw new Problem('file_refused', message, { reason: word, line }, { cause: error });
    }
    if (error instanceof Problem && error.code === 'file_out_of_sequence')
      await refused(
        context,
        file,
        `sequence_${String(error.fields.reason)}`,
        `file ${String(error.fields.sequence)}`,
      );
    throw error;
  }
}
