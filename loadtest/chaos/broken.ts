/**
 * Builds that are broken on purpose: a copy of the code with one guard taken out, to show that a run would notice. A guard
 * that no longer reads as it is written here is an error, so that none of these goes stale in silence.
 */
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Change {
  readonly file: string;
  readonly guard: RegExp;
  readonly instead: string;
}

export interface Broken {
  readonly name: string;
  readonly does: string;
  readonly changes: readonly Change[];
  /** Faults under which it shows. */
  readonly faults: readonly string[];
  readonly needs?: 'a cluster';
  readonly seconds: number;
}

const scripts = 'src/wallet/scripts';

export const brokenBuilds: readonly Broken[] = [
  {
    name: 'append',
    does: 'redemptions move points without their journal record',
    changes: [
      {
        file: `${scripts}/prelude.lua`,
        guard: /local id = (redis\.pcall\('XADD'[^\n]*)/,
        instead: `local id
  if kind == 'redemption' then id = redis.call('XREVRANGE', JOURNAL, '+', '-', 'COUNT', 1)[1][1] else id = $1 end`,
      },
    ],
    faults: ['kill-upkeep'],
    seconds: 5,
  },
  {
    name: 'position',
    does: 'a member is loaded from a snapshot that is older than its last eviction',
    changes: [
      {
        file: `${scripts}/load.lua`,
        guard:
          /if tonumber\(epoch\) == EPOCH and tonumber\(ARGV\[3\]\) < tonumber\(seq\) then return 'outdated' end/,
        instead: '',
      },
    ],
    faults: ['network-late-loads'],
    seconds: 30,
  },
  {
    name: 'fence',
    does: 'movements go on in a journal that nobody has opened',
    changes: [
      { file: `${scripts}/prelude.lua`, guard: /'NOMKSTREAM', /, instead: '' },
      { file: `${scripts}/prelude.lua`, guard: /return not last\[1\] or [^\n]*/, instead: 'return false' },
    ],
    // One journal that is deleted while nobody moves points in its shard shows nothing.
    faults: ['redis-journal-deleted'],
    seconds: 15,
  },
  {
    name: 'refundCap',
    does: 'a redemption can be refunded again and again',
    changes: [
      {
        file: `${scripts}/undo.lua`,
        guard: / and points > 0 and part\[3\] > 0 then/,
        instead: ' and points > 0 then',
      },
      { file: `${scripts}/undo.lua`, guard: /math\.min\(points, part\[3\]\)/, instead: 'points' },
    ],
    faults: ['kill-upkeep'],
    seconds: 8,
  },
  {
    name: 'waiter',
    does: 'who waits for the books is told that they have it when another epoch begins',
    changes: [
      {
        file: 'src/wallet/written.ts',
        guard: /if \(now\.epoch > position\.epoch\) return 'moved';/,
        instead: "if (now.epoch > position.epoch) return 'written';",
      },
    ],
    faults: ['redis-flushall'],
    seconds: 25,
  },
  {
    name: 'belief',
    does: 'an API keeps what a master says that was replaced while it stood still',
    changes: [
      {
        file: 'src/platform/redis-cluster.ts',
        guard: /const isConfirmed = \(\) => [^;]*;/,
        instead: 'const isConfirmed = () => true;',
      },
    ],
    faults: ['cluster-blind-api'],
    needs: 'a cluster',
    seconds: 40,
  },
];

/** Copies the code into a folder and takes the guards out. Answers the folder. */
export async function buildBroken(broken: Broken, checkout: string, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const part of ['src', 'workers', 'prisma', 'loadtest', 'package.json']) {
    await cp(join(checkout, part), join(folder, part), { recursive: true });
  }
  await symlink(join(checkout, 'node_modules'), join(folder, 'node_modules'));
  for (const { file, guard, instead } of broken.changes) {
    const path = join(folder, file);
    const text = await readFile(path, 'utf8');
    const without = text.replace(guard, instead);
    if (without === text)
      throw new Error(`${file} has no ${guard}: the broken build ${broken.name} breaks nothing`);
    await writeFile(path, without);
  }
  return folder;
}
