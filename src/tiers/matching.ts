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
import type { Identity } from '#src/members/identity.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { familyOf } from '#src/members/records.ts';
import type { MemberNumber } from '#src/values.ts';
import { fault } from '#src/wallet/fields.ts';
import { dateText, dayOf, dayOfText } from './days.ts';
import { editTier, type GrantingContext, granted } from './granting.ts';
import { conditionOf, ladderOf, matchesOn } from './ladder/compile.ts';
import type { Condition, Day, Grant, Ladder } from './ladder/types.ts';
import { addMonths } from './ladder/windows.ts';
import { sealedReason } from './reading.ts';
import type { MatchBody } from './schemas.ts';
import type { Person } from './store.ts';

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
  readonly since: Day;
  readonly until: Day | null;
  readonly isChallenge: boolean;
  readonly metOn: Day | null;
}

/** Whether a trial ended without what would have kept it; a tier that was given without conditions cannot fail. */
function isFailed({ until, isChallenge, metOn }: EarlierMatch, today: Day): boolean {
  return isChallenge && metOn === null && until !== null && until < today;
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
    `select since, until, is_challenge as "isChallenge", met_on as "metOn" from tier_match
     where member = any($1::bigint[]) and offer = $2`,
    [family, name],
  );
  if (rows.length === 0) return;
  if (onceIn === 'lifetime') throw refused('the offer is for once in a life');
  const ends = rows.map((row) => {
    const failed = afterFailureMonths !== undefined && isFailed(row, today);
    return addMonths(row.since, Math.max(onceIn.months, failed ? afterFailureMonths : 0));
  });
  const from = Math.max(...ends);
  if (today < from) throw refused('the member had this offer before', { notBefore: dateText(from) });
}

/** Checks that the offer may be had, and notes that it was. */
async function noteMatch(
  tx: pg.ClientBase,
  { program, identity }: { readonly program: Program; readonly identity: Identity },
  offered: Offered,
  { member, joinedAt }: Person,
  { body, tier, trial }: { readonly body: MatchBody; readonly tier: string; readonly trial: Trial },
): Promise<void> {
  const { match, ladder } = offered;
  const { id, fromDay, throughDay, needed } = trial;
  checkEvidence(offered, body, fromDay);
  if (fromDay - dayOf(joinedAt, program.timeZone) < match.enrolledDaysMin)
    throw refused(`the member has to be enrolled for ${match.enrolledDaysMin} days`);
  await checkLockOut(tx, offered, member, fromDay);
  await tx.query(
    `insert into tier_match (match, program, member, ladder, offer, source, source_tier, evidence, tier, since, until, is_challenge)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      ...[id, program.number, member, ladder.name, match.name, match.partner, body.tier],
      sealedReason(identity, program, member, JSON.stringify(body.evidence)),
      ...[tier, fromDay, throughDay, needed.length > 0],
    ],
  );
}

/** From when to when a match is tried, and what keeps it. */
interface Trial {
  readonly id: string;
  readonly fromDay: Day;
  readonly throughDay: Day;
  readonly needed: Condition;
}

/** `POST /v1/members/:member/tier/matches` */
export function matchTier(
  context: GrantingContext,
  caller: Caller,
  member: MemberRef,
  reference: string,
  body: MatchBody,
): Promise<Reply> {
  const { identity } = context;
  const { program } = caller;
  return editTier(context, caller, {
    member,
    kind: 'match',
    reference,
    reason: `${body.offer} ${body.tier}`,
    named: { member, action: 'match', ...body },
    async plan(tx, person) {
      const today = dayOf(programNow(program), program.timeZone);
      const offered = offerNamed(program, body.offer, today);
      const { match, ladder } = offered;
      const target = match.tiers.find(({ from }) => from.includes(body.tier));
      if (!target) throw fault('/tier', `is not a tier of ${match.partner} that the offer matches`);
      const needed = conditionOf(target.keep, presentVersion(program).definition);
      const throughDay = today + match.trialDays - 1;
      const trial = { id: randomUUID(), fromDay: today, throughDay, needed };
      await noteMatch(tx, { program, identity }, offered, person, { body, tier: target.tier, trial });
      const grant: Grant = {
        ...{ id: trial.id, reference, tier: target.tier, fromDay: today, untilDay: throughDay },
        origin: needed.length > 0 ? 'trial' : 'matched',
        reason: sealedReason(identity, program, person.member, `${match.partner} ${body.tier}`),
        ...(needed.length > 0 ? { challenge: { needed, throughDay } } : {}),
      };
      return { ladder, edit: (state) => granted(state, grant, today) };
    },
  });
}
