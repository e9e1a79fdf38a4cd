/**
 * Gives a chunk's members their points.
 *
 * A page of members: which of their references do the books know (one query) → one accrual each for the others, sixty-four a
 * script call → wait until the books have them. So what is on its way to the books is at most a page for each chunk that is
 * being worked on: the ledger writer sets the pace, the journals never fill, and a chunk that is done is in the ledger.
 *
 * Asking the books also on a first attempt costs 4 µs a member. Who has claimed a chunk for the first time could leave it
 * out, were it not for a PostgreSQL that came back older: that has forgotten the claim, and not what Redis did.
 */
import { parseStreamId } from '#src/journal.ts';
import type { EpochMs, MemberNumber, Position } from '#src/values.ts';
import { newOperation } from '#src/values.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { Movement } from '#src/wallet/wallet.ts';
import { writtenAward } from '../judge.ts';
import { type Program, programNow } from '../program.ts';
import type { Chunk, ChunkDone } from './chunks.ts';
import type { GivingPromotion } from './days.ts';
import { type AwardOf, awardsOf, type GiftRequest, inputOf, referenceOfGift } from './gift.ts';
import type { Pace } from './pace.ts';

const engineClient = 0;
const kind = 'accrual';
export const pageMembers = 1_024;
const membersPerCall = 64;
const writtenMsMax = 15_000;

/** What a worker gives a chunk by. */
export interface Giving {
  readonly operations: Operations;
  readonly program: Program;
  readonly promotion: GivingPromotion;
  /** Months of birth, where the award depends on them. */
  readonly birthMonths: ReadonlyMap<MemberNumber, number>;
  /** Tiers when the giving began, where the award depends on them. */
  readonly tiers: ReadonlyMap<MemberNumber, readonly string[]>;
  /** Asked before each page; false ends the work undone. */
  mayGoOn(): Promise<boolean>;
  /** Of this process, whatever it works on. */
  readonly pace: Pace;
}

/** One gift that nobody has given as far as the books reach. */
interface Gift {
  readonly member: MemberNumber;
  readonly reference: string;
  readonly key: string;
}

interface Asked {
  readonly known: number;
  readonly missing: readonly Gift[];
  readonly lookedUpAt: EpochMs;
}

/** Which gifts the books know. Throws where they are too far behind to know. */
async function ask({ operations }: Giving, chunk: Chunk, members: readonly MemberNumber[]): Promise<Asked> {
  const lookedUpAt = Date.now();
  const gifts = members.map((member): Gift => {
    const reference = referenceOfGift(chunk, member);
    return { member, reference, key: referenceKeyOf(chunk.program, engineClient, kind, reference) };
  });
  const { used, behind } = await operations.lookup.references(gifts.map(({ key }) => key));
  const missing = gifts.filter(({ key }) => !used.has(key));
  if (behind.length > 0 && missing.some(({ member }) => behind.includes(operations.wallet.shardOf(member))))
    throw new Error('the books are too far behind to say who has the points');
  return { known: members.length - missing.length, missing, lookedUpAt };
}

/** What is the same for all members of a page who get the same award. */
interface Template {
  readonly input: string;
  /** What is kept of a gift, before and after its reference. */
  readonly request: readonly [before: string, after: string];
}

const noTiers: readonly string[] = [];

/** A page's templates, by month of birth and tiers where the award depends on them. */
function templatesOf(
  { program, birthMonths, tiers: tiersOf }: Giving,
  chunk: Chunk,
  awardOf: AwardOf,
  at: EpochMs,
) {
  const templates = new Map<string, Template>();
  return (member: MemberNumber): Template => {
    const birthMonth = birthMonths.get(member);
    const tiers = tiersOf.get(member) ?? noTiers;
    const key = `${birthMonth}.${tiers.join('.')}`;
    const known = templates.get(key);
    if (known) return known;
    const award = awardOf({ birthMonth, tiers }, at);
    const { promotion, occurrence, version } = chunk;
    const mark = '\0';
    const request: GiftRequest = {
      body: { reference: mark, give: { promotion, occurrence } },
      awards: [writtenAward(award)],
      programVersion: version,
    };
    const [before, after] = JSON.stringify(request).split(JSON.stringify(mark)) as [string, string];
    const template: Template = { input: inputOf(program, award), request: [`${before}"`, `"${after}`] };
    templates.set(key, template);
    return template;
  };
}

/** What is the same for all members of a page. */
interface Page {
  readonly lookedUpAt: EpochMs;
  /** The reference says who and what for; whoever uses it means the same. */
  readonly fingerprint: string;
  readonly templateOf: (member: MemberNumber) => Template;
}

function movementOf(
  { operations, program }: Giving,
  chunk: Chunk,
  { lookedUpAt, fingerprint, templateOf }: Page,
  { member, reference, key }: Gift,
): Movement {
  const judgedAt = Date.now();
  const { input, request } = templateOf(member);
  return {
    script: 'accrue',
    kind,
    program: program.number,
    client: engineClient,
    member,
    operation: newOperation(operations.wallet.shardOf(member), judgedAt),
    origins: [],
    order: '',
    referenceKey: key,
    fingerprint,
    occurredAt: chunk.dueAt,
    at: programNow(program, judgedAt),
    judgedAt,
    lookedUpAt,
    isAwaited: false,
    input,
    request: request[0] + reference + request[1],
    factsVersion: undefined,
  };
}

/** The last position of each shard that a page must see written. */
type Reached = Map<number, Position>;

function note(reached: Reached, position: Position): void {
  const before = reached.get(position.shard);
  if (
    !before ||
    before.epoch < position.epoch ||
    (before.epoch === position.epoch && before.seq < position.seq)
  )
    reached.set(position.shard, position);
}

/** Words of a wallet that does not take points from anybody at the moment; the member is left out and counted. */
async function giveOne(
  giving: Giving,
  movement: Movement,
  reached: Reached,
): Promise<'given' | { readonly refusal: string }> {
  const { wallet } = giving.operations;
  const outcome = await wallet.execute(movement);
  switch (outcome.status) {
    case 'done':
      note(reached, outcome.position);
      giving.pace.gave(outcome.position);
      return 'given';
    case 'replayed':
      note(reached, { shard: wallet.shardOf(movement.member), ...parseStreamId(outcome.streamId) });
      return 'given';
    case 'refused':
      return { refusal: outcome.code };
    case 'member_not_found':
      return { refusal: outcome.status };
    default:
      throw new Error(`a gift ended as ${outcome.status}`);
  }
}

async function written({ operations }: Giving, reached: Reached): Promise<void> {
  const waited = await Promise.all(
    [...reached.values()].map((position) => operations.wallet.waitWritten(position, writtenMsMax)),
  );
  // `moved`: the shard has been recovered since; the next attempt asks the books what became of these gifts.
  const other = waited.find((each) => each !== 'written');
  if (other !== undefined) throw new Error(`the books did not take the gifts: ${other}`);
}

async function givePage(
  giving: Giving,
  chunk: Chunk,
  awardOf: AwardOf,
  members: readonly MemberNumber[],
): Promise<{ given: number; refusals: string[] }> {
  const { wallet } = giving.operations;
  const { known, missing, lookedUpAt } = await ask(giving, chunk, members);
  const { promotion, occurrence } = chunk;
  const page: Page = {
    lookedUpAt,
    fingerprint: giving.operations.fingerprint({ promotion, occurrence }),
    templateOf: templatesOf(giving, chunk, awardOf, programNow(giving.program, lookedUpAt)),
  };
  const reached: Reached = new Map();
  const calls = [...Map.groupBy(missing, ({ member }) => wallet.shardOf(member)).values()].flatMap(
    (ofShard) =>
      Array.from({ length: Math.ceil(ofShard.length / membersPerCall) }, (_, i) =>
        ofShard.slice(i * membersPerCall, (i + 1) * membersPerCall),
      ),
  );
  const settled = await Promise.all(
    calls.map((gifts) =>
      giving.pace.take(() =>
        Promise.allSettled(
          gifts.map((gift) => giveOne(giving, movementOf(giving, chunk, page, gift), reached)),
        ),
      ),
    ),
  );
  const refusals: string[] = [];
  let given = known;
  let failure: PromiseRejectedResult | undefined;
  for (const each of settled.flat()) {
    if (each.status === 'rejected') failure ??= each;
    else if (each.value === 'given') given += 1;
    else refusals.push(each.value.refusal);
  }
  if (failure) throw failure.reason;
  await written(giving, reached);
  return { given, refusals };
}

/** Gives the chunk; undefined where it was told to stop before the end. Throws where some gifts are uncertain: try again. */
export async function giveChunk(giving: Giving, chunk: Chunk): Promise<ChunkDone | undefined> {
  const awardOf = awardsOf(giving.promotion, giving.program, chunk.dueAt);
  const refused: Record<string, number> = {};
  let given = 0;
  for (let from = 0; from < chunk.members.length; from += pageMembers) {
    if (!(await giving.mayGoOn())) return undefined;
    const page = await givePage(giving, chunk, awardOf, chunk.members.slice(from, from + pageMembers));
    given += page.given;
    for (const word of page.refusals) refused[word] = (refused[word] ?? 0) + 1;
  }
  return { given, refused };
}
