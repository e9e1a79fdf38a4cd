/**
 * Tiers of others that are matched: evidence of one gives a trial on one of our ladders, and what the file asks for in it
 * keeps it. Who was matched, from what and when is kept for the lock-out; the evidence itself is sealed and goes with erasure.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Match } from '#src/earning/file/ladder-schema.ts';
import { type Program, presentVersion, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { familyOf } from '#src/members/records.ts';
import type { MemberNumber } from '#src/values.ts';
import { fault } from '#src/wallet/fields.ts';
import { dateText, dayOf, dayOfText } from './days.ts';
import { withGrant } from './granted.ts';
import { editTier, type GrantingContext } from './granting.ts';
import { conditionOf, ladderOf, matchesOn } from './ladder/compile.ts';
import type { Day, Grant, Ladder } from './ladder/types.ts';
import { addMonths } from './ladder/windows.ts';
import { sealedReason } from './reading.ts';
import type { MatchBody } from './schemas.ts';
import { type LadderState, readStandings } from './store.ts';

interface Offered {
  readonly match: Match;
  readonly ladder: Ladder;
}

function offerNamed(program: Program, name: string, today: Day): Offered {
  const { definition } = presentVersion(program);
  for (const { name: ladder } of definition.ladders) {
    const match = matchesOn(definition, ladder, today).find((each) => each.name === name);
    if (match) return { match, ladder: ladderOf(definition, ladder)! };
  }
  throw fault('/offer', 'is not a match that the program offers today');
}

function refused(why: string, more: Readonly<Record<string, unknown>> = {}): Problem {
  return new Problem('match_refused', why, more);
}

/** What the evidence itself rules out. */
function checkEvidence({ match }: Offered, { evidence }: MatchBody, today: Day): void {
  const { exceptOrigins, evidenceDaysMax } = match;
  if (evidence.origin !== 'earned' && exceptOrigins.includes(evidence.origin))
    throw refused(`a tier that was ${evidence.origin} cannot be matched from`);
  if (evidenceDaysMax === undefined) return;
  if (evidence.date === undefined) throw fault('/evidence/date', 'is required for this offer');
  if (dayOfText(evidence.date) < today - evidenceDaysMax)
    throw refused(`the evidence is older than ${evidenceDaysMax} days`);
}

interface EarlierMatch {
  readonly match: string;
  readonly since: Day;
  readonly until: Day | null;
}

/** Whether a trial ended without what would have kept it. */
function isFailed({ match, until }: EarlierMatch, grants: readonly Grant[], today: Day): boolean {
  const grant = grants.find(({ id }) => id === match);
  return until !== null && until < today && grant?.challenge?.metOnDay === undefined;
}

/** Refuses who had this offer, or anybody who became this member had it, not long enough ago. */
async function checkLockOut(
  tx: pg.ClientBase,
  { match: { name, onceIn, afterFailureMonths } }: Offered,
  member: MemberNumber,
  today: Day,
): Promise<void> {
  const family = await familyOf(tx as pg.PoolClient, member);
  const { rows } = await tx.query<EarlierMatch>(
    'select match::text, since, until from tier_match where member = any($1::bigint[]) and offer = $2 order by since desc',
    [family, name],
  );
  if (rows.length === 0) return;
  if (onceIn === 'lifetime') throw refused('the offer is for once in a life');
  const grants = (await readStandings(tx, family, { lock: false })).flatMap(({ state }) => state.grants);
  const ends = rows.map((row) => {
    const failed = afterFailureMonths !== undefined && isFailed(row, grants, today);
    return addMonths(row.since, Math.max(onceIn.months, failed ? afterFailureMonths : 0));
  });
  const from = Math.max(...ends);
  if (today < from) throw refused('the member had this offer before', { notBefore: dateText(from) });
}

/** `POST /v1/members/:member/tier/matches` */
export async function matchTier(
  context: GrantingContext,
  caller: Caller,
  member: MemberRef,
  reference: string,
  body: MatchBody,
): Promise<Reply> {
  const { program } = caller;
  const today = dayOf(programNow(program), program.timeZone);
  const offered = offerNamed(program, body.offer, today);
  const { match, ladder } = offered;
  const target = match.tiers.find(({ from }) => from.includes(body.tier));
  if (!target) throw fault('/tier', `is not a tier of ${match.partner} that the offer matches`);
  const id = randomUUID();
  const throughDay = today + match.trialDays - 1;
  const needed = conditionOf(target.keep, presentVersion(program).definition);
  return editTier(context, caller, {
    member,
    reference,
    named: { member, action: 'match', ...body },
    ladder,
    edit: (_, person, state): LadderState =>
      withGrant(state, {
        id,
        tier: target.tier,
        origin: needed.length > 0 ? 'trial' : 'matched',
        reason: sealedReason(context.identity, program, person.member, `${match.partner} ${body.tier}`),
        fromDay: today,
        untilDay: throughDay,
        ...(needed.length > 0 ? { challenge: { needed, throughDay } } : {}),
      }),
    async also(tx, { member: number, joinedAt }) {
      checkEvidence(offered, body, today);
      if (today - dayOf(joinedAt, program.timeZone) < match.enrolledDaysMin)
        throw refused(`the member has to be enrolled for ${match.enrolledDaysMin} days`);
      await checkLockOut(tx, offered, number, today);
      await tx.query(
        `insert into tier_match (match, program, member, ladder, offer, source, source_tier, evidence, tier, since, until)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
        [
          ...[id, program.number, number, ladder.name, match.name, match.partner, body.tier],
          sealedReason(context.identity, program, number, JSON.stringify(body.evidence)),
          ...[target.tier, today, throughDay],
        ],
      );
    },
  });
}
