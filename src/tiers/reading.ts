/** Where a member stands, since when, why, and how far it is to the next tier. */

import { sumsOf } from '#src/diary/reading.ts';
import { type Program, presentVersion, programNow } from '#src/earning/program.ts';
import type { Identity } from '#src/members/identity.ts';
import { type EpochMs, type MemberNumber, memberId } from '#src/values.ts';
import { dateText, dayOf } from './days.ts';
import { asksOf } from './ladder/asks.ts';
import { allianceTiersOn } from './ladder/compile.ts';
import { progress } from './ladder/review.ts';
import {
  type Day,
  type GoalProgress,
  type Grant,
  type Ladder,
  type Standing,
  sumsBy,
} from './ladder/types.ts';
import { laddersAt } from './ladders.ts';
import { knownOf } from './reviewing.ts';
import { type Db, type LadderState, type Person, readStandings } from './store.ts';
import { goalView } from './views.ts';

const historyMax = 100;

interface ChangeRow {
  readonly ladder: string;
  readonly from_tier: string;
  readonly to_tier: string;
  readonly since: Day;
  readonly until: Day | null;
  readonly origin: string;
  readonly reason: Record<string, unknown>;
  readonly effective_at: EpochMs;
  readonly recorded_at: EpochMs;
}

async function changesOf(db: Db, member: MemberNumber): Promise<Map<string, ChangeRow[]>> {
  const { rows } = await db.query<ChangeRow>(
    `select ladder, from_tier, to_tier, since, until, origin, reason, effective_at, recorded_at from tier_change
     where member = $1 order by ladder, number desc limit ${historyMax * 10}`,
    [member],
  );
  return Map.groupBy(rows, ({ ladder }) => ladder);
}

const day = (name: string, value: Day | null | undefined) =>
  value === null || value === undefined || !Number.isFinite(value) ? {} : { [name]: dateText(value) };

function changeView(row: ChangeRow): Record<string, unknown> {
  return {
    from: row.from_tier,
    to: row.to_tier,
    since: dateText(row.since),
    ...day('until', row.until),
    origin: row.origin,
    reason: row.reason,
    effectiveAt: new Date(row.effective_at).toISOString(),
    recordedAt: new Date(row.recorded_at).toISOString(),
  };
}

function progressView(
  program: Program,
  { tier, isMet, goals, byDay }: GoalProgress,
): Record<string, unknown> {
  return {
    tier,
    isMet,
    goals: goals.map((goal) => goalView(program, goal)),
    ...day('by', byDay),
  };
}

/**
 * Reasons of grants are free text: they are sealed for their member and opened for who may see what is personal. The member's
 * number stands before it, because a grant goes on with who the member is merged into.
 */
export function sealedReason(
  identity: Identity,
  program: Pick<Program, 'number'>,
  member: MemberNumber,
  reason: string,
): string {
  return `${member}.${identity.encrypt(program.number, member, reason).toString('base64url')}`;
}

/** What `sealedReason` sealed. */
export function openedReason(identity: Identity, program: Pick<Program, 'number'>, sealed: string): string {
  const [member, text = ''] = sealed.split('.');
  return identity.decrypt(program.number, Number(member) as MemberNumber, Buffer.from(text, 'base64url'));
}

/** Whose standing is read, and for whom. */
export interface Reader {
  readonly identity: Identity;
  readonly program: Program;
  readonly member: MemberNumber;
  readonly isPersonal: boolean;
}

function grantView({ identity, program, isPersonal }: Reader, grant: Grant): Record<string, unknown> {
  const { id, reference, tier, origin, reason, fromDay, untilDay, challenge } = grant;
  return {
    id,
    ...(reference === undefined ? {} : { reference }),
    tier,
    origin,
    ...(isPersonal ? { reason: openedReason(identity, program, reason) } : {}),
    from: dateText(fromDay),
    ...day('until', untilDay),
    ...(challenge
      ? { challenge: { through: dateText(challenge.throughDay), ...day('metOn', challenge.metOnDay) } }
      : {}),
  };
}

function standingView({ tier, sinceDay, untilDay, holdsThroughDay, origin, how, grant }: Standing) {
  return {
    tier,
    since: dateText(sinceDay),
    ...day('until', untilDay),
    ...day('holdsThrough', holdsThroughDay),
    origin,
    ...(how === undefined ? {} : { how }),
    ...(grant === undefined ? {} : { grant }),
  };
}

/** Since when without a pause: a tier that came back after another one ended is held from then. */
function sinceOf({ tier, sinceDay }: Standing, changes: readonly ChangeRow[]): Day {
  const last = changes.find(({ from_tier: from, to_tier: to }) => from !== to);
  return last?.to_tier === tier ? Math.max(sinceDay, last.since) : sinceDay;
}

const nothingStored: LadderState = { grants: [] };

async function ladderView(
  db: Db,
  reader: Reader,
  person: Person,
  ladder: Ladder,
  state: LadderState,
  changes: readonly ChangeRow[],
): Promise<Record<string, unknown>> {
  const { program } = reader;
  const { definition } = presentVersion(program);
  const known = knownOf(person, state, program.timeZone);
  const on = dayOf(programNow(program), program.timeZone);
  const asks = asksOf(ladder, known, on);
  const sums = await sumsOf(
    db,
    asks.map((ask) => ({ ...ask, member: person.member })),
  );
  const { standing, next, keep } = progress(ladder, known, on, sumsBy(asks, sums));
  const { protectedThroughDay } = state;
  return {
    ladder: ladder.name,
    ...standingView({ ...standing, sinceDay: sinceOf(standing, changes) }),
    progress: {
      ...(next ? { next: progressView(program, next) } : {}),
      ...(keep ? { keep: progressView(program, keep) } : {}),
    },
    grants: state.grants.map((grant) => grantView(reader, grant)),
    alliances: Object.fromEntries(allianceTiersOn(definition, ladder.name, standing.tier, on)),
    ...(protectedThroughDay === undefined
      ? {}
      : { protectedThrough: protectedThroughDay === null ? 'for_ever' : dateText(protectedThroughDay) }),
    history: changes.slice(0, historyMax).map(changeView),
  };
}

/** What `GET /v1/members/:member/tier` answers. */
export async function tierView(db: Db, reader: Reader, person: Person): Promise<Record<string, unknown>> {
  const { program, member } = reader;
  const { ladders } = laddersAt(program, programNow(program));
  const stored = ladders.length === 0 ? [] : await readStandings(db, [member], { lock: false });
  const changes = ladders.length === 0 ? new Map<string, ChangeRow[]>() : await changesOf(db, member);
  const views: Record<string, unknown>[] = [];
  for (const ladder of ladders) {
    const state = stored.find((each) => each.ladder === ladder.name)?.state ?? nothingStored;
    views.push(await ladderView(db, reader, person, ladder, state, changes.get(ladder.name) ?? []));
  }
  return {
    object: 'memberTier',
    mode: program.mode,
    member: memberId(member),
    tier: views[0]?.tier ?? null,
    ladders: views,
  };
}
