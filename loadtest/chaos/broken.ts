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
    does: 'a writer goes on from its position without looking whether the record there is the one that the books have',
    changes: [
      {
        file: 'src/ledger/writer.ts',
        guard: / {6}`\$\{epoch\}-\$\{seq\}`,\n/,
        instead: '      `($${epoch}-$${seq}`,\n',
      },
      {
        file: 'src/ledger/writer.ts',
        guard: /const first = entries\[0\];\n {2}if \(!first\) throw/,
        instead: 'entries = [["", []], ...entries];\n  const first = undefined;\n  if (first) throw',
      },
      {
        file: 'src/ledger/writer.ts',
        guard:
          /const witness = readEntry\(first\[0\], first\[1\]\)\.record;\n {2}if \(witness\.epoch !== epoch \|\| witness\.seq !== seq\)/,
        instead: 'const witness = { kind: "opened" };\n  if (first)',
      },
      {
        file: 'src/ledger/writer.ts',
        guard: /if \(operation !== progress\.operation\)/,
        instead: 'if (first)',
      },
      {
        file: 'src/ledger/lineage.ts',
        guard: /if \(epoch === 0\) return 'same';/,
        instead: "if (epoch >= 0) return 'same';",
      },
    ],
    faults: ['redis-stale-replica', 'redis-resynced'],
    seconds: 30,
  },
  {
    name: 'snapshot',
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
    changes: [{ file: `${scripts}/undo.lua`, guard: /math\.min\(points, part\[3\]\)/, instead: 'points' }],
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

/** Copies the code into a folder and changes it. Answers the folder; throws where a change finds nothing to change. */
export async function buildChanged(
  name: string,
  changes: readonly Change[],
  checkout: string,
  folder: string,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const part of ['src', 'workers', 'prisma', 'loadtest', 'package.json']) {
    await cp(join(checkout, part), join(folder, part), { recursive: true });
  }
  await symlink(join(checkout, 'node_modules'), join(folder, 'node_modules'));
  for (const { file, guard, instead } of changes) {
    const path = join(folder, file);
    const text = await readFile(path, 'utf8');
    const without = text.replace(guard, instead);
    if (without === text) throw new Error(`${file} has no ${guard}: the build ${name} changes nothing`);
    await writeFile(path, without);
  }
  return folder;
}

/** A copy of the code without the guards of a broken build. */
export function buildBroken(broken: Broken, checkout: string, folder: string): Promise<string> {
  return buildChanged(broken.name, broken.changes, checkout, folder);
}
