/** PURE. A file that was not applied, as a version that could judge: numbered behind all others, in force for nobody. */
import { definitionOf } from '../file/definition.ts';
import { noNumbers } from '../file/numbers.ts';
import type { ProgramFile } from '../file/schema.ts';
import type { Program, ProgramVersion } from '../program.ts';
import { programOf } from '../registry.ts';

export interface Draft {
  /** The program as it would be; without one, a program that has the draft alone. */
  readonly program: Program;
  readonly version: ProgramVersion;
}

export function draftOf(file: ProgramFile, program?: Program): Draft {
  const version: ProgramVersion = {
    version: (program?.versions.at(-1)?.version ?? 0) + 1,
    effectiveFrom: program ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY,
    definition: definitionOf(file, program?.definition.numbers ?? noNumbers),
  };
  const row = {
    number: program?.number ?? 0,
    name: program?.name ?? 'draft',
    mode: program?.mode ?? 'test',
    time_zone: file.timeZone,
    clock_offset_ms: String(program?.clockOffsetMs ?? 0),
    changed_at: '',
    segment_run: program?.segmentRun ?? null,
  };
  return { program: programOf(row, [...(program?.versions ?? []), version]), version };
}
