/** A partner of an installation: the simulator in a process of its own, a contract without limits, and members linked with it. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { createIdentity } from '#src/members/identity.ts';
import { loadIdentityKey } from '#src/members/identity-key.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import { linkConfirmed } from '#src/partners/linking/links.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import type { MemberNumber } from '#src/values.ts';
import { type NodeProcess, type Surroundings, startNode } from '../contestant.ts';
import { until } from './installation.ts';

export const partnerName = 'air';
const credentials = { keyId: 'bench', secret: 'ls_a-secret-of-the-benchmark' };
/** Many at once and each short: what bounds exchanges is to be the machine. */
const callsAtOnce = 64;
const linksAtOnce = 8;

const limits = Object.fromEntries(
  ['accountAge', 'contactHold', 'member', 'card', 'terminal', 'roundTrip', 'partnerDaily'].map((name) => [
    name,
    'none',
  ]),
);
const rate = {
  currency: 'points',
  partnerCurrency: 'miles',
  from: '2020-01-01',
  ratio: { give: 2, receive: 1 },
};
const file = {
  partner: partnerName,
  title: 'The simulator',
  contracts: [
    {
      from: '2020-01-01',
      billing: { kind: 'postpaid' },
      settleOn: 'issue',
      currency: 'EUR',
      prices: { issue: { amount: 1, perPoints: 1 }, redemption: { amount: 1, perPoints: 1 } },
      limits,
    },
  ],
  rates: [
    { ...rate, direction: 'out', step: 2 },
    { ...rate, direction: 'in' },
  ],
};

export interface Alliance {
  readonly simulator: NodeProcess;
  /** Its party in the ledger. */
  readonly partner: number;
  /** What the partner's books say came there, less what went; throws where they do not balance. */
  net(): Promise<number>;
}

async function startSimulator(around: Surroundings, accounts: number) {
  const port = await freeLoopbackPort();
  const { keyId, secret } = credentials;
  const data = join(around.folder, 'partner');
  const simulator = startNode(
    'partner-simulator',
    [
      ...['src/partners/simulator/command.ts', '--port', String(port), '--data', data, '--linked'],
      ...['--accounts', String(accounts), '--key', keyId, '--secret', secret],
    ],
    around,
  );
  const url = `http://127.0.0.1:${port}`;
  const ended = () => (simulator.hasExited() ? 'partner-simulator' : undefined);
  await until(`${url}/simulator/sums`, ended, around.abort);
  return { simulator, url };
}

async function post(port: number, path: string, body: object): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { authorization: 'Bearer demo-admin', 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}

/** Makes the simulator a partner of the program and links the members with its accounts; `stack` stops it. */
export async function openAlliance(
  around: Surroundings,
  stack: AsyncDisposableStack,
  {
    pool,
    port,
    dataDir,
    program,
    members,
  }: {
    readonly pool: pg.Pool;
    readonly port: number;
    readonly dataDir: string;
    readonly program: Program;
    readonly members: readonly MemberNumber[];
  },
): Promise<Alliance> {
  const { simulator, url } = await startSimulator(around, members.length);
  stack.defer(() => simulator.stop());
  await post(port, '/v1/partners', { source: JSON.stringify(file) });
  const identity = createIdentity(await loadIdentityKey({ identityKey: undefined, dataDir }));
  const partner = (await partnerNamed(pool, program.number, partnerName))!;
  const own = { partner: partner.number, program: program.number };
  await setEndpoint(pool, identity, { ...own, ...credentials, url, callsAtOnce });
  for (let from = 0; from < members.length; from += linksAtOnce) {
    around.abort.throwIfAborted();
    const some = members.slice(from, from + linksAtOnce);
    await Promise.all(
      some.map((member, i) => {
        const account = `FF${String(from + i + 1).padStart(6, '0')}`;
        return linkConfirmed({ pool, identity }, program, partner, {
          ...{ member, account, codeOf: 'partner', name: 'full', actor: 'bench' },
        });
      }),
    );
  }
  // Processes know a partner half a second after it was applied.
  await delay(1_000, undefined, { signal: around.abort });
  return {
    simulator,
    partner: partner.number,
    async net() {
      const answer = await fetch(`${url}/simulator/sums`, { signal: AbortSignal.timeout(30_000) });
      const { net, balanced } = (await answer.json()) as { net: number; balanced: boolean };
      if (!balanced) throw new Error("the partner's books do not balance");
      return net;
    },
  };
}
