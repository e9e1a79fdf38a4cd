/**
 * Contestant: Express that only calls a script, the least that a service deciding in Redis can do. It parses the JSON,
 * adds up the receipt and calls one script with the same writes as ours (idempotency entry, member, journal record of the
 * same bytes). No key, no validation, no rules, no shards, and nobody drains the journal; beside `minimal-writer.ts` the
 * same process is the contestant whose journal is drained.
 */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { createBareExpress, pointsOf, type Receipt } from '../bare-express.ts';

const { port, redisUrl } = JSON.parse(process.argv[2] ?? '') as { port: number; redisUrl: string };

/**
 * A record is one field of columns with tabs between them, as ours is, which costs Redis and a writer less than a field a
 * column: kind, member, operation, reference, fingerprint, at, program, client, order, occurredAt, request, effect.
 */
const script = `
local entry = redis.call('GET', KEYS[2])
if entry then return { string.sub(entry, 49), entry } end
local packed = redis.call('GET', KEYS[3])
local m = packed and cmsgpack.unpack(packed) or { 1, 0, 0, 'active', 0, 0, 0, { { 1, 0, 2, { { 1, 0, 0, 0, 0 } } } }, {}, {} }
local lot, points = m[8][1][4][1], tonumber(ARGV[8])
lot[2] = lot[2] + points
local balance = string.format('%.0f', lot[2])
local effect = '{"legs":[["wallet",1,' .. points .. ',1,0,0,0],["issuance",1,-' .. points .. ',0]],"balances":[[1,' .. balance .. ',0,0,0]]}'
local id = redis.call('XADD', KEYS[1], '*', 'record', table.concat({ 'accrual', ARGV[1], ARGV[2], ARGV[4], ARGV[5],
  ARGV[6], '1', '1', ARGV[3], ARGV[6], ARGV[7], effect }, '\\t'))
m[2], m[3] = m[2] + 1, tonumber(ARGV[6])
redis.call('SET', KEYS[3], cmsgpack.pack(m))
redis.call('SET', KEYS[2], ARGV[2] .. ARGV[5] .. id, 'PX', 1200000)
return { id, effect }`;

interface Effect {
  readonly balances: readonly [readonly [number, number, number, number, number]];
}

const redis = new Redis(redisUrl, { enableAutoPipelining: true });
const sha = (await redis.script('LOAD', script)) as string;

const { app, listen } = createBareExpress();
app.post('/v1/accruals', async (request, response) => {
  const { member, reference, ...receipt } = request.body as Receipt;
  const { order } = receipt.purchase;
  const points = pointsOf(receipt);
  const awards = [
    { currency: 'points', points, rule: 'spend', funder: 'program', availableAt: 0, expiresAt: 0 },
  ];
  const kept = JSON.stringify({ body: { ...receipt, reference }, awards, programVersion: 1 });
  const operation = randomUUID().replaceAll('-', '');
  const key = reference.replaceAll('-', '');
  const [id, effect] = (await redis.evalsha(
    sha,
    3,
    'journal',
    `i:${key}`,
    `m:${member}`,
    member,
    operation,
    order,
    key,
    '0123456789abcdef',
    Date.now(),
    kept,
    points,
  )) as [string, string];
  const [[, available, pending, held, debt]] = (JSON.parse(effect) as Effect).balances;
  response.status(201).json({
    object: 'accrual',
    id: `acc_${operation}`,
    mode: 'live',
    status: 'accrued',
    member,
    order,
    awards: [{ currency: 'points', points, rule: 'spend' }],
    balances: { points: { available, pending, held, debt } },
    ledger: { position: id, durability: 'journal' },
  });
});

listen(port);
