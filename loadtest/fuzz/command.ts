/** `npm run fuzz`: throws valid, broken and random calls at a service of its own and judges answers and books. */
import { parseArgs } from 'node:util';
import { print, UsageFault } from '#src/platform/command.ts';
import { interruption, runToEnd } from '../command.ts';
import { cacheDir, checkout, makeRunFolder, removeFolder } from '../run-folder.ts';
import { startFuzzEngine } from './engine.ts';
import { fuzz } from './run.ts';

const help = `npm run fuzz -- [--seconds N] [--seed S] [--steps N] [--cluster]

Starts PostgreSQL, Redis, API, ledger writer and upkeep in a folder of its own and calls every route of the OpenAPI document
with valid, broken and random bodies, headers, ids and sequences. A finding is a 5xx other than outcome_unknown, a reply
that is no problem document, no reply, a change that nobody was answered, a quarantined record, drift, or a dead process.

  --seconds N  how long (default 60)
  --seed S     the same seed makes the same calls (default 1)
  --steps N    ends after so many calls: the step of a finding and one more shows it again
  --cluster    on a Redis Cluster of three masters with a replica each

The last line is one JSON object; exit 1 on any finding.
`;

function wholeNumber(text: string | undefined, otherwise: number, name: string): number {
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text)) throw new UsageFault(`--${name} takes a whole number`);
  return Number(text);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string' },
      seed: { type: 'string' },
      steps: { type: 'string' },
      cluster: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    print(help);
    return 0;
  }
  const settings = {
    seconds: wholeNumber(values.seconds, 60, 'seconds'),
    seed: wholeNumber(values.seed, 1, 'seed'),
    stepsMax: wholeNumber(values.steps, 1_000_000_000, 'steps'),
  };
  const abort = interruption();
  const folder = await makeRunFolder('fuzz');
  try {
    const surroundings = {
      folder,
      checkout,
      cacheDir,
      members: 0,
      abort,
      print,
    };
    const engine = await startFuzzEngine(surroundings, values.cluster === true);
    try {
      const report = await fuzz(engine, settings, abort);
      for (const { step, what, call } of report.findings) print(`step ${step}: ${what}\n  ${call}`);
      print(JSON.stringify(report));
      return report.findings.length === 0 ? 0 : 1;
    } finally {
      await engine.stop();
    }
  } finally {
    await removeFolder(folder);
  }
}

await runToEnd(main, 2);
