/** Two programs that are partners of each other link a member both ways, through the calls that any partner would make. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ContractTerms } from '#src/partners/contracts/types.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import { usualPatience } from '#src/partners/exchange/policy.ts';
import type { Scheme } from '#src/partners/signature.ts';
import { reference, startEngine } from './harness.ts';
import { openPartner, type Partner } from './house/partner.ts';
import type { Shop } from './house/shop.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const [airline, bank] = [await engine.shop(), await engine.shop()];
/** The bank as the airline knows it, and the airline as the bank does. */
const bankAtAirline = await openPartner(engine, airline, { name: 'bank' });
const airlineAtBank = await openPartner(engine, bank, { name: 'airline' });

type Key = Pick<Partner, 'keyId' | 'secret'>;

/** Says where a partner is called: here, in the other program, with the key that this program has there. */
function called(
  shop: Shop,
  { number: partner }: Partner,
  { keyId, secret }: Key,
  url: string,
  signature?: Scheme,
) {
  const draft = { partner, program: shop.program.number, url, keyId, secret, signature };
  return setEndpoint(engine.pool, engine.app.identity, draft);
}

/** Another partner of the airline that is called so. */
async function farAt(
  url: string,
  key: Key,
  {
    contract = {},
    signature,
  }: { readonly contract?: Partial<ContractTerms>; readonly signature?: Scheme } = {},
): Promise<string> {
  const partner = await openPartner(engine, airline, {
    name: reference('far').replaceAll('/', '-').toLowerCase(),
    contract,
  });
  await called(airline, partner, key, url, signature);
  return partner.name;
}

await called(airline, bankAtAirline, airlineAtBank, engine.url);
await called(bank, airlineAtBank, bankAtAirline, `${engine.url}/`);

async function codeAtBank(member: string): Promise<string> {
  const made = await bank.checkout('POST', `/v1/members/${member}/link-codes`, { partner: 'airline' });
  expect(made.body).toMatchObject({ object: 'linkCode', partner: 'airline' });
  return String(made.body.code);
}

const link = (member: string, body: object) =>
  airline.checkout('POST', `/v1/members/${member}/links`, { partner: 'bank', ...body });

describe('a member who has a code from the other program', () => {
  test('is linked on both sides, and each side may move points of the other’s account', async () => {
    const [flyer, saver] = [await airline.enrol('flyer'), await bank.enrol('saver')];
    const code = await codeAtBank(saver);
    const made = await link(flyer, { account: saver, code });
    expect(made.body).toMatchObject({ object: 'partnerLink', partner: 'bank', codeOf: 'partner' });
    const again = await link(flyer, { account: saver, code });
    expect(again.body).toEqual(made.body);
    const there = await bank.care('GET', `/v1/members/${saver}/links`);
    expect(there.body.data).toMatchObject([{ partner: 'airline', codeOf: 'us' }]);

    const accounts = await bank.admin('GET', `/v1/members/${saver}/export`);
    const { account } = (accounts.body.partnerLinks as { account: string }[])[0]!;
    const given = await bankAtAirline.accrue({ reference: reference('x'), account, points: 700 });
    expect(given.body).toMatchObject({ status: 'succeeded', account });
    expect((await airline.balances(flyer)).available).toBe(700);
    const taken = await bankAtAirline.redeem({ reference: reference('x'), account, points: 200 });
    expect(taken.body).toMatchObject({ status: 'succeeded' });
    expect((await airline.balances(flyer)).available).toBe(500);

    await airline.checkout('DELETE', `/v1/members/${flyer}/links/bank`);
    const after = await bankAtAirline.redeem({ reference: reference('x'), account, points: 200 });
    expect(after.code).toBe('member_not_linked');
  });

  test('is not linked by a wrong code, a code of somebody else, or a name that is not theirs', async () => {
    const [flyer, saver, other] = [await airline.enrol('f'), await bank.enrol('s'), await bank.enrol('o')];
    await bank.admin('PATCH', `/v1/members/${saver}`, { attributes: { name: 'Li Xiaoming' } });
    const code = await codeAtBank(saver);
    const refused = [
      await link(flyer, { account: saver, code: 'ABCDE-FGHJK' }),
      await link(flyer, { account: other, code }),
      await link(flyer, { account: 'nobody', code }),
      await link(flyer, { account: saver, code, name: 'Wang Xiaohong' }),
    ];
    expect(refused.map((answer) => answer.code)).toEqual(Array(4).fill('link_code_invalid'));
    expect((await airline.care('GET', `/v1/members/${flyer}/links`)).body.data).toEqual([]);
    expect((await bank.care('GET', `/v1/members/${saver}/links`)).body.data).toEqual([]);
    expect((await link(flyer, { account: saver, code, name: 'LI/XIAOMING' })).status).toBe(201);
  });

  test('has five codes at a time at most, and a member or partner that is not there none', async () => {
    const saver = await bank.enrol('s');
    for (let i = 0; i < 5; i += 1) await codeAtBank(saver);
    const path = `/v1/members/${saver}/link-codes`;
    expect((await bank.checkout('POST', path, { partner: 'airline' })).code).toBe('attempts_exceeded');
    expect((await bank.checkout('POST', path, { partner: 'nobody' })).code).toBe('not_found');
    const nobody = await bank.checkout('POST', '/v1/members/nobody/link-codes', { partner: 'airline' });
    expect(nobody.code).toBe('member_not_found');
    expect((await bank.pos('POST', path, { partner: 'airline' })).code).toBe('role_not_allowed');
  });

  test('is told to try again where the partner does not answer, and the code still counts then', async () => {
    const [flyer, saver] = [await airline.enrol('f'), await bank.enrol('s')];
    const code = await codeAtBank(saver);
    const away = await farAt('http://127.0.0.1:9', airlineAtBank);
    const refused = await link(flyer, { partner: away, account: saver, code });
    expect([refused.status, refused.code]).toEqual([503, 'not_ready']);
    const unknown = await farAt(engine.url, { keyId: airlineAtBank.keyId, secret: 'ls_wrong' });
    expect((await link(flyer, { partner: unknown, account: saver, code })).code).toBe('not_ready');
    expect((await link(flyer, { account: saver, code })).status).toBe(201);
  });
});

describe('the name of a linked account', () => {
  test('stands as it was compared on both sides, and is sent where the contract wants it to fit', async () => {
    const sameName = { match: 'full', action: 'refuse' } as const;
    const strict = await farAt(engine.url, airlineAtBank, { contract: { limits: { sameName } } });
    const cases = [
      [undefined, 'LI/XIAOMING', 'Li Xiaoming', 'not_compared', 'full'],
      ['X. Li', 'Li Xiaoming', 'LI/XIAOMING', 'initials', 'initials'],
      ['Li Xiaoming', undefined, 'Li Xiaoming', 'not_compared', 'not_compared'],
    ] as const;
    for (const [sent, here, there, plain, wanted] of cases) {
      const [flyer, saver] = [await airline.enrol('f'), await bank.enrol('s')];
      for (const [shop, member, name] of [
        [airline, flyer, here],
        [bank, saver, there],
      ] as const)
        if (name) await shop.admin('PATCH', `/v1/members/${member}`, { attributes: { name } });
      const code = await codeAtBank(saver);
      const body = { account: saver, code, ...(sent ? { name: sent } : {}) };
      const made = [await link(flyer, body), await link(flyer, { partner: strict, ...body })];
      expect(made.map((answer) => answer.body.name)).toEqual([plain, wanted]);
    }
  });

  test('is sent to nobody where it is not the name of the member here, and nothing is linked', async () => {
    const [flyer, saver] = [await airline.enrol('f'), await bank.enrol('s')];
    for (const [shop, member, name] of [
      [airline, flyer, 'Wang Wei'],
      [bank, saver, 'Li Xiaoming'],
    ] as const)
      await shop.admin('PATCH', `/v1/members/${member}`, { attributes: { name } });
    const code = await codeAtBank(saver);
    const refused = await link(flyer, { account: saver, code, name: 'Li Xiaoming' });
    expect([refused.status, refused.code, refused.body.pointer]).toEqual([404, 'member_not_found', '/name']);
    for (const [shop, member] of [
      [airline, flyer],
      [bank, saver],
    ] as const)
      expect((await shop.care('GET', `/v1/members/${member}/links`)).body.data).toEqual([]);
  });
});

describe('a partner is called for a link as it is for an exchange', () => {
  const problem = (response: ServerResponse) =>
    response.writeHead(404, { 'content-type': 'application/problem+json' }).end(
      JSON.stringify({
        type: 'about:blank',
        title: 'No such member',
        status: 404,
        code: 'member_not_found',
      }),
    );
  const megabyte = 'x'.repeat(1_048_576);

  async function stranger(answer: (response: ServerResponse, request: IncomingMessage) => unknown) {
    let calls = 0;
    const server = createServer((request, response) => {
      calls += 1;
      request.resume().on('end', () => answer(response, request));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const key = { keyId: 'pk_far', secret: 'ls_far' };
    const partner = await farAt(`http://127.0.0.1:${port}`, key, { signature: 'rfc9421' });
    const flyer = await airline.enrol('f');
    return {
      calls: () => calls,
      link: () => link(flyer, { partner, account: 'FF1', code: 'ABCDE-FGHJK' }),
    };
  }

  test('signed in the way of the partner', async () => {
    const seen: IncomingMessage['headers'][] = [];
    const { link: ask } = await stranger((response, { headers }) => {
      seen.push(headers);
      problem(response);
    });
    expect((await ask()).code).toBe('link_code_invalid');
    expect(seen[0]).toMatchObject({
      'signature-input': expect.any(String),
      'content-digest': expect.any(String),
    });
  });

  test('not listened to for longer than any answer is, or where it says what is no answer', async () => {
    let sent = 0;
    const endless = await stranger((response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const more = () => {
        if (response.destroyed || sent > 500) return;
        sent += 1;
        response.write(megabyte, more);
      };
      more();
    });
    const { code } = await endless.link();
    expect([code, sent < 100]).toEqual(['not_ready', true]);
    const page = await stranger((response) => response.writeHead(200).end('<html>welcome</html>'));
    expect((await page.link()).code).toBe('not_ready');
  });

  test('and left alone once it has failed several times', async () => {
    const broken = await stranger((response) => response.destroy());
    for (let i = 0; i < 12; i += 1) expect((await broken.link()).code).toBe('not_ready');
    expect(broken.calls()).toBe(usualPatience.failuresMax);
  });
});
