/** A partner of a shop: its contract, its key, and calls that are signed as a partner signs them. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { insertContract, keepPartner } from '#src/partners/contracts/store.ts';
import type { ContractTerms } from '#src/partners/contracts/types.ts';
import { operationTarget, partnerCalls } from '#src/partners/protocol/calls.ts';
import { type Scheme, type SignedRequest, signedHeaders } from '#src/partners/signature.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { plainTerms } from '../../loadtest/setup/contract-terms.ts';
import type { Answer, Http } from './client.ts';
import type { Shop } from './shop.ts';
import { waitFor } from './waiting.ts';

/** What a test may do otherwise than a partner does. */
export interface Tampering {
  readonly key?: { readonly keyId: string; readonly secret: string };
  readonly stamp?: { readonly timestamp: number; readonly nonce: string };
  /** What is sent instead of what was signed. */
  readonly sent?: Partial<Pick<SignedRequest, 'method' | 'target'>>;
  /** The body that is sent instead of the one that was signed. */
  readonly change?: (text: string) => string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly scheme?: Scheme;
  /** Another API than the first. */
  readonly at?: Http;
}

export interface Partner {
  readonly name: string;
  /** Its party in the ledger. */
  readonly number: number;
  readonly keyId: string;
  readonly secret: string;
  readonly nonce: () => string;
  call(method: 'GET' | 'POST', target: string, body?: unknown, tampering?: Tampering): Promise<Answer>;
  accrue(body: object): Promise<Answer>;
  redeem(body: object): Promise<Answer>;
  reverse(body: object): Promise<Answer>;
  validate(body: object): Promise<Answer>;
  inquire(kind: string, reference: string): Promise<Answer>;
}

export const freshNonce = () => randomBytes(16).toString('hex');
export const seconds = (offset = 0) => Math.floor(Date.now() / 1_000) + offset;

export async function openPartner(
  { pool, http }: { readonly pool: pg.Pool; readonly http: Http },
  shop: Shop,
  {
    name = 'sky',
    contract = {},
  }: { readonly name?: string; readonly contract?: Partial<ContractTerms> } = {},
): Promise<Partner> {
  const program = shop.program.number;
  const number = await inTransaction(pool, async (tx) => {
    const partner = await keepPartner(tx, program, { name, title: name, status: 'active' });
    await insertContract(tx, {
      partner,
      version: 1,
      from: 0,
      until: null,
      terms: { ...plainTerms, ...contract },
      actor: 'test',
    });
    return partner;
  });
  const created = await shop.admin('POST', '/v1/keys', { client: name, role: 'partner' });
  const [keyId, secret] = [created.id, String(created.body.secret)];

  const call: Partner['call'] = (method, target, body, tampering = {}) => {
    const {
      key = { keyId, secret },
      stamp = { timestamp: seconds(), nonce: freshNonce() },
      sent,
    } = tampering;
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    const headers = signedHeaders(
      key.keyId,
      key.secret,
      { method, target, body: text },
      stamp,
      tampering.scheme,
    );
    const wire = tampering.change?.(text) ?? text;
    return (tampering.at ?? http)(
      sent?.method ?? method,
      sent?.target ?? target,
      wire === '' ? undefined : wire,
      {
        headers: { ...headers, ...tampering.headers },
        invalid: true,
      },
    );
  };
  await waitFor('the partner is known', async () => {
    const answer = await call('GET', operationTarget('accrual', 'nothing'));
    return answer.code === 'not_found';
  });
  const time = () => shop.time();
  const post = (path: string) => (body: object) => call('POST', path, { occurredAt: time(), ...body });
  return {
    name,
    number,
    keyId,
    secret,
    nonce: freshNonce,
    call,
    accrue: post(partnerCalls.accrue.path),
    redeem: post(partnerCalls.redeem.path),
    reverse: post(partnerCalls.reverse.path),
    validate: (body) => call('POST', partnerCalls.validate.path, body),
    inquire: (kind, reference) => call('GET', operationTarget(kind, reference)),
  };
}

/** Links a member's account here with one of the partner, by a code of ours. */
export async function linked(
  shop: Shop,
  partner: Partner,
  member: string,
  callerAccount: string,
): Promise<string> {
  const path = `/v1/members/${encodeURIComponent(member)}/link-codes`;
  const made = await shop.checkout('POST', path, { partner: partner.name });
  const answer = await partner.validate({ account: member, code: made.body.code, callerAccount });
  if (answer.status !== 200) throw new Error(`not linked: ${JSON.stringify(answer.body)}`);
  return String(answer.body.account);
}
