/** Events: what happened that callers want to hear of. Written once each, read in an order that never changes. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { type EpochMs, type MemberNumber, memberId } from '#src/values.ts';

/** Of an exchange, in the order in which they happen. */
export const exchangeEventTypes = [
  'exchange.begun',
  'exchange.held',
  'exchange.sent',
  'exchange.completed',
  'exchange.refused',
  'exchange.reversed',
  'exchange.in_review',
] as const;

export const eventTypes = [
  'points.expiring',
  'tier.changed',
  'tier.warning',
  'member.rhythm_broken',
  ...exchangeEventTypes,
  'exchange.break',
  'settlement.issued',
] as const;
export type EventType = (typeof eventTypes)[number];

/** `evt_` and the event's number in base 36. */
export function eventId(id: number): string {
  return `evt_${id.toString(36).padStart(8, '0')}`;
}

const eventIdPattern = /^evt_([0-9a-z]{8,11})$/;

/** The number behind an `evt_` id; undefined when it is not one. */
export function parseEventId(text: string): number | undefined {
  const match = eventIdPattern.exec(text);
  const id = match ? Number.parseInt(match[1]!, 36) : Number.NaN;
  return Number.isSafeInteger(id) && id > 0 ? id : undefined;
}

interface EventRow {
  readonly id: number;
  readonly type: EventType;
  /** Null where it is about no member. */
  readonly member: MemberNumber | null;
  readonly at: EpochMs;
  readonly content: Record<string, unknown>;
}

function eventView(program: Program, { id, type, member, at, content }: EventRow): Record<string, unknown> {
  return {
    object: 'event',
    id: eventId(id),
    mode: program.mode,
    type,
    at: new Date(at).toISOString(),
    ...(member === null ? {} : { member: memberId(member) }),
    ...content,
  };
}

/** Events after an id, oldest first, and whether more follow. */
export async function eventsAfter(
  pool: pg.Pool,
  program: Program,
  question: {
    readonly after: number;
    readonly types: readonly EventType[] | undefined;
    readonly limit: number;
  },
): Promise<{ readonly events: Record<string, unknown>[]; readonly next: string | null }> {
  const { after, types, limit } = question;
  const { rows } = await pool.query<EventRow>({
    name: 'events-after',
    text: `select id, type, member, (extract(epoch from at) * 1000)::bigint as at, content from event
      where program = $1 and id > $2 and ($3::text[] is null or type = any($3)) order by id limit $4`,
    values: [program.number, after, types ?? null, limit + 1],
  });
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    events: shown.map((row) => eventView(program, row)),
    next: rows.length > limit && last ? eventId(last.id) : null,
  };
}

/** Points of one currency that a member can still use through a day, from its beginning (exclusive) to its end. */
export interface Expiring {
  readonly currency: number;
  readonly code: string;
  /** The last day on which they count. */
  readonly expiresOn: string;
  readonly dayStart: EpochMs;
  readonly dayEnd: EpochMs;
  /** How many days ahead they are warned of. */
  readonly days: number;
}

// `offset 0`: each key is looked up by itself. As a join, a table that has just grown was compared whole with each member.
const insertWarnings = `
  insert into event (program, type, key, member, at, content)
  select $1, 'points.expiring', e.key, e.member, to_timestamp($2::bigint / 1000.0),
    json_build_object('currency', $4::text, 'points', e.points, 'expiresOn', $5::text, 'days', $8::int)
  from (
    select l.member, format('%s.%s.%s.%s', l.member, $3::int, $5::text, $8::int) as key, sum(l.points)::bigint as points
    from lot l join member m on m.number = l.member
    where m.program = $1 and m.status in ('active', 'suspended') and l.currency = $3 and l.is_open
      and l.expires_at > $6 and l.expires_at <= $7 and l.available_at < l.expires_at
    group by l.member) e
  where not exists (select from event k where k.program = $1 and k.type = 'points.expiring' and k.key = e.key offset 0)
  order by e.member limit $9`;

/** Any number that nothing else takes an advisory lock by. */
const eventLock = 7_205_759;

/** Writes warnings for members that have not had them, at most so many; answers how many. */
export async function warnOfExpiring(
  pool: pg.Pool,
  program: Pick<Program, 'number'>,
  at: EpochMs,
  { currency, code, expiresOn, dayStart, dayEnd, days }: Expiring,
  limit: number,
): Promise<number> {
  const tx = await pool.connect();
  let failed: unknown;
  try {
    await tx.query('begin');
    // Until the commit: so ids are visible in their order, and two workers do not look at the same time.
    await tx.query('select pg_advisory_xact_lock($1)', [eventLock]);
    const values = [program.number, at, currency, code, expiresOn, dayStart, dayEnd, days, limit];
    const { rowCount } = await tx.query(insertWarnings, values);
    await tx.query('commit');
    return rowCount ?? 0;
  } catch (error) {
    failed = error;
    await tx.query('rollback').catch(() => {});
    throw error;
  } finally {
    tx.release(failed !== undefined);
  }
}

/** Forgets events that were made before a time, at most so many. */
export async function forgetEvents(pool: pg.Pool, madeBefore: EpochMs, limit: number): Promise<number> {
  const { rowCount } = await pool.query(
    `delete from event where id in (select id from event where made_at < to_timestamp($1::bigint / 1000.0) order by made_at limit $2)`,
    [madeBefore, limit],
  );
  return rowCount ?? 0;
}

/** Something to say, of a member or of none; `key` says what it is about, and the same is said once. */
export interface NewEvent {
  readonly member: MemberNumber | null;
  readonly key: string;
  readonly at: EpochMs;
  readonly content: Readonly<Record<string, unknown>>;
}

const unsaidQuery = `select k.place from unnest($3::text[]) with ordinality k (key, place)
  where not exists (select from event e where e.program = $1 and e.type = $2 and e.key = k.key)`;

/**
 * Writes events in the caller's database transaction; answers how many were new. What has been said is looked for first, so
 * that nobody who has nothing to say holds up the feed.
 */
export async function writeEvents(
  tx: pg.ClientBase,
  program: Pick<Program, 'number'>,
  type: EventType,
  events: readonly NewEvent[],
): Promise<number> {
  const keys = events.map(({ key }) => key);
  const { rows } = await tx.query<{ place: number }>(unsaidQuery, [program.number, type, keys]);
  if (rows.length === 0) return 0;
  const unsaid = rows.map(({ place }) => events[place - 1]!);
  await tx.query('select pg_advisory_xact_lock($1)', [eventLock]);
  const { rowCount } = await tx.query(
    `insert into event (program, type, key, member, at, content)
     select $1, $2, e.key, e.member, to_timestamp(e.at / 1000.0), e.content::json
     from unnest($3::text[], $4::bigint[], $5::bigint[], $6::text[]) with ordinality e (key, member, at, content, place)
     order by e.place on conflict (program, type, key) do nothing`,
    [
      program.number,
      type,
      unsaid.map(({ key }) => key),
      unsaid.map(({ member }) => member),
      unsaid.map(({ at }) => at),
      unsaid.map(({ content }) => JSON.stringify(content)),
    ],
  );
  return rowCount ?? 0;
}
