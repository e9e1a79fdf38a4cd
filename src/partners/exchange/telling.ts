/**
 * Events of exchanges, of each step that a caller may wait for, and of breaks. The mark and the event are in one commit. With the
 * same commit what came to nothing stops counting against the limits of its member.
 *
 * What is through in a moment is told at its end, with all its steps: nobody who works on an exchange waits for a row that is told.
 */
import type pg from 'pg';
import type { Programs } from '#src/earning/program.ts';
import { programNow } from '#src/earning/program.ts';
import { exchangeEventTypes, writeEvents } from '#src/ledger/events.ts';
import { giveBackUse } from '#src/partners/contracts/judging.ts';
import { epochMsOf, hexOf, inTransaction } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import { exchangeId, type State, type Terms } from './types.ts';

/** At most so many at once. */
export const tellLimit = 500;

const steps = ['begun', 'held', 'sent'] as const;
type Told = (typeof steps)[number] | 'completed' | 'refused' | 'reversed' | 'in_review';
const typeOf = (what: Told) => `exchange.${what}` as const;

/** An exchange that has rested in its state for so long is told of. */
const restMs = 2_000;

interface UntoldRow extends Readonly<Record<(typeof steps)[number], EpochMs | null>> {
  readonly exchange: OperationHex;
  readonly program: number;
  readonly member: MemberNumber;
  readonly partner: string;
  readonly direction: string;
  readonly terms: Terms;
  readonly state: State;
  readonly changed_at: EpochMs;
  readonly reason: string | null;
}

const ended = `('completed', 'refused', 'reversed')`;

const untoldQuery = `
  select ${hexOf('e.exchange')} as exchange, e.program, e.member, p.name as partner, e.direction, e.terms, e.state,
    ${epochMsOf('e.changed_at')} as changed_at, s.begun, s.held, s.sent,
    case e.state when 'in_review' then s.last when 'completed' then null
      else coalesce(e.refusal #>> '{fields,reason}', e.refusal ->> 'code') end as reason
  from exchange e join partner p using (partner) cross join lateral (
    select ${epochMsOf(`min(at) filter (where action = 'begin')`)} as begun,
      ${epochMsOf(`min(at) filter (where action = 'hold' and outcome = 'held')`)} as held,
      ${epochMsOf(`min(at) filter (where action = 'call')`)} as sent, (array_agg(outcome order by step desc))[1] as last
    from exchange_step where exchange = e.exchange) s
  where e.is_untold and (not e.is_open or e.state = 'in_review' or e.changed_at < now() - interval '${restMs} milliseconds')
  order by e.changed_at limit ${tellLimit} for update of e skip locked`;

/** What is to be said of an exchange, and when it came to that; what was said before is not said again. */
function toldOf(row: UntoldRow): { readonly what: Told; readonly key: string; readonly at: EpochMs }[] {
  const { exchange, state, changed_at: changedAt } = row;
  const said = steps.flatMap((what) => {
    const at = row[what];
    return at === null ? [] : [{ what, key: exchange as string, at }];
  });
  if (state === 'completed' || state === 'refused' || state === 'reversed')
    return [...said, { what: state, key: exchange, at: changedAt }];
  // A person may have to look more than once.
  if (state === 'in_review')
    return [...said, { what: state, key: `${exchange}/${changedAt}`, at: changedAt }];
  return said;
}

function contentOf({ exchange, partner, direction, terms, reason }: UntoldRow, what: Told) {
  const { give, receive } = terms;
  return {
    exchange: exchangeId(exchange),
    partner,
    direction,
    give,
    receive,
    ...(reason === null || what === 'begun' || what === 'held' || what === 'sent' ? {} : { reason }),
  };
}

/** Tells what has become of exchanges; answers of how many. */
export function tellExchanges(pool: pg.Pool, programs: Pick<Programs, 'get'>): Promise<number> {
  return inTransaction(pool, async (tx) => {
    const { rows } = await tx.query<UntoldRow>(untoldQuery);
    for (const { exchange, program, state } of rows) {
      const known = programs.get(program);
      if (state === 'refused' || state === 'reversed')
        await giveBackUse(tx, exchange, known ? programNow(known) : Date.now());
    }
    const events = rows.flatMap((row) => toldOf(row).map((told) => ({ ...told, row })));
    for (const type of exchangeEventTypes)
      for (const [program, group] of Map.groupBy(
        events.filter(({ what }) => typeOf(what) === type),
        ({ row }) => row.program,
      )) {
        const news = group.map(({ row, key, at, what }) => ({
          ...{ member: row.member, key, at },
          content: contentOf(row, what),
        }));
        await writeEvents(tx, { number: program }, type, news);
      }
    const ids = [rows.map(({ exchange }) => exchange)];
    await tx.query('update exchange set told = state where exchange = any($1::uuid[])', ids);
    await tx.query(
      `update exchange e set account_sealed = ''
       where e.exchange = any($1::uuid[]) and e.state in ${ended}
         and (select m.erased_at is not null from member m where m.number = e.member)`,
      ids,
    );
    return rows.length;
  });
}

interface BreakRow {
  readonly exchange: OperationHex;
  readonly kind: string;
  readonly program: number;
  readonly member: MemberNumber;
  readonly partner: string;
  readonly found_at: EpochMs;
}

/** Tells breaks. */
export function tellBreaks(pool: pg.Pool): Promise<number> {
  return inTransaction(pool, async (tx) => {
    const { rows } = await tx.query<BreakRow>(
      `select ${hexOf('b.exchange')} as exchange, b.kind, e.program, e.member, p.name as partner,
         ${epochMsOf('b.found_at')} as found_at
       from exchange_break b join exchange e using (exchange) join partner p using (partner)
       where not b.told order by b.found_at limit ${tellLimit} for update of b skip locked`,
    );
    for (const { exchange, kind, program, member, partner, found_at: at } of rows) {
      const content = { exchange: exchangeId(exchange), partner, kind };
      await writeEvents(tx, { number: program }, 'exchange.break', [
        // The same kind may be found again after a person has closed it.
        { member, key: `${exchange}/${kind}/${at}`, at, content },
      ]);
      await tx.query('update exchange_break set told = true where exchange = $1 and kind = $2', [
        exchange,
        kind,
      ]);
    }
    return rows.length;
  });
}
