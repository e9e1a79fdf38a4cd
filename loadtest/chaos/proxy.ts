/**
 * A network that misbehaves: a TCP proxy on the loopback between any two processes. It can cut connections when a reply is
 * under way, deliver half of one, hold everything back, or be slow, and it counts what it did, so that a fault that never
 * met any traffic is not taken for one that was survived. Its target can change: a promoted replica needs no new address.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Link {
  readonly name: string;
  readonly port: number;
  /** Replies that were cut off before, or in the middle of, their delivery. */
  readonly cuts: () => number;
  /** Pieces of traffic that were held back or slowed down. */
  readonly held: () => number;
  /** Cuts the connection instead of delivering a reply, the next `count` times. */
  dropReplies(count: number): void;
  /** Delivers half of a reply and cuts the connection, the next `count` times. */
  halveReplies(count: number): void;
  /** Everything arrives so much later, in both directions. */
  delay(ms: number): void;
  /**
   * Nothing arrives any more, and nobody is told. With `whose` only on connections of which it says yes, given the first
   * bytes that the client sent.
   */
  freeze(whose?: (opening: Buffer) => boolean): void;
  /** Calls back, once, when a piece of a request holds the text and has been passed on; its reply comes or is lost. */
  onRequest(text: string, reply: 'comes' | 'is lost', then: () => void): void;
  /** Ordinary again. Frozen connections are cut, as a network that comes back would do after its timeouts. */
  heal(): void;
  retarget(port: number): void;
  close(): Promise<void>;
}

interface Moods {
  drops: number;
  halves: number;
  delayMs: number;
  isFrozen: ((opening: Buffer) => boolean) | undefined;
  watched:
    | { readonly text: string; readonly reply: 'comes' | 'is lost'; readonly then: () => void }
    | undefined;
}

interface Late {
  readonly chunk: Buffer;
  readonly atMs: number;
}

/** So many of the first bytes are kept to tell whose a connection is. */
const openingBytesMax = 1_024;

/** Starts a proxy on a free port of 127.0.0.1. */
export async function startProxy(name: string, target: number, port = 0): Promise<Link> {
  const moods: Moods = { drops: 0, halves: 0, delayMs: 0, isFrozen: undefined, watched: undefined };
  const pairs = new Set<{ cut(): void; isFrozen: boolean }>();
  let [cuts, held] = [0, 0];
  let targetPort = target;

  function join(client: Socket): void {
    const server = connect(targetPort, '127.0.0.1');
    const pair = {
      isFrozen: false,
      cut() {
        client.destroy();
        server.destroy();
        pairs.delete(pair);
      },
    };
    pairs.add(pair);
    // The reply to a watched request is never delivered.
    let isMute = false;
    let opening = Buffer.alloc(0);
    const isFrozen = (): boolean => moods.isFrozen?.(opening) === true;
    const lanes = { toServer: [] as Late[], toClient: [] as Late[] };

    /** One timer a lane: timers that are due at the same moment fire in any order, and bytes may not. */
    function deliver(to: Socket, lane: Late[]): void {
      const now = performance.now();
      while (lane[0] && lane[0].atMs <= now) to.write(lane.shift()!.chunk);
      if (lane[0]) setTimeout(deliver, Math.ceil(lane[0].atMs - now), to, lane).unref();
    }

    function pass(to: Socket, chunk: Buffer, lane: Late[]): void {
      const last = lane.at(-1);
      if (!last && moods.delayMs === 0) {
        to.write(chunk);
        return;
      }
      held += 1;
      lane.push({ chunk, atMs: Math.max(last?.atMs ?? 0, performance.now() + moods.delayMs) });
      if (!last) setTimeout(deliver, moods.delayMs, to, lane).unref();
    }

    function request(chunk: Buffer): void {
      if (opening.length < openingBytesMax) opening = Buffer.concat([opening, chunk]);
      const { watched } = moods;
      if (watched && chunk.includes(watched.text)) {
        moods.watched = undefined;
        isMute = watched.reply === 'is lost';
        server.write(chunk, () => watched.then());
        return;
      }
      if (isFrozen()) {
        held += 1;
        pair.isFrozen = true;
      } else pass(server, chunk, lanes.toServer);
    }

    function reply(chunk: Buffer): void {
      if (isMute || moods.drops > 0) {
        if (!isMute) moods.drops -= 1;
        cuts += 1;
        pair.cut();
      } else if (moods.halves > 0 && chunk.length > 1) {
        moods.halves -= 1;
        cuts += 1;
        client.write(chunk.subarray(0, chunk.length >> 1), () => pair.cut());
      } else if (isFrozen()) {
        held += 1;
        pair.isFrozen = true;
      } else pass(client, chunk, lanes.toClient);
    }

    client.on('data', request);
    server.on('data', reply);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', pair.cut);
      socket.on('close', pair.cut);
    }
  }

  const listener = createServer(join);
  listener.listen(port, '127.0.0.1');
  await once(listener, 'listening');
  return {
    name,
    port: (listener.address() as AddressInfo).port,
    cuts: () => cuts,
    held: () => held,
    dropReplies(count) {
      moods.drops = count;
    },
    halveReplies(count) {
      moods.halves = count;
    },
    delay(ms) {
      moods.delayMs = ms;
    },
    freeze(whose = () => true) {
      moods.isFrozen = whose;
    },
    onRequest(text, reply, then) {
      moods.watched = { text, reply, then };
    },
    heal() {
      Object.assign(moods, { drops: 0, halves: 0, delayMs: 0, isFrozen: undefined, watched: undefined });
      for (const pair of pairs) if (pair.isFrozen) pair.cut();
    },
    retarget(to) {
      targetPort = to;
      for (const pair of pairs) pair.cut();
    },
    async close() {
      for (const pair of pairs) pair.cut();
      listener.close();
      await once(listener, 'close');
    },
  };
}
