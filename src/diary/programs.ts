/** The programs by which operations were judged, read again where a version is not known yet. */
import type { Program, Programs } from '#src/earning/program.ts';

/** A program that knows a version, as far as that is stored at all. */
export type ProgramFor = (number: number, version: unknown) => Promise<Program>;

const missedMax = 1_000;

/**
 * An operation may be in the books before this process has heard of its version; read by another version it would mean
 * something else than when the diary is made again.
 */
export function createProgramFor(programs: Programs): ProgramFor {
  const missed = new Set<string>();
  return async (number, version) => {
    const known = programs.get(number);
    const isKnown =
      version === undefined || known?.versions.some((each) => each.version === version) === true;
    if (known && isKnown) return known;
    const name = `${number}.${String(version)}`;
    if (!missed.has(name)) {
      await programs.refresh();
      if (missed.size < missedMax) missed.add(name);
    }
    const program = programs.get(number);
    if (!program) throw new Error(`the books have operations of program ${number}, which cannot be read`);
    return program;
  };
}
