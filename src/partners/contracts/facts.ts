/**
 * What is known of an exchange that is judged: read in the database transaction that makes it, under the locks of `judging.ts`, many at
 * once, an ask a row and in their order. What only some contracts bound is asked for those alone.
 */
import { DateTime } from 'luxon';
import type { Program } from '#src/earning/program.ts';
import type { NameMatch } from '#src/partners/protocol/schemas.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import {
  type Counted,
  type ExchangeFacts,
  type Judgement,
  type LinkedTimes,
  ownPoints,
  type Reason,
  type Use,
  velocityUntil,
} from './limits.ts';
import type { AbuseLimits, CapPeriod, Direction, ExchangeCap, LimitName, Used } from './types.ts';

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
  /** The linked account, as a keyed hash in hex, and how its name stood to the member's. */
  readonly link?: { readonly account: string; readonly name: NameMatch } | undefined;
  /** Counts each judgement, and each limit that was reached. */
  readonly counted?: (outcome: Judgement['outcome'], limit: LimitName | 'none') => void;
}

export const instant = (at: EpochMs) => new Date(at).toISOString();

/** The days that caps count from, and the day's name. */
export function startsOf(at: EpochMs, timeZone: string) {
  const local = DateTime.fromMillis(at, { zone: timeZone });
  const start = (unit: CapPeriod) => local.startOf(unit).toMillis();
  return { dayName: local.toISODate()!, day: start('day'), month: start('month'), year: start('year') };
}

/** When a period of the calendar is over. */
export function endOf(period: CapPeriod, at: EpochMs, timeZone: string): EpochMs {
  const local = DateTime.fromMillis(at, { zone: timeZone });
  return local
    .startOf(period)
    .plus({ [period]: 1 })
    .startOf(period)
    .toMillis();
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

/** A sum of bigint is numeric; one that passes what can be counted passes every bound. */
const counted = (sum: string) => `least(coalesce(${sum}, 0), ${Number.MAX_SAFE_INTEGER})::bigint`;
const sum = (column: string, since: string) =>
  counted(`sum(${column}) filter (where made_at >= ${since} and is_of_partner)`);
const own = `case direction when 'out' then give else receive end`;

/**
 * What members exchanged, also under numbers that were merged into them, an ask a row and in their order. Who was enrolled with a
 * phone number has not changed it: identifiers that came with the member have the member's own time. (`offset 0`: each member's
 * exchanges are looked up by the index; while there are few, PostgreSQL would read all of them, for each member anew.)
 */
const usedText = `
  select x.* from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
      $8::timestamptz[], $9::timestamptz[])
    with ordinality as a (member, partner, direction, currency, day, month, year, recently, opposite, place)
  cross join lateral (
    select m.joined_at,
      (select max(i.linked_at) from identifier i
       where i.member = a.member and i.type in ('phone', 'email') and i.linked_at > m.created_at) as contact_at,
      ${sum('give', 'a.day')} as day_give, ${sum('receive', 'a.day')} as day_receive,
      ${sum('give', 'a.month')} as month_give, ${sum('receive', 'a.month')} as month_receive,
      ${sum('give', 'a.year')} as year_give, ${sum('receive', 'a.year')} as year_receive,
      count(*) filter (where made_at > a.recently) as recent,
      ${counted('sum(own) filter (where made_at > a.recently)')} as recent_points,
      max(made_at) filter (where u.partner = a.partner and u.currency = a.currency and u.direction <> a.direction and made_at > a.opposite) as opposite_at
    from member m left join (
      select u.*, u.partner = a.partner and u.direction = a.direction and u.currency = a.currency as is_of_partner,
        case u.direction when 'out' then give else receive end as own
      from (select a.member as number union all select number from member where merged_into = a.member) f
        cross join lateral (
          select * from exchange_use where member = f.number and given_back_at is null
            and made_at >= least(a.year, a.recently, a.opposite) offset 0
        ) u
    ) u on true
    where m.number = a.member group by m.number
  ) x order by a.place`;

const hourMs = 3_600_000;

type UsedAsk = Pick<ExchangeAsk, 'program' | 'partner' | 'member' | 'direction' | 'currency' | 'at'> &
  Partial<Pick<ExchangeAsk, 'limits'>>;

async function usedBy(tx: Queryable, asks: readonly UsedAsk[]): Promise<UsedRow[]> {
  const starts = asks.map(({ at, program }) => startsOf(at, program.timeZone));
  const values = [
    asks.map(({ member }) => member),
    asks.map(({ partner }) => partner),
    asks.map(({ direction }) => direction),
    asks.map(({ currency }) => currency),
    starts.map(({ day }) => instant(day)),
    starts.map(({ month }) => instant(month)),
    starts.map(({ year }) => instant(year)),
    asks.map(({ at, limits }) => instant(at - (limits?.member?.hours ?? 0) * hourMs)),
    asks.map(({ at, limits }) => instant(at - (limits?.roundTrip?.days ?? 0) * 24 * hourMs)),
  ];
  const { rows } = await tx.query<UsedRow>({ name: 'exchanges-used', text: usedText, values });
  if (rows.length !== asks.length) throw new Error('an exchange is of a member that is not there');
  return rows;
}

function usedOf(row: UsedRow): Used {
  return {
    day: { give: row.day_give, receive: row.day_receive },
    month: { give: row.month_give, receive: row.month_receive },
    year: { give: row.year_give, receive: row.year_receive },
  };
}

/** What a member has used of the caps at a time, for a quote. What is quoted is judged again when it is exchanged. */
export async function usedForQuote(db: Queryable, ask: UsedAsk): Promise<Used> {
  return usedOf((await usedBy(db, [ask]))[0]!);
}

/** What was exchanged with the cards or at the tills of these asks, where their contracts count it. */
async function countedBy(
  tx: Queryable,
  asks: readonly ExchangeAsk[],
  column: 'card' | 'terminal',
): Promise<readonly (Counted | undefined)[]> {
  const bounded = asks.filter(({ limits, [column]: name }) => name !== undefined && limits[column]);
  if (bounded.length === 0) return asks.map(() => undefined);
  const { rows } = await tx.query<Counted>(
    `select x.* from unnest($1::integer[], $2::text[], $3::timestamptz[]) with ordinality as a (program, name, since, place)
     cross join lateral (
       select count(*) as count, ${counted(`sum(${own})`)} as points
       from exchange_use where program = a.program and ${column} = a.name and made_at > a.since and given_back_at is null
     ) x order by a.place`,
    [
      bounded.map(({ program }) => program.number),
      bounded.map((ask) => ask[column]),
      bounded.map(({ at, limits }) => instant(at - limits[column]!.hours * hourMs)),
    ],
  );
  const found = new Map(bounded.map((ask, i) => [ask, rows[i]!]));
  return asks.map((ask) => found.get(ask));
}

interface LinkedRow {
  readonly accounts_at: EpochMs[];
  readonly members_at: EpochMs[];
}

/** More than any contract allows. */
const linksMax = 100;
const linkedAt = '(extract(epoch from max(l.linked_at)) * 1000)::float8';

/** Other links of the member and of the account in the hours of their contracts, where these bound them; also those that were ended since. */
async function linkedBy(
  tx: Queryable,
  asks: readonly ExchangeAsk[],
): Promise<readonly (LinkedTimes | undefined)[]> {
  const bounded = asks.filter(({ limits, link }) => limits.links && link);
  if (bounded.length === 0) return asks.map(() => undefined);
  const { rows } = await tx.query<LinkedRow>(
    `select x.* from unnest($1::bigint[], $2::integer[], $3::text[], $4::timestamptz[])
       with ordinality as a (member, partner, account, since, place)
     join partner p on p.partner = a.partner
     cross join lateral (
       select array(
           select ${linkedAt} from partner_link l
           where l.client = p.client and l.member in (select a.member union all select number from member where merged_into = a.member)
             and l.account_hash <> decode(a.account, 'hex') and l.linked_at > a.since
           group by l.account_hash order by 1 desc limit ${linksMax}) as accounts_at,
         array(
           select ${linkedAt} from partner_link l join member m on m.number = l.member
           where l.client = p.client and l.account_hash = decode(a.account, 'hex') and l.linked_at > a.since
             and coalesce(m.merged_into, m.number) <> a.member
           group by coalesce(m.merged_into, m.number) order by 1 desc limit ${linksMax}) as members_at
     ) x order by a.place`,
    [
      bounded.map(({ member }) => member),
      bounded.map(({ partner }) => partner),
      bounded.map(({ link }) => link!.account),
      bounded.map(({ at, limits }) => instant(at - limits.links!.hours * hourMs)),
    ],
  );
  const found = new Map(
    bounded.map((ask, i) => [ask, { accountsAt: rows[i]!.accounts_at, membersAt: rows[i]!.members_at }]),
  );
  return asks.map((ask) => found.get(ask));
}

/** What is known of the exchanges; of the partner's day nothing yet. */
export async function factsOf(tx: Queryable, asks: readonly ExchangeAsk[]): Promise<ExchangeFacts[]> {
  const used = await usedBy(tx, asks);
  const cards = await countedBy(tx, asks, 'card');
  const terminals = await countedBy(tx, asks, 'terminal');
  const links = await linkedBy(tx, asks);
  return asks.map(({ at, program, direction, give, receive, link }, i) => {
    const row = used[i]!;
    return {
      ...{ at, direction, give, receive },
      joinedAt: row.joined_at.getTime(),
      contactChangedAt: row.contact_at?.getTime(),
      member: { count: row.recent, points: row.recent_points },
      card: cards[i],
      terminal: terminals[i],
      oppositeAt: row.opposite_at?.getTime(),
      used: usedOf(row),
      endOf: (period) => endOf(period, at, program.timeZone),
      name: link?.name ?? 'not_compared',
      links: links[i],
      partnerToday: 0,
    };
  });
}

const velocities = {
  member_velocity: [
    'member',
    'member in (select $1::bigint union all select number from member where merged_into = $1)',
  ],
  card_velocity: ['card', 'program = $1 and card = $4'],
  terminal_velocity: ['terminal', 'program = $1 and terminal = $4'],
} as const;
/** Beyond it nobody is told when. */
const usesMax = 1_000;

/** Exchanges that count against a velocity, the newest first. */
async function usesOf(
  tx: Queryable,
  { program, member, at, ...ask }: ExchangeAsk,
  limit: keyof typeof velocities,
  hours: number,
): Promise<Use[]> {
  const [of, condition] = velocities[limit];
  const values = of === 'member' ? [member] : [program.number];
  const { rows } = await tx.query<{ made_at: Date; points: number }>(
    `select made_at, ${own} as points from exchange_use
     where ${condition} and made_at > $2 and given_back_at is null order by made_at desc limit $3`,
    [...values, instant(at - hours * hourMs), usesMax, ...(of === 'member' ? [] : [ask[of]])],
  );
  return rows.map(({ made_at, points }) => ({ at: made_at.getTime(), points }));
}

/** Says of the velocities that were reached when they let such an exchange through; asked for only then. */
export async function explained(
  tx: Queryable,
  ask: ExchangeAsk,
  { outcome, reasons }: Judgement,
): Promise<Judgement> {
  const said: Reason[] = [];
  for (const reason of reasons) {
    const of = velocities[reason.limit as keyof typeof velocities]?.[0];
    const bounds = of && ask.limits[of];
    const uses = bounds ? await usesOf(tx, ask, reason.limit as keyof typeof velocities, bounds.hours) : [];
    const until = bounds && velocityUntil(bounds, uses, ownPoints(ask));
    said.push(until === undefined ? reason : { ...reason, until });
  }
  return { outcome, reasons: said };
}
