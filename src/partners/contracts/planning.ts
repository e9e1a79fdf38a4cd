/**
 * PURE. What has to change so that the stored versions are those of a file. A version that has begun keeps its terms for ever and
 * can only be ended, now or later; one that has not begun is withdrawn where the file has lost or changed it.
 */
import type { Finding } from '#src/earning/file/check.ts';
import type { EpochMs } from '#src/values.ts';
import type { WantedVersion } from './resolve.ts';
import type { Period } from './types.ts';

export interface StoredVersion extends Period {
  readonly version: number;
  readonly terms: unknown;
}

export interface Planned<Wanted> {
  readonly added: readonly Wanted[];
  /** Versions that get another end; a withdrawn one ends when it would have begun. */
  readonly ended: readonly { readonly version: number; readonly until: EpochMs | null }[];
  readonly findings: readonly Finding[];
}

/** Deep equality of what JSON can say; a field that only one of them has, without a value, is none. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a === b;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) =>
    isSame(left[key], right[key]),
  );
}

/** A clock that was read a moment ago, or a person who typed the present day. */
const pastMsMax = 60_000;

function dateText(at: EpochMs): string {
  return new Date(at).toISOString();
}

function endFinding(
  stored: StoredVersion,
  { pointer, until }: WantedVersion<unknown>,
  now: EpochMs,
): Finding | undefined {
  const wasOver = stored.until !== null && stored.until < now;
  const wouldBeOver = until !== null && until < now - pastMsMax;
  if (!wasOver && !wouldBeOver) return undefined;
  const detail = wasOver
    ? `is over since ${dateText(stored.until!)}; its end cannot change`
    : 'lies in the past; what was exchanged stays as it was';
  return { pointer: `${pointer}/through`, detail };
}

function conflict(stored: StoredVersion, { pointer }: WantedVersion<unknown>): Finding {
  const detail = `is version ${stored.version}, in force since ${dateText(stored.from)}, and cannot change: give it a last day (through) and let another one begin`;
  return { pointer, detail };
}

/** Compares one line: what is stored of it, without withdrawn versions, and what the file wants. `place` is where the file lists it. */
export function planLine<Wanted extends WantedVersion<unknown>>(
  stored: readonly StoredVersion[],
  wanted: readonly Wanted[],
  { now, place }: { readonly now: EpochMs; readonly place: string },
): Planned<Wanted> {
  const added: Wanted[] = [];
  const ended: { version: number; until: EpochMs | null }[] = [];
  const findings: Finding[] = [];
  for (const each of wanted) {
    const known = stored.find(({ from }) => from === each.from);
    if (!known) {
      // What was asked for meanwhile was refused; a first version changes nothing that anybody was told.
      if (stored.length > 0 && each.from < now - pastMsMax)
        findings.push({
          pointer: `${each.pointer}/from`,
          detail: `lies in the past (it is ${dateText(now)})`,
        });
      else added.push(each);
    } else if (!isSame(known.terms, each.terms)) {
      if (known.from <= now) findings.push(conflict(known, each));
      else {
        ended.push({ version: known.version, until: known.from });
        added.push(each);
      }
    } else if (known.until !== each.until) {
      const finding = endFinding(known, each, now);
      if (finding) findings.push(finding);
      else ended.push({ version: known.version, until: each.until });
    }
  }
  for (const { version, from, until } of stored) {
    if (wanted.some((each) => each.from === from)) continue;
    if (from > now) ended.push({ version, until: from });
    else if (until === null || until > now)
      findings.push({
        pointer: place,
        detail: `lacks version ${version}, in force since ${dateText(from)}: leave it and give it a last day (through)`,
      });
  }
  return { added, ended, findings };
}
