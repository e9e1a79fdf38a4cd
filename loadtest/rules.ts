/**
 * `npm run bench -- --rules`: what judging costs. In this process alone, a receipt of ten lines against 200 active rules and
 * promotions; then the rate of accruals under the supermarket's program beside that under the sample rule, the same receipt
 * of ten lines for both, by turns on one installation whose program goes from one version to the other.
 */
import { join } from 'node:path';
import { definitionOf } from '#src/earning/file/definition.ts';
import { noNumbers } from '#src/earning/file/numbers.ts';
import { type ProgramFile, type ProgramFileInput, programFileSchema } from '#src/earning/file/schema.ts';
import { compileRules } from '#src/earning/rules/compile.ts';
import { evaluate } from '#src/earning/rules/evaluate.ts';
import type { Question } from '#src/earning/rules/judging.ts';
import { nobody } from '#src/earning/rules/types.ts';
import { ratios, spreadText } from './apart-figures.ts';
import type { Surroundings } from './contestant.ts';
import { machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { request } from './requests.ts';
import { underLoad } from './round.ts';
import { meet, populate } from './setup/members.ts';
import { tenCategories as categories, tenLines as lines, sampleFiles } from './setup/samples.ts';
import { accruals, openStand } from './setup/stand.ts';
import { openVersions } from './setup/versions.ts';

const rulesActive = 120;
const promotionsActive = 80;
const evaluations = 5_000;
const settings = { warmupMs: 4_000, measureMs: 6_000 };
/** So many purchases of 50.00 each member has made before: welcome gifts, the tenth and the month's spending are behind most. */
const purchasesBefore = 11;
const amountBefore = 5_000;

type Rule = NonNullable<ProgramFileInput['rules']>[number];
type Promotion = NonNullable<ProgramFileInput['promotions']>[number];

/** Rules of which a tenth has a condition, promotions of which a third recurs; each line is meant by several. */
function manyRules(): ProgramFile {
  const lines = (i: number) => ({ categories: [categories[i % categories.length]!] });
  const rules = Array.from({ length: rulesActive }, (_, i): Rule => {
    const limited = i % 10 === 0 ? { when: 'receipt.total > 1000 && receipt.store != ""' } : {};
    const stores = i % 4 === 0 ? { stores: ['s-12', 's-13'] } : {};
    return {
      name: `rule-${i}`,
      currency: 'points',
      ...limited,
      ...stores,
      earn: { by: 'amount', points: 1, perMinorUnits: 100, lines: lines(i) },
    };
  });
  const promotions = Array.from({ length: promotionsActive }, (_, i): Promotion => {
    const repeat = i % 3 === 0 ? { repeat: 'FREQ=MONTHLY;BYMONTHDAY=8' } : {};
    const effect =
      i % 2 === 0
        ? { multiply: { by: 2, lines: lines(i) }, group: 'days' }
        : { earn: { by: 'amount' as const, points: 1, perMinorUnits: 50, lines: lines(i) } };
    return {
      name: `promotion-${i}`,
      currency: 'points',
      during: { from: '2020-01-01', ...repeat },
      ...effect,
    };
  });
  const groups = [{ name: 'days', combine: 'best' as const }];
  return programFileSchema.parse({
    timeZone: 'Europe/Berlin',
    currencies: [{ code: 'points' }],
    rules,
    promotions,
    groups,
  });
}

/** Microseconds that judging one receipt takes, in each round; the first, in which code is still compiled, does not count. */
function judgingMicros(roundCount: number): number[] {
  const rules = compileRules(definitionOf(manyRules(), noNumbers));
  const question: Question = {
    subject: { purchase: { currency: 'EUR', store: 's-12', lines } },
    member: { ...nobody, isKnown: true },
    counters: () => undefined,
    occurredAt: Date.parse('2026-11-08T12:00:00Z'),
    postedAt: Date.parse('2026-11-08T12:00:00Z'),
  };
  const rounds = Array.from({ length: roundCount + 1 }, () => {
    const startedMs = performance.now();
    for (let i = 0; i < evaluations; i += 1) evaluate(rules, question);
    return ((performance.now() - startedMs) * 1_000) / evaluations;
  });
  return rounds.slice(1);
}

const receipt = request(
  'POST',
  '/v1/accruals',
  'demo-pos',
  `{"member":"{{member}}","reference":"{{reference}}","occurredAt":"{{now}}","purchase":{"order":"{{order}}","store":"s-12","currency":"EUR","lines":${JSON.stringify(lines)}}}`,
);

/** Brings this service up and measures it under both programs by turns; answers the figures as data. */
export async function measureRules(around: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const micros = judgingMicros(roundCount);
  const { print } = around;
  const { installation, standing } = await openStand(around, join(around.folder, 'rules'));
  stack.defer(() => standing.stop());
  await populate(standing.port, around.members);
  await meet(standing.port, around.members, 1);
  const versions = stack.use(openVersions(installation.postgres.url, around.abort));
  const files = await sampleFiles();
  await versions.apply(files.supermarket);
  for (let i = 1; i <= purchasesBefore; i += 1)
    await populate(standing.port, around.members, `before-${i}`, amountBefore);
  const rates = { sample: [] as number[], supermarket: [] as number[] };
  for (let round = 1; round <= roundCount; round += 1) {
    for (const name of ['sample', 'supermarket'] as const) {
      await versions.apply(files[name]);
      const { perSecond, refused, cpuPerMillion } = await underLoad(
        accruals(name, receipt),
        standing,
        settings,
        around,
      );
      if (refused > 0) throw new Error(`${refused} replies under ${name} were not 2xx`);
      rates[name].push(perSecond);
      const cpu = Object.entries(cpuPerMillion).map(
        ([process, micros]) => `${process} ${Math.round(micros)}`,
      );
      print(
        `round ${round} of ${roundCount}  ${name}  ${Math.round(perSecond)} accruals/s; µs of CPU each: ${cpu.join(', ')}`,
      );
    }
  }
  const marks = [
    markOf('µs to judge ten lines by 200 rules and promotions', micros, { atMost: 100, aim: 50 }),
    markOf(
      'accruals a second, supermarket / sample rule, ten lines',
      ratios(rates.supermarket, rates.sample),
      { atLeast: 0.8, aim: 0.9 },
    ),
  ];
  const rows = Object.entries(rates).map(([name, figures]) => [name, spreadText(figures)]);
  print(`\n${table([['program', 'accruals/s, ten lines'], ...rows])}\n\n${marksText(marks)}`);
  return { machine: machine(), micros, rates, marks };
}
