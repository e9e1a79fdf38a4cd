/**
 * The simulator's books: accounts, movements and used nonces in one SQLite file that a kill does not harm. Everything of one
 * turn of the event loop is committed together, and nobody is answered before the disk has it.
 *
 * Invariant, checked by `sums`: the points of all accounts are what they were opened with, plus what was accrued and not taken
 * back, less what was redeemed or is about to be and was not given back.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import type { MovementKind, MovementStatus } from '#src/partners/protocol/schemas.ts';

export interface Account {
  readonly account: string;
  readonly name: string;
  readonly status: 'active' | 'suspended' | 'closed';
  readonly linked: boolean;
  /** Below zero where an accrual was taken back that had been spent. */
  readonly points: number;
  /** The one-time code that links the account. */
  readonly code: string | null;
  readonly memberSince: string;
}

export interface MovementDraft {
  readonly caller: string;
  readonly kind: MovementKind;
  readonly reference: string;
  /** What a repeat has to be the same as; empty of what was voided before it arrived. */
  readonly body: string;
  readonly account: string;
  readonly points: number;
  readonly currency: string;
  readonly occurredAt: string;
  /** Epoch ms. */
  readonly at: number;
  readonly status: MovementStatus;
  readonly reason: string | null;
  readonly originalKind: MovementKind | null;
  readonly originalReference: string | null;
  readonly shortfall: number;
  /** What a pending one is at `dueAt`. */
  readonly becomes: MovementStatus | null;
  readonly dueAt: number | null;
}

export interface Movement extends MovementDraft {
  readonly movement: number;
  /** How many of its points have been taken back. */
  readonly reversed: number;
}

export interface Sums {
  readonly accounts: number;
  readonly movements: number;
  /** Of all accounts. */
  readonly points: number;
  readonly opened: number;
  readonly accrued: number;
  readonly accrualsReversed: number;
  readonly redeemed: number;
  readonly redemptionsReversed: number;
  readonly pendingAccruals: number;
  readonly pendingRedemptions: number;
  /** First sends that have not arrived yet. */
  readonly late: number;
  /** Points that callers have moved into accounts, less those they have moved out; what is pending is not in it. */
  readonly net: number;
  readonly balanced: boolean;
}

export type Books = ReturnType<typeof openBooks>;

const schema = `
create table if not exists account (
  account text primary key, name text not null, status text not null, linked integer not null, points integer not null,
  opened integer not null, code text, memberSince text not null, callerAccount text) strict;
create table if not exists movement (
  movement integer primary key, caller text not null, kind text not null, reference text not null, body text not null,
  account text not null references account, points integer not null, currency text not null, occurredAt text not null,
  at integer not null, status text not null, reason text, originalKind text, originalReference text,
  shortfall integer not null, becomes text, dueAt integer, reversed integer not null default 0,
  unique (caller, kind, reference)) strict;
create index if not exists movement_due on movement (dueAt) where status = 'pending' and becomes is not null;
create table if not exists unbooked (
  caller text not null, kind text not null, reference text not null, isUntold integer not null,
  primary key (caller, kind, reference)) strict;
create table if not exists late (
  caller text not null, kind text not null, reference text not null, hasArrived integer not null,
  primary key (caller, kind, reference)) strict;
create table if not exists nonce (
  caller text not null, nonce text not null, until integer not null, primary key (caller, nonce)) strict, without rowid;`;

const columns = [
  ...['caller', 'kind', 'reference', 'body', 'account', 'points', 'currency', 'occurredAt', 'at', 'status'],
  ...['reason', 'originalKind', 'originalReference', 'shortfall', 'becomes', 'dueAt'],
] as const satisfies readonly (keyof MovementDraft)[];

type Row = Record<string, SQLOutputValue>;

const movementOf = (row: Row | undefined) => row as unknown as Movement | undefined;

function accountOf(row: Row | undefined): Account | undefined {
  return row && ({ ...row, linked: row.linked === 1 } as unknown as Account);
}

/** Runs what came in one turn of the event loop in one database transaction, and settles each when it is on the disk. */
function committing(db: DatabaseSync) {
  let waiting: { run(): void; settle(failure?: Error): void }[] = [];

  function flush(): void {
    const batch = waiting;
    waiting = [];
    let failure: Error | undefined;
    try {
      db.exec('begin immediate');
      for (const each of batch) each.run();
      db.exec('commit');
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      // Whoever was kept waiting may come when the books are closed.
      if (db.isOpen && db.isTransaction) db.exec('rollback');
    }
    for (const each of batch) each.settle(failure);
  }

  return function commit<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let result: { readonly value: T } | undefined;
      if (waiting.length === 0) setImmediate(flush);
      waiting.push({
        run() {
          result = { value: work() };
        },
        settle(failure) {
          if (failure || !result) reject(failure ?? new Error('the books have not come to it'));
          else resolve(result.value);
        },
      });
    });
  };
}

function sumsOf(db: DatabaseSync): Sums {
  const accounts = db
    .prepare(
      'select count(*) n, coalesce(sum(points), 0) points, coalesce(sum(opened), 0) opened from account',
    )
    .get() as Record<'n' | 'points' | 'opened', number>;
  const moved = db
    .prepare(
      `select kind, originalKind, status, count(*) n, sum(points) points from movement group by kind, originalKind, status`,
    )
    .all() as { kind: string; originalKind: string | null; status: string; n: number; points: number }[];
  const of = (kind: string, status: string, originalKind: string | null = null) =>
    moved.find((row) => row.kind === kind && row.status === status && row.originalKind === originalKind)
      ?.points ?? 0;
  const { points, opened } = accounts;
  const [accrued, redeemed] = [of('accrual', 'succeeded'), of('redemption', 'succeeded')];
  const [pendingAccruals, pendingRedemptions] = [of('accrual', 'pending'), of('redemption', 'pending')];
  const { late } = db.prepare('select count(*) late from late where hasArrived = 0').get() as {
    late: number;
  };
  const accrualsReversed = of('reversal', 'succeeded', 'accrual');
  const redemptionsReversed = of('reversal', 'succeeded', 'redemption');
  const net = accrued - accrualsReversed - redeemed + redemptionsReversed;
  return {
    accounts: accounts.n,
    movements: moved.reduce((sum, { n }) => sum + n, 0),
    ...{ points, opened, accrued, accrualsReversed, redeemed, redemptionsReversed },
    ...{ pendingAccruals, pendingRedemptions, late, net },
    balanced: points === opened + net - pendingRedemptions,
  };
}

function open(folder: string): DatabaseSync {
  mkdirSync(folder, { recursive: true });
  const db = new DatabaseSync(join(folder, 'partner.sqlite'), { timeout: 5_000 });
  db.exec(`pragma journal_mode = wal; pragma synchronous = full; ${schema}`);
  return db;
}

/** First sends that nobody answered and that arrive later. */
function lateSends(db: DatabaseSync) {
  const noted = db.prepare(
    'insert into late (caller, kind, reference, hasArrived) values (?, ?, ?, 0) on conflict do nothing',
  );
  const arrived = db.prepare(
    'update late set hasArrived = 1 where caller = ? and kind = ? and reference = ?',
  );
  return {
    /** False where it was noted before. */
    noteLate: (caller: string, kind: MovementKind, reference: string) =>
      noted.run(caller, kind, reference).changes === 1,
    noteArrived(caller: string, kind: MovementKind, reference: string): void {
      arrived.run(caller, kind, reference);
    },
  };
}

/** Opens the books of a folder, new ones where there are none. */
export function openBooks(folder: string) {
  const db = open(folder);
  const once = {
    nonce: db.prepare('insert into nonce (caller, nonce, until) values (?, ?, ?) on conflict do nothing'),
    forget: db.prepare('delete from nonce where until < ?'),
    account: db.prepare(
      'select account, name, status, linked, points, code, memberSince from account where account = ?',
    ),
    addPoints: db.prepare('update account set points = points + ? where account = ?'),
    link: db.prepare('update account set linked = 1, code = null, callerAccount = ? where account = ?'),
    openAccount: db.prepare(
      `insert into account (account, name, status, linked, points, opened, code, memberSince) values (?, ?, ?, ?, ?, ?, ?, ?)
       on conflict (account) do update set name = excluded.name, status = excluded.status, linked = excluded.linked,
         opened = opened + excluded.points - points, points = excluded.points, code = excluded.code`,
    ),
    find: db.prepare('select * from movement where caller = ? and kind = ? and reference = ?'),
    due: db.prepare(`select * from movement where status = 'pending' and becomes is not null and dueAt <= ?`),
    resolve: db.prepare(
      `update movement set status = ?, reason = ? where movement = ? and status = 'pending'`,
    ),
    addReversed: db.prepare('update movement set reversed = reversed + ? where movement = ?'),
    book: db.prepare(
      `insert into movement (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')}) returning *`,
    ),
    unbooked: db.prepare(
      'insert into unbooked (caller, kind, reference, isUntold) values (?, ?, ?, ?) on conflict do nothing',
    ),
    ofDay: db.prepare(
      'select * from movement where caller = ? and unixepoch(occurredAt) >= ? and unixepoch(occurredAt) < ?',
    ),
    untold: db.prepare(
      'select 1 from unbooked where caller = ? and kind = ? and reference = ? and isUntold = 1',
    ),
  };
  return {
    commit: committing(db),
    /** Undoes what `work` has written when it throws. */
    attempt<T>(work: () => T): T {
      db.exec('savepoint attempt');
      try {
        const result = work();
        db.exec('release attempt');
        return result;
      } catch (error) {
        db.exec('rollback to attempt; release attempt');
        throw error;
      }
    },
    /** False where the nonce was used before. */
    useNonce(caller: string, nonce: string, untilSeconds: number): boolean {
      return once.nonce.run(caller, nonce, untilSeconds).changes === 1;
    },
    forgetNonces(beforeSeconds: number): void {
      once.forget.run(beforeSeconds);
    },
    account: (account: string) => accountOf(once.account.get(account)),
    /** Opens an account or sets it; points that are set belong to what it was opened with. */
    open({ account, name, status, linked, points, code, memberSince }: Account): void {
      once.openAccount.run(account, name, status, linked ? 1 : 0, points, points, code, memberSince);
    },
    addPoints(account: string, by: number): void {
      once.addPoints.run(by, account);
    },
    link(account: string, callerAccount: string): void {
      once.link.run(callerAccount, account);
    },
    find: (caller: string, kind: MovementKind, reference: string) =>
      movementOf(once.find.get(caller, kind, reference)),
    book: (draft: MovementDraft) => movementOf(once.book.get(...columns.map((column) => draft[column])))!,
    due: (now: number) => once.due.all(now).map((row) => movementOf(row)!),
    resolve(movement: number, status: MovementStatus, reason: string | null): void {
      once.resolve.run(status, reason, movement);
    },
    addReversed(movement: number, by: number): void {
      once.addReversed.run(by, movement);
    },
    /** Notes a send that was answered without being booked; false where one was noted before. */
    noteUnbooked: (caller: string, kind: MovementKind, reference: string, isUntold: boolean) =>
      once.unbooked.run(caller, kind, reference, isUntold ? 1 : 0).changes === 1,
    /** Whether inquiries for it are not answered either. */
    isUntold: (caller: string, kind: MovementKind, reference: string) =>
      once.untold.get(caller, kind, reference) !== undefined,
    ...lateSends(db),
    /** Movements of a caller that happened from a time to before another, in seconds since 1970. */
    ofDay: (caller: string, from: number, until: number) =>
      once.ofDay.all(caller, from, until).map((row) => movementOf(row)!),
    sums: () => sumsOf(db),
    close: () => db.close(),
  };
}
