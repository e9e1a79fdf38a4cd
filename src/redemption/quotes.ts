/** What a member could redeem now. Prices in money come with the redemption rules of the program file. */

import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { currencyNumber } from '#src/wallet/fields.ts';
import { codeOf, type RedemptionContext } from './redemptions.ts';

/** `POST /v1/redemptions/quote` */
export async function quoteRedemption(
  context: RedemptionContext,
  call: Call<{ member: MemberRef; currency?: string | undefined }>,
): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const currency = currencyNumber(caller, body.currency);
  const member = await context.resolveMember(program, body.member);
  const reading =
    member && (await context.operations.wallet.read(member.mergedInto ?? member.member, programNow(program)));
  if (!reading) throw new Problem('member_not_found');
  const available = reading.balances.find((row) => row[0] === currency)?.[1] ?? 0;
  return {
    status: 200,
    body: {
      object: 'redemptionQuote',
      mode: program.mode,
      currency: codeOf(program, currency),
      available,
      minimum: 1,
      step: 1,
      maximum: available,
      limitedBy: available > 0 ? 'available' : 'none',
      best: { points: available },
    },
  };
}
