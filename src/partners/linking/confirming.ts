/**
 * Asks a partner whether a one-time code of its own proves that an account there is the member's, which links it there. It is called
 * as for every exchange: signed in its way, with the same bounds, and not at all while it is left alone.
 */
import { type ErrorCode, Problem } from '#src/errors.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import type { Calls } from '#src/partners/exchange/calling.ts';
import type { Endpoints } from '#src/partners/exchange/endpoints.ts';
import type { ValidationReply, ValidationRequest } from '#src/partners/protocol/schemas.ts';

/** Refusals of the partner that say to our caller what they said to us. */
const relayed: Readonly<Record<string, ErrorCode>> = {
  link_code_invalid: 'link_code_invalid',
  attempts_exceeded: 'attempts_exceeded',
  identifier_taken: 'identifier_taken',
};

function refusalOf(httpStatus: number | undefined, code: string): Problem {
  const known = relayed[code];
  if (known) return new Problem(known, `The partner says ${code}.`);
  if (httpStatus === 404 || httpStatus === 409)
    return new Problem('link_code_invalid', `The partner says ${code}.`);
  return notNow(`The partner says ${code}`);
}

function notNow(why: string): Problem {
  return new Problem('not_ready', `${why}; repeat it with the same code.`);
}

/** The partner's answer. Throws the Problem that its refusal is to our caller; `not_ready` where there was no answer. */
export async function confirmThere(
  { calls, endpoints }: { readonly calls: Calls; readonly endpoints: Endpoints },
  partner: Partner,
  request: ValidationRequest,
): Promise<ValidationReply> {
  const endpoint = await endpoints.of(partner.number);
  if (!endpoint) throw new Problem('not_ready', 'Nobody has said where this partner is called.');
  if (endpoint.delivery === 'files') throw new Problem('not_ready', 'This partner takes files and no calls.');
  const slot = calls.take(endpoint);
  if ('waitMs' in slot) throw notNow('The partner has not answered for a while, or has enough to do');
  try {
    const answer = await slot.validate(request);
    switch (answer.outcome) {
      case 'validated':
        if (!answer.reply.linked) throw notNow('The partner answers with what is not its protocol');
        return answer.reply;
      case 'refused':
        throw refusalOf(answer.httpStatus, answer.code);
      case 'unknown':
        throw notNow(`The partner does not answer (${answer.code})`);
    }
  } finally {
    slot.leave();
  }
}
