/** PURE. What a pool allows: who may spend, whose points go first, and its limits. */
import { z } from 'zod';

/** Every redemption reads all members, so a pool is a household and not a crowd. */
export const poolMembersMax = 20;

export const policySchema = z
  .strictObject({
    spenders: z.enum(['all', 'head', 'listed']).default('all').meta({
      description:
        'Who may spend: every member, the head, or the head and those whose place says `maySpend`.',
    }),
    order: z.enum(['soonest_expiry', 'own_first', 'equal_shares']).default('soonest_expiry').meta({
      description:
        "Whose points are taken first: those that end first, whoever's they are; the spender's own and then those; or the same number from everybody, as far as each has so many.",
    }),
    membersMax: z.int().min(1).max(poolMembersMax).default(poolMembersMax),
    memberPointsPerDayMax: z.int().min(1).max(1_000_000_000).optional().meta({
      description:
        "Points that one member may spend of the pool in a day of the program's zone, refunded ones included.",
    }),
    coolingDays: z.int().min(0).max(366).default(0).meta({
      description: 'Who leaves the pool may join another, or this one again, after so many times 24 hours.',
    }),
  })
  .meta({ id: 'PoolPolicy' });
export type Policy = z.output<typeof policySchema>;

const dayMs = 86_400_000;

/** From when on somebody who leaves a pool may take a place again. */
export function mayJoinAfter({ coolingDays }: Policy, leftAt: number): number {
  return leftAt + coolingDays * dayMs;
}

export interface Spender {
  readonly isHead: boolean;
  readonly maySpend: boolean;
}

/** Whether a member of the pool may spend. */
export function allows({ spenders }: Policy, { isHead, maySpend }: Spender): boolean {
  switch (spenders) {
    case 'all':
      return true;
    case 'head':
      return isHead;
    case 'listed':
      return isHead || maySpend;
  }
}
