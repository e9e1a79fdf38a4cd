/**
 * COPY from text that comes piece by piece, none of which is kept: whoever writes waits while PostgreSQL or the network is behind.
 * (For rows that are all there at once, and leave without waiting for PostgreSQL's consent, see `ledger/statements.ts`.)
 */
import { once } from 'node:events';
import pg from 'pg';

export interface Copying {
  /** Whole rows in COPY's text format. */
  write(rows: string): Promise<void>;
  end(): Promise<void>;
  /** Takes nothing of it; the database transaction is over. */
  abandon(): Promise<void>;
}

const rowsCode = 0x64;
const failCode = 0x66;
const endOfRows = Buffer.from([0x63, 0, 0, 0, 4]);
const lengthBytes = 4;

/** A value of a row in COPY's text format. */
export function copied(value: string): string {
  return value.includes('\\') ? value.replaceAll('\\', '\\\\') : value;
}

/** Begins a COPY. The connection is the caller's alone until it has ended. */
export async function copyInto(client: pg.ClientBase, target: string): Promise<Copying> {
  const text = `copy ${target} from stdin`;
  const begun = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  done.promise.catch(() => {});
  const callback = (error: Error | null) => {
    if (error === null) return done.resolve();
    begun.reject(error);
    done.reject(error);
  };
  const query = Object.assign(new pg.Query({ text }), {
    submit: (connection: pg.Connection) => connection.query(text),
    handleCopyInResponse: () => begun.resolve(),
    callback,
  });
  client.query(query);
  await begun.promise;
  const { stream } = (client as pg.Client).connection;

  function send(code: number, content: Buffer): boolean {
    const head = Buffer.allocUnsafe(1 + lengthBytes);
    head[0] = code;
    head.writeInt32BE(content.length + lengthBytes, 1);
    stream.write(head);
    return stream.write(content);
  }

  return {
    async write(rows) {
      if (rows === '') return;
      if (!send(rowsCode, Buffer.from(rows))) await Promise.race([once(stream, 'drain'), done.promise]);
    },
    async end() {
      stream.write(endOfRows);
      await done.promise;
    },
    async abandon() {
      send(failCode, Buffer.from('abandoned\0'));
      await done.promise.catch(() => {});
    },
  };
}
