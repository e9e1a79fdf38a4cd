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
import { cleared, comparingName, type Pair } from './books.ts';
import {
  beginComparison,
  compare,
  copyTheirs,
  differences,
  readOurs,
  rowsOf,
  storeDifferences,
} from './comparing.ts';
import { createFileReader, FileFault, type FileReader, type Header, type Trailer } from './format.ts';
import {
  insertReconciliation,
  type Reconciliation,
  reconciliationId,
  reconciliationNumbered,
} from './reports.ts';
import { checkNext, leaveOutEarly, lockSeries, relateToEarlier, storeRelations } from './series.ts';

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
  /** The number of the first file of a series that was begun elsewhere; what was booked before it is not compared. */
  readonly first?: number | undefined;
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
    application_name: comparingName,
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

/** Who wrote the file; throws where it may not be taken from its header on. */
async function pairOf(pool: pg.Pool, { program, first }: GivenFile, header: Header): Promise<Pair> {
  const partner = await partnerNamed(pool, program.number, header.sender);
  if (!partner) throw new FileFault(1, 'sender_differs', 'the program has no partner of this name');
  const pair = { program, partner: partner.number };
  await checkNext(pool, pair, header, first);
  return pair;
}

interface Taken {
  readonly pair: Pair;
  readonly header: Header;
  readonly trailer: Trailer;
}

/** Reads the file into the table of theirs. */
async function takeFile(context: ReconciliationContext, tx: pg.Client, file: GivenFile): Promise<Taken> {
  let header: Header | undefined;
  let begun: { readonly pair: Pair; readonly copying: Copying } | undefined;
  const reader: FileReader = createFileReader((found) => {
    header = found;
  });
  try {
    for await (const piece of file.bytes) {
      const details = reader.take(piece);
      if (header && !begun) {
        const pair = await pairOf(context.pool, file, header);
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

async function reconcile(context: ReconciliationContext, tx: pg.Client, file: GivenFile): Promise<number> {
  await beginComparison(tx);
  const { pair, header, trailer } = await takeFile(context, tx, file);
  if (!(await cleared(tx, clearingMsMax, header.until)))
    throw new Problem('not_ready', 'The books have more than was cleared; is the worker `alliance` running?');
  // Files of a partner are compared one after the other: each begins with what the one before has left.
  await lockSeries(tx, pair.partner);
  const series = await checkNext(tx, pair, header, file.first);
  await readOurs(tx, pair, header);
  await leaveOutEarly(tx, pair, header);
  let matchedLate = 0;
  const { counts, theirs } = await compare(tx, pair, async () => {
    matchedLate = await relateToEarlier(tx, pair, header, series);
  });
  const { program } = file;
  const number = await insertReconciliation(tx, {
    program: program.number,
    partner: pair.partner,
    sequence: header.sequence,
    from: header.from,
    until: header.until,
    digest: trailer.digest,
    lines: trailer.details,
    matched: trailer.details - theirs,
    differences: counts,
    matchedLate,
    actor: file.actor,
  });
  await storeDifferences(tx, number);
  await storeRelations(tx, pair, header, number);
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
