/** The calls of finance about what partners say: files, what differs in them, disputes. */
import type { z } from 'zod';
import { Problem } from '#src/errors.ts';
import { type Call, type Reply, type Role, type Route, route } from '#src/http/route.ts';
import {
  answerDispute,
  type Dispute,
  disputeId,
  disputeNumbered,
  disputesOf,
  disputeView,
  openDispute,
  parseDisputeId,
  settleDispute,
} from './disputes.ts';
import { type ReconciliationContext, reconcileFile } from './reconciling.ts';
import {
  differingLines,
  lineView,
  parseReconciliationId,
  type Reconciliation,
  reconciliationId,
  reconciliationNumbered,
  reconciliationsOf,
  reconciliationView,
} from './reports.ts';
import {
  answerRequest,
  disputeListReply,
  disputeReply,
  disputeRequest,
  disputesQuery,
  fileQuery,
  linesQuery,
  linesReply,
  reconciliationListReply,
  reconciliationReply,
  reconciliationsQuery,
  settleRequest,
} from './schemas.ts';

const desk: readonly Role[] = ['finance', 'admin'];
/** Six million lines. */
const fileBytesMax = 1024 * 1024 * 1024;

function reconciliationIn(context: ReconciliationContext, call: Call): Promise<Reconciliation | undefined> {
  const number = parseReconciliationId(call.params.id ?? '');
  if (number === undefined) return Promise.resolve(undefined);
  return reconciliationNumbered(context.pool, call.caller.program.number, number);
}

async function existing(context: ReconciliationContext, call: Call): Promise<Reconciliation> {
  const found = await reconciliationIn(context, call);
  if (!found) throw new Problem('not_found', 'There is no such reconciliation.');
  return found;
}

function disputeIn({ params }: Call): number {
  const number = parseDisputeId(params.id ?? '');
  if (number === undefined) throw new Problem('not_found', 'There is no such dispute.');
  return number;
}

type FileCall = Call<unknown, z.output<typeof fileQuery>>;

/** One file at a time in a process: each takes a connection, and a core of PostgreSQL while it is sorted. */
function oneAtATime(work: (call: FileCall) => Promise<Reply>): (call: FileCall) => Promise<Reply> {
  let isBusy = false;
  return async (call) => {
    if (isBusy) throw new Problem('not_ready', 'Another file is being compared.');
    isBusy = true;
    try {
      return await work(call);
    } finally {
      isBusy = false;
    }
  };
}

function fileRoutes(context: ReconciliationContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/reconciliations',
      operationId: 'reconcileFile',
      summary: "Compare a partner's file with the books; answered when it is done",
      tag: 'partners',
      roles: desk,
      stream: { mediaType: 'text/csv', bytesMax: fileBytesMax },
      query: fileQuery,
      replies: { 201: reconciliationReply },
      errors: ['file_refused', 'file_out_of_sequence'],
      handle: oneAtATime(async ({ caller, bytes, query: { first } }: FileCall) => {
        const file = { program: caller.program, actor: caller.keyId, bytes: bytes!, first };
        const found = await reconcileFile(context, file);
        return { status: 201, body: reconciliationView(caller.program, found) };
      }),
    }),
    route({
      method: 'GET',
      path: '/v1/reconciliations',
      operationId: 'listReconciliations',
      summary: 'Reconciliations that were made, newest first',
      tag: 'partners',
      roles: desk,
      query: reconciliationsQuery,
      replies: { 200: reconciliationListReply },
      errors: [],
      async handle({ caller: { program }, query: { after, limit } }) {
        const found = await reconciliationsOf(context.pool, program.number, after, limit + 1);
        const shown = found.slice(0, limit);
        const next = found.length > limit ? reconciliationId(shown.at(-1)!.number) : null;
        const data = shown.map((each) => reconciliationView(program, each));
        return { status: 200, body: { object: 'list', data, nextCursor: next } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/reconciliations/:id',
      operationId: 'getReconciliation',
      summary: 'What came of a comparison: how many match, and how many differ in what',
      tag: 'partners',
      roles: desk,
      replies: { 200: reconciliationReply },
      errors: ['not_found'],
      handle: async (call) => ({
        status: 200,
        body: reconciliationView(call.caller.program, await existing(context, call)),
      }),
    }),
    route({
      method: 'GET',
      path: '/v1/reconciliations/:id/lines',
      operationId: 'listReconciliationLines',
      summary: 'The lines that differ, with what both sides say, in the order of the file',
      tag: 'partners',
      roles: desk,
      query: linesQuery,
      replies: { 200: linesReply },
      errors: ['not_found'],
      async handle(call) {
        const { number } = await existing(context, call);
        const { limit } = call.query;
        const found = await differingLines(context.pool, number, { ...call.query, limit: limit + 1 });
        const data = found.slice(0, limit);
        const nextCursor = found.length > limit ? String(data.at(-1)!.number) : null;
        return { status: 200, body: { object: 'list', data: data.map(lineView), nextCursor } };
      },
    }),
  ];
}

const by = ({ caller: { program, keyId: actor } }: Call, reason: string) => ({ program, actor, reason });

const answered = (call: Call, dispute: Dispute, status = 200): Reply => ({
  status,
  body: disputeView(call.caller.program, dispute),
});

function disputeRoutes({ pool }: ReconciliationContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/disputes',
      operationId: 'openDispute',
      summary: 'Dispute a line that differs; due by the days that the contract gives',
      tag: 'partners',
      roles: desk,
      body: disputeRequest,
      replies: { 201: disputeReply },
      errors: ['not_found', 'dispute_not_open'],
      handle: async (call) =>
        answered(call, await openDispute(pool, call.body, by(call, call.body.reason)), 201),
    }),
    route({
      method: 'GET',
      path: '/v1/disputes',
      operationId: 'listDisputes',
      summary: 'Disputes that are not settled, or all of a status',
      tag: 'partners',
      roles: desk,
      query: disputesQuery,
      replies: { 200: disputeListReply },
      errors: [],
      async handle({ caller: { program }, query: { status, after = 0, limit } }) {
        const found = await disputesOf(pool, program.number, { status, after, limit: limit + 1 });
        const shown = found.slice(0, limit);
        const nextCursor = found.length > limit ? disputeId(shown.at(-1)!.number) : null;
        const data = shown.map((each) => disputeView(program, each));
        return { status: 200, body: { object: 'list', data, nextCursor } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/disputes/:id',
      operationId: 'getDispute',
      summary: 'A dispute with its line and every step',
      tag: 'partners',
      roles: desk,
      replies: { 200: disputeReply },
      errors: ['not_found'],
      async handle(call) {
        const found = await disputeNumbered(pool, call.caller.program.number, disputeIn(call));
        if (!found) throw new Problem('not_found', 'There is no such dispute.');
        return answered(call, found);
      },
    }),
  ];
}

function disputeSteps({ pool }: ReconciliationContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/disputes/:id/answer',
      operationId: 'answerDispute',
      summary: 'Keep what the partner has said about it',
      tag: 'partners',
      roles: desk,
      body: answerRequest,
      replies: { 200: disputeReply },
      errors: ['not_found', 'dispute_not_open'],
      handle: async (call) =>
        answered(call, await answerDispute(pool, disputeIn(call), by(call, call.body.reason))),
    }),
    route({
      method: 'POST',
      path: '/v1/disputes/:id/settle',
      operationId: 'settleDispute',
      summary: 'End a dispute: whose books stand, and why',
      tag: 'partners',
      roles: desk,
      body: settleRequest,
      replies: { 200: disputeReply },
      errors: ['not_found', 'dispute_not_open'],
      async handle(call) {
        const { outcome, reason } = call.body;
        return answered(call, await settleDispute(pool, disputeIn(call), outcome, by(call, reason)));
      },
    }),
  ];
}

/** Every call about reconciliations and disputes. */
export function reconciliationRoutes(context: ReconciliationContext): Route[] {
  return [...fileRoutes(context), ...disputeRoutes(context), ...disputeSteps(context)];
}
