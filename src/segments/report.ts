/** What a run found, as text: who is in which group, and what those make of all spend. */
import { moneyDecimals } from '#src/earning/rules/money.ts';
import { inColumns } from '#src/platform/command.ts';
import type { Run } from './runs.ts';
import { allOf, groups, percentText, rowsOf } from './tally.ts';

/** Whole units of a money, such as euro, yen or dinar. */
function amountText(minorUnits: number, money: string | undefined): string {
  const units = minorUnits / 10 ** moneyDecimals(money ?? '');
  return units.toLocaleString('en', { maximumFractionDigits: 0 });
}

function modelsText({ models }: Run): string[] {
  if (!models) return [];
  if ('missing' in models) return [`No expected value: ${models.missing}.`];
  const { buying, spending, sampled, buyingLogLikelihood } = models;
  const numbers = (parameters: object) =>
    Object.entries(parameters)
      .map(([name, value]) => `${name} ${(value as number).toPrecision(4)}`)
      .join(', ');
  return [
    `BG/NBD of ${sampled.toLocaleString('en')} members, in weeks: ${numbers(buying)}; log-likelihood ${buyingLogLikelihood.toFixed(1)}`,
    ...(spending ? [`Gamma-gamma, in minor units: ${numbers(spending)}`] : []),
    ...(models.isFound ? [] : ['The search for these parameters was ended by its bound.']),
  ];
}

/** The report. `money`: what amounts are in; undefined where the file names none, and then they have two decimals. */
export function reportText(run: Run, throughDate: string, money?: string): string {
  const { tally } = run;
  const all = allOf(tally);
  const table = [
    ['', 'members', 'share', money === undefined ? 'spend' : `spend, ${money}`, 'share', 'expected'],
  ];
  for (const group of groups) {
    const rows = rowsOf(tally, group);
    if (rows.length === 0) continue;
    table.push([group.title, '', '', '', '', '']);
    for (const [name, { members, spend, value }] of rows)
      table.push([
        `  ${name}`,
        members.toLocaleString('en'),
        percentText(members, all.members),
        amountText(spend, money),
        percentText(spend, all.spend),
        amountText(value, money),
      ]);
  }
  return [
    `Through ${throughDate}, by version ${run.version}: ${all.members.toLocaleString('en')} members who have bought, ${run.entered} entered segments and ${run.gone} left them, ${run.alerts} broke their rhythm.`,
    ...modelsText(run),
    '',
    inColumns(table),
  ].join('\n');
}
