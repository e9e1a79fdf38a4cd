/** PURE. What the simulator answers about a day: its hash tree, and the movements of some buckets. All of them were made by the caller. */
import {
  type DayMovement,
  type DayMovementsQuery,
  type DayMovementsReply,
  type DayQuery,
  type DayReply,
  movementsPerAnswerMax,
} from '#src/partners/protocol/days.ts';
import { instantText, moves } from '#src/partners/reconciliation/movement.ts';
import { createTree, keyHash } from '#src/partners/reconciliation/tree.ts';
import type { Movement } from './books.ts';

const nextDigits = 32;

const secondsOf = ({ occurredAt }: Movement) => Math.floor(Date.parse(occurredAt) / 1_000);

/** Digests of the day, or of some nodes' buckets. */
export function dayOf(booked: readonly Movement[], { day, nodes }: DayQuery): DayReply {
  const builder = createTree();
  for (const movement of booked.filter(moves))
    builder.add('caller', { ...movement, occurredAt: secondsOf(movement) });
  const tree = builder.tree();
  const { digest, movements } = tree;
  const digests = nodes
    ? { buckets: Object.fromEntries(nodes.map((name) => [name, tree.bucketsOf(Number.parseInt(name, 16))])) }
    : { nodes: [...tree.nodes] };
  return { object: 'partnerDay', day, movements, digest, ...digests };
}

function shown(movement: Movement): DayMovement {
  const { kind, reference, points, currency, status } = movement;
  const occurredAt = instantText(secondsOf(movement));
  return { madeBy: 'caller', kind, reference, points, currency, occurredAt, status };
}

/** A page of the movements of buckets, in the order of their keys. */
export function dayMovementsOf(
  booked: readonly Movement[],
  { day, buckets, after = '' }: DayMovementsQuery,
): DayMovementsReply {
  const wanted = booked
    .filter(moves)
    .map((movement) => ({ movement, key: keyHash('caller', movement).slice(0, nextDigits) }))
    .filter(({ key }) => key > after && buckets.includes(key.slice(0, 4)))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const page = wanted.slice(0, movementsPerAnswerMax);
  const next = wanted.length > page.length ? page.at(-1)!.key : null;
  return { object: 'partnerDayMovements', day, movements: page.map(({ movement }) => shown(movement)), next };
}
