/** PURE. What nodes of a Redis Cluster say of themselves, and whose a slot is by that. */
import { slotOfTag } from '#src/platform/redis-topology.ts';

export const slotsMax = 16_384;

export interface NodeSaying {
  readonly isMaster: boolean;
  /** Its master, where it is a replica. */
  readonly masterId: string | undefined;
  readonly configEpoch: number;
  readonly slots: readonly number[];
}

/** The line about itself in a node's answer to CLUSTER NODES. */
export function parseOwnLine(text: string): NodeSaying {
  const line = text.split('\n').find((each) => each.split(' ')[2]?.split(',').includes('myself'));
  if (line === undefined) throw new Error(`a node says nothing about itself: ${text}`);
  const [, , flags = '', masterId = '-', , , configEpoch = '0', , ...ranges] = line.trim().split(' ');
  return {
    isMaster: flags.split(',').includes('master'),
    masterId: masterId === '-' ? undefined : masterId,
    configEpoch: Number(configEpoch),
    // In brackets stand slots that are on their way to or from another node.
    slots: ranges.filter((range) => !range.startsWith('[')).flatMap(slotsOfRange),
  };
}

function slotsOfRange(range: string): number[] {
  const [first, last = first] = range.split('-').map(Number);
  return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i);
}

/** Masters with the slots that are theirs: what another one claims with a higher epoch is not. */
export function ownersAmong<Saying extends NodeSaying>(sayings: readonly Saying[]): Saying[] {
  const claims = sayings.filter(({ isMaster }) => isMaster).toSorted((a, b) => b.configEpoch - a.configEpoch);
  const taken = new Set<number>();
  return claims.flatMap((saying) => {
    const slots = saying.slots.filter((slot) => !taken.has(slot));
    for (const slot of slots) taken.add(slot);
    return slots.length > 0 ? [{ ...saying, slots }] : [];
  });
}

/** The slot of a key: of its hash tag where it has one. */
export function slotOfKey(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  const part = close > open + 1 ? key.slice(open + 1, close) : key;
  return slotOfTag(part);
}
