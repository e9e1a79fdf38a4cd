/**
 * `npm run bench -- --campaign`: one campaign's budget that everybody hits. This service grants budgets to its shards by leases,
 * so that no receipt waits for another; in the single-store design each accrual takes its points out of one row. By turns, on
 * installations that stand side by side: the campaign without a budget, the campaign with one, and the single statement.
 */
import { join } from 'node:path';
import { type ProgramFile, programFileSchema } from '#src/earning/file/schema.ts';
import { demoFile } from '#src/earning/samples/demo.ts';
import { ratios, spreadText } from './apart-figures.ts';
import type { Contestant, Standing, Surroundings } from './contestant.ts';
import { machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { accrual } from './requests.ts';
import { underLoad } from './round.ts';
import { meet, populate } from './setup/members.ts';
import { singleStatementWithBudget } from './setup/single-sql.ts';
import { accruals, openStand } from './setup/stand.ts';
import { openVersions } from './setup/versions.ts';

const settings = { warmupMs: 4_000, measureMs: 6_000 };
/** More than all rounds give. */
const budgetPoints = 1_000_000_000;

/** The sample rule, and a campaign that gives as many points again on every receipt. */
function campaign(hasBudget: boolean): ProgramFile {
  return programFileSchema.parse({
    ...demoFile,
    ...(hasBudget ? { budgets: [{ name: 'campaign', points: budgetPoints, whenFull: 'refuse' }] } : {}),
    promotions: [
      {
        name: 'everybody',
        currency: 'points',
        during: { from: '2020-01-01' },
        earn: { by: 'amount', points: 1, perMinorUnits: 100 },
        ...(hasBudget ? { budget: 'campaign' } : {}),
      },
    ],
  });
}

const files = { unlimited: campaign(false), budget: campaign(true) };

/** Brings both designs up and measures them by turns; answers the figures as data. */
export async function measureCampaign(around: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print } = around;
  const { installation, standing } = await openStand(around, join(around.folder, 'campaign'));
  stack.defer(() => standing.stop());
  await populate(standing.port, around.members);
  await meet(standing.port, around.members, 1);
  const versions = stack.use(openVersions(installation.postgres.url, around.abort));
  const stage = singleStatementWithBudget(around);
  print(`single-sql-campaign: ${await stage.prepare()}`);
  const single = await stage.start();
  stack.defer(() => single.stop());

  const rates = { unlimited: [] as number[], budget: [] as number[], single: [] as number[] };
  const measure = async (name: keyof typeof rates, contestant: Contestant, on: Standing) => {
    const { perSecond, refused } = await underLoad(contestant, on, settings, around);
    if (refused > 0) throw new Error(`${refused} replies under ${name} were not 2xx`);
    rates[name].push(perSecond);
    return `${name} ${Math.round(perSecond)}`;
  };
  for (let round = 1; round <= roundCount; round += 1) {
    const said: string[] = [];
    for (const name of ['unlimited', 'budget'] as const) {
      await versions.apply(files[name]);
      said.push(await measure(name, accruals(name, accrual), standing));
    }
    said.push(await measure('single', stage.contestants[0]!, single));
    print(`round ${round} of ${roundCount}  accruals/s: ${said.join(', ')}`);
  }
  const marks = [
    markOf('campaign with a budget / without', ratios(rates.budget, rates.unlimited), {
      atLeast: 0.85,
      aim: 0.95,
    }),
    markOf('campaign with a budget / single statement with one', ratios(rates.budget, rates.single), {
      atLeast: 1.4,
      aim: 5,
    }),
  ];
  const titles = {
    unlimited: 'this service, the campaign without a budget',
    budget: 'this service, its budget hit by everybody',
    single: 'one SQL statement, its budget hit by everybody',
  };
  const rows = (Object.keys(titles) as (keyof typeof titles)[]).map((name) => [
    titles[name],
    spreadText(rates[name]),
  ]);
  print(`\n${table([['design', 'accruals/s'], ...rows])}\n\n${marksText(marks)}`);
  return { machine: machine(), rates, marks };
}
