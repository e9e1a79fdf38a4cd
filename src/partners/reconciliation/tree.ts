/**
 * PURE. The hash tree over a day's movements between two programs, by which both find out where they differ without sending all.
 *
 * A movement falls into one of 65,536 buckets by the first two bytes of SHA-256 over its key: who called, kind and reference, each
 * followed by a line feed. Its leaf is SHA-256 over the whole movement: the key, then points, currency, time and status, likewise. A
 * bucket's digest is the sum of the first 16 bytes of its leaves, as big-endian numbers modulo 2^128, in 32 hex digits. Of 256 buckets with
 * the same first byte a node is made, of 256 nodes the root: the first 32 hex digits of SHA-256 over their digests in order, each followed by a
 * line feed. What holds no movement has an empty digest.
 *
 * A sum, so that movements may come in any order and nothing but a number a bucket is kept: 1 MB, however many there are. A difference
 * is overlooked with a chance of 2^-128; who would make one on purpose has an easier way, which is to tell a lie.
 *
 * Both sides must name callers alike: `caller` and `callee` are those of the call that asks for the tree.
 */
import { hash } from 'node:crypto';
import { instantText, type Maker, type Movement } from './movement.ts';

export const bucketsPerNode = 256;
const buckets = bucketsPerNode * bucketsPerNode;
const limbs = 4;
const digestDigits = 32;

/** Who made a movement, as it is called in the tree that one side asks the other for. */
export type TreeSide = 'caller' | 'callee';

/** Whether this program asks for the tree, or is asked. */
export function treeSide(madeBy: Maker, asks: boolean): TreeSide {
  return (madeBy === 'us') === asks ? 'caller' : 'callee';
}

export function makerOf(side: TreeSide, asks: boolean): Maker {
  return (side === 'caller') === asks ? 'us' : 'them';
}

type Keyed = Pick<Movement, 'kind' | 'reference'>;
type Leaf = Omit<Movement, 'madeBy'>;

function keyText(side: TreeSide, { kind, reference }: Keyed): string {
  return `${side}\n${kind}\n${reference}\n`;
}

/** Decides about the bucket: the name of one is its first two bytes in hex. */
export function keyHash(side: TreeSide, movement: Keyed): string {
  return hash('sha256', keyText(side, movement), 'hex');
}

/** The text that a leaf is the hash of. */
export function leafText(side: TreeSide, movement: Leaf): string {
  const { points, currency, occurredAt, status } = movement;
  return `${keyText(side, movement)}${points}\n${currency}\n${instantText(occurredAt)}\n${status}\n`;
}

/** Of nodes or of buckets, in order. */
export function digestOver(digests: readonly string[]): string {
  if (digests.every((digest) => digest === '')) return '';
  return hash('sha256', digests.map((digest) => `${digest}\n`).join(''), 'hex').slice(0, digestDigits);
}

export interface Tree {
  /** Of the root. */
  readonly digest: string;
  readonly movements: number;
  /** By first byte. */
  readonly nodes: readonly string[];
  /** Digests of a node's buckets, by second byte. */
  bucketsOf(node: number): string[];
}

export interface TreeBuilder {
  add(side: TreeSide, movement: Leaf): void;
  tree(): Tree;
}

export function createTree(): TreeBuilder {
  const sums = new Uint32Array(buckets * limbs);
  const counts = new Uint32Array(buckets);
  let movements = 0;

  function digestOf(bucket: number): string {
    if (counts[bucket] === 0) return '';
    let digits = '';
    for (let limb = 0; limb < limbs; limb += 1)
      digits += sums[bucket * limbs + limb]!.toString(16).padStart(8, '0');
    return digits;
  }
  function bucketsOf(node: number): string[] {
    return Array.from({ length: bucketsPerNode }, (_, i) => digestOf(node * bucketsPerNode + i));
  }

  return {
    add(side, movement) {
      const bucket = Number.parseInt(keyHash(side, movement).slice(0, 4), 16);
      const leaf = hash('sha256', leafText(side, movement), 'buffer');
      let carry = 0;
      for (let limb = limbs - 1; limb >= 0; limb -= 1) {
        const at = bucket * limbs + limb;
        const sum = sums[at]! + leaf.readUInt32BE(limb * 4) + carry;
        carry = sum > 0xffff_ffff ? 1 : 0;
        sums[at] = sum;
      }
      counts[bucket] = counts[bucket]! + 1;
      movements += 1;
    },
    tree() {
      const nodes = Array.from({ length: bucketsPerNode }, (_, node) => digestOver(bucketsOf(node)));
      return { digest: digestOver(nodes), movements, nodes, bucketsOf };
    },
  };
}

/** Where two lists of digests differ. */
export function differingIn(mine: readonly string[], theirs: readonly string[]): number[] {
  return mine.flatMap((digest, i) => (digest === theirs[i] ? [] : [i]));
}

/** `0a` of 10: the name of a node, and of a bucket after its node's. */
export function nodeName(node: number): string {
  return node.toString(16).padStart(2, '0');
}
