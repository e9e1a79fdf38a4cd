/** The program that a command is about. */
import type pg from 'pg';
import { UsageFault } from '#src/platform/command.ts';
import type { Program } from './program.ts';
import { loadPrograms } from './registry.ts';

/** The program of that name; without a name the only one. Throws UsageFault, which names those there are. */
export async function programNamed(pool: pg.Pool, name: string | undefined): Promise<Program> {
  const all = (await loadPrograms(pool)).all();
  const [only, another] = all;
  if (name === undefined && only && !another) return only;
  const chosen = all.find((program) => program.name === name);
  if (chosen) return chosen;
  const names = all.map((program) => program.name).join(', ') || '(there is no program yet)';
  throw new UsageFault(
    name === undefined ? `--program needs one of: ${names}` : `there is no program ${name}, only: ${names}`,
  );
}
