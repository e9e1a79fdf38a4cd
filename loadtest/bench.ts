/**
 * `npm run bench`: this service beside what else could be built, on the machine where it runs, one after the other and
 * again from the start, so that a slow minute falls on all. What is compared are ratios; requests a second are only true
 * for this machine. A mark that is missed is printed as missed and changes no exit code: the figures are for people.
 */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { print, UsageFault } from '#src/platform/command.ts';
import { logTail } from '#src/platform/local/processes.ts';
import type { Contestant, Surroundings } from './contestant.ts';
import { machine, syncSpeed } from './machine.ts';
import { measureRecovery } from './recovery.ts';
import { type Entry, reportJson, reportText } from './report.ts';
import { type Round, runRound } from './round.ts';
import { thisEngine } from './setup/engine.ts';
import { usualDesign } from './setup/prisma.ts';
import { scriptOnly } from './setup/script-only.ts';

const checkout = fileURLToPath(new URL('../', import.meta.url));
const help = `npm run bench -- [--quick] [--only NAME]… [--rounds N] [--json FILE] | --recovery [--members N]

  --quick      two rounds of 4 s of the contestants that the marks are about: under two minutes
  --only NAME  only this contestant; may be given several times
  --rounds N   so many rounds (default 3, quick 2)
  --json FILE  writes the figures of every round as JSON
  --recovery   takeover, recovery of shards, members coming back; with so many --members (default 100000)

Contestants: `;

interface Options {
  readonly isQuick: boolean;
  readonly wantsHelp: boolean;
  readonly only: readonly string[];
  readonly rounds: number;
  readonly jsonPath: string | undefined;
  readonly isRecovery: boolean;
  readonly members: number;
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      json: { type: 'string' },
      recovery: { type: 'boolean', default: false },
      members: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 3));
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 50) throw new UsageFault('--rounds needs 1 to 50');
  const { quick: isQuick, help: wantsHelp, only, json: jsonPath, recovery: isRecovery } = values;
  const members = Number(values.members ?? (isRecovery ? 100_000 : 10_000));
  if (!Number.isInteger(members) || members < 10_000 || members > 100_000)
    throw new UsageFault('--members needs 10000 to 100000');
  return { isQuick, wantsHelp, only, rounds, jsonPath, isRecovery, members };
}

/** Who runs: those asked for; else all, or with `--quick` those that the marks are about. */
function chosenOf(all: readonly Contestant[], { only, isQuick }: Options): Contestant[] {
  const names = all.map(({ name }) => name);
  if (only.some((name) => !names.includes(name)))
    throw new UsageFault(`--only needs one of ${names.join(', ')}`);
  if (only.length > 0) return all.filter(({ name }) => only.includes(name));
  return isQuick ? all.filter(({ name }) => ['script-only', 'prisma', 'service'].includes(name)) : [...all];
}

async function bench(
  options: Options,
  contestants: readonly Contestant[],
  around: Surroundings,
): Promise<void> {
  const { rounds, isQuick, jsonPath } = options;
  const settings = isQuick ? { warmupMs: 3_000, measureMs: 4_000 } : { warmupMs: 3_000, measureMs: 8_000 };
  const syncs = [syncSpeed(around.folder)];
  const entries: (Entry & { rounds: Round[] })[] = [];
  for (const contestant of contestants) {
    print(`${contestant.name}: preparing …`);
    entries.push({ contestant, chosen: await contestant.prepare(), rounds: [] });
  }
  for (let number = 1; number <= rounds; number += 1) {
    for (const { contestant, rounds: done } of entries) {
      const round = await runRound(contestant, settings, around);
      done.push(round);
      print(
        `round ${number} of ${rounds}  ${contestant.name.padEnd(20)} ${Math.round(round.perSecond)} requests/s`,
      );
    }
  }
  syncs.push(syncSpeed(around.folder));
  print(`\n${reportText(machine(), syncs, entries)}`);
  if (jsonPath)
    await writeFile(jsonPath, `${JSON.stringify(reportJson(machine(), syncs, entries), null, 2)}\n`);
}

async function main(): Promise<void> {
  const options = optionsOf(process.argv.slice(2));
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interrupt.abort(new UsageFault(`Ended by ${signal}.`)));
  }
  const data = join(checkout, '.data');
  await mkdir(data, { recursive: true });
  // On the disk of the checkout: the folder for temporary files may be memory, where durability costs nothing.
  const folder = await mkdtemp(join(data, 'bench-'));
  try {
    const around: Surroundings = {
      folder,
      checkout,
      cacheDir: join(checkout, 'node_modules/.cache/points-engine'),
      members: options.members,
      isQuick: options.isQuick,
      abort: interrupt.signal,
      print,
    };
    const all = [scriptOnly(around), usualDesign(around), ...thisEngine(around)];
    if (options.wantsHelp)
      print(help + all.map(({ name, title }) => `\n  ${name.padEnd(20)} ${title}`).join(''));
    else if (options.isRecovery) await measureRecovery(around);
    else await bench(options, chosenOf(all, options), around);
  } catch (error) {
    // What waits ends with an error of its own; the interrupt is what a person wants to read.
    interrupt.signal.throwIfAborted();
    for (const name of (await readdir(folder)).filter((file) => file.endsWith('.log'))) {
      const tail = (await logTail(join(folder, name))).split('\n').slice(-5).join('\n');
      if (tail !== '') print(`The end of ${name}:\n${tail}`);
    }
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

try {
  await main();
} catch (error) {
  const isUsage = error instanceof UsageFault || (error instanceof TypeError && 'code' in error);
  print(error instanceof Error ? (isUsage ? error.message : (error.stack ?? error.message)) : String(error));
  process.exitCode = 1;
}
