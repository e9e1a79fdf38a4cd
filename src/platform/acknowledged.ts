/**
 * The note that every API process makes of what it acknowledged: the highest position a shard, once a second, in
 * PostgreSQL. When a Redis comes back with less, recovery knows from it which numbers are lost. While PostgreSQL is away
 * the note stands in a file of the data folder, so that it outlives this process; whichever process of that folder
 * reaches PostgreSQL next carries it over. The note is a second behind at most.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { z } from 'zod';
import type { Position } from '#src/values.ts';

export interface AcknowledgedNote {
  /** Called for every acknowledged record. */
  acknowledged(position: Position): void;
  /** Carries the note to PostgreSQL, or to the file when that is away. Throws when neither takes it. */
  write(): Promise<void>;
}

const fileName = /^acknowledged-[0-9a-f-]{36}\.json$/;
const filesMax = 1_000;
const whole = z.number().int().min(0);
const fileSchema = z.object({
  process: z.string(),
  positions: z.array(z.object({ shard: whole, epoch: whole, seq: whole })).max(4_096),
});

const upsert = `
  insert into acknowledged (process, shard, epoch, seq)
  select $1, s.shard, s.epoch, s.seq from unnest($2::smallint[], $3::int[], $4::bigint[]) as s(shard, epoch, seq)
  on conflict (process, shard) do update set epoch = excluded.epoch, seq = excluded.seq, noted_at = now()
  where (acknowledged.epoch, acknowledged.seq) < (excluded.epoch, excluded.seq)`;

/** Notes of processes that have long ended and that the books reach: nothing they name can be lost any more. */
const forget = `
  delete from acknowledged a using position p
  where a.shard = p.shard and a.noted_at < now() - interval '1 hour' and (a.epoch, a.seq) <= (p.epoch, p.seq)`;
const forgetEveryMs = 600_000;
const sendAllEveryMs = 30_000;

/** What a file of the folder says; undefined where a full disk or a hand left something else. */
function fileOf(text: string): z.output<typeof fileSchema> | undefined {
  try {
    return fileSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

async function send(pool: pg.Pool, processId: string, rows: readonly Position[]): Promise<void> {
  await pool.query(upsert, [
    processId,
    rows.map((row) => row.shard),
    rows.map((row) => row.epoch),
    rows.map((row) => row.seq),
  ]);
}

function isAfter(a: Position, b: Position | undefined): boolean {
  return !b || b.epoch < a.epoch || (b.epoch === a.epoch && b.seq < a.seq);
}

/** Starts a note. Without a folder it stands in memory alone while PostgreSQL is away. */
export function createAcknowledgedNote(
  pool: pg.Pool,
  processId: string,
  folder: string | undefined,
): AcknowledgedNote {
  const highest = new Map<number, Position>();
  /** What PostgreSQL has of this process, as long as it is the one that it was sent to. */
  const sent = new Map<number, Position>();
  pool.on('error', () => sent.clear());
  let sentAllAt = 0;
  let forgotAt = 0;
  let isInFile = false;
  let isFirst = true;

  const pathOf = (name: string) => join(folder ?? '', name);
  const ownFile = `acknowledged-${processId}.json`;

  async function toFile(): Promise<void> {
    if (folder === undefined) return;
    const positions = [...highest.values()].map(({ shard, epoch, seq }) => ({ shard, epoch, seq }));
    await mkdir(folder, { recursive: true });
    await writeFile(pathOf(`${ownFile}.new`), JSON.stringify({ process: processId, positions }), {
      mode: 0o600,
    });
    await rename(pathOf(`${ownFile}.new`), pathOf(ownFile));
    isInFile = true;
  }

  /** Carries over what processes of this folder left behind when they ended while PostgreSQL was away. */
  async function carryOver(): Promise<void> {
    if (folder === undefined) return;
    const names = await readdir(folder).catch(() => []);
    for (const name of names.filter((each) => fileName.test(each)).slice(0, filesMax)) {
      // Its owner may live and write anew at any moment: what is carried over and removed is what was taken aside.
      const aside = pathOf(`acknowledged-${randomUUID()}.json`);
      await rename(pathOf(name), aside).catch(() => undefined);
      const left = fileOf(await readFile(aside, 'utf8').catch(() => ''));
      if (left) await send(pool, left.process, left.positions);
      await rm(aside, { force: true });
    }
  }

  async function toPostgres(): Promise<void> {
    // A PostgreSQL that was replaced by an older copy of itself does not say so.
    if (Date.now() - sentAllAt > sendAllEveryMs) {
      sent.clear();
      sentAllAt = Date.now();
    }
    const rows = [...highest.values()].filter((position) => isAfter(position, sent.get(position.shard)));
    if (rows.length > 0) await send(pool, processId, rows);
    for (const row of rows) sent.set(row.shard, row);
    if (isFirst || isInFile) await carryOver();
    isFirst = false;
    isInFile = false;
    if (Date.now() - forgotAt < forgetEveryMs) return;
    forgotAt = Date.now();
    await pool.query(forget);
  }

  return {
    acknowledged(position) {
      if (isAfter(position, highest.get(position.shard))) highest.set(position.shard, position);
    },
    async write() {
      try {
        await toPostgres();
      } catch (error) {
        // What PostgreSQL had may be gone when it comes back: everything is sent again.
        sent.clear();
        await toFile();
        if (folder === undefined) throw error;
      }
    },
  };
}
