/** What is under way of exchanges, and what needs a person: alarms and whoever looks after one count the same. */
import { hexOf, type Queryable } from '#src/platform/postgres.ts';
import type { OperationHex } from '#src/values.ts';

/** What waits for a partner's file may wait for that of the next day. */
const fileMs = 26 * 3_600_000;

/** Whether nothing has become of an exchange `e` for so long; `d` says how its partner is reached. Pending at a partner is no standstill of ours. */
const isStuck = (
  ms: string,
) => `(e.state not in ('in_review', 'waiting') and e.changed_at < now() - interval '1 millisecond' *
  case when d.delivery = 'files' and e.state in ('ready', 'undoing') then greatest(${ms}::float8, ${fileMs}) else ${ms}::float8 end)`;

export interface Figures {
  readonly open: number;
  readonly stuck: number;
  readonly inReview: number;
  readonly inDoubt: number;
  readonly breaks: number;
}

/** How much is under way, and how much needs a person. */
export async function measure(db: Queryable, stuckMs: number): Promise<Figures> {
  const { rows } = await db.query<Figures>(
    `select count(*) filter (where e.state <> 'in_review')::int as open, count(*) filter (where e.state = 'in_review')::int as "inReview",
       count(*) filter (where ${isStuck('$1')})::int as stuck,
       count(*) filter (where e.in_doubt and e.due_at is distinct from null)::int as "inDoubt",
       (select count(*) from exchange_break where resolved_at is null)::int as breaks
     from exchange e left join partner_endpoint d using (partner) where e.is_open`,
    [stuckMs],
  );
  return rows[0]!;
}

export interface Need {
  readonly exchange: OperationHex;
  readonly partner: string;
  readonly what: string;
  readonly since: Date;
}

/** At most so many are named at once. */
const needsMax = 500;

/** What needs a person, the oldest first: exchanges in review and stuck ones, and breaks that nobody has closed. */
export async function needsOf(db: Queryable, stuckMs: number): Promise<Need[]> {
  const { rows } = await db.query<Need>(
    `select ${hexOf('w.exchange')} as exchange, p.name as partner, w.what, w.since from (
       select e.exchange, e.changed_at as since,
         case e.state when 'in_review' then concat('in review: ', e.review_of, ', ', s.outcome) else 'stuck: ' || e.state end as what
       from exchange e left join partner_endpoint d using (partner)
         left join lateral (select outcome from exchange_step where exchange = e.exchange order by step desc limit 1) s on true
       where e.is_open and (e.state = 'in_review' or ${isStuck('$1')})
       union all select exchange, found_at, 'break: ' || kind from exchange_break where resolved_at is null) w
     join exchange using (exchange) join partner p using (partner)
     order by w.since limit ${needsMax}`,
    [stuckMs],
  );
  return rows;
}
