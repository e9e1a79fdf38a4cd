/** What `npm run recover` knows of each shard: its epoch and position, who writes it, what was lost, what waits for a person. */
import type pg from 'pg';
import { inColumns } from '#src/platform/command.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { openEpoch } from './recovery.ts';
import type { Restoration } from './restore.ts';

export interface ShardStatus {
  readonly shard: number;
  readonly state: 'serving' | 'recovering' | 'no writer' | 'ledger_behind' | 'stopped' | 'Redis unreachable';
  readonly reason: string | undefined;
  readonly epoch: number;
  readonly seq: number;
  readonly owner: string | undefined;
  readonly term: number;
  readonly lost: readonly LostRange[];
  readonly decidedStale: number;
  /** `host:port` of the master that holds it; undefined without a cluster. */
  readonly node: string | undefined;
}

export interface LostRange {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
}

interface StatusRow {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly owner: string | null;
  readonly term: number;
  readonly alive: boolean;
  readonly state: 'ledger_behind' | 'stopped' | null;
  readonly reason: string | null;
  readonly lost: readonly [number, number, number][] | null;
  readonly decided_stale: number;
}

const aliveSeconds = 3;
const statusQuery = `
  select p.shard, p.epoch, p.seq, l.owner, l.term,
    l.owner is not null and l.heartbeat_at > clock_timestamp() - make_interval(secs => ${aliveSeconds}) as alive,
    s.state, s.reason,
    (select json_agg(json_build_array(e.previous_epoch, e.lost_from, e.lost_to) order by e.epoch) from epoch e
      where e.shard = p.shard and e.lost_from is not null) as lost,
    (select count(*)::int from decided_stale d where d.shard = p.shard) as decided_stale
  from position p join lease l using (shard) left join shard_state s using (shard) order by p.shard`;

async function isOpen(
  connection: pg.ClientBase,
  nodes: RedisNodes,
  row: StatusRow,
): Promise<boolean | undefined> {
  try {
    return (await openEpoch(connection, nodes.of(row.shard), row)) !== undefined;
  } catch {
    return undefined;
  }
}

/** Reads the standing of every shard. */
export async function shardStatuses(connection: pg.ClientBase, nodes: RedisNodes): Promise<ShardStatus[]> {
  const { rows } = await connection.query<StatusRow>(statusQuery);
  const statuses: ShardStatus[] = [];
  for (const row of rows) {
    const open = await isOpen(connection, nodes, row);
    const moving = row.alive ? (open ? 'serving' : 'recovering') : 'no writer';
    statuses.push({
      shard: row.shard,
      state: row.state ?? (open === undefined ? 'Redis unreachable' : moving),
      reason: row.reason ?? undefined,
      epoch: row.epoch,
      seq: row.seq,
      owner: row.owner ?? undefined,
      term: row.term,
      lost: (row.lost ?? []).map(([epoch, from, to]) => ({ epoch, from, to })),
      decidedStale: row.decided_stale,
      node: nodes.nodeOf(row.shard).address || undefined,
    });
  }
  return statuses;
}

function lostText(lost: readonly LostRange[]): string {
  return lost.length === 0 ? '-' : lost.map(({ epoch, from, to }) => `${epoch}-${from}…${to}`).join(', ');
}

const heads = [
  'shard',
  'state',
  'epoch',
  'position',
  'writer',
  'term',
  'decided stale',
  'lost',
  'node',
] as const;

/** A table for a terminal; one line a shard of `name=value` for everything else. */
export function renderStatuses(statuses: readonly ShardStatus[], isTerminal: boolean): string {
  const rows = statuses.map((status) => [
    String(status.shard),
    status.state,
    String(status.epoch),
    String(status.seq),
    status.owner?.slice(0, 8) ?? '-',
    String(status.term),
    String(status.decidedStale),
    lostText(status.lost),
    status.node ?? '-',
  ]);
  const reasons = statuses.flatMap(({ reason }) => (reason === undefined ? [] : [reason]));
  if (!isTerminal) {
    const lines = rows.map((row) =>
      heads
        .map(
          (head, i) => `${head.replaceAll(' ', '_')}=${row[i]!.replaceAll(', ', ',').replaceAll(' ', '_')}`,
        )
        .join(' '),
    );
    return [...lines, ...reasons].join('\n');
  }
  return [inColumns([heads, ...rows]), ...(reasons.length > 0 ? ['', ...reasons] : [])].join('\n');
}

function listText(what: string, numbers: readonly number[]): string[] {
  return numbers.length === 0 ? [] : [`  ${what}: ${numbers.join(', ')}`];
}

/** What a rebuild did and could not explain, in sentences. */
export function renderRestoration(shard: number, restoration: Restoration): string {
  const { booksEndedAt, keptFrom, keptRecords, recoveredMembers, recoveredPoints } = restoration;
  const kept =
    keptFrom === undefined
      ? 'the journal had nothing'
      : `the journal went on at ${keptFrom} (${keptRecords} records)`;
  return [
    `shard ${shard}: the books ended at ${booksEndedAt}, ${kept}`,
    `  ${recoveredMembers} members were brought to what Redis has, ${recoveredPoints} points against the account recovered`,
    ...restoration.lostRanges.map(
      ({ epoch, from, to }) => `  not in the books under their numbers: epoch ${epoch}, ${from} to ${to}`,
    ),
    ...listText(
      'members of whom Redis knew nothing, with movements behind the gap',
      restoration.unexplainedMembers,
    ),
    ...listText(
      'members that were enrolled in the gap, without identifiers now',
      restoration.membersWithoutIdentity,
    ),
    ...listText(
      'members that could not be booked, because nobody knows their program',
      restoration.membersWithoutProgram,
    ),
  ].join('\n');
}
