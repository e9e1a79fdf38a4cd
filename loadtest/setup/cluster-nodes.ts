/** PURE. What a node of a Redis Cluster says of itself, and the slot of a key. */

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

/** CRC16 as XMODEM does it, which is what Redis Cluster spreads keys by. */
function crc16(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1)
      crc = ((crc & 0x8000) !== 0 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

/** The slot of a key: of its hash tag where it has one. */
export function slotOfKey(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  const part = close > open + 1 ? key.slice(open + 1, close) : key;
  return crc16(Buffer.from(part)) % slotsMax;
}
