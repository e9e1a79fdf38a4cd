/** What a chaos run must get right about a Redis Cluster before it can break one. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { faults, faultsFor } from '../loadtest/chaos/faults/all.ts';
import { startProxy } from '../loadtest/chaos/proxy.ts';
import { parseOwnLine, slotOfKey } from '../loadtest/setup/cluster-nodes.ts';
import { waitFor } from './house/waiting.ts';

const [first, second] = ['a', 'b'].map((letter) => letter.repeat(40));

describe('what a node says of itself', () => {
  test('a master names its slots, without those that are on their way', () => {
    const text = [
      `${second} 127.0.0.1:7002@17002 slave ${first} 0 1795346700000 3 connected`,
      `${first} 127.0.0.1:7001@17001 myself,master - 0 0 3 connected 0-2 7 [93->-${second}]`,
      '',
    ].join('\n');
    expect(parseOwnLine(text)).toEqual({
      isMaster: true,
      masterId: undefined,
      configEpoch: 3,
      slots: [0, 1, 2, 7],
    });
  });

  test('a replica names its master', () => {
    const text = `${second} 127.0.0.1:7002@17002 myself,slave ${first} 0 0 3 connected\n`;
    expect(parseOwnLine(text)).toEqual({ isMaster: false, masterId: first, configEpoch: 3, slots: [] });
  });

  test('the slot of a key is that of its hash tag', () => {
    // The examples of the specification of Redis Cluster.
    expect(slotOfKey('123456789')).toBe(12_739);
    expect(slotOfKey('{user1000}.following')).toBe(slotOfKey('user1000'));
    expect(slotOfKey('foo{}{bar}')).not.toBe(slotOfKey('bar'));
  });
});

describe('a house', () => {
  test('has the faults that its Redis can have, and every fault has a house', () => {
    const [single, cluster] = [false, true].map((isCluster) => faultsFor(isCluster).map(({ name }) => name));
    expect(single).toContain('redis-stale-replica');
    expect(cluster).not.toContain('redis-stale-replica');
    expect(single!.filter((name) => name.startsWith('cluster-'))).toEqual([]);
    expect(new Set([...single!, ...cluster!]).size).toBe(faults.length);
  });
});

describe('a link', () => {
  test('that is frozen for some delivers to all others, and to nobody twice when it is healed', async () => {
    const echo = createServer((socket) => socket.pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const link = await startProxy('test', (echo.address() as AddressInfo).port);
    link.freeze((opening) => opening.includes('replica'));
    const [client, replica] = [connect(link.port, '127.0.0.1'), connect(link.port, '127.0.0.1')];
    const heard = { client: '', replica: '' };
    client.on('data', (chunk) => {
      heard.client += String(chunk);
    });
    replica.on('data', (chunk) => {
      heard.replica += String(chunk);
    });
    const cut = once(replica, 'close');
    replica.write('I am a replica');
    client.write('I am a client');
    await waitFor('the client is answered', () => heard.client === 'I am a client');
    await waitFor('the replica is held back', () => link.held() > 0);
    link.heal();
    await cut;
    expect(heard.replica).toBe('');
    client.destroy();
    await link.close();
    echo.close();
  });
});
