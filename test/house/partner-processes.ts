/** Partners as processes of their own: the simulator as its command starts it, and those that are wrong on purpose. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { checkout } from './folders.ts';
import { waitFor } from './waiting.ts';

export const keyId = 'pk_conformance';
export const secret = 'ls_a-secret-for-conformance';

export interface PartnerProcess {
  readonly url: string;
  readonly pid: number;
  /** Ends it with a signal, and waits until it is gone. */
  end(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

function processOf(child: ChildProcess, url: string): PartnerProcess {
  return {
    url,
    pid: child.pid!,
    async end(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    },
  };
}

/** `npm run partner-simulator -- ARGS`, with the credentials of this file and a free port unless one is named. */
export async function startSimulator(folder: string, ...args: string[]): Promise<PartnerProcess> {
  const script = join(checkout, 'src/partners/simulator/command.ts');
  const given = ['--port', '0', '--data', folder, '--key', keyId, '--secret', secret, ...args];
  const child = spawn(process.execPath, [script, ...given], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (text: Buffer) => {
    said += text.toString();
  });
  const url = await waitFor('the simulator listens', () => /http:\S+/.exec(said)?.[0], 30_000);
  return processOf(child, url);
}

/** All of `wrong-partners.ts`, in one process; by their kinds. */
export async function startWrongPartners(
  folder: string,
): Promise<Omit<PartnerProcess, 'url'> & { readonly urls: Readonly<Record<string, string>> }> {
  const child = fork(join(checkout, 'test/house/wrong-partners.ts'), [folder], {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ urls }] = (await once(child, 'message', { signal: AbortSignal.timeout(30_000) })) as [
    { urls: Readonly<Record<string, string>> },
  ];
  return { ...processOf(child, ''), urls };
}
