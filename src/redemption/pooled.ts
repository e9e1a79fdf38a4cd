/**
 * What returns ask of pools. A redemption of a pool that paid for an order comes back to several wallets, each in a record of its own:
 * the return's record decides how much of it, and the refund of the pool follows from that.
 */
import type { Program } from '#src/earning/program.ts';
import type { Caller } from '#src/http/route.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';

/** Points by currency that come back of a redemption of a pool, and the refund that brings them: kept with the return. */
export type KeptPooled = readonly [
  redemption: OperationHex,
  refund: OperationHex,
  points: readonly (readonly [currency: number, points: number])[],
];

export interface PooledRedemption {
  /** `prd_…` */
  readonly id: string;
  /** All of it, as if its spender had paid alone. */
  readonly whole: Recorded;
}

/** Turns that a return has taken: nobody else begins a refund of the same redemptions before it is decided. */
export interface Reserved {
  /** The refund that brings back what the return decides, by redemption. */
  readonly refunds: ReadonlyMap<OperationHex, OperationHex>;
  /** What has come back of each before, as the note of a redemption's state. */
  readonly notes: ReadonlyMap<OperationHex, string>;
  /** The return was refused. */
  giveUp(): Promise<void>;
}

export interface PooledReturns {
  /** Redemptions of pools that have paid for an order. */
  ofOrder(program: Program, order: string, deadlineMs: number): Promise<readonly PooledRedemption[]>;
  /** Whether a member is, or was, in the household whose pool has paid. */
  isOfHousehold(redemption: PooledRedemption, member: MemberNumber): Promise<boolean>;
  reserve(
    caller: Pick<Caller, 'program' | 'client'>,
    reference: string,
    redemptions: readonly PooledRedemption[],
    deadlineMs: number,
  ): Promise<Reserved>;
  /** Brings back what a return has decided; false where it is not all in the books by the deadline. */
  finish(returned: Recorded, reserved: Reserved, deadlineMs: number): Promise<boolean>;
}
