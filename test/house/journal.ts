/** Damages journals and states as a bug or a disk would, without knowing in which order a record's columns stand. */
import type { Redis } from 'ioredis';
import { fieldNamed, type JournalRecord, parseRecord } from '#src/journal.ts';
import { type MemberNumber, newOperation } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';

interface Last {
  readonly id: string;
  readonly text: string;
  readonly record: JournalRecord;
}

/** The newest record of a shard's journal. */
export async function lastRecord(redis: Redis, shard: number): Promise<Last> {
  const [found] = await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1);
  const record = parseRecord(found![0], found![1]);
  if (record.kind === 'opened') throw new Error(`shard ${shard} has no record in this epoch`);
  return { id: found![0], text: found![1][1]!, record };
}

/** Puts another text in the place of the newest record, whose movement stays done in Redis. */
export async function replaceLast(
  redis: Redis,
  shard: number,
  change: (last: Last) => string,
): Promise<Last> {
  const last = await lastRecord(redis, shard);
  const key = keys.journal(shard);
  const { epoch, seq } = last.record;
  await redis.xdel(key, last.id);
  await redis.call('XSETID', key, `${epoch}-${seq - 1}`);
  await redis.xadd(key, last.id, fieldNamed('record'), change(last));
  return last;
}

/** Changes what Redis stores of a member or an operation, by a Lua statement on the unpacked state `s`. */
export async function damageState(redis: Redis, key: string, change: string): Promise<void> {
  const script = `local s = { cmsgpack.unpack(redis.call('GET', KEYS[1])) } ${change} redis.call('SET', KEYS[1], cmsgpack.pack(unpack(s)))`;
  await redis.eval(script, 1, key);
}

/** Appends a record like the newest one of the shard, with another number, effect and request. */
export async function forge(
  redis: Redis,
  shard: number,
  member: MemberNumber,
  effect: string,
  request = '{}',
): Promise<string> {
  const { text, record } = await lastRecord(redis, shard);
  if (record.member !== member) throw new Error('the newest record is not of this member');
  const operation = newOperation(shard, Date.now());
  let forged = text
    .replace(record.effectText, () => effect)
    .replace(record.request, () => request)
    .replace(record.operation, operation);
  if (record.referenceKey !== '') forged = forged.replace(record.referenceKey, '');
  await redis.xadd(keys.journal(shard), `${record.epoch}-*`, fieldNamed('record'), forged);
  return operation;
}
