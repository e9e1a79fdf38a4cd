/**
 * PURE. From one version of a ladder to the next: what becomes of the tiers, and of what a member has.
 *
 * A tier keeps its members as long as its name stays, wherever it stands, or another tier says that it `was` it. The members
 * of a tier that is gone come to the next lower one that stays. That is all a new version does by itself: an inserted tier,
 * lower thresholds or another place in the order show in the review that follows, so the preview of a version is `movedMember`
 * and a review, and the run that applies it is the same. Higher thresholds take nothing before its end: what was needed when
 * a tier was reached is remembered with it.
 */
import type { Earned, Grant, Ladder, LadderMember } from './types.ts';

export interface TierMove {
  readonly from: string;
  readonly to: string;
  readonly why: 'same' | 'renamed' | 'removed';
}

/** For every tier of the ladder before: what it is in the one after. */
export function tierMoves(before: Ladder, after: Ladder): readonly TierMove[] {
  const moves: TierMove[] = [];
  for (const { name } of before.tiers) {
    const renamed = after.tiers.find(({ was }) => was.includes(name));
    // The tiers come from the lowest up, so the one below has its move already.
    if (after.tiers.some((tier) => tier.name === name)) moves.push({ from: name, to: name, why: 'same' });
    else if (renamed) moves.push({ from: name, to: renamed.name, why: 'renamed' });
    else moves.push({ from: name, to: moves.at(-1)?.to ?? after.tiers[0]!.name, why: 'removed' });
  }
  return moves;
}

type Moves = ReadonlyMap<string, TierMove>;

function movedEarned(state: Earned, moves: Moves): Earned {
  const { spent, qualified, before, ...rest } = state;
  const move = moves.get(state.tier);
  const isRemoved = move?.why === 'removed';
  return {
    ...rest,
    tier: move?.to ?? state.tier,
    // What was earned is another tier now, so nothing can be taken back from it.
    ...(isRemoved ? { how: 'moved' as const } : {}),
    ...(qualified && !isRemoved ? { qualified } : {}),
    ...(spent ? { spent: { ...spent, tier: moves.get(spent.tier)?.to ?? spent.tier } } : {}),
    ...(before ? { before: movedEarned(before, moves) } : {}),
  };
}

function movedGrant(grant: Grant, moves: Moves): Grant {
  return { ...grant, tier: moves.get(grant.tier)?.to ?? grant.tier };
}

/** The member as the new version knows it; the review of the same day says what comes of it. */
export function movedMember(before: Ladder, after: Ladder, member: LadderMember): LadderMember {
  const moves = new Map(tierMoves(before, after).map((move) => [move.from, move]));
  return {
    ...member,
    earned: member.earned && movedEarned(member.earned, moves),
    grants: member.grants.map((grant) => movedGrant(grant, moves)),
  };
}
