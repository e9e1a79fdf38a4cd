/** What a receipt would earn, and why: the same judgement as an accrual's, and nothing moves. */
import type { z } from 'zod';
import { Problem } from '#src/errors.ts';
import type { Caller } from '#src/http/route.ts';
import type { EpochMs } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import { survivorOf } from '#src/wallet/lookup.ts';
import type { EarningContext } from './accruals.ts';
import { explanationOf } from './explanation.ts';
import { programNow, versionAt } from './program.ts';
import { nobody } from './rules/types.ts';
import type { quoteSchema } from './schemas.ts';

type QuoteBody = z.output<typeof quoteSchema>;

async function memberOf(
  context: EarningContext,
  { program }: Caller,
  { member }: QuoteBody,
): Promise<MemberFacts | undefined> {
  if (member === undefined) return undefined;
  const named = await context.resolveMember(program, member);
  const facts = named && (await survivorOf(context.operations.lookup, named));
  if (!facts) throw new Problem('member_not_found');
  return facts;
}

/** The awards of a quote and its explanation. Without a member nothing is known of one, and no caps of a member count. */
export async function quoteAccrual(
  context: EarningContext,
  caller: Caller,
  body: QuoteBody,
  at: EpochMs,
): Promise<ReturnType<typeof explanationOf>> {
  const { program } = caller;
  const facts = await memberOf(context, caller, body);
  const { purchase, flight, activity, grant } = body;
  return explanationOf(program, versionAt(program, at), {
    subject: { purchase, flight, activity, grant },
    member: facts ? await context.judgedMember(program, facts) : nobody,
    counters: facts ? context.operations.counters.of(facts.member) : () => undefined,
    occurredAt: at,
    postedAt: programNow(program),
  });
}
