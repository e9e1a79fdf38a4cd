/**
 * PURE. How a Redis Cluster is named, and which node of it owns a slot, from what several nodes say. Views differ for a while after a
 * failover, and a node that was cut off goes on naming itself: the claim with the highest configuration epoch wins,
 * as it does between the nodes.
 */

/** One node as another one sees it. */
export interface NodeView {
  readonly id: string;
  /** `host:port`; empty where the viewer does not know it. */
  readonly address: string;
  readonly isMaster: boolean;
  /** More than half of the masters have agreed that it is gone. */
  readonly isFailed: boolean;
  /** The node that was asked. */
  readonly isMyself: boolean;
  readonly configEpoch: number;
  /** Ranges of slots, both ends inclusive. */
  readonly slots: readonly (readonly [first: number, last: number])[];
  /** Slots that it is handing to another node. */
  readonly leaving: readonly number[];
}

/** An owner of a slot. */
export interface Owner {
  readonly id: string;
  readonly address: string;
}

const slotCount = 16_384;

export interface ClusterUrl {
  /** `host:port` each. */
  readonly seeds: readonly string[];
  /** The URL of one node. */
  of(address: string): string;
}

/** Whether a URL names a cluster: `redis-cluster://user:password@host:port,host:port` (`rediss-cluster:` with TLS). */
export function isClusterUrl(redisUrl: string): boolean {
  const seed = String.raw`(?:\[[\da-f:]+\]|[^@/,:]+):\d+`;
  return new RegExp(`^rediss?-cluster://(?:[^@/]*@)?${seed}(?:,${seed})*/?$`).test(redisUrl);
}

/** The parts of a URL that `isClusterUrl` says yes to. */
export function parseClusterUrl(redisUrl: string): ClusterUrl {
  const found = /^(rediss?)-cluster:\/\/([^@/]*@)?([^/]+)/.exec(redisUrl);
  if (!found || !isClusterUrl(redisUrl)) throw new Error('not the URL of a Redis Cluster');
  const [, scheme, user = '', seeds] = found as unknown as [string, string, string | undefined, string];
  return {
    seeds: seeds.split(','),
    of: (address) => `${scheme}://${user}${address}/0`,
  };
}

/** CRC16 (XMODEM), by which Redis Cluster spreads hash tags over its slots. */
export function slotOfTag(tag: string): number {
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc % slotCount;
}

/** `127.0.0.1:7001@17001,name` as `127.0.0.1:7001`; a node that does not know its own host is where it was asked. */
function addressOf(text: string, askedHost: string): string {
  const [place] = text.split(/[@,]/) as [string];
  const at = place.lastIndexOf(':');
  const [host, port] = [place.slice(0, at), place.slice(at + 1)];
  if (port === '0') return '';
  if (host === '') return `${askedHost}:${port}`;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The two parts of `host:port`, the host as a socket takes it. */
export function placeOf(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(at + 1)) };
}

/** Reads the answer of CLUSTER NODES. */
export function viewOf(text: string, askedHost: string): NodeView[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [id, place, flags, , , , configEpoch, , ...slots] = line.split(' ') as [
        string,
        string,
        string,
        ...string[],
      ];
      const isMyself = flags.split(',').includes('myself');
      return {
        id,
        address: addressOf(place, isMyself ? askedHost : ''),
        isMyself,
        isMaster: flags.split(',').includes('master'),
        isFailed: flags.split(',').includes('fail'),
        configEpoch: Number(configEpoch),
        // `[93->-id]` is a slot on its way, which its owner keeps until it has arrived.
        leaving: slots
          .filter((slot) => slot.includes('->-'))
          .map((slot) => Number.parseInt(slot.slice(1), 10)),
        slots: slots
          .filter((slot) => !slot.startsWith('['))
          .map((slot) => {
            const [first, last = first] = slot.split('-').map(Number) as [number, number?];
            return [first, last] as const;
          }),
      };
    });
}

/** The owner of every slot by all views together; undefined where nobody claims it. */
export function ownersOf(views: readonly (readonly NodeView[])[]): (Owner | undefined)[] {
  const owners = new Array<Owner | undefined>(slotCount).fill(undefined);
  const claims = views.flat().filter((node) => node.isMaster && node.address !== '');
  claims.sort((a, b) => b.configEpoch - a.configEpoch);
  for (const { id, address, slots } of claims) {
    const owner = { id, address };
    for (const [first, last] of slots) {
      for (let slot = first; slot <= last; slot += 1) owners[slot] ??= owner;
    }
  }
  return owners;
}

/** What a node says of itself about a slot. */
export function sayingOf(text: string, slot: number): 'owned' | 'leaving' | 'not owned' {
  const own = viewOf(text, '').find((node) => node.isMyself);
  if (!own?.slots.some(([first, last]) => first <= slot && slot <= last)) return 'not owned';
  return own.leaving.includes(slot) ? 'leaving' : 'owned';
}

/** Whether a node knows a living master at another address than its own. */
export function knowsMaster(text: string, address: string): boolean {
  return viewOf(text, '').some((node) => node.address === address && node.isMaster && !node.isFailed);
}
