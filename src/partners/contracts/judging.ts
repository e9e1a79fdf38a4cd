/**
 * Judging an exchange and counting it, in the database transaction that makes it.
 *
 * Whoever judges first takes locks on the member, the card and the till, and counts before the transaction ends: two exchanges of one
 * member follow one another, so that caps hold in any order and however many processes there are. The locks are advisory and
 * always taken by rising number, so nobody waits in a circle. A partner's daily cap is one row, changed by a statement that
 * refuses to pass it; it is kept only where the contract has such a cap, because exchanges of that partner then follow one
 * another from that statement to their commit.
 *
 * An exchange that comes to nothing gives its use back, once.
 */

import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, OperationHex } from '#src/values.ts';
import { type ExchangeAsk, explained, factsOf, instant, startsOf } from './facts.ts';
import { type Judgement, judge, ownPoints } from './limits.ts';

/** The number of an advisory lock. Two names that share one wait for each other now and then, which harms nothing. */
function lockNumber(name: string): bigint {
  return createHash('sha256').update(`exchange ${name}`).digest().readBigInt64BE(0);
}

/** What an exchange counts for: two that share one of them are judged one after the other. */
export function countedFor({
  program,
  member,
  card,
  terminal,
}: Pick<ExchangeAsk, 'program' | 'member' | 'card' | 'terminal'>): string[] {
  return [
    `member ${member}`,
    ...(card === undefined ? [] : [`card ${program.number} ${card}`]),
    ...(terminal === undefined ? [] : [`terminal ${program.number} ${terminal}`]),
  ];
}

async function lock(tx: pg.PoolClient, asks: readonly ExchangeAsk[]): Promise<void> {
  const numbers = asks
    .flatMap(countedFor)
    .map(lockNumber)
    .toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  // A row after the other, in the order of the array.
  await tx.query({
    name: 'exchanges-lock',
    text: 'select pg_advisory_xact_lock(number) from unnest($1::bigint[]) number',
    values: [numbers.map(String)],
  });
}

/** Adds to the partner's day unless that passes its bound; answers what stands there, this exchange not included. */
async function takeOfDay(tx: pg.PoolClient, ask: ExchangeAsk, bound: number): Promise<number> {
  const points = ownPoints(ask);
  const key = [ask.partner, ask.direction, startsOf(ask.at, ask.program.timeZone).dayName];
  await tx.query(
    'insert into partner_day (partner, direction, day, points) values ($1, $2, $3, 0) on conflict do nothing',
    key,
  );
  const taken = await tx.query<{ points: number }>(
    `update partner_day set points = points + $4
     where partner = $1 and direction = $2 and day = $3 and points + $4 <= $5 returning points`,
    [...key, points, bound],
  );
  if (taken.rows[0]) return taken.rows[0].points - points;
  const { rows } = await tx.query<{ points: number }>(
    'select points from partner_day where partner = $1 and direction = $2 and day = $3',
    key,
  );
  return rows[0]!.points;
}

const dailyBoundOf = ({ limits, direction }: ExchangeAsk) => limits.partnerDaily?.[direction];

/**
 * Decides about exchanges of which no two are counted for the same (`countedFor`). Run it as late as possible in the database
 * transaction that makes them; `noteJudged` belongs to the same.
 */
export async function judgeExchanges(tx: pg.PoolClient, asks: readonly ExchangeAsk[]): Promise<Judgement[]> {
  await lock(tx, asks);
  const facts = await factsOf(tx, asks);
  const judgements = asks.map(({ limits, caps }, i) => judge(limits, caps, facts[i]!));
  const dayOf = ({ partner, direction }: ExchangeAsk) => `${partner} ${direction}`;
  // Rows of partners' days in one order, so that nobody waits in a circle.
  const places = [...asks.keys()].toSorted((a, b) => (dayOf(asks[a]!) < dayOf(asks[b]!) ? -1 : 1));
  for (const place of places) {
    const ask = asks[place]!;
    const bound = dailyBoundOf(ask);
    if (judgements[place]!.outcome === 'refused' || bound === undefined) continue;
    // What goes to a person although it is over the cap counts too.
    const mayPass = ask.limits.partnerDaily?.action === 'review';
    const partnerToday = await takeOfDay(tx, ask, mayPass ? Number.MAX_SAFE_INTEGER : bound);
    judgements[place] = judge(ask.limits, ask.caps, { ...facts[place]!, partnerToday });
  }
  for (const [place, judgement] of judgements.entries())
    if (judgement.reasons.length > 0) judgements[place] = await explained(tx, asks[place]!, judgement);
  return judgements;
}

/** Notes what was decided, and counts the exchanges unless they are refused. */
export async function noteJudged(
  tx: pg.PoolClient,
  judged: readonly { readonly ask: ExchangeAsk; readonly judgement: Judgement }[],
): Promise<void> {
  const rows = judged.map(({ ask, judgement }) => ({
    ...{ exchange: ask.exchange, program: ask.program.number, partner: ask.partner, member: ask.member },
    ...{ direction: ask.direction, currency: ask.currency, give: ask.give, receive: ask.receive },
    ...{ card: ask.card ?? null, terminal: ask.terminal ?? null, made_at: instant(ask.at) },
    day: startsOf(ask.at, ask.program.timeZone).dayName,
    of_day: dailyBoundOf(ask) !== undefined,
    ...{ outcome: judgement.outcome, reasons: judgement.reasons },
  }));
  await tx.query({
    name: 'exchanges-judged',
    text: `with given as (
       select * from json_to_recordset($1) as g (exchange uuid, program integer, partner integer, member bigint, direction text,
         currency text, give bigint, receive bigint, card text, terminal text, made_at timestamptz, day date, of_day boolean,
         outcome text, reasons json)
     ), counted as (
       insert into exchange_use
         (exchange, program, partner, member, direction, currency, give, receive, card, terminal, made_at, day, of_day)
       select exchange, program, partner, member, direction, currency, give, receive, card, terminal, made_at, day, of_day
       from given where outcome <> 'refused'
     )
     insert into exchange_judgement (exchange, program, partner, member, outcome, reasons, made_at)
     select exchange, program, partner, member, outcome, reasons, made_at from given`,
    values: [JSON.stringify(rows)],
  });
  for (const { ask, judgement } of judged) {
    ask.counted?.(judgement.outcome, 'none');
    for (const { limit } of judgement.reasons) ask.counted?.(judgement.outcome, limit);
  }
}

/** Decides about one exchange, notes why, and counts it unless it is refused; to be committed also where it is refused. */
export async function judgeExchange(tx: pg.PoolClient, ask: ExchangeAsk): Promise<Judgement> {
  const [judgement] = await judgeExchanges(tx, [ask]);
  await noteJudged(tx, [{ ask, judgement: judgement! }]);
  return judgement!;
}

/** Gives back what an exchange counts for, because it came to nothing; again changes nothing. */
export async function giveBackUse(tx: Queryable, exchange: OperationHex, at: EpochMs): Promise<boolean> {
  const { rowCount } = await tx.query(
    `with back as (
       update exchange_use set given_back_at = $2 where exchange = $1 and given_back_at is null
       returning partner, direction, day, of_day, case direction when 'out' then give else receive end as points
     ), less as (
       update partner_day d set points = d.points - b.points from back b
       where b.of_day and d.partner = b.partner and d.direction = b.direction and d.day = b.day
     )
     select from back`,
    [exchange, instant(at)],
  );
  return rowCount === 1;
}

/** No limit looks further back than 366 days, and no cap than the beginning of its year. */
const keptDays = 400;

/** Forgets uses and judgements that nothing asks for any more, at most so many of each; answers how many. */
export async function forgetUses(db: Queryable, limit: number): Promise<number> {
  let count = 0;
  for (const [table, key] of [
    ['exchange_use', 'exchange'],
    ['exchange_judgement', 'judgement'],
  ] as const) {
    const { rowCount } = await db.query(
      `delete from ${table} where ${key} in (
         select ${key} from ${table} where made_at < now() - $1 * interval '1 day' order by made_at limit $2)`,
      [keptDays, limit],
    );
    count += rowCount ?? 0;
  }
  return count;
}

export interface NotedJudgement extends Judgement {
  readonly at: EpochMs;
}

/** What was decided about an exchange, the newest last. */
export async function judgementsOf(db: Queryable, exchange: OperationHex): Promise<NotedJudgement[]> {
  const { rows } = await db.query<Judgement & { made_at: Date }>(
    'select outcome, reasons, made_at from exchange_judgement where exchange = $1 order by judgement',
    [exchange],
  );
  return rows.map(({ outcome, reasons, made_at }) => ({ outcome, reasons, at: made_at.getTime() }));
}
