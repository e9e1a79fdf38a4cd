/** One connection to a Redis for a few commands, past everything that is broken on purpose. */
import { Redis } from 'ioredis';

/** Connects, does the work and disconnects. A connection of its own, because servers come and go. */
export async function withRedis<T>(
  url: string,
  work: (redis: Redis) => Promise<T>,
  timeoutMs = 20_000,
): Promise<T> {
  const client = new Redis(url, {
    lazyConnect: true,
    enableReadyCheck: false,
    commandTimeout: timeoutMs,
    connectTimeout: Math.min(timeoutMs, 5_000),
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    client.disconnect();
  }
}
