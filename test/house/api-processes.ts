/** Several API processes behind one port, looked at from outside: who there is, and what the metrics say of each. */
import { type Agent, get } from 'node:http';
import { processState } from '../../loadtest/chaos/member-process.ts';
import { waitFor } from './waiting.ts';

/** Gone, or only waiting for its parent to take note. */
export async function isGone(pid: number): Promise<boolean> {
  return ['X', 'Z', undefined].includes(await processState(pid));
}

interface Page {
  readonly status: number;
  readonly text: string;
}

/** Asks for a page, by default over a connection of its own, so that the processes answer in turn. */
export function page(url: string, agent: Agent | false = false, key = ''): Promise<Page> {
  return new Promise((resolve, reject) => {
    const headers = key === '' ? {} : { authorization: `Bearer ${key}` };
    const request = get(url, { agent, headers, timeout: 3_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', reject);
  });
}

/** A sample's value for each process. */
export function byProcess(text: string, name: string, labels = ''): Map<string, number> {
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(labels));
  return new Map(
    lines.map((line) => [/process="(\w+)"/.exec(line)?.[1] ?? '', Number(line.split(' ').at(-1))]),
  );
}

/** Waits until so many processes of a port take connections. */
export async function allServe(url: string, processes: number): Promise<void> {
  await waitFor(
    'all processes take connections',
    async () => {
      const { text } = await page(`${url}/metrics`);
      return byProcess(text, 'loyalty_api_processes').get('supervisor') === processes;
    },
    90_000,
  );
}
