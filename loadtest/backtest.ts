/**
 * `npm run bench -- --backtest`: receipts a second that a backtest judges. The books of an installation get receipts of one line
 * and of ten, under the supermarket's program; then drafts are replayed over all of them in this process, by turns: the sample
 * rule and the supermarket, which is the version that was in force, so its difference has to be 0.
 */
import { join } from 'node:path';
import { someMember } from '#src/earning/accruals.ts';
import { draftOf } from '#src/earning/backtest/draft.ts';
import { runBacktest } from '#src/earning/backtest/run.ts';
import { programNow } from '#src/earning/program.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { createPool } from '#src/platform/postgres.ts';
import { spreadText } from './apart-figures.ts';
import type { Surroundings } from './contestant.ts';
import { drained } from './lag.ts';
import { machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { memberName } from './requests.ts';
import { populate, postAll } from './setup/members.ts';
import { sampleFiles, tenLines } from './setup/samples.ts';
import { openStand } from './setup/stand.ts';
import { openVersions } from './setup/versions.ts';

const receiptsPerMember = 5;

/** Brings the service up, lets members shop, ends it and replays; answers the figures as data. */
export async function measureBacktest(around: Surroundings, roundCount: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { members, print } = around;
  const { installation, standing } = await openStand(around, join(around.folder, 'backtest'));
  stack.defer(() => standing.stop());
  const pool = createPool(installation.postgres.url, 2);
  stack.defer(() => pool.end());
  const files = await sampleFiles();
  const versions = stack.use(openVersions(installation.postgres.url, around.abort));
  await versions.apply(files.supermarket);
  await populate(standing.port, members);
  for (let turn = 1; turn <= receiptsPerMember; turn += 1) {
    const occurredAt = new Date().toISOString();
    const lines = turn % 2 === 0 ? tenLines.slice(0, 1) : tenLines;
    await postAll(standing.port, '/v1/accruals/bulk', members, (i) => ({
      member: memberName(i),
      reference: `backtest/${turn}/${i}`,
      occurredAt,
      purchase: { currency: 'EUR', store: 's-12', lines },
    }));
  }
  await drained(standing.lag);

  const program = (await loadPrograms(pool)).all()[0]!;
  const rates = { sample: [] as number[], supermarket: [] as number[] };
  for (let round = 1; round <= roundCount; round += 1) {
    for (const name of ['sample', 'supermarket'] as const) {
      const startedMs = performance.now();
      const report = await runBacktest(pool, {
        draft: draftOf(files[name], program),
        span: {},
        judgedMember: () => someMember,
        endsAt: programNow(program),
      });
      const perSecond = report.receipts / ((performance.now() - startedMs) / 1_000);
      rates[name].push(perSecond);
      const otherwise =
        name === 'supermarket' ? `, ${report.receiptsOtherwise} otherwise than in the books` : '';
      print(
        `round ${round} of ${roundCount}  ${name}  ${report.receipts} receipts, ${Math.round(perSecond)}/s${otherwise}`,
      );
    }
  }
  const marks = (['sample', 'supermarket'] as const).map((name) =>
    markOf(`receipts a second, ${name}`, rates[name], { atLeast: 50_000, aim: 100_000 }),
  );
  const rows = Object.entries(rates).map(([name, figures]) => [name, spreadText(figures)]);
  print(`\n${table([['draft', 'receipts/s'], ...rows])}\n\n${marksText(marks)}`);
  return { machine: machine(), rates, marks };
}
