/** Whether an account is that of the named person, and with a one-time code of the member: linking it. */
import type { z } from 'zod';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import { type MemberRow, membersByNumber, profileOfRow } from '#src/members/records.ts';
import { linkByCode } from '#src/partners/linking/links.ts';
import type { ValidationReply, validationRequest } from '#src/partners/protocol/schemas.ts';
import { memberId } from '#src/values.ts';
import { isLinked, memberOfAccount } from './accounts.ts';
import { countAttempt } from './attempts.ts';
import { type InboundContext, partnerOf } from './context.ts';
import { compareNames, namesIn } from './names.ts';

type Body = z.output<typeof validationRequest>;

function statusOf({ status }: MemberRow): ValidationReply['status'] {
  switch (status) {
    case 'active':
    case 'suspended':
    case 'closed':
      return status;
    default:
      throw new Problem('member_merging');
  }
}

/** The member that account and name mean together. An unknown account and a wrong name are one answer. */
async function namedMember(context: InboundContext, call: Call<Body>) {
  const { caller, body } = call;
  const { pool, identity } = context;
  const { program } = caller;
  const facts = await memberOfAccount(context, program, body.account);
  const row = facts && (await membersByNumber(pool, program, [facts.member])).get(facts.member);
  if (!row || row.erased_at !== null) throw new Problem('member_not_found');
  if (body.name === undefined) return { row, name: 'not_compared' as const };
  const name = compareNames(body.name, namesIn(profileOfRow(identity, program, row).attributes));
  if (name === 'differs') throw new Problem('member_not_found');
  return { row, name };
}

/** `POST /v1/partner/members/validate` */
export async function validate(context: InboundContext, call: Call<Body>): Promise<Reply> {
  const { caller, body } = call;
  const { pool, identity } = context;
  const { program } = caller;
  const partner = await partnerOf(context, caller);
  const attempt = await countAttempt(pool, identity, program, caller.client, body.account);
  const { row, name } = await namedMember(context, call);
  const status = statusOf(row);
  if (body.code !== undefined) {
    const link = { member: row.number, account: body.callerAccount!, name, actor: caller.keyId };
    await linkByCode(context, program, partner, body.code, link);
  }
  // A name that could not be compared says nothing, so asking for it is a try.
  if (body.code !== undefined || name !== 'not_compared') await attempt.succeeded();
  const reply: ValidationReply = {
    object: 'partnerMember',
    account: memberId(row.number),
    status,
    name,
    linked: body.code !== undefined || (await isLinked(pool, caller.client, row.number)),
    memberSince: new Date(row.joined_at).toISOString().slice(0, 10),
  };
  return { status: 200, body: reply };
}
