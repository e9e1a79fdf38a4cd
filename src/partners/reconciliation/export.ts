/**
 * Our side of the same file: what we have booked with a partner in a period. Numbers and periods join without a gap. The number is taken in the database
 * transaction that reads the movements, and the file gets its name when that is committed; if the process dies in between, the whole file
 * lies there as `NAME.part`.
 */
import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import { inTransactionOn } from '#src/platform/postgres.ts';
import { cleared, ownMovements, type Pair } from './books.ts';
import { createFileWriter, type Trailer } from './format.ts';
import { moves, type Period } from './movement.ts';
import { onLongConnection } from './reconciling.ts';
import { checkFirst, checkJoins, lockSeries, seriesOf } from './series.ts';

const clearingMsMax = 10_000;

export interface ExportDraft extends Period {
  readonly pair: Pair;
  /** The name by which the partner knows this program. */
  readonly sender: string;
  readonly path: string;
  readonly actor: string;
  /** The number of the first file, of a series that was begun elsewhere. */
  readonly first?: number | undefined;
}

export interface Exported {
  readonly sequence: number;
  readonly trailer: Trailer;
}

/** The number of the next file, where its period joins the one before. */
async function nextNumber(tx: pg.ClientBase, { pair, from, first }: ExportDraft): Promise<number> {
  await lockSeries(tx, pair.partner);
  const series = await seriesOf(tx, 'written', pair.partner);
  if (first !== undefined && series.last !== null)
    throw new Error(`the series has begun; its last file was ${series.last}`);
  const sequence = (series.last ?? (first ?? 1) - 1) + 1;
  checkJoins(series, { sequence, from });
  if (series.last === null) await checkFirst(tx, pair, { sequence, from }, first);
  return sequence;
}

async function writeFileTo(
  tx: pg.ClientBase,
  { pair, sender, from, until, path }: ExportDraft,
  sequence: number,
): Promise<Trailer> {
  const writer = createFileWriter();
  let trailer: Trailer | undefined;
  async function* texts() {
    yield writer.header({ sender, sequence, from, until, createdAt: Math.floor(Date.now() / 1_000) });
    for await (const page of ownMovements(tx, pair, { from, until }, 'booked'))
      yield writer.details(page.filter(moves));
    const end = writer.trailer();
    trailer = end.trailer;
    yield end.text;
  }
  const file = createWriteStream(`${path}.part`, { encoding: 'utf8', flush: true });
  await pipeline(Readable.from(texts()), file);
  return trailer!;
}

/** Writes the partner's next file. */
export async function exportFile(pool: pg.Pool, databaseUrl: string, draft: ExportDraft): Promise<Exported> {
  const { pair, from, until, actor, path } = draft;
  if (!(await cleared(pool, clearingMsMax, until)))
    throw new Error('the books have more than was cleared; is the worker alliance running?');
  const exported = await onLongConnection(databaseUrl, (tx) =>
    inTransactionOn(tx, async () => {
      const sequence = await nextNumber(tx, draft);
      const trailer = await writeFileTo(tx, draft, sequence);
      await tx.query(
        `insert into reconciliation_export (partner, sequence, period_from, period_until, digest, lines, made_by)
         values ($1, $2, to_timestamp($3), to_timestamp($4), $5, $6, $7)`,
        [pair.partner, sequence, from, until, trailer.digest, trailer.details, actor],
      );
      return { sequence, trailer };
    }),
  );
  await rename(`${path}.part`, path);
  return exported;
}
