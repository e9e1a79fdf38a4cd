/** Freezes a member's spending by a journalled script, after its record or its balance turned out to be wrong. */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import { newOperation, shardOfMember } from '#src/values.ts';
import { createEpochs } from '#src/wallet/epochs.ts';
import { createLoader } from '#src/wallet/load.ts';
import { createWallet } from '#src/wallet/wallet.ts';

/** Freezes `member`; earning stays open. Throws where the shard is not served at the moment. */
export async function freezeMember(
  pool: pg.Pool,
  redis: Redis,
  shardCount: number,
  number: number,
): Promise<void> {
  const member = number as MemberNumber;
  const found = await pool.query<{ program: number }>('select program from member where number = $1', [
    member,
  ]);
  const program = found.rows[0]?.program;
  if (program === undefined) return;
  const epochs = createEpochs(pool, shardCount);
  await epochs.refresh();
  const wallet = createWallet({
    redis,
    epochs,
    loader: createLoader(redis, pool, epochs, shardCount, () => {}),
    written: { wait: () => Promise.resolve('timeout'), of: () => undefined, stop: () => {} },
    shardCount,
    acknowledged: () => {},
    decided: () => {},
    journalFull: () => false,
  });
  const now = Date.now();
  await wallet.execute({
    script: 'status',
    kind: 'status',
    program,
    client: 0,
    member,
    operation: newOperation(shardOfMember(member, shardCount), now),
    origins: [],
    order: '',
    referenceKey: '',
    fingerprint: '',
    occurredAt: now,
    at: now,
    lookedUpAt: now,
    input: '{"frozen":true}',
    request: '{"body":{"action":"freeze"}}',
    factsVersion: undefined,
  });
}
