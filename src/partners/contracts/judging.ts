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
import { DateTime } from 'luxon';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import { type ExchangeFacts, type Judgement, judge, ownPoints } from './limits.ts';
import type { AbuseLimits, Direction, ExchangeCap, LimitName, Used } from './types.ts';

export interface ExchangeAsk {
  /** Names the exchange: a UUID in hex. */
  readonly exchange: OperationHex;
  readonly program: Pick<Program, 'number' | 'timeZone'>;
  readonly partner: number;
  readonly limits: AbuseLimits;
  /** Of the rate that the quote was made by. */
  readonly caps: readonly ExchangeCap[];
  readonly member: MemberNumber;
  readonly direction: Direction;
  readonly currency: string;
  readonly give: number;
  readonly receive: number;
  /** The request's time by the program's clock. */
  readonly at: EpochMs;
  /** What the member showed, as a keyed hash; and the till. */
  readonly card?: string | undefined;
  readonly terminal?: string | undefined;
  /** Counts each judgement, and each limit that was reached. */
  readonly counted?: (outcome: Judgement['outcome'], limit: LimitName | 'none') => void;
}

const instant = (at: EpochMs) => new Date(at).toISOString();

/** The days that caps count from, and the day's name. */
function startsOf(at: EpochMs, timeZone: string) {
  const local = DateTime.fromMillis(at, { zone: timeZone });
  const start = (unit: 'day' | 'month' | 'year') => local.startOf(unit).toMillis();
  return { dayName: local.toISODate()!, day: start('day'), month: start('month'), year: start('year') };
}

/** The number of an advisory lock. Two names that share one wait for each other now and then, which harms nothing. */
function lockNumber(name: string): bigint {
  return createHash('sha256').update(`exchange ${name}`).digest().readBigInt64BE(0);
}

async function lock(tx: pg.PoolClient, { program, member, card, terminal }: ExchangeAsk): Promise<void> {
  const names = [
    `member ${member}`,
    ...(card === undefined ? [] : [`card ${program.number} ${card}`]),
    ...(terminal === undefined ? [] : [`terminal ${program.number} ${terminal}`]),
  ];
  const numbers = names.map(lockNumber).toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  // A row after the other, in the order of the array.
  await tx.query('select pg_advisory_xact_lock(number) from unnest($1::bigint[]) number', [
    numbers.map(String),
  ]);
}

interface UsedRow {
  readonly joined_at: Date;
  readonly contact_at: Date | null;
  readonly day_give: number;
  readonly day_receive: number;
  readonly month_give: number;
  readonly month_receive: number;
  readonly year_give: number;
  readonly year_receive: number;
  readonly recent: number;
  readonly recent_points: number;
  readonly opposite_at: Date | null;
}

/** Sums over what is left of a condition; bigint, because a sum of bigint is numeric. */
const sum = (column: string, since: string) =>
  `coalesce(sum(${column}) filter (where made_at >= ${since} and is_of_partner), 0)::bigint`;

/**
 * What the member exchanged, also under numbers that were merged into it. Who was enrolled with a phone number has not changed
 * it: identifiers that came with the member have the member's own time.
 */
const usedText = `
  with family as (select number from member where number = $1 or merged_into = $1),
  mine as (
    select u.*, u.partner = $2 and u.direction = $3 and u.currency = $4 as is_of_partner,
      case u.direction when 'out' then give else receive end as own
    from exchange_use u where u.member in (select number from family) and u.given_back_at is null
      and u.made_at >= least($7::timestamptz, $8::timestamptz, $9::timestamptz)
  )
  select m.joined_at,
    (select max(i.linked_at) from identifier i
     where i.member = $1 and i.type in ('phone', 'email') and i.linked_at > m.created_at) as contact_at,
    ${sum('give', '$5')} as day_give, ${sum('receive', '$5')} as day_receive,
    ${sum('give', '$6')} as month_give, ${sum('receive', '$6')} as month_receive,
    ${sum('give', '$7')} as year_give, ${sum('receive', '$7')} as year_receive,
    count(*) filter (where made_at > $8) as recent,
    coalesce(sum(own) filter (where made_at > $8), 0)::bigint as recent_points,
    max(made_at) filter (where u.partner = $2 and u.currency = $4 and u.direction <> $3 and made_at > $9) as opposite_at
  from member m left join mine u on true where m.number = $1 group by m.number`;

const hourMs = 3_600_000;

async function usedBy(tx: Queryable, ask: ExchangeAsk): Promise<UsedRow> {
  const { member, partner, direction, currency, at, limits, program } = ask;
  const starts = startsOf(at, program.timeZone);
  const { rows } = await tx.query<UsedRow>(usedText, [
    member,
    partner,
    direction,
    currency,
    instant(starts.day),
    instant(starts.month),
    instant(starts.year),
    instant(at - (limits.member?.hours ?? 0) * hourMs),
    instant(at - (limits.roundTrip?.days ?? 0) * 24 * hourMs),
  ]);
  if (!rows[0]) throw new Error(`there is no member ${member}`);
  return rows[0];
}

function usedOf(row: UsedRow): Used {
  return {
    day: { give: row.day_give, receive: row.day_receive },
    month: { give: row.month_give, receive: row.month_receive },
    year: { give: row.year_give, receive: row.year_receive },
  };
}

/** What a member has used of the caps at a time, for a quote. What is quoted is judged again when it is exchanged. */
export async function usedForQuote(
  db: Queryable,
  ask: Pick<ExchangeAsk, 'program' | 'partner' | 'member' | 'direction' | 'currency' | 'at'>,
): Promise<Used> {
  return usedOf(await usedBy(db, { ...ask, limits: {} } as ExchangeAsk));
}

async function countedBy(
  tx: pg.PoolClient,
  { program, at }: ExchangeAsk,
  column: 'card' | 'terminal',
  name: string | undefined,
  hours: number | undefined,
): Promise<{ count: number; points: number } | undefined> {
  if (name === undefined || hours === undefined) return undefined;
  const { rows } = await tx.query<{ count: number; points: number }>(
    `select count(*) as count,
       coalesce(sum(case direction when 'out' then give else receive end), 0)::bigint as points
     from exchange_use where program = $1 and ${column} = $2 and made_at > $3 and given_back_at is null`,
    [program.number, name, instant(at - hours * hourMs)],
  );
  return rows[0]!;
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

async function factsOf(tx: pg.PoolClient, ask: ExchangeAsk): Promise<ExchangeFacts> {
  const { limits, direction, give, receive, at } = ask;
  const row = await usedBy(tx, ask);
  return {
    at,
    direction,
    give,
    receive,
    joinedAt: row.joined_at.getTime(),
    contactChangedAt: row.contact_at?.getTime(),
    member: { count: row.recent, points: row.recent_points },
    card: await countedBy(tx, ask, 'card', ask.card, limits.card?.hours),
    terminal: await countedBy(tx, ask, 'terminal', ask.terminal, limits.terminal?.hours),
    oppositeAt: row.opposite_at?.getTime(),
    used: usedOf(row),
    partnerToday: 0,
  };
}

/** Notes what was decided, and counts the exchange unless it is refused. */
async function write(
  tx: pg.PoolClient,
  ask: ExchangeAsk,
  { outcome, reasons }: Judgement,
  isOfDay: boolean,
): Promise<void> {
  const { exchange, program, partner, member, direction, currency, give, receive, card, terminal, at } = ask;
  await tx.query(
    `with counted as (
       insert into exchange_use
         (exchange, program, partner, member, direction, currency, give, receive, card, terminal, made_at, day, of_day)
       select $1::uuid, $2::int, $3::int, $4::bigint, $8::text, $9::text, $10::bigint, $11::bigint, $12::text, $13::text,
         $7::timestamptz, $14::date, $15::boolean
       where $5::text <> 'refused'
     )
     insert into exchange_judgement (exchange, program, partner, member, outcome, reasons, made_at)
     values ($1::uuid, $2::int, $3::int, $4::bigint, $5::text, $6::json, $7::timestamptz)`,
    [
      exchange,
      program.number,
      partner,
      member,
      outcome,
      JSON.stringify(reasons),
      instant(at),
      direction,
      currency,
      give,
      receive,
      card ?? null,
      terminal ?? null,
      startsOf(at, program.timeZone).dayName,
      isOfDay,
    ],
  );
}

/**
 * Decides about an exchange, notes why, and counts it unless it is refused. Run it as late as possible in the database transaction
 * that makes the exchange, and commit also where it is refused, so that the note stays.
 */
export async function judgeExchange(tx: pg.PoolClient, ask: ExchangeAsk): Promise<Judgement> {
  await lock(tx, ask);
  const facts = await factsOf(tx, ask);
  let judgement = judge(ask.limits, ask.caps, facts);
  const { partnerDaily } = ask.limits;
  const bound = partnerDaily?.[ask.direction];
  if (judgement.outcome !== 'refused' && bound !== undefined) {
    // What goes to a person although it is over the cap counts too.
    const mayPass = partnerDaily?.action === 'review';
    const partnerToday = await takeOfDay(tx, ask, mayPass ? Number.MAX_SAFE_INTEGER : bound);
    judgement = judge(ask.limits, ask.caps, { ...facts, partnerToday });
  }
  await write(tx, ask, judgement, bound !== undefined);
  ask.counted?.(judgement.outcome, 'none');
  for (const { limit } of judgement.reasons) ask.counted?.(judgement.outcome, limit);
  return judgement;
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
