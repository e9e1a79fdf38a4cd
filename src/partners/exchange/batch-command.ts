/** `npm run exchanges -- batch …`: exchanges with a partner that takes files. */
import { readFile, writeFile } from 'node:fs/promises';
import type pg from 'pg';
import type { Identity } from '#src/members/identity.ts';
import { print, UsageFault } from '#src/platform/command.ts';
import { BatchRefused, type FilePartner, makeRequest, requestFile, takeReply } from './batch.ts';
import { FileFault } from './batch-format.ts';
import { setEndpoint } from './endpoints.ts';

interface Context {
  readonly pool: pg.Pool;
  readonly identity: Identity;
}

/** Every refusal leaves a line, as those of calls do. */
async function noted<T>(
  { pool }: Context,
  partner: FilePartner,
  what: string,
  work: () => Promise<T>,
): Promise<T> {
  const note = (action: string) =>
    pool.query('insert into audit_log (program, actor, action, subject) values ($1, $2, $3, $4)', [
      ...[partner.program, 'exchanges', action, partner.name],
    ]);
  try {
    const done = await work();
    await note(`exchange.${what}`);
    return done;
  } catch (error) {
    if (error instanceof FileFault || error instanceof BatchRefused)
      await note(`exchange.${what} refused: ${error.message.slice(0, 200)}`);
    throw error;
  }
}

/** `on`, `request [FILE]`, `request N FILE`, `reply FILE` */
export async function batch(
  context: Context,
  partner: FilePartner,
  [action, ...names]: readonly string[],
): Promise<void> {
  const [first, second] = names;
  if (action === 'on') {
    const { partner: number, program } = partner;
    const none = { url: 'file:///', keyId: 'files', secret: 'files' };
    await setEndpoint(context.pool, context.identity, {
      partner: number,
      program,
      ...none,
      delivery: 'files',
    });
    print(`${partner.name} takes exchanges in files from now on.`);
  } else if (action === 'request' && first !== undefined) {
    const again = second === undefined ? undefined : Number(first);
    const made =
      again === undefined
        ? await noted(context, partner, 'request_file', () => makeRequest(context, partner))
        : { sequence: again };
    if (!made) return print('Nothing waits to be sent.');
    // Where it cannot be written here, `request N FILE` writes it again.
    await writeFile(second ?? first, await requestFile(context, partner, made.sequence), {
      flag: 'wx',
      mode: 0o600,
    });
    print(`The request file ${made.sequence} of ${partner.name} is ${second ?? first}.`);
  } else if (action === 'reply' && first !== undefined) {
    const bytes = await readFile(first);
    const taken = await noted(context, partner, 'reply_file', () => takeReply(context, partner, bytes));
    const { sequence, details, known, breaks } = taken;
    print(
      `The reply file ${sequence} is taken: ${details} lines, ${known} known before, ${breaks} that do not fit.`,
    );
  } else {
    throw new UsageFault('batch takes on, request [N] FILE or reply FILE');
  }
}
