/**
 * Takes back what was acknowledged twice under one reference. That happens only where one reference reached two shards
 * within the writer's lag (a card that was re-keyed between two tries). The first stays, the second is undone by the
 * engine itself, once: its reference is made from the operation that it undoes. (A repeated transfer never arrives: its
 * relay sends the points back.)
 */
import type { App } from '#src/app.ts';
import type { Program } from '#src/earning/program.ts';
import { undoneOf } from '#src/earning/reversals.ts';
import { budgetsBack } from '#src/ledger/budget-rows.ts';
import { issuedBy, movedToPartner } from '#src/ledger/postings.ts';
import { type Step, takeStep } from '#src/members/engine.ts';
import { leftToRefund } from '#src/redemption/redemptions.ts';
import type { OperationHex } from '#src/values.ts';
import { countersBack } from '#src/wallet/counter-state.ts';
import type { Recorded } from '#src/wallet/operations.ts';

const openQuery = `
  select replace(operation::text, '-', '') as operation from operation o
  where conflict_with is not null and kind in ('accrual', 'redemption', 'hold', 'adjustment')
    and not exists (select from consequence c where c.origin = o.operation)
  limit $1`;

const conflictsPerRunMax = 500;

/** The step that undoes a repeated operation; undefined where it moved nothing. */
function undoing(program: Program, repeated: Recorded): Step | undefined {
  const base = {
    program,
    member: repeated.member,
    reference: `conflict/${repeated.operation}`,
    origins: [repeated.operation],
    request: { body: { action: 'reference_conflict' } },
  };
  const partner = movedToPartner(repeated.effect);
  const other = partner ? { account: 'partner', party: partner.party } : {};
  switch (repeated.kind) {
    case 'accrual': {
      const undone = [
        repeated.operation,
        0,
        '{"amounts":{},"quantities":{},"all":true}',
        partner
          ? partner.parts.map(([currency, points]) => [currency, -points] as const)
          : issuedBy(repeated.effect),
        countersBack(repeated.effect),
        budgetsBack(repeated.effect.budgets),
      ] as const;
      const input = { ...other, accruals: [undone], redemptions: [], debt: true };
      return {
        ...base,
        script: 'undo',
        kind: 'reversal',
        input,
        request: { ...base.request, undone: [undoneOf(undone)] },
      };
    }
    case 'redemption': {
      const parts = partner?.parts ?? leftToRefund(repeated, { version: 0, note: '' });
      const undone = [repeated.operation, 0, JSON.stringify(Object.fromEntries(parts)), parts] as const;
      const input = { ...other, accruals: [], redemptions: [undone], debt: false };
      return {
        ...base,
        script: 'undo',
        kind: 'refund',
        input,
        request: { ...base.request, refunded: parts, undone: [undoneOf(undone)] },
      };
    }
    case 'hold':
      return {
        ...base,
        script: 'settle',
        kind: 'release',
        input: { hold: repeated.operation, mode: 'release', parts: [] },
      };
    case 'adjustment':
      return opposite(base, repeated);
    default:
      return undefined;
  }
}

function opposite(base: Omit<Step, 'script' | 'kind' | 'input'>, repeated: Recorded): Step | undefined {
  const leg = repeated.effect.legs.find((each) => each[0] === 'adjustment');
  if (leg?.[0] !== 'adjustment') return undefined;
  const [, currency, points, party] = leg;
  const input =
    points < 0
      ? { parts: [[currency, -points]], account: 'adjustment', party }
      : { awards: [[currency, points, 0, 0, party]], account: 'adjustment' };
  return { ...base, script: points < 0 ? 'spend' : 'accrue', kind: 'adjustment', input };
}

/** Undoes repeated operations; answers how many were undone and how many could not be. */
export async function takeBackConflicts(app: App): Promise<{ undone: number; failed: number }> {
  const open = await app.pool.query<{ operation: OperationHex }>(openQuery, [conflictsPerRunMax]);
  let [undone, failed] = [0, 0];
  for (const { operation } of open.rows) {
    const repeated = await app.operations.recorded(operation, 0);
    const program = repeated && app.programs.get(repeated.program);
    const step = program && undoing(program, repeated);
    if (!step) continue;
    try {
      await takeStep(app.operations, step);
      undone += 1;
    } catch (error) {
      failed += 1;
      app.telemetry.log.error({ err: error, operation }, 'a repeated operation could not be taken back');
    }
  }
  return { undone, failed };
}
