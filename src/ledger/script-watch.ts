/**
 * How a ledger writer keeps the scripts of the shards that it serves. It looks again and again whether their fences
 * stand; where a version of the service has come into use since an epoch was opened, it loads that version's scripts too.
 *
 * Loading opens nothing: the journal's epoch and the replication history in the text decide whether a script may write. So it is
 * enough that Redis is the one that the epoch was opened on, before and after.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Logger } from 'pino';
import { identityOf } from '#src/platform/redis.ts';
import { changedChannel } from '#src/wallet/keys.ts';
import {
  createScriptNote,
  loadVersions,
  type VersionsInUse,
  versionsInUse,
} from '#src/wallet/script-versions.ts';
import { loadedVersions, ownScripts, type ScriptVersion } from '#src/wallet/scripts.ts';
import { fencesOf, type OpenEpoch } from './fence.ts';

const versionsMs = 500;
/** A writer that met a record of a newer version takes no more shards for so long, and while that version is in use. */
const outdatedMs = 30_000;

export interface ScriptWatch {
  /** Notes this writer's own scripts, and reads which versions are in use; both where that is due. */
  note(): Promise<void>;
  /** Loads into an epoch what is in use and not there. */
  complete(redis: Redis, open: OpenEpoch): Promise<void>;
  /** Of the epochs that a Redis serves, the shards whose fence has fallen; brings the others' scripts up to date. */
  fallen(redis: Redis, served: readonly OpenEpoch[]): Promise<readonly number[]>;
  /** A record of a newer version was met. */
  metNewer(): void;
  /** Whether there are records for newer writers: this one keeps the shards that it can read and takes no more. */
  isOutdated(): boolean;
}

export function createScriptWatch(pool: pg.Pool, log: Logger): ScriptWatch {
  const own = createScriptNote(pool);
  const told = new Set<string>();
  let inUse: VersionsInUse = { loadable: [ownScripts], left: [], hasNewerFormat: false };
  let readAt = Number.NEGATIVE_INFINITY;
  let metNewerAt = Number.NEGATIVE_INFINITY;

  async function read(): Promise<void> {
    if (performance.now() - readAt < versionsMs) return;
    readAt = performance.now();
    inUse = await versionsInUse(pool);
    for (const { version, reason } of inUse.left) {
      if (told.has(version)) continue;
      told.add(version);
      log.warn({ version, reason }, 'the scripts of another version are left to a newer writer');
    }
  }

  /** False where another Redis has come meanwhile. */
  async function load(redis: Redis, open: OpenEpoch, versions: readonly ScriptVersion[]): Promise<boolean> {
    if ((await identityOf(redis)) !== open.identity) return false;
    await loadVersions(redis, open, versions);
    if ((await identityOf(redis)) !== open.identity) return false;
    const names = versions.map(({ version }) => version.slice(0, 12));
    log.info({ shard: open.shard, epoch: open.epoch, versions: names }, 'scripts of more versions are there');
    return true;
  }

  return {
    async note() {
      await own.write();
      await read();
    },
    async complete(redis, open) {
      const loaded = await loadedVersions(redis, open, inUse.loadable);
      const missing = inUse.loadable.filter((each) => !loaded.includes(each));
      if (missing.length > 0 && !(await load(redis, open, missing)))
        throw new Error(
          `shard ${open.shard}: another Redis answers than the one that its epoch was opened on`,
        );
    },
    async fallen(redis, served) {
      const { fallen, lacking } = await fencesOf(redis, served, inUse.loadable);
      const lost: number[] = [];
      for (const { open, versions } of lacking) {
        if (!(await load(redis, open, versions))) lost.push(open.shard);
      }
      // Whoever waits for its scripts looks again.
      if (lacking.length > 0) await redis.publish(changedChannel, 'epoch');
      return [...fallen, ...lost];
    },
    metNewer() {
      metNewerAt = performance.now();
    },
    isOutdated: () => metNewerAt > 0 && (inUse.hasNewerFormat || performance.now() - metNewerAt < outdatedMs),
  };
}
