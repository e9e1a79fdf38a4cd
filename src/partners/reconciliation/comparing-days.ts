/**
 * A day against the partner's, over the wire: first the digests of 256 nodes, then those of the buckets of the nodes that differ, then
 * the movements of the buckets that differ; of all others nothing is sent. Of D movements that differ it takes at most
 * 1 + min(D, 256) / 4 + min(D, 1,024) / 16 calls and one for every 80 movements of those buckets, each answered with less than 64 KiB.
 *
 * What the partner sends must be what it has digested, or it is believed in neither: its books moved meanwhile, and the whole is
 * begun again, a few times.
 */
import type { z } from 'zod';
import { Problem } from '#src/errors.ts';
import { send } from '#src/partners/exchange/calling.ts';
import type { Endpoint } from '#src/partners/exchange/endpoints.ts';
import {
  bucketsPerCallMax,
  type DayMovement,
  type DayReply,
  dayCalls,
  movementsPerAnswerMax,
  nodesPerCallMax,
} from '#src/partners/protocol/days.ts';
import { inTransactionOn } from '#src/platform/postgres.ts';
import type { Pair } from './books.ts';
import { beginComparison, compare, copyOurs, copyTheirs, rowsOf, storeDifferences } from './comparing.ts';
import { type Days, lateDays, movementsOfBuckets, periodOf } from './days.ts';
import { type Movement, secondsOf } from './movement.ts';
import { countFound, onLongConnection, type ReconciliationContext } from './reconciling.ts';
import { insertReconciliation, type Reconciliation, reconciliationNumbered } from './reports.ts';
import { createTree, differingIn, makerOf, nodeName, type Tree } from './tree.ts';

/** Beyond it the day is so different that its file is the shorter way. */
const bucketsMax = 1_024;
const pagesMax = 2_000;
const attemptsMax = 3;

export interface FarDay {
  /** Digests of the nodes; or of the buckets of some of them, where the day has the digest. */
  day(nodes?: readonly string[], digest?: string): Promise<DayReply>;
  movements(buckets: readonly string[]): Promise<readonly DayMovement[]>;
}

export interface Traffic {
  calls: number;
  /** Of all answers. */
  bytes: number;
}

/** The partner would not answer, or not by the protocol. */
export class PartnerSilent extends Error {}

/** Books of the partner that have moved while they were asked about. */
class Moved extends Error {}

/** Asks the partner at its endpoint. */
export function farDay(endpoint: Endpoint, day: string, timeoutMs: number, traffic: Traffic): FarDay {
  async function ask<Reply>(
    path: string,
    query: Readonly<Record<string, string>>,
    schema: z.ZodType<Reply>,
  ): Promise<Reply> {
    const target = `${path}?${new URLSearchParams({ day, ...query }).toString()}`;
    const sent = await send(endpoint, 'GET', target, '', timeoutMs);
    traffic.calls += 1;
    if ('failed' in sent) throw new PartnerSilent(`${endpoint.name} did not answer: ${sent.code}`);
    traffic.bytes += sent.bytes;
    const reply = sent.status === 200 ? schema.safeParse(sent.body) : undefined;
    if (reply?.success) return reply.data;
    const { code } = (sent.body ?? {}) as { code?: unknown };
    throw new PartnerSilent(
      `${endpoint.name} answered ${sent.status} ${typeof code === 'string' ? code : ''}`,
    );
  }
  return {
    day: (nodes, digest = '') =>
      ask(dayCalls.tree.path, nodes ? { nodes: nodes.join(','), digest } : {}, dayCalls.tree.reply),
    async movements(buckets) {
      const found: DayMovement[] = [];
      let after: string | null = null;
      for (let page = 0; page < pagesMax; page += 1) {
        const query: Record<string, string> = { buckets: buckets.join(',') };
        if (after !== null) query.after = after;
        const reply = await ask(dayCalls.movements.path, query, dayCalls.movements.reply);
        found.push(...reply.movements);
        if (reply.next === null) return found;
        after = reply.next;
      }
      throw new PartnerSilent(
        `${endpoint.name} has more than ${pagesMax * movementsPerAnswerMax} movements in a few buckets`,
      );
    },
  };
}

function inGroups<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}

/** The buckets that differ, with the partner's digests. */
async function differingBuckets(mine: Tree, far: FarDay, first: DayReply): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  if (!first.nodes) throw new PartnerSilent('the partner has answered without nodes');
  const nodes = differingIn(mine.nodes, first.nodes);
  for (const group of inGroups(nodes, nodesPerCallMax)) {
    const { digest, buckets = {} } = await far.day(group.map(nodeName), first.digest);
    if (digest !== first.digest) throw new Moved();
    for (const node of group) {
      const theirs = buckets[nodeName(node)] ?? [];
      for (const bucket of differingIn(mine.bucketsOf(node), theirs))
        found.set(nodeName(node) + nodeName(bucket), theirs[bucket] ?? '');
    }
    if (found.size > bucketsMax)
      throw new Error(`more than ${bucketsMax} of 65,536 buckets differ: compare the day by a file`);
  }
  return found;
}

function movementOf({ madeBy, occurredAt, ...rest }: DayMovement): Movement {
  return { ...rest, madeBy: makerOf(madeBy, true), occurredAt: secondsOf(occurredAt) ?? 0 };
}

/** Throws where movements are not those that were digested. */
function checkDigests(buckets: ReadonlyMap<string, string>, movements: readonly DayMovement[]): void {
  const builder = createTree();
  for (const { madeBy, occurredAt, ...rest } of movements)
    builder.add(madeBy, { ...rest, occurredAt: secondsOf(occurredAt) ?? 0 });
  const tree = builder.tree();
  for (const [name, digest] of buckets) {
    const at = Number.parseInt(name.slice(2), 16);
    if (tree.bucketsOf(Number.parseInt(name.slice(0, 2), 16))[at] !== digest) throw new Moved();
  }
}

export interface Found {
  readonly far: DayReply;
  readonly buckets: readonly string[];
  readonly theirs: readonly Movement[];
}

async function findOnce(mine: Tree, far: FarDay): Promise<Found> {
  const first = await far.day();
  if (first.digest === mine.digest) return { far: first, buckets: [], theirs: [] };
  const buckets = await differingBuckets(mine, far, first);
  const theirs: DayMovement[] = [];
  for (const group of inGroups([...buckets.keys()], bucketsPerCallMax))
    theirs.push(...(await far.movements(group)));
  checkDigests(buckets, theirs);
  return { far: first, buckets: [...buckets.keys()], theirs: theirs.map(movementOf) };
}

/** Finds the buckets in which two days differ, and the partner's movements in them. */
export async function findDiffering(treeOfDay: () => Promise<Tree>, far: FarDay): Promise<Found> {
  for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
    try {
      return await findOnce(await treeOfDay(), far);
    } catch (error) {
      if (!(error instanceof Moved)) throw error;
    }
  }
  throw new PartnerSilent(
    'the day is still changing at the partner, or its movements are not what it digests',
  );
}

export interface DayComparison {
  readonly pair: Pair;
  /** ISO, of UTC. */
  readonly day: string;
  readonly actor: string;
}

/** Keeps what was found as a reconciliation. */
async function keepFound(
  context: ReconciliationContext,
  { pair, day, actor }: DayComparison,
  found: Found,
): Promise<Reconciliation> {
  const { program, partner } = pair;
  const period = periodOf(day);
  const question = { period, asks: true, buckets: found.buckets, limit: 1_000_000 };
  const ours = await movementsOfBuckets(context.pool, pair, question);
  const number = await onLongConnection(context.databaseUrl, (tx) =>
    inTransactionOn(tx, async () => {
      await beginComparison(tx);
      const copying = await copyTheirs(tx);
      await copying.write(rowsOf(found.theirs));
      await copying.end();
      await copyOurs(
        tx,
        ours.map(({ movement }) => movement),
      );
      const { counts, theirs } = await compare(tx, pair);
      const { movements: lines, digest } = found.far;
      const drafted = { ...period, digest, lines, matched: lines - theirs, differences: counts };
      const kept = await insertReconciliation(tx, {
        ...drafted,
        ...{ program: program.number, partner, sequence: undefined, matchedLate: 0, actor },
      });
      await storeDifferences(tx, kept);
      return kept;
    }),
  );
  const made = await reconciliationNumbered(context.pool, program.number, number);
  if (!made) throw new Problem('internal');
  countFound(context, made);
  return made;
}

/** What was made of a day and those before it. */
export interface DaysCompared {
  readonly made: readonly Reconciliation[];
  /** Days that were not compared because the first of them failed, newest first. */
  readonly left?: { readonly days: readonly string[]; readonly cause: unknown };
}

/**
 * Compares a day with the partner's, and after it each day before on which movements happened that either side has booked on this day,
 * newest first: a late claim changes a day that may have been compared long ago. What was compared is kept, and answered, also where one of
 * those before fails; throws where the day itself does.
 */
export async function reconcileDay(
  context: ReconciliationContext & { readonly days: Days },
  comparison: DayComparison,
  farOn: (day: string) => FarDay,
): Promise<DaysCompared> {
  const { pair, day } = comparison;
  const of = async (one: string) => {
    const treeOfDay = () => context.days.treeOf({ pair, day: one, asks: true });
    return findDiffering(treeOfDay, farOn(one));
  };
  const found = await of(day);
  const made = [await keepFound(context, comparison, found)];
  const late = new Set([...(await lateDays(context.pool, pair, day)), ...(found.far.late ?? [])]);
  const before = [...late]
    .filter((other) => other < day)
    .toSorted()
    .toReversed();
  for (const [i, each] of before.entries()) {
    try {
      made.push(await keepFound(context, { ...comparison, day: each }, await of(each)));
    } catch (cause) {
      return { made, left: { days: before.slice(i), cause } };
    }
  }
  return { made };
}
