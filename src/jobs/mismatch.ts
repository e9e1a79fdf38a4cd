/**
 * What happens to a member whose balance in Redis, rows and entries do not say the same.
 *
 * A finding is opened (one a member), the spending is frozen by a script with a record, and the alarm follows from the
 * metrics. Where Redis is wrong, the wrong state is dropped first, so that nothing more is decided on it, and the member
 * comes back from the books. Where the books contradict their own entries nothing is changed: that is for a person. A
 * finding is settled, and the freeze lifted, when a later look finds all three in agreement.
 */
import type { App } from '#src/app.ts';
import { compareHotMembers } from '#src/ledger/audit-hot.ts';
import { auditMemberRows } from '#src/ledger/audit-rows.ts';
import type { MemberNumber } from '#src/values.ts';
import { dropHot } from '#src/wallet/reload.ts';
import { freezeFor, liftFor } from './freeze.ts';

export interface Mismatch {
  readonly member: MemberNumber;
  /** What is wrong in Redis (`m:7`, `o:<operation>`); absent where the books are. */
  readonly suffix: string | undefined;
  /** The shard of that state; an original may be undone in another shard than its member's. */
  readonly shard: number;
  readonly detail: string;
  readonly points: number;
}

const openPerRunMax = 100;
const patienceMs = 2_000;

async function open(app: App, mismatch: Mismatch, fault: 'redis' | 'books'): Promise<number> {
  const { member, detail, points } = mismatch;
  const { rows } = await app.pool.query<{ number: number; is_new: boolean }>(
    `insert into audit_finding (member, fault, detail, points) values ($1, $2, $3, $4)
     on conflict (member) where settled_at is null
       do update set points = greatest(audit_finding.points, excluded.points), fault = least(audit_finding.fault, excluded.fault)
     returning number, xmax = 0 as is_new`,
    [member, fault, detail.slice(0, 500), points],
  );
  const { number, is_new } = rows[0]!;
  if (is_new) {
    app.telemetry.metrics.auditMismatches.inc({ fault });
    app.telemetry.log.error({ member, fault, points, finding: number, detail }, 'balance and books differ');
  }
  return number;
}

/** Freezes, alarms and repairs. Harmless when it is done twice. */
export async function treat(app: App, mismatch: Mismatch): Promise<void> {
  const { member, suffix, shard } = mismatch;
  const contradicted = (await auditMemberRows(app.pool, [member])).length > 0;
  const fault = suffix === undefined || contradicted ? 'books' : 'redis';
  const number = await open(app, mismatch, fault);
  if (fault === 'redis' && suffix !== undefined) {
    const dropped = await dropHot({ ...app, wallet: app.operations.wallet }, shard, suffix);
    if (!dropped)
      app.telemetry.log.warn({ member }, 'a wrong state could not be dropped yet; the next pass tries again');
  }
  const { rows } = await app.pool.query<{ program: number }>('select program from member where number = $1', [
    member,
  ]);
  if (rows[0]) await freezeFor(app, member, rows[0].program, `drift/${number}`);
}

async function agrees(app: App, member: MemberNumber): Promise<boolean> {
  if ((await auditMemberRows(app.pool, [member])).length > 0) return false;
  const connection = await app.pool.connect();
  try {
    const stores = { nodes: app.nodes, connection, patience: { leftMs: patienceMs } };
    const { differences, unreadable, skipped } = await compareHotMembers(
      stores,
      app.operations.wallet.shardOf(member),
      [member],
    );
    return differences.length + unreadable.length + skipped === 0;
  } finally {
    connection.release();
  }
}

/** Looks again at open findings: settles those that are good now and lifts their freeze. Answers how many. */
export async function settleFindings(app: App): Promise<number> {
  const { rows } = await app.pool.query<{
    number: number;
    member: MemberNumber;
    program: number;
    frozen: boolean;
  }>(
    `select f.number, f.member, m.program, m.frozen from audit_finding f join member m on m.number = f.member
     where f.settled_at is null order by f.number limit $1`,
    [openPerRunMax],
  );
  let settled = 0;
  for (const { number, member, program } of rows) {
    // A process that died between finding and freezing is made up for here.
    await freezeFor(app, member, program, `drift/${number}`);
    if (!(await agrees(app, member))) continue;
    await app.pool.query('update audit_finding set settled_at = now() where number = $1', [number]);
    await liftFor(app, member, `drift/${number}`);
    settled += 1;
  }
  return settled;
}
