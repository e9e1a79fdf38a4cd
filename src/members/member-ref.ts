/** How a caller names a member, and who that is. */
import { z } from 'zod';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { MemberNumber, Soon } from '#src/values.ts';
import { parseMemberId } from '#src/values.ts';
import { type Lookup, type MemberFacts, survivorOf } from '#src/wallet/lookup.ts';
import type { Operations } from '#src/wallet/operations.ts';
import type { Reading } from '#src/wallet/wallet.ts';
import { type Identifier, type Identity, valueLengthMax } from './identity.ts';

/** Type of the caller's own member id. */
export const ownIdType = 'id';

// One visible character at least; no control characters and no halves of surrogate pairs.
const nameText = z
  .string()
  .min(1)
  .max(valueLengthMax)
  .regex(/^(?=.*\S)[^\p{Cc}\p{Cs}]+$/u, 'holds control characters or nothing but blanks');

export const identifierSchema = z
  .strictObject({ type: z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/), value: nameText })
  .meta({
    id: 'Identifier',
    description: 'A name of a member of a type that the program defines, such as a card.',
  });

export const memberRefSchema = z.union([nameText, identifierSchema]).meta({
  id: 'MemberRef',
  description: "A member: your own id of it, the service's `mem_…` id, or an identifier.",
});
export type MemberRef = z.output<typeof memberRefSchema>;

/** The identifier that a reference is; a `mem_` id is none. */
export function identifierOf(ref: MemberRef): Identifier | undefined {
  if (typeof ref !== 'string') return ref;
  return parseMemberId(ref) === undefined ? { type: ownIdType, value: ref } : undefined;
}

/** Who a reference means, from memory where possible; undefined where nobody has that name. */
export function resolveMember(
  lookup: Lookup,
  identity: Identity,
  program: Program,
  ref: MemberRef,
): Soon<MemberFacts | undefined> {
  const identifier = identifierOf(ref);
  if (!identifier) return lookup.member(program.number, parseMemberId(ref as string) as MemberNumber);
  const key = identity.keyOf(program.number, identifier);
  return key === undefined ? undefined : lookup.identifier(program.number, key);
}

export interface CurrentMember {
  readonly facts: MemberFacts;
  readonly reading: Reading;
}

const attemptsMax = 3;
const barrierMs = 1_000;

/**
 * Who is meant right now, and how that member stands. What this process remembers may be out of date; the wallet knows the
 * version of a member's facts, so what does not match is read again.
 */
export async function memberNow(
  { lookup, wallet }: Pick<Operations, 'lookup' | 'wallet'>,
  resolve: () => Soon<MemberFacts | undefined>,
  at: number,
): Promise<CurrentMember | undefined> {
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const named = await resolve();
    const facts = await survivorOf(lookup, named);
    const reading = facts && (await wallet.read(facts.member, at));
    if (!named || !facts || !reading) return undefined;
    if (reading.factsVersion === facts.factsVersion) return { facts, reading };
    await wallet.readBarrier(wallet.shardOf(facts.member), barrierMs);
    lookup.forget(facts.member);
    lookup.forget(named.member);
  }
  throw new Problem('not_ready', 'the books are behind what the wallet knows of this member; ask again');
}

/** Who a reference means right now, and how that member stands. */
export function currentMember(
  operations: Operations,
  identity: Identity,
  program: Program,
  ref: MemberRef,
  at: number,
): Promise<CurrentMember | undefined> {
  return memberNow(operations, () => resolveMember(operations.lookup, identity, program, ref), at);
}
