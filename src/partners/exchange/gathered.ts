/**
 * What processes ask and write of exchanges, of many in one statement: an exchange takes some twenty statements and six commits by
 * itself, and PostgreSQL would be all that 500 a second leave time for. Statements of one kind begin at least ten milliseconds apart, so
 * that those which come meanwhile go together; an idle process asks at once.
 *
 * What concerns one exchange twice goes one after the other. Where a statement is refused for what is in it, each exchange is tried
 * alone, so that one keeps no other from going on.
 */
import type pg from 'pg';
import type { Identity } from '#src/members/identity.ts';
import { type Drawing, drawIn } from '#src/partners/contracts/drawing.ts';
import type { ExchangeAsk } from '#src/partners/contracts/facts.ts';
import { countedFor, judgeExchanges, noteJudged } from '#src/partners/contracts/judging.ts';
import type { Judgement } from '#src/partners/contracts/limits.ts';
import { type Link, linkFacts, openLinksOf } from '#src/partners/linking/links.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { type GatheringBounds, gathering } from '#src/wallet/gathering.ts';
import { type Begin, beginExchanges } from './quote-rows.ts';
import {
  type Advance,
  advanceAll,
  type BeginCall,
  type Begun,
  beginCalls,
  exchangesByKey,
  historiesOf,
} from './rows.ts';
import type { Action, Exchange, HistoryStep } from './types.ts';

/** What is to be begun unless it is refused. */
export interface Beginning extends Omit<Begin, 'isReviewed' | 'reasons'> {
  readonly ask: ExchangeAsk;
  /** What it draws from the blocks of a prepaid partner. */
  readonly drawing?: Drawing | undefined;
}

/** The member has unlinked the account that the points would go to or come from; the blocks of a prepaid partner have not so many. */
export type NotBegunWord = 'not_linked' | 'blocks_empty';

export interface Gathered {
  /** The judgement about what was begun, or refused; undefined where quote or reference were used before. */
  begin(beginning: Beginning): Promise<Judgement | NotBegunWord | undefined>;
  /** False where the exchange is in none of the states; then only the step was written. */
  advance(advance: Advance): Promise<boolean>;
  /** Undefined where the exchange is in another state by now. */
  beginCall(call: BeginCall): Promise<Begun | undefined>;
  byKey(referenceKey: string): Promise<Exchange | undefined>;
  history(exchange: OperationHex): Promise<HistoryStep[]>;
  /** The open links of a member. */
  links(member: LinkedMember): Promise<readonly Link[]>;
}

interface LinkedMember {
  readonly program: number;
  readonly member: MemberNumber;
}

const bounds: GatheringBounds = { queriesMax: 2, questionsPerQueryMax: 200, apartMs: 10 };

type Result<Answer> = { readonly answer: Answer } | { readonly error: unknown };

/** Errors of PostgreSQL after which certainly nothing was written: data, constraints, rolled back, given up. */
function isRolledBack(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^(?:22|23|40|55|57014)/.test(code);
}

/** Questions of which no two have a name in common: as many of the first as can go together, and the rest. */
function together<Question>(
  questions: readonly Question[],
  namesOf: (question: Question) => readonly string[],
): readonly (readonly Question[])[] {
  const waves: { readonly names: Set<string>; readonly questions: Question[] }[] = [];
  for (const question of questions) {
    const names = namesOf(question);
    // After the last wave that it shares a name with, so that what was asked first is done first.
    const after = waves.findLastIndex((wave) => names.some((name) => wave.names.has(name)));
    const wave = waves[after + 1] ?? { names: new Set<string>(), questions: [] };
    if (after + 1 === waves.length) waves.push(wave);
    for (const name of names) wave.names.add(name);
    wave.questions.push(question);
  }
  return waves.map((wave) => wave.questions);
}

function gatheringChanges<Question, Answer>(
  namesOf: (question: Question) => readonly string[],
  change: (questions: readonly Question[]) => Promise<readonly Answer[]>,
): (question: Question) => Promise<Answer> {
  async function settled(questions: readonly Question[]): Promise<Result<Answer>[]> {
    try {
      return (await change(questions)).map((answer) => ({ answer }));
    } catch (error) {
      if (questions.length === 1 || !isRolledBack(error)) return questions.map(() => ({ error }));
      const results: Result<Answer>[] = [];
      for (const question of questions) results.push(...(await settled([question])));
      return results;
    }
  }

  const ask = gathering<Question, Result<Answer>>(async (questions) => {
    const results = new Map<Question, Result<Answer>>();
    for (const wave of together(questions, namesOf))
      for (const [i, result] of (await settled(wave)).entries()) results.set(wave[i]!, result);
    return questions.map((question) => results.get(question)!);
  }, bounds);
  return async (question) => {
    const result = await ask(question);
    if ('error' in result) throw result.error;
    return result.answer;
  };
}

/** Rolls back: among many, those that were begun go again without it. */
class NotBegun extends Error {
  readonly code = '23505';
}

/** Rolls back in the same way: the blocks have not so many points. */
class BlocksEmpty extends Error {
  readonly code = '23514';
}

/**
 * Judges and begins exchanges in one database transaction. Their links are held before judging takes its locks: who unlinks takes no
 * lock but theirs, so nobody waits in a circle. What is refused draws nothing.
 */
async function begin(
  pool: pg.Pool,
  identity: Pick<Identity, 'encrypt' | 'keyOf'>,
  beginnings: readonly Beginning[],
): Promise<(Judgement | 'not_linked')[]> {
  return inTransaction(pool, async (tx) => {
    const links = await linkFacts(
      tx,
      identity,
      beginnings.map(({ quoted }) => quoted),
    );
    const linkOf = new Map(beginnings.map((beginning, i) => [beginning, links[i]]));
    const linked = beginnings
      .filter((beginning) => linkOf.get(beginning))
      .map((beginning) => ({
        ...beginning,
        ask: { ...beginning.ask, link: linkOf.get(beginning) },
        beginning,
      }));
    const judgements = await judgeExchanges(
      tx,
      linked.map(({ ask }) => ask),
    );
    const judged = linked.map((beginning, i) => ({ ...beginning, judgement: judgements[i]! }));
    const begins = judged
      .filter(({ judgement }) => judgement.outcome !== 'refused')
      .map((each) => ({
        ...each,
        isReviewed: each.judgement.outcome === 'review',
        reasons: each.judgement.reasons,
      }));
    if ((await beginExchanges(tx, identity, begins)) < begins.length) throw new NotBegun();
    // Late, because whoever draws holds the partner; and partner by partner in one order, so that nobody waits in a circle.
    for (const { drawing } of begins.toSorted((a, b) => a.quoted.partner - b.quoted.partner))
      if (drawing && !(await drawIn(tx, drawing))) throw new BlocksEmpty();
    await noteJudged(tx, judged);
    const judgementOf = new Map(linked.map(({ beginning }, i) => [beginning, judgements[i]!]));
    return beginnings.map((beginning) => judgementOf.get(beginning) ?? 'not_linked');
  });
}

export function createGathered(pool: pg.Pool, identity: Identity): Gathered {
  const ofExchange = ({ exchange }: { readonly exchange: OperationHex }) => [exchange];
  const beginning = () =>
    gatheringChanges<Beginning, Judgement | 'not_linked'>(
      ({ ask }) => countedFor(ask),
      (beginnings) => begin(pool, identity, beginnings),
    );
  // Whoever draws waits for clearing, which holds the partner for a turn, and others do not wait with them.
  const [beginPlain, beginDrawing] = [beginning(), beginning()];
  return {
    begin: (asked) =>
      (asked.drawing ? beginDrawing : beginPlain)(asked).catch((error: unknown) => {
        // The reference, or the quote, was used at the same moment.
        if ((error as { code?: unknown }).code === '23505') return undefined;
        if (error instanceof BlocksEmpty) return 'blocks_empty';
        throw error;
      }),
    advance: gatheringChanges(ofExchange, (advances: readonly Advance[]) => advanceAll(pool, advances)),
    beginCall: gatheringChanges(ofExchange, (calls: readonly BeginCall[]) => beginCalls(pool, calls)),
    byKey: gathering(async (keys: readonly string[]) => {
      const found = await exchangesByKey(pool, identity, keys);
      return keys.map((key) => found.get(key));
    }, bounds),
    history: gathering(async (exchanges: readonly OperationHex[]) => {
      const found = await historiesOf(pool, [...new Set(exchanges)]);
      return exchanges.map((exchange) => found.get(exchange)!);
    }, bounds),
    links: gathering(async (asked: readonly LinkedMember[]) => {
      // Each member once, so that none has its links twice.
      const members = [...new Map(asked.map((each) => [each.member, each])).values()];
      const found = await openLinksOf({ pool, identity }, members);
      return asked.map(({ member }) => found.get(member)!);
    }, bounds),
  };
}

/** The same, which counts each step that was made. */
export function counting(
  gathered: Gathered,
  counted: (step: { readonly action: Action; readonly outcome: string }) => void,
): Gathered {
  return {
    ...gathered,
    async begin(beginning) {
      const judgement = await gathered.begin(beginning);
      const outcome = typeof judgement === 'object' ? judgement.outcome : judgement;
      if (outcome !== undefined)
        counted({ action: 'begin', outcome: outcome === 'allowed' ? 'begun' : outcome });
      return judgement;
    },
    async advance(advance) {
      const isMade = await gathered.advance(advance);
      if (isMade) counted(advance.step);
      return isMade;
    },
    async beginCall(call) {
      const begun = await gathered.beginCall(call);
      if (begun) counted({ action: call.action, outcome: 'sent' });
      return begun;
    },
  };
}
