/** What a run found, as text: who is in which group, and what those make of all spend. */
import { inColumns } from '#src/platform/command.ts';
import type { Run } from './runs.ts';
import { allOf, groups, percentText, rowsOf } from './tally.ts';

function amountText(minorUnits: number): string {
  return (minorUnits / 100).toLocaleString('en', { maximumFractionDigits: 0 });
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

/** The report; amounts are of a money with two decimals. */
export function reportText(run: Run, throughDate: string): string {
  const { tally } = run;
  const all = allOf(tally);
  const table = [['', 'members', 'share', 'spend', 'share', 'expected']];
  for (const group of groups) {
    const rows = rowsOf(tally, group);
    if (rows.length === 0) continue;
    table.push([group.title, '', '', '', '', '']);
    for (const [name, { members, spend, value }] of rows)
      table.push([
        `  ${name}`,
        members.toLocaleString('en'),
        percentText(members, all.members),
        amountText(spend),
        percentText(spend, all.spend),
        amountText(value),
      ]);
  }
  return [
    `Through ${throughDate}, by version ${run.version}: ${all.members.toLocaleString('en')} members who have bought, ${run.entered} entered segments and ${run.gone} left them, ${run.alerts} broke their rhythm.`,
    ...modelsText(run),
    '',
    inColumns(table),
  ].join('\n');
}
