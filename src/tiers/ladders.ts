/** PURE. The ladders of a program as they are in force: those of a version. */
import { type Program, type ProgramVersion, versionAt } from '#src/earning/program.ts';
import type { EpochMs } from '#src/values.ts';
import { laddersOf } from './ladder/compile.ts';
import type { Ladder } from './ladder/types.ts';

/** Ladders, and the first of the versions that have had them unchanged. */
export interface LadderSet {
  readonly version: number;
  readonly ladders: readonly Ladder[];
}

const compiled = new WeakMap<
  ProgramVersion,
  { readonly text: string; readonly ladders: readonly Ladder[] }
>();

function compiledOf(version: ProgramVersion): { readonly text: string; readonly ladders: readonly Ladder[] } {
  const known = compiled.get(version);
  if (known) return known;
  const { definition } = version;
  const made = { text: JSON.stringify(definition.ladders), ladders: laddersOf(definition) };
  compiled.set(version, made);
  return made;
}

/** The ladders of a version; those of the versions just before it are the same where nothing of them was changed. */
export function laddersOfVersion(program: Pick<Program, 'versions'>, version: ProgramVersion): LadderSet {
  const { text, ladders } = compiledOf(version);
  let since = version;
  const index = program.versions.indexOf(version);
  for (let i = index - 1; i >= 0 && compiledOf(program.versions[i]!).text === text; i -= 1)
    since = program.versions[i]!;
  return { version: since.version, ladders };
}

/** A ladder as a version had it; undefined where that had none of the name. */
export function ladderOfVersion(
  { versions }: Pick<Program, 'versions'>,
  number: number,
  name: string,
): Ladder | undefined {
  const version = versions.find((each) => each.version === number);
  return version && compiledOf(version).ladders.find((each) => each.name === name);
}

/** The ladders in force at an instant. */
export function laddersAt(program: Pick<Program, 'versions'>, at: EpochMs): LadderSet {
  return laddersOfVersion(program, versionAt(program, at));
}

/** Whether a program has, or ever had, any ladder. */
export function hasLadders({ versions }: Pick<Program, 'versions'>): boolean {
  return versions.some(({ definition }) => definition.ladders.length > 0);
}
