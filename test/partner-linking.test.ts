/** Two programs that are partners of each other link a member both ways, through the calls that any partner would make. */
import { afterAll, describe, expect, test } from 'vitest';
import type { MemberNumber } from '#src/values.ts';
import { reference, startEngine } from './harness.ts';
import { openPartner, type Partner } from './house/partner.ts';
import type { Shop } from './house/shop.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const [airline, bank] = [await engine.shop(), await engine.shop()];
/** The bank as the airline knows it, and the airline as the bank does. */
const bankAtAirline = await openPartner(engine, airline, { name: 'bank' });
const airlineAtBank = await openPartner(engine, bank, { name: 'airline' });

/** Says where a partner is called: here, in the other program, with the key that this program has there. */
async function called(shop: Shop, partner: Partner, key: Pick<Partner, 'keyId' | 'secret'>, url: string) {
  const nobody = 0 as MemberNumber;
  await engine.pool.query(
    `insert into partner_endpoint (partner, program, url, key_id, secret_sealed) values ($1, $2, $3, $4, $5)
     on conflict (partner) do update set url = excluded.url, key_id = excluded.key_id, secret_sealed = excluded.secret_sealed`,
    [
      partner.number,
      shop.program.number,
      url,
      key.keyId,
      engine.app.identity.encrypt(shop.program.number, nobody, key.secret),
    ],
  );
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
    await called(airline, bankAtAirline, airlineAtBank, 'http://127.0.0.1:9');
    const away = await link(flyer, { account: saver, code });
    expect([away.status, away.code]).toEqual([503, 'not_ready']);
    await called(airline, bankAtAirline, { keyId: airlineAtBank.keyId, secret: 'ls_wrong' }, engine.url);
    expect((await link(flyer, { account: saver, code })).code).toBe('not_ready');
    await called(airline, bankAtAirline, airlineAtBank, engine.url);
    expect((await link(flyer, { account: saver, code })).status).toBe(201);
  });
});
