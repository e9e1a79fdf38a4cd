/** What the calls of partners are made of, and who the partner behind a call is. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller } from '#src/http/route.ts';
import type { Identity } from '#src/members/identity.ts';
import type { PartnerBook } from '#src/partners/contracts/book.ts';
import type { Contract, Partner } from '#src/partners/contracts/types.ts';
import type { EpochMs } from '#src/values.ts';
import type { Operations } from '#src/wallet/operations.ts';

export interface InboundContext {
  readonly pool: pg.Pool;
  readonly operations: Operations;
  readonly identity: Identity;
  readonly partners: PartnerBook;
}

/** The partner whose key has signed. Throws `role_not_allowed` where there is none, or it is suspended. */
export async function partnerOf({ partners }: InboundContext, caller: Caller): Promise<Partner> {
  const partner = await partners.ofClient(caller.client);
  if (partner === undefined || partner.program !== caller.program.number)
    throw new Problem('role_not_allowed', 'No partner belongs to the client of this key.');
  if (partner.status !== 'active') throw new Problem('role_not_allowed', 'The partner is suspended.');
  return partner;
}

/** The contract in force at a time. Throws `role_not_allowed` where there is none. */
export function contractAt({ contracts }: Partner, at: EpochMs): Contract {
  const contract = contracts.find(({ from, until }) => from <= at && (until === null || at < until));
  if (!contract) throw new Problem('role_not_allowed', 'No contract with this partner is in force.');
  return contract;
}

/** The number of a currency that the partner named, or of the main one. */
export function currencyOf(
  program: Program,
  code: string | undefined,
): { readonly number: number; readonly code: string } {
  const currency = code === undefined ? program.mainCurrency : program.currencyByCode.get(code);
  if (!currency) {
    throw new Problem('currency_unknown', undefined, {
      errors: [{ pointer: '/currency', detail: 'is not a currency of the program' }],
    });
  }
  return currency;
}
