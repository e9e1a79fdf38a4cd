/** Asks a partner whether a one-time code of its own proves that an account there is the member's, which links it there. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { type ErrorCode, Problem } from '#src/errors.ts';
import type { Identity } from '#src/members/identity.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import { partnerCalls } from '#src/partners/protocol/calls.ts';
import { problemReply } from '#src/partners/protocol/outcomes.ts';
import {
  type ValidationReply,
  type ValidationRequest,
  validationReply,
} from '#src/partners/protocol/schemas.ts';
import { signedHeaders } from '#src/partners/signature.ts';
import type { MemberNumber } from '#src/values.ts';

const timeoutMs = 5_000;
const answerLengthMax = 65_536;
/** What is sealed for nobody is sealed for the program. */
const nobody = 0 as MemberNumber;

interface EndpointRow {
  readonly url: string;
  readonly key_id: string;
  readonly secret_sealed: Buffer;
}

/** Refusals of the partner that say to our caller what they said to us. */
const relayed: Readonly<Record<string, ErrorCode>> = {
  link_code_invalid: 'link_code_invalid',
  attempts_exceeded: 'attempts_exceeded',
  identifier_taken: 'identifier_taken',
};

function refusalOf(status: number, text: string): Problem {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const code = problemReply.safeParse(body).data?.code ?? `http_${status}`;
  const known = relayed[code];
  if (known) return new Problem(known, `The partner says ${code}.`);
  if (status === 404 || status === 409) return new Problem('link_code_invalid', `The partner says ${code}.`);
  return new Problem('not_ready', `The partner says ${code}; repeat it with the same code.`);
}

/** The partner's answer. Throws the Problem that its refusal is to our caller; `not_ready` where there was no answer. */
export async function confirmThere(
  { pool, identity }: { readonly pool: pg.Pool; readonly identity: Identity },
  partner: Partner,
  request: ValidationRequest,
): Promise<ValidationReply> {
  const found = await pool.query<EndpointRow>(
    'select url, key_id, secret_sealed from partner_endpoint where partner = $1',
    [partner.number],
  );
  const endpoint = found.rows[0];
  if (!endpoint) throw new Problem('not_ready', 'Nobody has said where this partner is called.');
  const secret = identity.decrypt(partner.program, nobody, endpoint.secret_sealed);
  const { method, path } = partnerCalls.validate;
  const at = new URL(new URL(endpoint.url).pathname.replace(/\/$/, '') + path, endpoint.url);
  const body = JSON.stringify(request);
  const stamp = { timestamp: Math.floor(Date.now() / 1_000), nonce: randomBytes(16).toString('base64url') };
  const headers = signedHeaders(endpoint.key_id, secret, { method, target: at.pathname, body }, stamp);
  let answer: { readonly status: number; readonly text: string };
  try {
    const response = await fetch(at, {
      method,
      body,
      headers: { ...headers, 'content-type': 'application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    answer = { status: response.status, text: (await response.text()).slice(0, answerLengthMax) };
  } catch (error) {
    throw new Problem(
      'not_ready',
      'The partner does not answer; repeat it with the same code.',
      {},
      { cause: error },
    );
  }
  if (answer.status !== 200) throw refusalOf(answer.status, answer.text);
  const reply = validationReply.safeParse(JSON.parse(answer.text));
  if (!reply.success || !reply.data.linked)
    throw new Problem('not_ready', 'The partner answers with what is not its protocol.');
  return reply.data;
}
