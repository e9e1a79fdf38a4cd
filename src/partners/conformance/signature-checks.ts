/** Who is let in: what the signature keeps out moves nothing. */
import { operationTarget, partnerCalls } from '#src/partners/protocol/calls.ts';
import { validationReply } from '#src/partners/protocol/schemas.ts';
import { toleranceSeconds } from '#src/partners/signature.ts';
import type { Bench } from './bench.ts';
import type { Check } from './checks.ts';
import { Fault, type Message, messageOf, type Tampering } from './client.ts';
import { retold } from './movements.ts';

const points = 333;

/** An accrual that is sent with something wrong: it is refused with 401 and is not in the books. */
async function keptOut(
  bench: Bench,
  what: string,
  tamperingOf: (message: Message) => Tampering,
): Promise<void> {
  const { client } = bench;
  const body = bench.accrual(points);
  const message = messageOf('accrue', body);
  const sent = await client.send(client.prepare(message, tamperingOf(message)));
  if (sent.httpStatus !== 401)
    throw new Fault(`${what} was answered with ${retold(sent)} in place of 401 signature_invalid.`);
  await bench.expectUnknown('accrual', body.reference, `${what} was refused`);
  await bench.expectMoved(0, `${what} was refused.`);
}

const tampered: readonly (readonly [string, string, string, (message: Message) => Tampering])[] = [
  [
    'unsigned',
    'A call without a signature is refused',
    'A call without a signature',
    () => ({ isUnsigned: true }),
  ],
  [
    'forged',
    'A signature by another secret is refused',
    'A signature by another secret',
    () => ({ secret: 'another' }),
  ],
  [
    'unknown-key',
    'A key that is not known is refused',
    'A key that is not known',
    () => ({ keyId: 'nobody' }),
  ],
  [
    ...(['changed-body', 'A body that was changed by one byte after it was signed is refused'] as const),
    'A body that was changed by one byte after it was signed',
    ({ body }) => ({ signed: { body: body.replace(`:${points}`, `:${points + 1}`) } }),
  ],
  [
    ...(['retargeted', 'A signature for another path is refused'] as const),
    'A signature for another path',
    () => ({ signed: { path: partnerCalls.redeem.path } }),
  ],
  [
    ...(['stale', `A signature that is more than ${toleranceSeconds} seconds old is refused`] as const),
    `A signature that was ${toleranceSeconds + 30} seconds old`,
    () => ({ bySeconds: -toleranceSeconds - 30 }),
  ],
  [
    ...(['future', `A signature from more than ${toleranceSeconds} seconds ahead is refused`] as const),
    `A signature from ${toleranceSeconds + 30} seconds ahead`,
    () => ({ bySeconds: toleranceSeconds + 30 }),
  ],
];

const copied: Check = {
  name: 'copied',
  says: 'A copy of a call, byte for byte, is refused: each nonce counts once',
  async run(bench) {
    const { client } = bench;
    const body = bench.accrual(points);
    const prepared = client.prepare(messageOf('accrue', body));
    const first = await client.send(prepared);
    if (first.httpStatus >= 300) throw new Fault(`A good accrual was answered with ${retold(first)}.`);
    await bench.decided('accrual', body.reference);
    const copy = await client.send(prepared);
    if (copy.httpStatus !== 401)
      throw new Fault(
        `A copy of a call was answered with ${retold(copy)} in place of 401 signature_invalid.`,
      );
    await bench.expectMoved(points, 'A call and its copy were sent.');
  },
};

const query: Check = {
  name: 'changed-query',
  says: 'The query is signed with the path: an inquiry whose query was changed is refused',
  async run({ client, reference }) {
    const message = { method: 'GET', path: operationTarget('accrual', reference()), body: '' } as const;
    const signed = { path: operationTarget('accrual', reference()) };
    const sent = await client.send(client.prepare(message, { signed }));
    if (sent.httpStatus !== 401)
      throw new Fault(
        `An inquiry that was signed for another query was answered with ${retold(sent)} in place of 401.`,
      );
  },
};

const validates: Check = {
  name: 'validate',
  says: 'An account is validated by its name; another name and no such account are one refusal',
  async run(bench) {
    const { client, settings } = bench;
    const { account, name } = settings;
    const sent = await client.call('validate', { account, name });
    const reply = validationReply.safeParse(sent.body);
    if (sent.httpStatus !== 200 || !reply.success)
      throw new Fault(`The account with its name was answered with ${retold(sent)}.`);
    if (!reply.data.linked)
      throw new Fault('The account has to be linked with the caller for this run, and is not.');
    if (reply.data.name === 'not_compared') return;
    const other = { account, name: 'ZZYZX/QWERTY' };
    await bench.expectRefused('validate', other, 'member_not_found', 'Another name');
    const nobody = { account: 'NOBODY-000000', name };
    await bench.expectRefused('validate', nobody, 'member_not_found', 'An account that is not there');
  },
};

export const signatureChecks: readonly Check[] = [
  validates,
  ...tampered.map(([name, says, what, tamperingOf]) => ({
    name,
    says,
    run: (bench: Bench) => keptOut(bench, what, tamperingOf),
  })),
  copied,
  query,
];
