/**
 * `npm run bench`: this service beside what else could be built, on the machine where it runs, one after the other and
 * again from the start, so that a slow minute falls on all. What is compared are ratios; requests a second are only true
 * for this machine. A mark that is missed is printed as missed and changes no exit code: the figures are for people.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { print, UsageFault } from '#src/platform/command.ts';
import { measureBacktest } from './backtest.ts';
import { measureBytes } from './bytes.ts';
import { measureCampaign } from './campaign.ts';
import { measureCeilings } from './ceilings.ts';
import { chartOf } from './chart.ts';
import { interruption, runToEnd } from './command.ts';
import type { Stage, Surroundings } from './contestant.ts';
import { measureDiary } from './diary.ts';
import { measureExchanges } from './exchanges.ts';
import { measureGives } from './gives.ts';
import { measureGrowth } from './grow.ts';
import { measureLatency } from './latency.ts';
import { machine, syncSpeed } from './machine.ts';
import type { Entry } from './marks.ts';
import { measureReconcile } from './reconcile.ts';
import { measureRecovery } from './recovery.ts';
import { reportJson, reportText } from './report.ts';
import { type Round, runRound } from './round.ts';
import { measureRules } from './rules.ts';
import { cacheDir, checkout, logTails, makeRunFolder, removeFolder } from './run-folder.ts';
import { measureSegments } from './segments.ts';
import { echoes } from './setup/echo.ts';
import { thisEngine } from './setup/engine.ts';
import { usualDesign } from './setup/prisma.ts';
import { scriptOnly, scriptWithWriter } from './setup/script-only.ts';
import { singleStatement } from './setup/single-sql.ts';
import { measureTiers } from './tiers.ts';

const help = `npm run bench -- [--quick] [--only NAME]… [--rounds N] [--json FILE] [--svg FILE] [--api-processes N]
npm run bench -- --MEASURE [--members N] [--entries N] [--receipts N] [--rate N] [--lines N] [--rounds N]
                                  [--json FILE]

  --quick      two short rounds of the contestants that the first marks are about: under two minutes
  --only NAME  only this contestant; may be given several times
  --rounds N   so many rounds (default 3, quick 2)
  --json FILE  writes the figures of every round as JSON
  --svg FILE   draws what was counted a second
  --api-processes N  processes behind the port of this service's API (default 1)

Measures, one at a time:
`;

interface Options {
  readonly isQuick: boolean;
  readonly wantsHelp: boolean;
  readonly only: readonly string[];
  readonly rounds: number;
  readonly jsonPath: string | undefined;
  readonly svgPath: string | undefined;
  /** What is measured instead of the contestants. */
  readonly apart: Apart | undefined;
  readonly members: number;
  /** Of the largest books of --grow. */
  readonly entries: number;
  /** In the diary of --segments. */
  readonly receipts: number;
  /** Exchanges a second of --exchanges. */
  readonly rate: number;
  /** Of the file of --reconcile. */
  readonly lines: number;
  readonly apiProcesses: number;
}

interface Measure {
  readonly title: string;
  /** How many where nobody says; ten thousand when absent. */
  readonly members?: number;
  /** Members that are only rows in PostgreSQL may be many; others are enrolled one by one. */
  readonly membersMax?: number;
  /** Answers its figures for `--json`. */
  run(around: Surroundings, options: Options): Promise<object | undefined>;
}

/** What is measured apart from the contestants. */
const measures = {
  recovery: {
    members: 100_000,
    title: 'takeover, recovery of shards, members coming back; with so many --members (default 100000)',
    run: (around) => measureRecovery(around).then(() => undefined),
  },
  ceilings: {
    title: 'redis-benchmark with our script and COPY of our rows, beside bulk accruals and the ledger writer',
    run: (around, { rounds }) => measureCeilings(around, rounds),
  },
  latency: {
    title: 'open loop at 25, 50, 75 % of capacity beside bare Express at the same rates',
    run: (around, { rounds }) => measureLatency(around, rounds),
  },
  bytes: {
    title: 'what a hot member, a reference, a journal record and an entry take; CPU seconds by process',
    run: (around) => measureBytes(around),
  },
  rules: {
    title:
      "what judging ten lines by 200 rules takes, and accruals under the supermarket's program beside the sample rule",
    run: (around, { rounds }) => measureRules(around, rounds),
  },
  campaign: {
    title:
      "one campaign's budget hit by everybody, beside the same without one and a single statement with one",
    run: (around, { rounds }) => measureCampaign(around, rounds),
  },
  backtest: {
    title: "receipts a second that a backtest judges, by the sample rule and by the supermarket's program",
    run: (around, { rounds }) => measureBacktest(around, rounds),
  },
  gives: {
    members: 100_000,
    title: 'a worker gives points to all members: awards a second, and the p99 of accruals beside it',
    run: (around, { rounds }) => measureGives(around, rounds),
  },
  exchanges: {
    title: `exchanges a second against the partner simulator, open loop at --rate (default 500), and the p99 of accruals
              beside them`,
    run: (around, options) => measureExchanges(around, options),
  },
  diary: {
    title:
      'the books read into the diary: operations a second, CPU an operation, and how far behind it is under load',
    run: (around, { rounds }) => measureDiary(around, rounds),
  },
  tiers: {
    title: 'a million --members looked at for their tiers beside tills, and how soon a promotion counts',
    members: 1_000_000,
    membersMax: 10_000_000,
    run: (around, { rounds }) => measureTiers(around, rounds),
  },
  segments: {
    title: 'measuring a million --members with twenty million --receipts in the diary',
    members: 1_000_000,
    membersMax: 10_000_000,
    run: (around, { receipts }) => measureSegments(around, receipts),
  },
  reconcile: {
    title:
      "a partner's file of a million --lines against the books: seconds, and peak memory beside a tenth of it",
    run: (around, { lines }) => measureReconcile(around, lines),
  },
  grow: {
    title: `the same accruals on books of a tenth of and of all --entries (default 10000000) as on small ones, the same
              bytes, and all members loaded into an empty Redis: the better part of an hour`,
    run: (around, { entries, rounds }) => measureGrowth(around, entries, rounds),
  },
} as const satisfies Record<string, Measure>;
type Apart = keyof typeof measures;
const apartNames = Object.keys(measures) as Apart[];
const measuresHelp = apartNames.map((name) => `  --${name.padEnd(11)}${measures[name].title}\n`).join('');
const apartOptions = Object.fromEntries(
  apartNames.map((name) => [name, { type: 'boolean', default: false }]),
) as Readonly<Record<Apart, { type: 'boolean'; default: boolean }>>;

/** A whole number within its bounds. */
function whole(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new UsageFault(`--${flag} needs ${least} to ${most}`);
  return value;
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      json: { type: 'string' },
      svg: { type: 'string' },
      ...apartOptions,
      entries: { type: 'string', default: '10000000' },
      receipts: { type: 'string', default: '20000000' },
      rate: { type: 'string', default: '500' },
      lines: { type: 'string', default: '1000000' },
      members: { type: 'string' },
      'api-processes': { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  const { quick: isQuick, help: wantsHelp, only, json: jsonPath, svg: svgPath } = values;
  const [apart, another] = apartNames.filter((name) => values[name]);
  if (another) throw new UsageFault(`--${apart} and --${another} are measured one at a time`);
  const measure: Measure | undefined = apart && measures[apart];
  const { members = 10_000, membersMax = 100_000 } = measure ?? {};
  return {
    ...{ isQuick, wantsHelp, only, jsonPath, svgPath, apart },
    rounds: whole('rounds', values.rounds ?? (isQuick ? '2' : '3'), 1, 50),
    members: whole('members', values.members ?? String(members), 10_000, membersMax),
    entries: whole('entries', values.entries, 200_000, 100_000_000),
    receipts: whole('receipts', values.receipts, 20_000, 200_000_000),
    rate: whole('rate', values.rate, 1, 10_000),
    lines: whole('lines', values.lines, 10_000, 5_000_000),
    apiProcesses: whole('api-processes', values['api-processes'], 1, 64),
  };
}

const quickOnes = ['node-echo', 'script-only', 'service', 'single-sql', 'prisma'];

/** In this order they run: those that a mark compares are near one another. */
function stagesOf(around: Surroundings): Stage[] {
  return [
    ...echoes(around),
    scriptOnly(around),
    scriptWithWriter(around),
    thisEngine(around),
    ...singleStatement(around),
    usualDesign(around),
  ];
}

/** Who runs: those asked for; else all, or with `--quick` those that the first marks are about. */
function chosenOf(all: readonly Stage[], { only, isQuick }: Options): Stage[] {
  const names = all.flatMap(({ contestants }) => contestants.map(({ name }) => name));
  if (only.some((name) => !names.includes(name)))
    throw new UsageFault(`--only needs one of ${names.join(', ')}`);
  const wanted = only.length > 0 ? only : isQuick ? quickOnes : names;
  return all
    .map((stage) => ({
      ...stage,
      contestants: stage.contestants.filter(({ name }) => wanted.includes(name)),
    }))
    .filter(({ contestants }) => contestants.length > 0);
}

async function bench(options: Options, stages: readonly Stage[], around: Surroundings): Promise<void> {
  const { rounds, isQuick, jsonPath, svgPath } = options;
  const settings = isQuick ? { warmupMs: 1_500, measureMs: 2_000 } : { warmupMs: 3_000, measureMs: 6_000 };
  const syncs = [syncSpeed(around.folder)];
  const entries: (Entry & { rounds: Round[] })[] = [];
  for (const stage of stages) {
    print(`${stage.name}: preparing …`);
    const chosen = await stage.prepare();
    entries.push(
      ...stage.contestants.map((contestant) => ({ contestant, chosen, rounds: [] satisfies Round[] })),
    );
  }
  for (let number = 1; number <= rounds; number += 1) {
    for (const stage of stages) {
      await runRound(stage, settings, around, (contestant, round) => {
        entries.find((entry) => entry.contestant === contestant)!.rounds.push(round);
        print(
          `round ${number} of ${rounds}  ${contestant.name.padEnd(22)} ${Math.round(round.perSecond)} ${contestant.counted.name}/s`,
        );
      });
    }
  }
  syncs.push(syncSpeed(around.folder));
  print(`\n${reportText(machine(), syncs, entries)}`);
  if (jsonPath)
    await writeFile(jsonPath, `${JSON.stringify(reportJson(machine(), syncs, entries), null, 2)}\n`);
  if (svgPath) await writeFile(svgPath, chartOf(machine(), entries));
}

async function measureApart(apart: Apart, options: Options, around: Surroundings): Promise<void> {
  const figures = await measures[apart].run(around, options);
  if (options.jsonPath && figures) await writeFile(options.jsonPath, `${JSON.stringify(figures, null, 2)}\n`);
}

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  const abort = interruption();
  const folder = await makeRunFolder('bench');
  try {
    const around: Surroundings = {
      folder,
      checkout,
      cacheDir,
      members: options.members,
      // Trying all takes a fifth of the two minutes; with 20 the usual design was fastest on a quiet machine.
      ...(options.isQuick ? { poolSizes: [20] as const } : {}),
      apiProcesses: options.apiProcesses,
      abort,
      print,
    };
    const all = stagesOf(around);
    if (options.wantsHelp)
      print(
        `${help}${measuresHelp}\nContestants: ` +
          all
            .flatMap(({ contestants }) => contestants)
            .map(({ name, title }) => `\n  ${name.padEnd(22)} ${title}`)
            .join(''),
      );
    else if (options.apart) await measureApart(options.apart, options, around);
    else await bench(options, chosenOf(all, options), around);
    return 0;
  } catch (error) {
    // What waits ends with an error of its own; the interrupt is what a person wants to read.
    abort.throwIfAborted();
    for (const tail of await logTails(folder)) print(tail);
    throw error;
  } finally {
    await removeFolder(folder);
  }
}

await runToEnd(main, 1);
