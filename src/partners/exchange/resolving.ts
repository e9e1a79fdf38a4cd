/** What a person decides about an exchange that is in review, and what follows from it. */
import type pg from 'pg';
import type { Identity } from '#src/members/identity.ts';
import { linkFacts } from '#src/partners/linking/links.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { OperationHex } from '#src/values.ts';
import { resolveBreak } from './breaks.ts';
import { partnerRefusal } from './partner-steps.ts';
import { usualPatience } from './policy.ts';
import { advance, type Change, holdStatus, readExchange } from './rows.ts';
import type { Exchange } from './types.ts';

/**
 * `retry` goes on where it stopped, `undo` asks the partner to take back what it has done, or never to do it. `completed` and
 * `refused` say what the partner has done: whoever says it has asked the partner. `settled` ends what the wallet will not do any more:
 * what is missing there was put right by hand.
 */
export const verdicts = ['retry', 'undo', 'completed', 'refused', 'settled'] as const;
export type Verdict = (typeof verdicts)[number];

export class NotResolvable extends Error {}

/** How its hold stands in the books; undefined where it has none there. */
type HoldStatus = string | undefined;

/** Takes it back there. What moves here must be impossible before, so that points are never in neither place, nor in both. */
function undone({ wasSent, reviewOf }: Exchange, hold: HoldStatus): Omit<Change, 'from'> {
  if (!wasSent) throw new NotResolvable('nothing was sent: `refused` gives the points back');
  if (reviewOf === 'capturing' && hold !== 'released')
    throw new NotResolvable(
      hold === 'held'
        ? 'the partner has them and the hold is there: `retry` captures it, `refused` says that the partner has given them back'
        : 'the points have left here: `retry` completes it',
    );
  // The credit is made impossible first, or found; `saga.ts` goes on from either.
  if (reviewOf === 'crediting') return { to: 'crediting', dueMs: 0, refusal: partnerRefusal('reviewed') };
  return { to: 'undoing', dueMs: 0, tries: 0 };
}

function done({ wasSent, reviewOf, direction, refusal }: Exchange): Omit<Change, 'from'> {
  if (!wasSent) throw new NotResolvable('nothing was sent, so the partner cannot have done it');
  if (reviewOf === 'undoing')
    throw new NotResolvable(
      'it was being taken back: `refused` where the partner has done that, else `retry`',
    );
  if (reviewOf === 'crediting' && refusal)
    throw new NotResolvable('it is being given back there: `retry` goes on with that');
  const to = direction === 'out' ? 'capturing' : 'crediting';
  return { to, dueMs: 0, tries: 0, isInDoubt: false };
}

function refused({ reviewOf, direction, wasSent }: Exchange): Omit<Change, 'from'> {
  if (reviewOf === 'crediting')
    throw new NotResolvable(
      'it may be credited here by now: `undo` makes sure that it is not, and asks the partner',
    );
  const isOut = direction === 'out';
  const to = isOut ? 'releasing' : reviewOf === 'undoing' ? 'reversed' : 'refused';
  // A person may be told wrongly: the partner is asked once more.
  const checkMs = wasSent ? usualPatience.checksMs[0] : undefined;
  const refusal = partnerRefusal('reviewed');
  return { to, dueMs: isOut ? 0 : null, tries: 0, isInDoubt: false, refusal, checkMs };
}

/** Only where nothing can move here any more: a hold ends once, and a credit that stands still somewhere may still be made. */
function settled({ reviewOf, refusal }: Exchange, hold: HoldStatus): Omit<Change, 'from'> {
  if (reviewOf !== 'capturing' && reviewOf !== 'releasing')
    throw new NotResolvable('`settled` is for what went out and could not be captured or released');
  if (hold === undefined || hold === 'held')
    throw new NotResolvable(
      'the points are held, or the books do not say: `retry`, `completed` or `refused` end that',
    );
  const to = reviewOf === 'capturing' ? 'completed' : refusal ? 'refused' : 'reversed';
  return { to, dueMs: null, isInDoubt: false };
}

function changeOf(exchange: Exchange, verdict: Verdict, hold: HoldStatus): Omit<Change, 'from'> {
  switch (verdict) {
    case 'retry':
      return { to: exchange.reviewOf!, dueMs: 0, tries: 0 };
    case 'undo':
      return undone(exchange, hold);
    case 'completed':
      return done(exchange);
    case 'refused':
      return refused(exchange);
    case 'settled':
      return settled(exchange, hold);
  }
}

/** What was never sent begins now: not without the link that it was asked for with. */
async function checkLink(tx: pg.PoolClient, identity: Identity, exchange: Exchange): Promise<void> {
  const [link] = await linkFacts(tx, identity, [exchange]);
  if (!link)
    throw new NotResolvable(
      'the member has unlinked the account: `refused` leaves the points where they are',
    );
}

/** Writes the decision; the worker does what follows. Throws NotResolvable where there is nothing to decide, or not so. */
export async function resolveExchange(
  pool: pg.Pool,
  identity: Identity,
  id: OperationHex,
  { verdict, actor, reason }: { readonly verdict: Verdict; readonly actor: string; readonly reason: string },
): Promise<Exchange> {
  const exchange = await readExchange(pool, identity, id);
  if (!exchange) throw new NotResolvable('there is no such exchange');
  const isBreak = exchange.state !== 'in_review' && (await resolveBreak(pool, id, `${verdict}: ${reason}`));
  if (isBreak) return exchange;
  if (exchange.state !== 'in_review') throw new NotResolvable(`it is ${exchange.state}, not in review`);
  const hold = exchange.hold && (await holdStatus(pool, exchange.hold));
  const change = { ...changeOf(exchange, verdict, hold), from: ['in_review'] as const };
  const step = { action: 'resolve' as const, outcome: verdict, detail: { actor, reason } };
  const isMade = await inTransaction(pool, async (tx) => {
    if (verdict === 'retry' && !exchange.wasSent) await checkLink(tx, identity, exchange);
    return advance(tx, id, change, step);
  });
  if (!isMade) throw new NotResolvable('somebody else has decided meanwhile');
  await resolveBreak(pool, id, `${verdict}: ${reason}`);
  return { ...exchange, state: change.to };
}
