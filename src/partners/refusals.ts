/**
 * A line in the audit log for every call of a partner that was refused: which key was named, why, and what it was about.
 * Somebody who only knows the name of a key can have calls refused without end, so each key has a bounded number of lines a
 * minute in each process; all are counted.
 */
import type pg from 'pg';
import type { Counter } from 'prom-client';
import type { Logger } from '#src/platform/telemetry.ts';

export interface Refusal {
  readonly program: number;
  /** The key that was named, whether or not it was its owner. */
  readonly keyId: string;
  /** The word of the fault or the problem. */
  readonly word: string;
  /** `POST /v1/partner/accruals` */
  readonly call: string;
}

export interface Refusals {
  /** Counts and writes the line; a line that cannot be written refuses nothing more. */
  note(refusal: Refusal): Promise<void>;
}

const linesPerMinuteMax = 60;
const keysMax = 10_000;

export function createRefusals(pool: pg.Pool, log: Logger, counter: Counter<'word'>): Refusals {
  const lines = new Map<string, number>();
  let minute = 0;

  function mayWrite(keyId: string): boolean {
    const now = Math.floor(Date.now() / 60_000);
    if (now !== minute || lines.size >= keysMax) {
      lines.clear();
      minute = now;
    }
    const written = (lines.get(keyId) ?? 0) + 1;
    lines.set(keyId, written);
    return written <= linesPerMinuteMax;
  }

  return {
    async note({ program, keyId, word, call }) {
      counter.inc({ word });
      if (!mayWrite(keyId)) return;
      try {
        await pool.query('insert into audit_log (program, actor, action, subject) values ($1, $2, $3, $4)', [
          program,
          keyId,
          `partner.refused ${word}`,
          call,
        ]);
      } catch (error) {
        log.warn({ err: error, keyId, word, call }, 'a refused call of a partner is not in the audit log');
      }
    },
  };
}
