/**
 * Movements that the engine makes itself: the second half of a transfer, the steps of a merge, a raised facts version.
 * They are of client 0, and their reference is made from the operation that they follow from, so that however often and
 * wherever a step is run, it is applied once for ever.
 *
 * They name their member by number and never follow a merge: the shard that decided a step the first time is the shard
 * that remembers it.
 */
import { randomUUID } from 'node:crypto';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { MemberNumber, OperationHex, OperationKind } from '#src/values.ts';
import type { Attempt, Operations, Recorded } from '#src/wallet/operations.ts';
import { checkBooks } from '#src/wallet/perform.ts';
import type { MovementScript } from '#src/wallet/scripts.ts';

const engineClient = 0;

export interface Step {
  readonly program: Program;
  readonly member: MemberNumber;
  readonly script: MovementScript;
  readonly kind: OperationKind;
  readonly reference: string;
  readonly input: unknown;
  readonly request: Readonly<Record<string, unknown>>;
  readonly origins?: readonly OperationHex[];
  /** The order that it belongs to. */
  readonly order?: string | undefined;
}

function questionOf(operations: Operations, step: Step) {
  return {
    program: step.program.number,
    client: engineClient,
    kind: step.kind,
    reference: step.reference,
    fingerprint: operations.fingerprint([step.kind, step.reference]),
    request: step.request,
  };
}

/** What the step did when it was run before; undefined where it was not, as far as the books reach. */
export async function stepTaken(operations: Operations, step: Step): Promise<Recorded | undefined> {
  return (await operations.known(questionOf(operations, step))).performed?.recorded;
}

/** Runs a step, or answers what it did the first time. */
export async function tryStep(operations: Operations, step: Step): Promise<Attempt> {
  const question = questionOf(operations, step);
  const lookedUpAt = Date.now();
  const known = await operations.known(question);
  if (known.performed) return { status: 'performed', ...known.performed };
  checkBooks(operations, known.behind, step.member);
  const judgedAt = Date.now();
  const at = programNow(step.program, judgedAt);
  const { script, member, input, order, origins = [] } = step;
  const draft = {
    ...question,
    script,
    member,
    factsVersion: undefined,
    origins,
    order,
    occurredAt: at,
    at,
    judgedAt,
    isAwaited: true,
    input,
  };
  return operations.attempt(draft, lookedUpAt);
}

/** Runs a step, or answers what it did the first time. A refusal of the wallet is thrown: no step has one in its plan. */
export async function takeStep(operations: Operations, step: Step): Promise<Recorded> {
  const outcome = await tryStep(operations, step);
  if (outcome.status === 'performed') return outcome.recorded;
  const why = outcome.status === 'refused' ? outcome.code : outcome.status;
  throw new Problem(
    'internal',
    undefined,
    {},
    { cause: new Error(`step ${step.kind} ${step.reference} ended as ${why}`) },
  );
}

/**
 * Raises the version of members' facts: whatever a process remembers of them is refused by the next script and read
 * again. Waits for the books, because that is where the others read.
 */
export async function raiseFacts(
  operations: Operations,
  program: Program,
  members: readonly MemberNumber[],
  waitMs: number,
): Promise<void> {
  for (const member of members) {
    const raised = await takeStep(operations, {
      program,
      member,
      script: 'status',
      kind: 'status',
      reference: `facts/${randomUUID()}`,
      input: { facts: true },
      request: { body: { action: 'facts' } },
    });
    operations.lookup.forget(member);
    await operations.reach(raised, 'ledger', waitMs);
  }
}

/** What is left of a wait that began with `waitMs`. */
export function waitUntil(deadlineMs: number): number {
  return Math.max(0, deadlineMs - Date.now());
}
