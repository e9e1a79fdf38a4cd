/** PURE. What the service has answered, for calls that come later to name it: of each program, and the newest of each sort. */
import { type FuzzAnswer, idsIn } from './judge.ts';

/** Of one program. */
export interface Known {
  readonly members: readonly string[];
  /** Those who have linked an account at the partner. */
  readonly linked: readonly string[];
  readonly references: readonly string[];
  /** Keys that the fuzzer made; it must not revoke its own. */
  readonly keyIds: readonly string[];
  /** One-time codes with which members link an account. */
  readonly codes: readonly string[];
  readonly pools: readonly string[];
  /** What moved points of a pool, and of which. */
  readonly poolMovements: readonly { readonly id: string; readonly pool: string }[];
  /** Tiers that were given to members. */
  readonly grants: readonly { readonly member: string; readonly grant: string }[];
  membersOf(pool: string): readonly string[];
  /** Ids with this prefix, such as `acc`; all where none is named. */
  ids(prefix?: string): readonly string[];
}

export interface Memory extends Known {
  /** Learns from an answer to a call with this method and body. */
  learn(call: { readonly method: string; readonly body: Buffer | undefined }, answer: FuzzAnswer): void;
  link(member: string): void;
}

const keptMax = 100;

function keep<T>(list: T[], more: readonly T[]): void {
  for (const each of more) if (!list.includes(each)) list.push(each);
  list.splice(0, Math.max(0, list.length - keptMax));
}

interface Body {
  readonly object?: unknown;
  readonly id?: unknown;
  readonly pool?: unknown;
  readonly code?: unknown;
  readonly members?: readonly { readonly member?: unknown }[];
  readonly member?: unknown;
  readonly ladders?: readonly { readonly grants?: readonly { readonly id?: unknown }[] }[];
}

function bodyOf(text: string): Body {
  try {
    return (JSON.parse(text) ?? {}) as Body;
  } catch {
    return {};
  }
}

export function createMemory(): Memory {
  const [members, linked, references, keyIds, codes, pools] = Array.from({ length: 6 }, () => [] as string[]);
  const byPrefix = new Map<string, string[]>();
  const poolMovements: { id: string; pool: string }[] = [];
  const grants: { member: string; grant: string }[] = [];
  const placesOf = new Map<string, readonly string[]>();

  function learnPool({ object, id, pool, members: places = [] }: Body): void {
    if (object === 'pool') {
      keep(pools!, [String(id)]);
      placesOf.set(
        String(id),
        places.map(({ member }) => String(member)),
      );
    } else if (object === 'poolRedemption' || object === 'poolHold') {
      keep(poolMovements, [{ id: String(id), pool: String(pool) }]);
    }
  }

  function learnTier({ object, member, ladders = [] }: Body): void {
    if (object !== 'memberTier') return;
    for (const { id } of ladders.flatMap((ladder) => ladder.grants ?? []))
      keep(grants, [{ member: String(member), grant: String(id) }]);
  }

  return {
    members: members!,
    linked: linked!,
    references: references!,
    keyIds: keyIds!,
    codes: codes!,
    pools: pools!,
    poolMovements,
    grants,
    membersOf: (pool) => placesOf.get(pool) ?? [],
    ids: (prefix) => (prefix === undefined ? [...byPrefix.values()].flat() : (byPrefix.get(prefix) ?? [])),
    link: (member) => keep(linked!, [member]),
    learn(call, { status, text }) {
      if (status >= 300) return;
      keep(members!, idsIn.members(text));
      for (const id of idsIn.ids(text)) {
        const prefix = id.slice(0, id.indexOf('_'));
        const list = byPrefix.get(prefix) ?? [];
        byPrefix.set(prefix, list);
        keep(list, [id]);
      }
      // Only keys that it made itself: a list shows those that the run needs.
      if (call.method === 'POST') keep(keyIds!, idsIn.keys(text));
      keep(references!, idsIn.references(call.body?.toString('utf8') ?? ''));
      const body = bodyOf(text);
      if (body.object === 'linkCode') keep(codes!, [String(body.code)]);
      learnPool(body);
      learnTier(body);
    },
  };
}
