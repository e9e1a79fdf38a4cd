/**
 * What becomes of API processes behind one port that stand still, never serve or die again and again. The supervisor gives each
 * its time, so these tests wait beside each other.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { launch } from '#src/platform/local/processes.ts';
import { childrenOf } from '../loadtest/chaos/member-process.ts';
import { waitFor } from './harness.ts';
import { allServe, byProcess, isGone, page } from './house/api-processes.ts';
import { checkout } from './house/folders.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await spawnEngine({ env: { API_PROCESSES: '2' } });
afterAll(() => engine.end());

/** A supervisor of its own on the stores of all. */
async function given(env: Readonly<Record<string, string>>) {
  const logPath = join(engine.logFolder, `given-up-${await freeLoopbackPort()}.log`);
  const own = { ...engine.env, PORT: String(await freeLoopbackPort()), ...env };
  const command = {
    file: process.execPath,
    args: [join(checkout, 'src/main.ts')],
    cwd: checkout,
    env: own,
  };
  const running = launch(command, logPath, 'ipc');
  return { ...running, log: () => readFile(logPath, 'utf8') };
}

describe.concurrent('beside each other', () => {
  test('one that stands still makes /readyz 503 and names itself, /readyz/partly stays 200, and half a minute later it is replaced', async () => {
    const { url, pid } = engine.apis[0]!;
    await allServe(url, 2);
    const [victim, ...others] = await childrenOf(pid);
    process.kill(victim!, 'SIGSTOP');
    const silent = await waitFor(
      '/readyz says so',
      async () => {
        const answer = await page(`${url}/readyz`);
        return answer.status === 503 && answer;
      },
      30_000,
    );
    expect(silent.text).toMatch(/"process_silent","detail":"process \d of 2: it has said nothing/);
    const partly = await waitFor('/readyz/partly answers', () => page(`${url}/readyz/partly`));
    expect(partly.status).toBe(200);
    const { text } = await waitFor('metrics answer', () => page(`${url}/metrics`));
    expect([...byProcess(text, 'nodejs_heap_size_used_bytes').keys()]).toHaveLength(2);
    await waitFor('it is killed', () => isGone(victim!), 60_000);
    await allServe(url, 2);
    const after = await childrenOf(pid);
    expect(after.filter((each) => others.includes(each))).toEqual(others);
    await waitFor('ready', async () => (await page(`${url}/readyz`)).status === 200, 20_000);
  }, 240_000);

  test('a port that never served because a store is missing ends at once, with the cause in its log', async () => {
    const nowhere = `postgres://points@127.0.0.1:${await freeLoopbackPort()}/points`;
    const supervisor = await given({ DATABASE_URL: nowhere });
    expect(await supervisor.exited).toBe('exit code 1');
    const log = await supervisor.log();
    expect(log).toContain('an API process ended before any served');
    expect(log).toContain('ECONNREFUSED');
    expect(log).not.toContain('starting it again');
  }, 60_000);

  test('one that dies again and again is tried again while another serves, and when none does all end with exit code 1', async () => {
    const supervisor = await given({ API_PROCESSES: '2' });
    const pid = supervisor.pid!;
    await waitFor('it serves', async () => (await supervisor.log()).includes('takes connections'), 30_000);
    const [kept] = await childrenOf(pid);
    await waitFor(
      'the other one died seven times',
      async () => {
        for (const child of await childrenOf(pid)) if (child !== kept) process.kill(child, 'SIGKILL');
        return (await supervisor.log()).includes('"count":7');
      },
      60_000,
    );
    expect(supervisor.hasExited()).toBe(false);
    await waitFor(
      'it gives up',
      async () => {
        for (const child of await childrenOf(pid)) process.kill(child, 'SIGKILL');
        return supervisor.hasExited();
      },
      60_000,
    );
    expect(await supervisor.exited).toBe('exit code 1');
    expect(await supervisor.log()).toContain('ended too often within a minute');
  }, 240_000);
});
