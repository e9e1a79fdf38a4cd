/** What exchanges are made of; `app.ts` has the most of it. */
import type pg from 'pg';
import type { Program, Programs } from '#src/earning/program.ts';
import type { Identity } from '#src/members/identity.ts';
import type { JudgedMembers } from '#src/members/judged-member.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import type { PartnerBook } from '#src/partners/contracts/book.ts';
import type { Telemetry } from '#src/platform/telemetry.ts';
import type { Soon } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import type { Operations } from '#src/wallet/operations.ts';
import type { Calls } from './calling.ts';
import type { Endpoints } from './endpoints.ts';
import type { Gathered } from './gathered.ts';
import type { Patience } from './policy.ts';

export interface ExchangeSurroundings {
  readonly pool: pg.Pool;
  readonly keyedPool: pg.Pool;
  readonly programs: Programs;
  readonly operations: Operations;
  readonly identity: Identity;
  readonly partners: PartnerBook;
  readonly telemetry: Pick<Telemetry, 'log' | 'metrics'>;
  resolveMember(program: Program, ref: MemberRef): Soon<MemberFacts | undefined>;
  readonly judgedMember: JudgedMembers;
}

export interface ExchangeContext extends ExchangeSurroundings {
  readonly patience: Patience;
  readonly endpoints: Endpoints;
  readonly calls: Calls;
  readonly gathered: Gathered;
}
