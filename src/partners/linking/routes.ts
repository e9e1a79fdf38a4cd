/** Linking a member's account with one at a partner, in both directions, and ending it. */
import type pg from 'pg';
import { z } from 'zod';
import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { type Caller, type Role, type Route, route } from '#src/http/route.ts';
import { type Identity, masked } from '#src/members/identity.ts';
import { profileOfRow, survivingMember } from '#src/members/records.ts';
import { contractAt } from '#src/partners/contracts/arithmetic.ts';
import type { PartnerBook } from '#src/partners/contracts/book.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import type { Calls } from '#src/partners/exchange/calling.ts';
import type { Endpoints } from '#src/partners/exchange/endpoints.ts';
import { compareNames, namesIn } from '#src/partners/inbound/names.ts';
import { type NameMatch, nameMatches } from '#src/partners/protocol/schemas.ts';
import { memberId } from '#src/values.ts';
import { textOf } from '#src/wallet/fields.ts';
import { confirmThere } from './confirming.ts';
import { codeMinutes, type Link, linkConfirmed, linksOf, makeCode, unlink } from './links.ts';

export interface LinkingContext {
  readonly pool: pg.Pool;
  readonly identity: Identity;
  readonly partners: PartnerBook;
  readonly calls: Calls;
  readonly endpoints: Endpoints;
}

const linking: readonly Role[] = ['checkout', 'care', 'admin'];

const partnerField = textOf(64).meta({ description: 'Name of the partner.' });

const codeRequest = z.strictObject({ partner: partnerField }).meta({ id: 'LinkCodeRequest' });

const codeReply = z
  .object({
    object: z.literal('linkCode'),
    partner: z.string(),
    code: z.string().meta({
      description: `Shown this once; the member gives it to the partner within ${codeMinutes} minutes.`,
    }),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: 'LinkCode' });

const linkRequest = z
  .strictObject({
    partner: partnerField,
    account: textOf(128).meta({ description: "The member's account at the partner." }),
    code: z
      .string()
      .regex(/^[0-9A-Za-z-]{6,32}$/, 'is not a one-time code')
      .meta({ description: 'That the member has from the partner.' }),
    name: textOf(128).optional().meta({
      description:
        "That the account there is to have; one that is not the member's is refused. Where the contract wants the same name and none is given, the partner is sent the member's.",
    }),
  })
  .meta({ id: 'LinkRequest' });

const linkReply = z
  .object({
    object: z.literal('partnerLink'),
    member: z.string(),
    partner: z.string(),
    account: z.string().meta({ description: 'Its last characters.' }),
    codeOf: z.enum(['us', 'partner']).meta({ description: 'Whose one-time code has proved it.' }),
    name: z.enum(nameMatches).meta({
      description: "How the name of the account stood to the member's; contracts may want it to fit.",
    }),
    linkedAt: z.iso.datetime(),
  })
  .meta({ id: 'PartnerLink' });

const linkListReply = z
  .object({ object: z.literal('list'), data: z.array(linkReply), nextCursor: z.null() })
  .meta({ id: 'PartnerLinkList' });

async function partnerNamed(
  { partners }: LinkingContext,
  { program }: Caller,
  name: string,
): Promise<Partner> {
  const partner = await partners.named(program.number, name);
  if (partner?.status !== 'active') {
    throw new Problem('not_found', 'The program has no such partner.');
  }
  return partner;
}

function view(partner: Pick<Partner, 'name'>, link: Link) {
  return {
    object: 'partnerLink' as const,
    member: memberId(link.member),
    partner: partner.name,
    account: masked(link.account),
    codeOf: link.codeOf,
    name: link.name,
    linkedAt: link.linkedAt.toISOString(),
  };
}

function activeMember(context: LinkingContext, { program }: Caller, path: string | undefined) {
  return survivingMember(context.pool, context.identity, program, path ?? '').then((row) => {
    if (row.erased_at !== null || row.status === 'closed') throw new Problem('member_not_active');
    return row;
  });
}

function codeRoute(context: LinkingContext): Route {
  return route({
    method: 'POST',
    path: '/v1/members/:member/link-codes',
    operationId: 'createLinkCode',
    summary: 'A one-time code with which the member links this account at a partner',
    tag: 'partners',
    roles: linking,
    refusalsOf: 'link',
    body: codeRequest,
    replies: { 201: codeReply },
    errors: ['not_found', 'member_not_found', 'member_not_active', 'attempts_exceeded'],
    async handle({ caller, params, body }) {
      const partner = await partnerNamed(context, caller, body.partner);
      const { number } = await activeMember(context, caller, params.member);
      const { code, endsAt } = await makeCode(context, caller.program, partner, number, caller.keyId);
      return {
        status: 201,
        body: { object: 'linkCode', partner: partner.name, code, expiresAt: endsAt.toISOString() },
      };
    },
  });
}

/** The member's name fits the account's as well as the one that was sent fits either of them. */
function weaker(here: NameMatch, there: NameMatch): NameMatch {
  return here === 'not_compared' || there === 'full' ? here : there;
}

/** How a name that is sent stands to the member's. Refuses one that is not the member's: the partner may find it to be the account's. */
function comparedHere(name: string | undefined, kept: readonly string[]): NameMatch {
  const here = name === undefined ? 'not_compared' : compareNames(name, kept);
  if (here === 'differs')
    throw new Problem('member_not_found', 'The name is not that of the member.', { pointer: '/name' });
  return here;
}

function linkRoute(context: LinkingContext): Route {
  return route({
    method: 'POST',
    path: '/v1/members/:member/links',
    operationId: 'linkMember',
    summary: 'Link an account at a partner by a one-time code of the partner',
    tag: 'partners',
    roles: linking,
    refusalsOf: 'link',
    body: linkRequest,
    replies: { 201: linkReply },
    errors: [
      'not_found',
      'member_not_found',
      'member_not_active',
      'link_code_invalid',
      'identifier_taken',
      'attempts_exceeded',
    ],
    async handle({ caller, params, body }) {
      const partner = await partnerNamed(context, caller, body.partner);
      const row = await activeMember(context, caller, params.member);
      const { number: member } = row;
      const { account, code } = body;
      const kept = namesIn(profileOfRow(context.identity, caller.program, row).attributes);
      const isWanted = contractAt(partner, programNow(caller.program))?.limits.sameName !== undefined;
      const name = body.name ?? (isWanted ? kept[0] : undefined);
      const here = comparedHere(name, kept);
      const asked = { account, code, callerAccount: memberId(member) };
      const confirmed = await confirmThere(context, partner, {
        ...asked,
        ...(name === undefined ? {} : { name }),
      });
      const link = { member, account: confirmed.account, codeOf: 'partner' as const, actor: caller.keyId };
      const match = { name: weaker(here, confirmed.name) };
      await linkConfirmed(context, caller.program, partner, { ...link, ...match });
      const links = await linksOf(context, caller.program, member);
      const made = links.find(({ client }) => client === partner.client);
      if (!made) throw new Problem('not_found', 'The link was ended at this moment.');
      return { status: 201, body: view(partner, made) };
    },
  });
}

/** The calls on links of members. */
export function linkingRoutes(context: LinkingContext): Route[] {
  return [
    codeRoute(context),
    linkRoute(context),
    route({
      method: 'GET',
      path: '/v1/members/:member/links',
      operationId: 'listLinks',
      summary: 'The accounts at partners that a member has linked',
      tag: 'partners',
      roles: linking,
      replies: { 200: linkListReply },
      errors: ['member_not_found'],
      async handle({ caller, params }) {
        const { program } = caller;
        const { number } = await survivingMember(
          context.pool,
          context.identity,
          program,
          params.member ?? '',
        );
        const links = await linksOf(context, program, number);
        const data = [];
        for (const link of links) {
          const partner = await context.partners.ofClient(link.client);
          if (partner) data.push(view(partner, link));
        }
        return { status: 200, body: { object: 'list', data, nextCursor: null } };
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/members/:member/links/:partner',
      operationId: 'unlinkMember',
      summary: 'End a link: from now on the partner takes no points of the member',
      tag: 'partners',
      roles: linking,
      refusalsOf: 'link',
      replies: {
        200: z.object({ object: z.literal('partnerLink'), partner: z.string(), unlinked: z.literal(true) }),
      },
      errors: ['not_found', 'member_not_found'],
      async handle({ caller, params }) {
        const { program, keyId } = caller;
        const partner = await context.partners.named(program.number, params.partner ?? '');
        if (!partner) throw new Problem('not_found', 'The program has no such partner.');
        const { number } = await survivingMember(
          context.pool,
          context.identity,
          program,
          params.member ?? '',
        );
        if (!(await unlink(context, program, partner, number, keyId)))
          throw new Problem('not_found', 'The member has not linked an account at this partner.');
        return { status: 200, body: { object: 'partnerLink', partner: partner.name, unlinked: true } };
      },
    }),
  ];
}
