/**
 * Statements of one database transaction that are sent one behind the other. None waits for the answer to the one before:
 * twelve answers waited for were twelve times that both processes had to be woken up, which on two busy cores took longer
 * than the work. PostgreSQL refuses everything after the first that fails, so between BEGIN and COMMIT nothing has to
 * wait.
 */
import pg from 'pg';
import { rowsBegin, rowsEnd } from './binary-rows.ts';

export interface Statements {
  /** Sends a statement; with a name it is prepared once. */
  send<Row extends pg.QueryResultRow = never>(
    text: string,
    values?: readonly unknown[],
    name?: string,
  ): Promise<pg.QueryResult<Row>>;
  /** Sends rows in COPY's binary format (`binary-rows.ts`). */
  copy(target: string, rows: readonly Buffer[]): void;
  /** Lets everything that was sent since the last flush leave, in one system call. */
  flush(): void;
  /** Waits for the answers to everything that was sent; throws the first that says no. */
  answered(): Promise<void>;
}

const rowsCode = 0x64;
const endOfRows = Buffer.from([0x63, 0, 0, 0, 4]);
const lengthBytes = 4;

/**
 * A COPY whose rows leave with it instead of after PostgreSQL has asked for them. Where it refuses the statement it skips
 * them, as the protocol has it.
 */
function copyQuery(text: string, rows: readonly Buffer[]): pg.Query {
  return Object.assign(new pg.Query({ text }), {
    submit(connection: pg.Connection): void {
      connection.query(text);
      for (const each of rows) {
        const head = Buffer.alloc(1 + lengthBytes);
        head[0] = rowsCode;
        head.writeInt32BE(each.length + lengthBytes, 1);
        connection.stream.write(head);
        connection.stream.write(each);
      }
      connection.stream.write(endOfRows);
    },
    handleCopyInResponse(): void {
      // The rows are on their way.
    },
  });
}

/** Begins to send; the connection should be one that pipelines, others keep the order and wait in between. */
export function statementsOn(client: pg.ClientBase): Statements {
  const answers: Promise<unknown>[] = [];
  const { stream } = (client as pg.Client).connection;
  let isHeldBack = false;
  function expect<T>(query: () => Promise<T>): Promise<T> {
    if (!isHeldBack) stream.cork();
    isHeldBack = true;
    const answer = query();
    // Whoever waits for the answers hears of it.
    answer.catch(() => {});
    answers.push(answer);
    return answer;
  }
  function flush(): void {
    if (isHeldBack) stream.uncork();
    isHeldBack = false;
  }
  return {
    send: (text, values, name) =>
      expect(() =>
        client.query({ text, ...(values && { values: [...values] }), ...(name !== undefined && { name }) }),
      ),
    copy(target, rows) {
      const filled = rows.filter(({ length }) => length > 0);
      if (filled.length === 0) return;
      const query = copyQuery(`copy ${target} from stdin (format binary)`, [rowsBegin, ...filled, rowsEnd]);
      void expect(
        () =>
          new Promise<void>((resolve, reject) => {
            const callback = (error: Error | null) => (error ? reject(error) : resolve());
            client.query(Object.assign(query, { callback }));
          }),
      );
    },
    flush,
    async answered() {
      flush();
      for (const answer of answers) await answer;
    },
  };
}
