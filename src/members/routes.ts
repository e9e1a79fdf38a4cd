/** The calls about members. */
import type { ErrorCode } from '#src/errors.ts';
import { type Call, type Role, type Route, route } from '#src/http/route.ts';
import { durabilityOf, referenceOf } from '#src/wallet/fields.ts';
import type { Life, LifeAction } from './life.ts';
import { identifierSchema } from './member-ref.ts';
import { createMembers, type Members, type MembersContext } from './members.ts';
import {
  bulkEnrolmentSchema,
  bulkMembersSchema,
  changedMemberSchema,
  codeActivationSchema,
  completedTransferSchema,
  enrolmentSchema,
  erasureSchema,
  exportQuerySchema,
  foundMemberSchema,
  lifeChangeSchema,
  memberCodeSchema,
  memberCodesSchema,
  memberExportSchema,
  memberPatchSchema,
  memberSchema,
  mergeSchema,
  transferSchema,
} from './schemas.ts';

const atTheCounter: readonly Role[] = ['pos', 'checkout', 'admin'];
const looking: readonly Role[] = ['pos', 'checkout', 'care', 'admin'];
const reading: readonly Role[] = ['care', 'finance', 'admin'];
const admin: readonly Role[] = ['admin'];

/** What a status record may be refused for, and what its wallet may be. */
const lifeErrors: readonly ErrorCode[] = [
  'member_not_found',
  'member_not_active',
  'member_merging',
  'reference_in_progress',
  'reference_reused',
  'shard_recovering',
  'journal_full',
];

/** The caller's own id or a `mem_` id; other identifiers never stand in a path. */
function memberOf(call: Pick<Call, 'params'>): string {
  return call.params.member ?? '';
}

function enrolmentRoutes({ readings }: Members): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/members',
      operationId: 'enrolMember',
      summary: 'Enrol a member; the same again answers 200',
      tag: 'members',
      roles: atTheCounter,
      body: enrolmentSchema,
      replies: { 200: memberSchema, 201: memberSchema },
      errors: ['member_exists', 'identifier_taken'],
      handle: ({ caller, body }) => readings.enrol(caller, body),
    }),
    route({
      method: 'POST',
      path: '/v1/members/bulk',
      operationId: 'enrolMembers',
      summary: 'Enrol up to a thousand members; one that is refused refuses no other',
      tag: 'members',
      roles: atTheCounter,
      body: bulkEnrolmentSchema,
      bodyBytesMax: 8 * 1024 * 1024,
      replies: { 200: bulkMembersSchema },
      errors: [],
      handle: ({ caller, body }) => readings.enrolBulk(caller, body.items),
    }),
    route({
      method: 'POST',
      path: '/v1/members/lookup',
      operationId: 'lookUpMember',
      summary: 'Find a member by an identifier, with balances',
      tag: 'members',
      roles: looking,
      body: identifierSchema,
      replies: { 200: foundMemberSchema },
      errors: ['member_not_found', 'shard_recovering'],
      handle: async ({ caller, body }) => ({ status: 200, body: await readings.find(caller, body) }),
    }),
  ];
}

function recordRoutes({ readings, changes }: Members): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/members/:member',
      operationId: 'getMember',
      summary: 'Read a member',
      tag: 'members',
      roles: reading,
      replies: { 200: memberSchema },
      errors: ['member_not_found', 'shard_recovering'],
      handle: async (call) => ({
        status: 200,
        body: await readings.get(call.caller, memberOf(call), call.waitMs),
      }),
    }),
    route({
      method: 'PATCH',
      path: '/v1/members/:member',
      operationId: 'changeMember',
      summary: 'Change birthday and attributes, link and unlink identifiers',
      tag: 'members',
      roles: admin,
      body: memberPatchSchema,
      replies: { 200: memberSchema },
      errors: [
        'member_not_found',
        'member_not_active',
        'member_merging',
        'identifier_taken',
        'shard_recovering',
      ],
      handle: (call) => changes.change(call.caller, memberOf(call), call.body, call.waitMs),
    }),
  ];
}

function codeRoutes({ codes }: Members): Route[] {
  const path = '/v1/members/:member/codes';
  return [
    route({
      method: 'POST',
      path,
      operationId: 'activateCode',
      summary: 'Activate a promotion by its code for a member; the same again answers 200',
      tag: 'members',
      roles: looking,
      body: codeActivationSchema,
      replies: { 200: memberCodeSchema, 201: memberCodeSchema },
      errors: ['member_not_found', 'member_not_active', 'member_merging', 'shard_recovering', 'journal_full'],
      handle: (call) => codes.activate(call.caller, memberOf(call), call.body.code, call.waitMs),
    }),
    route({
      method: 'GET',
      path,
      operationId: 'listCodes',
      summary: 'The codes that a member has activated',
      tag: 'members',
      roles: looking,
      replies: { 200: memberCodesSchema },
      errors: ['member_not_found'],
      handle: (call) => codes.list(call.caller, memberOf(call)),
    }),
  ];
}

function lifeRoute(life: Life, action: Exclude<LifeAction, 'erase'>, summary: string): Route {
  return route({
    method: 'POST',
    path: `/v1/members/:member/${action}`,
    operationId: `${action}Member`,
    summary,
    tag: 'members',
    roles: admin,
    body: lifeChangeSchema,
    replies: { 200: changedMemberSchema, 202: changedMemberSchema },
    errors: lifeErrors,
    handle: (call) => {
      const { reason } = call.body;
      const durability = durabilityOf(call.body, 'ledger');
      const reference = referenceOf(call, call.body);
      return life.reply(
        call.caller,
        action,
        { member: memberOf(call), reference, reason, durability },
        call.waitMs,
      );
    },
  });
}

function lifeRoutes({ life, merges, exports, erasure }: Members): Route[] {
  return [
    lifeRoute(life, 'suspend', 'Suspend a member: nothing is earned or spent until it is resumed'),
    lifeRoute(life, 'resume', 'Resume a suspended member'),
    lifeRoute(life, 'close', 'Close a member for good; open holds are released'),
    route({
      method: 'POST',
      path: '/v1/members/:member/merge',
      operationId: 'mergeMember',
      summary: 'Merge this member into another: points, debt and identifiers move, history stays',
      tag: 'members',
      roles: admin,
      body: mergeSchema,
      replies: { 200: changedMemberSchema, 202: changedMemberSchema },
      errors: lifeErrors,
      handle: (call) => {
        const { into, reason } = call.body;
        const reference = referenceOf(call, call.body);
        return merges.merge(call.caller, { member: memberOf(call), into, reference, reason }, call.waitMs);
      },
    }),
    route({
      method: 'GET',
      path: '/v1/members/:member/export',
      operationId: 'exportMember',
      summary: 'Everything that is held about a member',
      tag: 'members',
      roles: ['care', 'admin'],
      query: exportQuerySchema,
      replies: { 200: memberExportSchema },
      errors: ['member_not_found', 'shard_recovering'],
      handle: async (call) => ({
        status: 200,
        body: await exports.export(call.caller, memberOf(call), call.query, call.waitMs),
      }),
    }),
    route({
      method: 'POST',
      path: '/v1/members/:member/erasure',
      operationId: 'eraseMember',
      summary: 'Destroy what is personal of a member; the ledger stays whole',
      tag: 'members',
      roles: admin,
      body: erasureSchema,
      replies: { 200: changedMemberSchema, 202: changedMemberSchema },
      errors: lifeErrors,
      handle: (call) => {
        const named = call.body.reference ?? call.idempotencyKey;
        const reference = named === undefined ? undefined : referenceOf(call, call.body);
        return erasure.erase(call.caller, { member: memberOf(call), reference }, call.waitMs);
      },
    }),
  ];
}

function transferRoutes({ transfers }: Members): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/transfers',
      operationId: 'transferPoints',
      summary: 'Pass points from one member to another, with their expiry dates',
      tag: 'members',
      roles: admin,
      body: transferSchema,
      replies: { 201: completedTransferSchema, 202: completedTransferSchema },
      errors: [...lifeErrors, 'currency_unknown', 'limit_exceeded', 'insufficient_points', 'spending_frozen'],
      handle: (call) => {
        const { caller, body, waitMs } = call;
        const durability = durabilityOf(body, 'ledger');
        return transfers.transfer(
          caller,
          { ...body, reference: referenceOf(call, body), durability },
          waitMs,
        );
      },
    }),
  ];
}

/** Every call about members, and transfers between them. */
export function memberRoutes(context: MembersContext): Route[] {
  const members = createMembers(context);
  return [
    ...enrolmentRoutes(members),
    ...recordRoutes(members),
    ...codeRoutes(members),
    ...lifeRoutes(members),
    ...transferRoutes(members),
  ];
}
