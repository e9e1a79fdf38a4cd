/**
 * A line in the audit log for every call of a partner that was refused, and for every call about exchanges and links: which key was
 * named, why, and what it was about. Somebody who only knows the name of a key can have calls refused without end, so each key has a
 * bounded number of lines a minute in each process; all are counted.
 */
import type pg from 'pg';
import type { Problem } from '#src/errors.ts';
import type { Logger, Metrics } from '#src/platform/telemetry.ts';

/** What the line begins with: a call of a partner, one about a member's exchange, one about a member's link. */
export type RefusedArea = 'partner' | 'exchange' | 'link';

export interface Refusal {
  readonly area: RefusedArea;
  readonly program: number;
  /** The key that was named, whether or not it was its owner. */
  readonly keyId: string;
  /** The word of the fault or the code of the problem. */
  readonly word: string;
  /** What of it, in a word: the limit, or what the partner said. */
  readonly more?: string | undefined;
  /** `POST /v1/partner/accruals` */
  readonly call: string;
}

export interface Refusals {
  /** Counts and writes the line; a line that cannot be written refuses nothing more. */
  note(refusal: Refusal): Promise<void>;
}

const linesPerMinuteMax = 60;
const keysMax = 10_000;
/** Words of partners are of whatever characters and as long as they like. */
const moreLengthMax = 64;
const noWord = /[^\w,.-]/g;

/** What a problem names beside its code: limits that were reached, or the word of who refused. */
export function moreOf({ fields }: Pick<Problem, 'fields'>): string | undefined {
  const { limit, reason, reasons } = fields;
  if (Array.isArray(reasons)) return reasons.map((each: { limit?: unknown }) => String(each.limit)).join(',');
  const word = limit ?? reason;
  return typeof word === 'string' ? word : undefined;
}

type Counters = Pick<Metrics, 'partnerRefusals' | 'exchangeRefusals'>;

export function createRefusals(
  pool: pg.Pool,
  log: Logger,
  { partnerRefusals, exchangeRefusals }: Counters,
): Refusals {
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
    async note({ area, program, keyId, word, more, call }) {
      if (area === 'partner') partnerRefusals.inc({ word });
      else exchangeRefusals.inc({ area, code: word });
      if (!mayWrite(keyId)) return;
      const words =
        more === undefined ? word : `${word} ${more.slice(0, moreLengthMax).replaceAll(noWord, '_')}`;
      try {
        await pool.query('insert into audit_log (program, actor, action, subject) values ($1, $2, $3, $4)', [
          program,
          keyId,
          `${area}.refused ${words}`,
          call,
        ]);
      } catch (error) {
        log.warn({ err: error, keyId, word, call }, 'a refused call is not in the audit log');
      }
    },
  };
}
