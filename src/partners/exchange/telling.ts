/**
 * Events of exchanges that have come to an end or to a person, and of breaks. The mark and the event are in one commit. With the
 * same commit what came to nothing stops counting against the limits of its member.
 */
import type pg from 'pg';
import type { Programs } from '#src/earning/program.ts';
import { programNow } from '#src/earning/program.ts';
import { type EventType, writeEvents } from '#src/ledger/events.ts';
import { giveBackUse } from '#src/partners/contracts/judging.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import { exchangeId, type Terms } from './types.ts';

/** At most so many at once. */
export const tellLimit = 500;

type Told = 'completed' | 'refused' | 'reversed' | 'in_review';
const typeOf = {
  completed: 'exchange.completed',
  refused: 'exchange.refused',
  reversed: 'exchange.reversed',
  in_review: 'exchange.in_review',
} as const satisfies Record<Told, EventType>;

interface UntoldRow {
  readonly exchange: OperationHex;
  readonly program: number;
  readonly member: MemberNumber;
  readonly partner: string;
  readonly direction: string;
  readonly terms: Terms;
  readonly state: Told;
  readonly changed_at: EpochMs;
  readonly reason: string | null;
}

const untoldQuery = `
  select replace(e.exchange::text, '-', '') as exchange, e.program, e.member, p.name as partner, e.direction, e.terms, e.state,
    (extract(epoch from e.changed_at) * 1000)::bigint as changed_at, case e.state
      when 'in_review' then (select s.outcome from exchange_step s where s.exchange = e.exchange order by s.step desc limit 1)
      when 'completed' then null else coalesce(e.refusal #>> '{fields,reason}', e.refusal ->> 'code') end as reason
  from exchange e join partner p using (partner)
  where e.is_untold
  order by e.changed_at limit ${tellLimit} for update of e skip locked`;

function contentOf({ exchange, partner, direction, terms, reason }: UntoldRow) {
  const { give, receive } = terms;
  return {
    exchange: exchangeId(exchange),
    partner,
    direction,
    give,
    receive,
    ...(reason === null ? {} : { reason }),
  };
}

/** Tells what has become of exchanges; answers how many. */
export function tellExchanges(pool: pg.Pool, programs: Pick<Programs, 'get'>): Promise<number> {
  return inTransaction(pool, async (tx) => {
    const { rows } = await tx.query<UntoldRow>(untoldQuery);
    for (const { exchange, program, state } of rows) {
      const known = programs.get(program);
      if (state === 'refused' || state === 'reversed')
        await giveBackUse(tx, exchange, known ? programNow(known) : Date.now());
    }
    for (const [, group] of Map.groupBy(rows, ({ program, state }) => `${program}.${state}`)) {
      const { program, state } = group[0]!;
      const events = group.map((row) => ({
        member: row.member,
        key: row.exchange,
        at: row.changed_at,
        content: contentOf(row),
      }));
      await writeEvents(tx, { number: program }, typeOf[state], events);
    }
    const ids = [rows.map(({ exchange }) => exchange)];
    await tx.query('update exchange set told = state where exchange = any($1::uuid[])', ids);
    await tx.query(
      `update exchange e set account_sealed = '' from member m
       where e.exchange = any($1::uuid[]) and m.number = e.member and m.erased_at is not null and e.state <> 'in_review'`,
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
      `select replace(b.exchange::text, '-', '') as exchange, b.kind, e.program, e.member, p.name as partner,
         (extract(epoch from b.found_at) * 1000)::bigint as found_at
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
