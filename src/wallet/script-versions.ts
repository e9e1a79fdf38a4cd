/**
 * The versions of the scripts that are in use. Every process that calls scripts notes its own in PostgreSQL, at its start
 * and four times a minute; ledger writers load all that were noted in the last minutes, so that a process of one version is
 * not fenced by a writer of another one.
 *
 * Not everything is loaded: a version whose records this one could not book, that wants a literal which this one does not
 * know, or that Redis cannot compile, is left to a newer writer, and until then its processes are not ready.
 */

import type { Redis } from 'ioredis';
import type pg from 'pg';
import { z } from 'zod';
import { recordFormat } from '#src/journal.ts';
import { loadScripts, ownScripts, type ScriptVersion, type ShardEpoch, unknownLiterals } from './scripts.ts';

/** A process notes its scripts this often, and whoever was silent for the second is taken for gone. */
const noteMs = 15_000;
const inUseSeconds = 300;
/** More versions than this are never in use at once; the latest that were noted count. */
const versionsMax = 8;

const noteQuery = 'update script_version set seen_at = now() where version = $1';
const insertQuery = `
  insert into script_version (version, format, sources) values ($1, $2, $3)
  on conflict (version) do update set seen_at = excluded.seen_at`;
const forgetQuery = "delete from script_version where seen_at < now() - interval '1 day'";

export interface ScriptNote {
  /** Notes the scripts of this process where that is due. */
  write(): Promise<void>;
}

/** The note of this process. It has to be written once before the process counts on its scripts. */
export function createScriptNote(pool: pg.Pool): ScriptNote {
  let notedAt = Number.NEGATIVE_INFINITY;
  const { version, format, templates } = ownScripts;
  /** It becomes due several times a second while PostgreSQL stands still. */
  let running: Promise<void> | undefined;

  async function note(): Promise<void> {
    const noted = await pool.query(noteQuery, [version]);
    if (noted.rowCount === 0) {
      await pool.query(insertQuery, [version, format, JSON.stringify(templates)]);
      await pool.query(forgetQuery);
    }
    notedAt = performance.now();
  }

  return {
    write() {
      if (performance.now() - notedAt < noteMs) return Promise.resolve();
      running ??= note().finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}

/** A version that this one cannot load, and why. */
export interface LeftVersion {
  readonly version: string;
  readonly reason: string;
}

export interface VersionsInUse {
  /** This version first, then the others that can be loaded. */
  readonly loadable: readonly ScriptVersion[];
  readonly left: readonly LeftVersion[];
  /** Whether processes run whose records this version cannot read. */
  readonly hasNewerFormat: boolean;
}

const templatesSchema = z.record(z.string(), z.string().max(200_000));
/** Sources by version: they never change, so each is read once. Bounded by what one process lives to see. */
const read = new Map<string, ScriptVersion | LeftVersion>();
const readMax = 100;

function judged(version: string, format: number, sources: unknown): ScriptVersion | LeftVersion {
  if (format > recordFormat)
    return {
      version,
      reason: `its records are of format ${format}, this version reads up to ${recordFormat}`,
    };
  const templates = templatesSchema.safeParse(sources).data;
  if (!templates) return { version, reason: 'its sources are not scripts' };
  const unknown = unknownLiterals({ templates });
  if (unknown.length > 0)
    return {
      version,
      reason: `its scripts want the literals ${unknown.join(', ')}, which this version does not know`,
    };
  return { version, format, templates };
}

async function readSources(
  connection: Pick<pg.ClientBase, 'query'>,
  versions: readonly string[],
): Promise<void> {
  if (versions.length === 0) return;
  const { rows } = await connection.query<{ version: string; format: number; sources: unknown }>(
    'select version, format, sources from script_version where version = any($1::text[])',
    [versions],
  );
  if (read.size > readMax) read.clear();
  for (const { version, format, sources } of rows) read.set(version, judged(version, format, sources));
}

/** The versions that are in use, this one always among them. */
export async function versionsInUse(connection: Pick<pg.ClientBase, 'query'>): Promise<VersionsInUse> {
  const { rows } = await connection.query<{ version: string; format: number }>(
    `select version, format from script_version
     where seen_at > now() - make_interval(secs => $1) and version <> $2 order by seen_at desc limit $3`,
    [inUseSeconds, ownScripts.version, versionsMax],
  );
  await readSources(
    connection,
    rows.map((row) => row.version).filter((version) => !read.has(version)),
  );
  const others = rows.flatMap(({ version }) => read.get(version) ?? []);
  return {
    loadable: [ownScripts, ...others.filter((each) => 'templates' in each)],
    left: others.filter((each) => 'reason' in each),
    hasNewerFormat: rows.some(({ format }) => format > recordFormat),
  };
}

/** Loads versions into an epoch. One whose scripts Redis cannot compile is left from then on, as far as this process goes. */
export async function loadVersions(
  redis: Redis,
  shardEpoch: ShardEpoch,
  versions: readonly ScriptVersion[],
): Promise<void> {
  for (const { version, reason } of await loadScripts(redis, shardEpoch, versions))
    read.set(version, { version, reason });
}
