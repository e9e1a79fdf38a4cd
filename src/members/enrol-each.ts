/** Enrolment on the way (`enrol: true`): members asked for in one turn of the event loop are enrolled together. */
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Lookup, MemberFacts } from '#src/wallet/lookup.ts';
import { draftsMax, type Enrolled, type Enrolment } from './enrolment.ts';
import type { MemberRef } from './member-ref.ts';

interface Waiting {
  readonly ref: MemberRef;
  readonly resolve: (enrolled: Enrolled) => void;
  readonly reject: (error: unknown) => void;
}

/** A function that enrols one member and answers who it is; who is known already is simply found. */
export function enrolEach(
  enrolment: Enrolment,
  lookup: Lookup,
): (program: Program, ref: MemberRef) => Promise<MemberFacts> {
  const queues = new Map<Program, Waiting[]>();

  function drain(program: Program): void {
    const queue = queues.get(program) ?? [];
    queues.delete(program);
    for (let from = 0; from < queue.length; from += draftsMax) {
      const batch = queue.slice(from, from + draftsMax);
      enrolment
        .enrol(
          program,
          batch.map(({ ref }) => ({ member: ref })),
        )
        .then(
          (results) => {
            for (const [i, waiting] of batch.entries()) waiting.resolve(results[i]!);
          },
          (error: unknown) => {
            for (const waiting of batch) waiting.reject(error);
          },
        );
    }
  }

  return async (program, ref) => {
    const enrolled = await new Promise<Enrolled>((resolve, reject) => {
      const queue = queues.get(program);
      if (queue) queue.push({ ref, resolve, reject });
      else {
        queues.set(program, [{ ref, resolve, reject }]);
        setImmediate(drain, program);
      }
    });
    if (enrolled.status === 'refused') throw enrolled.problem;
    const facts = await lookup.member(program.number, enrolled.member);
    if (!facts) throw new Problem('member_not_found');
    return facts;
  };
}
