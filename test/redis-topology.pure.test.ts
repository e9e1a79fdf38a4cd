/** Who owns a slot, from what nodes of a cluster say, and how a cluster is named. */
import { describe, expect, test } from 'vitest';
import {
  isClusterUrl,
  ownersOf,
  parseClusterUrl,
  placeOf,
  sayingOf,
  slotOfTag,
  viewOf,
} from '#src/platform/redis-topology.ts';

const line = (id: string, port: number, flags: string, epoch: number, ...slots: string[]): string =>
  [id, `127.0.0.1:${port}@${port + 1_000}`, flags, '-', '0', '0', epoch, 'connected', ...slots].join(' ');
const view = (...lines: string[]) => viewOf(`${lines.join('\n')}\n`, '127.0.0.1');

describe('the owner of a slot', () => {
  const before = line('a', 7001, 'myself,master', 1, '0-100');

  test('is the master that claims it with the highest epoch, whatever a node that was cut off says of itself', () => {
    const cutOff = view(before, line('b', 7002, 'slave', 1));
    const others = view(line('a', 7001, 'master,fail', 1), line('b', 7002, 'myself,master', 4, '0-100'));
    for (const views of [
      [cutOff, others],
      [others, cutOff],
    ])
      expect(ownersOf(views)[7]).toEqual({ id: 'b', address: '127.0.0.1:7002' });
    expect(ownersOf([cutOff])[7]).toEqual({ id: 'a', address: '127.0.0.1:7001' });
  });

  test('is nobody where nobody claims it, or whoever does cannot be reached', () => {
    const noAddress = 'c :0@0 master,noaddr - 0 0 9 disconnected 101-200';
    const owners = ownersOf([view(before, noAddress)]);
    expect([owners[100]?.id, owners[101], owners[16_383]]).toEqual(['a', undefined, undefined]);
  });

  test('stays while the slot is on its way, and says so', () => {
    const leaving = 'x 127.0.0.1:7001@8001 myself,master - 0 0 1 connected 0-9 12 [12->-other] [40-<-other]';
    expect(ownersOf([viewOf(leaving, '')])[12]?.id).toBe('x');
    expect([9, 12, 40].map((slot) => sayingOf(leaving, slot))).toEqual(['owned', 'leaving', 'not owned']);
  });

  test('is where it was asked when it does not know its own host', () => {
    expect(viewOf('x :7001@8001 myself,master - 0 0 1 connected 0', '10.0.0.1')[0]?.address).toBe(
      '10.0.0.1:7001',
    );
    expect(viewOf('x 10.0.0.2:7001@8001,name myself,master - 0 0 1 connected', 'y')[0]?.address).toBe(
      '10.0.0.2:7001',
    );
  });
});

test('a tag has the slot that the specification of Redis Cluster gives it', () => {
  expect(slotOfTag('123456789')).toBe(0x31c3);
});

describe('the URL of a cluster', () => {
  test('names a user and any number of nodes', () => {
    const { seeds, of } = parseClusterUrl('rediss-cluster://points:s%40fe@a:7001,b:7002');
    expect(seeds).toEqual(['a:7001', 'b:7002']);
    expect(of('c:1')).toBe('rediss://points:s%40fe@c:1/0');
    expect(parseClusterUrl('redis-cluster://a:1').of('a:1')).toBe('redis://a:1/0');
  });

  test('has addresses of either family', () => {
    const { seeds, of } = parseClusterUrl('redis-cluster://[::1]:7001,b:7002');
    expect(seeds.map(placeOf)).toEqual([
      { host: '::1', port: 7001 },
      { host: 'b', port: 7002 },
    ]);
    expect(of(viewOf('x ::1:7003@17003 myself,master - 0 0 1 connected', '')[0]!.address)).toBe(
      'redis://[::1]:7003/0',
    );
  });

  test('is nothing else', () => {
    for (const text of [
      'redis://a:1',
      'redis-cluster://a',
      'redis-cluster://a:1,,b:2',
      'redis-cluster://a:1/3',
      '',
    ])
      expect(isClusterUrl(text), text).toBe(false);
  });
});
