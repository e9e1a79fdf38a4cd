/**
 * PURE. What must hold in a program file beside its shape. Every finding says what stands in the file and what to change.
 *
 * Faults refuse the file: whatever is contradictory, or can never do what it says. Warnings do not: what may be meant so.
 */
import type { Fault } from '#src/errors.ts';
import { bodyPointer } from '#src/http/faults.ts';
import { checkEarning } from './check-earning.ts';
import { checkLadders } from './check-ladders.ts';
import { checkNames } from './check-names.ts';
import { checkMeetings, checkPromotions } from './check-promotions.ts';
import { checkSegments } from './check-segments.ts';
import { checkTimes } from './check-times.ts';
import { checkWorth } from './check-worth.ts';
import type { ProgramFile } from './schema.ts';

/** Something found in a file; `offset` is the place inside a text, where that is known. */
export interface Finding extends Fault {
  readonly offset?: number | undefined;
}

export type Path = readonly (string | number)[];

/** Where checks put what they find. */
export interface Report {
  readonly fault: (path: Path, detail: string, offset?: number) => void;
  readonly warn: (path: Path, detail: string) => void;
}

/** Finds what is contradictory in a file whose shape is right. */
export function checkFile(file: ProgramFile): { faults: readonly Finding[]; warnings: readonly Finding[] } {
  const faults: Finding[] = [];
  const warnings: Finding[] = [];
  const report: Report = {
    fault: (path, detail, offset) => faults.push({ pointer: bodyPointer(path), detail, offset }),
    warn: (path, detail) => warnings.push({ pointer: bodyPointer(path), detail }),
  };
  checkNames(file, report);
  checkEarning(file, report);
  checkPromotions(file, report);
  checkWorth(file, report);
  checkLadders(file, report);
  checkSegments(file, report);
  if (checkTimes(file, report)) checkMeetings(file, report);
  return { faults, warnings };
}
