/** PURE. What a node of a Redis Cluster says of itself. */

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
