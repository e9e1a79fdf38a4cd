/** Founds a bare machine: the installation, the sample program and its keys. Running it again changes nothing. */
import { createKey } from '#src/http/keys.ts';
import type { Role } from '#src/http/route.ts';
import { createPool } from '#src/platform/postgres.ts';
import { loadPrograms } from '../registry.ts';
import { createProgram } from '../versions.ts';
import { demoFile, demoKeys } from './demo.ts';

const clients: Readonly<Record<keyof typeof demoKeys, string>> = {
  pos: 'tills',
  checkout: 'shop',
  care: 'care',
  admin: 'admin',
};

/** Seeds the demo program unless the database already belongs to other programs. */
export async function seedDemo(databaseUrl: string, _dataDir: string): Promise<void> {
  const pool = createPool(databaseUrl, 2);
  try {
    const programs = (await loadPrograms(pool)).all();
    const demo =
      programs.find((program) => program.name === 'demo') ??
      (programs.length === 0
        ? await createProgram(pool, { name: 'demo', mode: 'live', file: demoFile, actor: 'seed' })
        : undefined);
    if (!demo) return;
    for (const [role, token] of Object.entries(demoKeys)) {
      await createKey(pool, {
        program: demo.number,
        client: clients[role as keyof typeof demoKeys],
        role: role as Role,
        token,
        actor: 'seed',
      });
    }
  } finally {
    await pool.end();
  }
}
