/**
 * Steps of an exchange that fail. Each is tried again, later each time and a bounded number of times; then a person decides. What the
 * table of errors says will pass by itself, such as a shard that recovers or books that are behind, is waited for longer.
 */
import { errorTable, Problem } from '#src/errors.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import type { OperationHex } from '#src/values.ts';
import type { Patience } from './policy.ts';
import type { Action, State } from './types.ts';
import { StepRefused } from './wallet-steps.ts';

export interface Fault {
  /** In the history, should it be the last. */
  readonly word: string;
  readonly isPassing: boolean;
}

const actionOf: Readonly<Partial<Record<State, Action>>> = {
  holding: 'hold',
  ready: 'call',
  calling: 'call',
  waiting: 'inquire',
  capturing: 'capture',
  releasing: 'release',
  crediting: 'credit',
  undoing: 'undo',
};

export function faultOf(error: unknown): Fault {
  if (error instanceof StepRefused) return { word: error.word, isPassing: false };
  if (error instanceof Problem)
    return { word: error.code, isPassing: errorTable[error.code].retryAfterSeconds !== undefined };
  return { word: 'internal', isPassing: false };
}

export interface Tried {
  readonly action: Action;
  readonly isParked: boolean;
}

const tryAgainQuery = `
  with tried as (
    update exchange e set faults = e.faults + 1,
      state = case when e.faults + 1 < $2::int then e.state else 'in_review' end,
      review_of = case when e.faults + 1 < $2::int then null else e.state end,
      changed_at = case when e.faults + 1 < $2::int then e.changed_at else now() end,
      due_at = case when e.faults + 1 < $2::int
        then now() + least($4::float8, $3::float8 * 2 ^ least(30, e.faults)) * (0.5 + random() / 2) * interval '1 millisecond' end
    from (select exchange, state from exchange where exchange = $1 for no key update) was
    where e.exchange = was.exchange and $5::json ->> was.state is not null
    returning e.exchange, $5::json ->> was.state as action, e.state = 'in_review' as parked, e.faults
  ), noted as (
    insert into exchange_step (exchange, ended_at, action, outcome, detail)
    select exchange, clock_timestamp(), action, $6, json_build_object('tries', faults, 'next', 'in_review') from tried where parked
  )
  select action, parked as "isParked" from tried`;

/** Puts an exchange off after a fault, or leaves it to a person; undefined where nobody has to go on with it. */
export async function tryAgain(
  db: Queryable,
  exchange: OperationHex,
  { word, isPassing }: Fault,
  { faultsMax, waitsMax, retryMs, retryMsMax }: Patience,
): Promise<Tried | undefined> {
  const { rows } = await db.query<Tried>(tryAgainQuery, [
    ...[exchange, isPassing ? waitsMax : faultsMax, retryMs, retryMsMax],
    ...[JSON.stringify(actionOf), word],
  ]);
  return rows[0];
}
