/**
 * Connections to Redis, and the checks that its settings keep what we promise. ioredis sends a command again by itself
 * when the connection broke in between, so an error or NOSCRIPT after a break does not mean "not applied":
 * `generationOf` tells a caller whether the connection broke while a command was under way.
 */
import { Redis } from 'ioredis';

const generations = new WeakMap<Redis, { value: number }>();

/** A connection for commands. Commands end after `commandTimeoutMs`; nothing is queued while Redis is away. */
export function createRedis(redisUrl: string, commandTimeoutMs = 5_000): Redis {
  const redis = new Redis(redisUrl, {
    commandTimeout: commandTimeoutMs,
    connectTimeout: 5_000,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: true,
    retryStrategy: (attempt) => Math.min(attempt * 50, 1_000),
  });
  const generation = { value: 0 };
  generations.set(redis, generation);
  redis.on('close', () => {
    generation.value += 1;
  });
  // Without a listener a lost connection would end the process; readiness reports it.
  redis.on('error', () => {});
  return redis;
}

/** A connection for blocking reads or subscriptions: no command timeout. */
export function createBlockingRedis(redisUrl: string): Redis {
  const redis = new Redis(redisUrl, {
    connectTimeout: 5_000,
    maxRetriesPerRequest: null,
    retryStrategy: (n) => Math.min(n * 50, 1_000),
  });
  redis.on('error', () => {});
  return redis;
}

/**
 * Lets all commands that `send` gives to the connections leave in one system call each. Node writes the first one at once
 * and Redis would wake up, and sync its file, for that one alone.
 */
export function sentTogether(nodes: readonly { readonly redis: Redis }[], send: () => void): void {
  for (const { redis } of nodes) (redis.stream as Redis['stream'] | undefined)?.cork();
  try {
    send();
  } finally {
    for (const { redis } of nodes) (redis.stream as Redis['stream'] | undefined)?.uncork();
  }
}

/** How often this connection has been lost so far. */
export function generationOf(redis: Redis): number {
  return generations.get(redis)?.value ?? 0;
}

const wanted: Readonly<Record<string, string>> = {
  appendonly: 'yes',
  appendfsync: 'always',
  'no-appendfsync-on-rewrite': 'no',
  'maxmemory-policy': 'noeviction',
};

/** Settings with which acknowledged operations could be lost; empty when all is well. */
export async function redisFaults(redis: Redis): Promise<string[]> {
  const replies = await Promise.all(
    Object.keys(wanted).map((name) => redis.config('GET', name) as Promise<unknown>),
  );
  return Object.entries(wanted).flatMap(([name, value], i) => {
    const reply = replies[i];
    // RESP3 answers a map, RESP2 a list of name and value.
    const found = Array.isArray(reply)
      ? String(reply[1])
      : String((reply as Record<string, unknown> | undefined)?.[name]);
    return found === value ? [] : [`Redis runs with ${name} = ${found}, not ${value}`];
  });
}

/**
 * Which Redis answers: the process (`run_id`) and the history of its data (`master_replid`). A server that was restarted,
 * replaced, or demoted and promoted again has another identity, also where its script cache survived.
 */
export async function identityOf(redis: Redis): Promise<string> {
  const [server, replication] = await Promise.all([redis.info('server'), redis.info('replication')]);
  const of = (text: string, name: string) => new RegExp(`^${name}:(\\w+)`, 'm').exec(text)?.[1] ?? 'unknown';
  return `${of(server, 'run_id')} ${of(replication, 'master_replid')}`;
}

/** The part of an identity that names the history of the data. */
export function replicationIdOf(identity: string): string {
  return identity.slice(identity.indexOf(' ') + 1);
}

const rewritten = new WeakMap<Redis, string>();

/**
 * Lets Redis write its append-only file anew from memory, once for each identity. A file that was cut within the last script
 * is read without that script, but keeps its commands, and the next start would carry them out.
 */
export async function rewriteFile(redis: Redis, identity: string): Promise<void> {
  if (rewritten.get(redis) === identity) return;
  rewritten.set(redis, identity);
  // It refuses while one is under way, which is as good.
  await redis.bgrewriteaof().catch(() => {});
}

const identityEveryMs = 1_000;

/**
 * The identity of the Redis behind a connection, read once a second and after every reconnect; undefined until it is
 * known. A connection that broke may lead to another Redis, so its identity is unknown until it has been read again.
 */
export function watchIdentity(redis: Redis): { identity(): string | undefined; stop(): void } {
  let known: string | undefined;
  let breaks = 0;
  const read = () => {
    const before = breaks;
    identityOf(redis).then(
      (identity) => {
        if (breaks === before) known = identity;
      },
      () => {},
    );
  };
  const forget = () => {
    breaks += 1;
    known = undefined;
  };
  redis.on('close', forget);
  redis.on('ready', read);
  if (redis.status === 'ready') read();
  const timer = setInterval(read, identityEveryMs);
  timer.unref();
  return {
    identity: () => known,
    stop() {
      clearInterval(timer);
      redis.off('close', forget);
      redis.off('ready', read);
    },
  };
}
