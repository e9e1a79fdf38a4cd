/** The calls that the guides show are made as they stand there, each guide with a program of its own. */
import { readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { type Answer, startEngine } from './harness.ts';
import type { Shop } from './house/shop.ts';

const engine = await startEngine();
afterAll(() => engine.end());

interface Shown {
  readonly method: string;
  readonly path: string;
  readonly key: string;
  readonly body: string | undefined;
}

/** The curl lines of a guide, in their order. */
function callsOf(guide: string): Shown[] {
  const text = readFileSync(new URL(`../src/http/docs/${guide}.md`, import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map((match) => match[1]!);
  const commands = blocks
    .flatMap((block) => block.split(/^(?=curl )/m))
    .filter((one) => one.startsWith('curl '));
  return commands.map((command) => {
    const url = /http:\/\/127\.0\.0\.1:3000(\S+)/.exec(command);
    const key = /Bearer demo-(\w+)/.exec(command);
    if (!url || !key) throw new Error(`cannot be read: ${command}`);
    const body = /-d '(.*?)'\s*(?:\||$)/s.exec(command)?.[1];
    return { method: body === undefined ? 'GET' : 'POST', path: url[1]!, key: key[1]!, body };
  });
}

/** Makes a call with what a reader would put in: a key of theirs, the id that came back before, the time of now. */
async function make(shop: Shop, shown: Shown, answers: readonly Answer[]): Promise<Answer> {
  const path = shown.path.replace(/(\w+)_…/, (_, prefix: string) => {
    const earlier = answers.findLast((answer) => answer.id.startsWith(`${prefix}_`));
    if (!earlier) throw new Error(`${shown.path}: nothing before it answered such an id`);
    return earlier.id;
  });
  const text = shown.body?.replaceAll(/\d{4}-\d\d-\d\dT[\d:]+\+01:00/g, () => shop.time());
  const key = shop.tokens[shown.key as keyof Shop['tokens']];
  return engine.http(shown.method, path, text === undefined ? undefined : JSON.parse(text), { key });
}

/** Shown as the other way to end what the call before has ended, so here they come too late. */
const alternatives: Readonly<Record<string, string>> = {
  '/v1/holds/hold_…/release': 'hold_already_resolved',
};

test.each(['index', 'till', 'checkout', 'operator'])('%s', async (guide) => {
  const shop = await engine.shop({ mode: 'test' });
  await shop.pos('POST', '/v1/members', { member: 'anna' });
  await shop.pos('POST', '/v1/members', { member: 'ben' });
  await shop.accrue('anna', 1_000, { durability: 'ledger' });
  const answers: Answer[] = [];
  for (const shown of callsOf(guide)) {
    const answer = await make(shop, shown, answers);
    answers.push(answer);
    const wanted = alternatives[shown.path];
    if (wanted) expect([shown.path, answer.code]).toEqual([shown.path, wanted]);
    else
      expect([shown.path, answer.status, answer.code]).toEqual([
        shown.path,
        expect.toSatisfy((status: number) => status < 300),
        '',
      ]);
    const items = (answer.body.data ?? []) as { status?: number }[];
    for (const item of Array.isArray(items) ? items : []) expect(item.status ?? 200).toBeLessThan(300);
  }
  expect(answers.length).toBeGreaterThan(0);
});
