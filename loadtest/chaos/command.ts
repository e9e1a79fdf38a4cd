/**
 * `npm run chaos`: the real processes under load, broken again and again, and judged by somebody who knows nothing of them.
 * The last line is one JSON object. Exit code 1 when anything was lost, doubled, below zero, adrift, unbalanced or unnamed,
 * or when the run did not come to its end; 2 when the harness itself cannot go on.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { print, UsageFault } from '#src/platform/command.ts';
import { endRunning } from '#src/platform/local/processes.ts';
import { interruption, runToEnd } from '../command.ts';
import { cacheDir, checkout, makeRunFolder, removeFolder } from '../run-folder.ts';
import { type Broken, brokenBuilds, buildBroken } from './broken.ts';
import { faults, faultsFor } from './faults/all.ts';
import type { Fault } from './faults/fault.ts';
import { exitCodeOf, lastLine, sentences } from './report.ts';
import { exportRevision } from './revision.ts';
import { type ChaosOptions, runChaos } from './run.ts';

interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly faults: readonly string[];
  readonly callers: number;
  readonly broken: Broken | undefined;
  /** The revision that is upgraded from. */
  readonly beside: string | undefined;
  readonly isCluster: boolean;
  readonly wantsHelp: boolean;
  readonly keeps: boolean;
}

const help = `npm run chaos -- [--seconds N] [--seed S] [--fault NAME]… [--without NAME]… [--callers N] [--cluster] [--beside [REV]] [--keep]

  --seconds N     breaks things for so long (default 60); healing, draining and judging come after
  --seed S        which faults at which moments (default: a new one, which is printed)
  --fault NAME    only this fault; may be given several times
  --without NAME  all but this one; may be given several times
  --broken NAME   runs a copy of the code with one guard taken out, under the faults that should show it
  --beside [REV]  an upgrade: starts with the code of REV (default HEAD~1, as git has it) and replaces process by process
                  under load; for --seconds both versions run beside each other and are broken
  --callers N     so many callers at once (default 12)
  --cluster       three Redis masters with a replica each in the place of one Redis
  --keep          keeps the folder with data and logs

Faults:`;

function wholeOf(text: string | undefined, otherwise: number, name: string, max: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw new UsageFault(`--${name} needs a number up to ${max}`);
  return value;
}

/** What breaks while two versions run beside each other: what moves leases, opens epochs and starts processes anew. */
const besideFaults = [
  'kill-api',
  'kill-writer',
  'kill-upkeep',
  'rolling-restart',
  'redis-script-flush',
  'redis-restart',
];

/** `--beside` alone means the commit before. */
function withRevision(args: readonly string[]): string[] {
  return args.flatMap((arg, i) =>
    arg === '--beside' && (args[i + 1] ?? '--').startsWith('--') ? [arg, 'HEAD~1'] : [arg],
  );
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: withRevision(args),
    options: {
      seconds: { type: 'string' },
      seed: { type: 'string' },
      fault: { type: 'string', multiple: true, default: [] },
      without: { type: 'string', multiple: true, default: [] },
      callers: { type: 'string' },
      broken: { type: 'string' },
      beside: { type: 'string' },
      cluster: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const broken = brokenBuilds.find(({ name }) => name === values.broken);
  const isCluster = values.cluster || broken?.needs === 'a cluster';
  const names = faultsFor(isCluster).map(({ name }) => name);
  const stranger = [...values.fault, ...values.without].find((name) => !names.includes(name));
  if (stranger !== undefined)
    throw new UsageFault(`there is no fault ${stranger} here; there are ${names.join(', ')}`);
  if (values.broken !== undefined && !broken) {
    throw new UsageFault(`--broken needs one of ${brokenBuilds.map(({ name }) => name).join(', ')}`);
  }
  if (broken && values.beside !== undefined) throw new UsageFault('--broken or --beside, not both');
  const usual = values.beside === undefined ? names : besideFaults;
  const wanted = values.fault.length > 0 ? values.fault : (broken?.faults ?? usual);
  return {
    broken,
    beside: values.beside,
    isCluster,
    seconds: wholeOf(values.seconds, broken?.seconds ?? 60, 'seconds', 86_400),
    seed: wholeOf(values.seed, Date.now() % 1_000_000, 'seed', 4_294_967_295),
    faults: wanted.filter((name) => !values.without.includes(name)),
    callers: wholeOf(values.callers, 12, 'callers', 500),
    wantsHelp: values.help,
    keeps: values.keep,
  };
}

/** Whose code runs, and what it is replaced by. */
async function treesOf(
  { broken, beside }: Options,
  folder: string,
): Promise<Pick<ChaosOptions, 'root' | 'nextRoot'>> {
  if (broken) return { root: await buildBroken(broken, checkout, join(folder, 'broken')) };
  if (beside === undefined) return { root: checkout };
  const { commit, root } = await exportRevision(beside, checkout, join(folder, 'beside'));
  print(`from ${commit.slice(0, 12)} to this tree`);
  return { root, nextRoot: checkout };
}

function withNeed({ name, does, needs }: Fault): { name: string; does: string } {
  return { name, does: needs === undefined ? does : `${does} (only with ${needs})` };
}

async function chaos(options: Options, folder: string): Promise<number> {
  const { seconds, seed, faults: names, callers, isCluster } = options;
  const run: ChaosOptions = {
    seconds,
    seed,
    faults: names,
    callers,
    isCluster,
    folder,
    cacheDir,
    ...(await treesOf(options, folder)),
    abort: interruption(),
    print,
  };
  print(`seed ${seed}, ${seconds} s, data and logs in ${folder}`);
  const result = await runChaos(run);
  for (const sentence of sentences(result)) print(sentence);
  print(lastLine(result));
  return exitCodeOf(result);
}

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options.wantsHelp) {
    const listed = (items: readonly { name: string; does: string }[]) =>
      items.map(({ name, does }) => `\n  ${name.padEnd(24)} ${does}`).join('');
    print(`${help}${listed(faults.map(withNeed))}\n\nBroken builds:${listed(brokenBuilds)}`);
    return 0;
  }
  const folder = await makeRunFolder('chaos');
  try {
    return await chaos(options, folder);
  } finally {
    // Whatever a fault left behind, such as a replica that was never promoted.
    const steps = [
      { signal: 'SIGINT' as const, waitMs: 10_000 },
      { signal: 'SIGKILL' as const, waitMs: 5_000 },
    ];
    await endRunning([new RegExp(`${folder}/`)], steps);
    if (!options.keeps) await removeFolder(folder);
  }
}

await runToEnd(main, 2);
