/**
 * Partners that are wrong on purpose, in a process of their own: `node wrong-partners.ts FOLDER`. Each is the simulator with
 * one part replaced by what a hurried program does in its place. Says to its parent where they listen.
 */
import { join } from 'node:path';
import { inspect } from 'node:util';
import { claimOf, isSignedBy } from '#src/partners/signature.ts';
import type { MovementDraft } from '#src/partners/simulator/books.ts';
import { problemOf, Refusal } from '#src/partners/simulator/refusal.ts';
import {
  type Simulator,
  type SimulatorParts,
  serve,
  simulatorParts,
} from '#src/partners/simulator/server.ts';
import { keyId, secret } from './partner-processes.ts';

type Wrong = (parts: SimulatorParts) => SimulatorParts;

/** Everything right. */
const right: Wrong = (parts) => parts;

/** Looks the first answer up and credits before it does so. */
const doubleCredit: Wrong = (parts) => {
  const { books, callee } = parts;
  return {
    ...parts,
    callee: {
      ...callee,
      accrue(caller, body, now) {
        const answer = callee.accrue(caller, body, now);
        if (answer.isReplay) books.addPoints(body.account, body.points);
        return answer;
      },
    },
  };
};

/** Knows that it has seen the reference, and no longer what it said. */
const noReplay: Wrong = (parts) => {
  const { callee } = parts;
  return {
    ...parts,
    callee: {
      ...callee,
      accrue(caller, body, now) {
        const answer = callee.accrue(caller, body, now);
        if (!answer.isReplay) return answer;
        return problemOf(new Refusal('reference_reused', 'the reference has been used'));
      },
    },
  };
};

/** Keeps tens of points and answers what was asked for. */
const wrongRounding: Wrong = (parts) => {
  const { books, callee } = parts;
  return {
    ...parts,
    callee: {
      ...callee,
      accrue(caller, body, now) {
        const answer = callee.accrue(caller, body, now);
        const isNew = !answer.isReplay && answer.httpStatus === 201;
        if (isNew) books.addPoints(body.account, -(body.points % 10));
        return answer;
      },
    },
  };
};

/** Looks at the signature and not at its time. */
const acceptsStale: Wrong = (parts) => ({
  ...parts,
  admit(knock) {
    const claim = claimOf(knock.headers);
    if (typeof claim === 'string') return claim;
    if (claim.keyId !== keyId) return 'key_unknown';
    return isSignedBy([secret], knock, claim) ? claim : 'mismatch';
  },
});

/** Looks at each piece alone: none is more than the original. */
const partialOverOriginal: Wrong = (parts) => {
  const { books, callee } = parts;
  return {
    ...parts,
    callee: {
      ...callee,
      reverse(caller, body, now) {
        const answer = callee.reverse(caller, body, now);
        const original = books.find(caller, body.originalKind, body.originalReference);
        if (original) books.addReversed(original.movement, -original.reversed);
        return answer;
      },
    },
  };
};

/** Refuses what was voided, and books it all the same a moment later. */
const silentLateSuccess: Wrong = (parts) => {
  const { books, callee } = parts;
  const isVoided = (caller: string, reference: string): boolean => {
    const first: Pick<MovementDraft, 'reason'> | undefined = books.find(caller, 'accrual', reference);
    return first?.reason === 'voided';
  };
  return {
    ...parts,
    callee: {
      ...callee,
      accrue(caller, body, now) {
        if (isVoided(caller, body.reference)) {
          setTimeout(() => {
            books.commit(() => books.addPoints(body.account, body.points)).catch(() => {});
          }, 200);
        }
        return callee.accrue(caller, body, now);
      },
    },
  };
};

/** Says of a day what was given and taken, and not what was taken back. */
const forgetsReversals: Wrong = (parts) => {
  const { books } = parts;
  const { ofDay } = books;
  books.ofDay = (...asked) => ofDay(...asked).filter(({ kind }) => kind !== 'reversal');
  return parts;
};

const partners: Readonly<Record<string, Wrong>> = {
  right,
  doubleCredit,
  noReplay,
  wrongRounding,
  acceptsStale,
  partialOverOriginal,
  silentLateSuccess,
  forgetsReversals,
};

async function started(wrong: Wrong, folder: string): Promise<Simulator> {
  const parts = simulatorParts({
    ...{ folder, keyId, secrets: [secret], currency: 'miles' },
    ...{ pendingMs: 200, slowMs: 1_000, claimDays: 365 },
  });
  const account = { account: 'FF000001', name: 'LI/XIAOMING', status: 'active', linked: true } as const;
  await parts.books.commit(() =>
    parts.books.open({ ...account, points: 12, code: null, memberSince: '2026-01-01' }),
  );
  return serve(wrong(parts), 0);
}

const [folder] = process.argv.slice(2);
if (folder !== undefined && process.send) {
  const simulators: [string, Simulator][] = [];
  for (const [kind, wrong] of Object.entries(partners))
    simulators.push([kind, await started(wrong, join(folder, kind))]);
  process.once('disconnect', () => {
    for (const [, simulator] of simulators)
      simulator.close().catch((error: unknown) => process.stderr.write(inspect(error)));
  });
  process.send({ urls: Object.fromEntries(simulators.map(([kind, { url }]) => [kind, url])) });
}
