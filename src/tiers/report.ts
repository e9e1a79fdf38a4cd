/** How many members stand on each tier, and how many came and went, month by month: what `npm run tiers -- report` prints. */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { inColumns } from '#src/platform/command.ts';
import { laddersAt } from './ladders.ts';

/** Members who came from one tier to another in a month, by the day from which they have it. */
export interface Movement {
  readonly month: string;
  readonly from: string;
  readonly to: string;
  readonly members: number;
}

export interface LadderReport {
  readonly ladder: string;
  /** From the lowest up. */
  readonly tiers: readonly { readonly tier: string; readonly members: number }[];
  /** The oldest month first. */
  readonly movements: readonly Movement[];
}

const monthsMax = 36;

/** Reads where everybody stands on the ladders in force, and the movements of the last three years. */
export async function readReport(pool: pg.Pool, program: Program): Promise<LadderReport[]> {
  const present = `('active', 'suspended')`;
  const { rows: standing } = await pool.query<{ ladder: string; tier: string; members: number }>(
    `select s.ladder, s.tier, count(*)::int as members from tier_standing s join member m on m.number = s.member
     where s.program = $1 and m.status in ${present} group by 1, 2`,
    [program.number],
  );
  const { rows: all } = await pool.query<{ members: number }>(
    `select count(*)::int as members from member where program = $1 and status in ${present}`,
    [program.number],
  );
  const { rows: movements } = await pool.query<Movement & { readonly ladder: string }>(
    `select ladder, to_char(date '1970-01-01' + since, 'YYYY-MM') as month, from_tier as from, to_tier as to, count(*)::int as members
     from tier_change where program = $1 and is_move and since >= (
       select (date_trunc('month', date '1970-01-01' + max(since)) - make_interval(months => $2))::date - date '1970-01-01'
       from tier_change where program = $1)
     group by 1, 2, 3, 4 order by 1, 2, 3, 4`,
    [program.number, monthsMax - 1],
  );
  return laddersAt(program, programNow(program)).ladders.map(({ name, tiers }) => {
    const of = (tier: string) =>
      standing.find((row) => row.ladder === name && row.tier === tier)?.members ?? 0;
    const above = tiers.slice(1).map((tier) => ({ tier: tier.name, members: of(tier.name) }));
    // Whoever never rose has no row.
    const first = all[0]!.members - above.reduce((sum, { members }) => sum + members, 0);
    return {
      ladder: name,
      tiers: [{ tier: tiers[0]!.name, members: first }, ...above],
      movements: movements.flatMap(({ ladder, ...row }) => (ladder === name ? [row] : [])),
    };
  });
}

/** How many went up and down in each month. */
export function upAndDown({
  tiers,
  movements,
}: LadderReport): { readonly month: string; readonly up: number; readonly down: number }[] {
  const level = new Map(tiers.map(({ tier }, i) => [tier, i]));
  const sum = (rows: readonly Movement[]) => rows.reduce((total, { members }) => total + members, 0);
  return [...Map.groupBy(movements, ({ month }) => month)].map(([month, rows]) => {
    const isUp = ({ from, to }: Movement) => (level.get(to) ?? 0) > (level.get(from) ?? 0);
    return { month, up: sum(rows.filter(isUp)), down: sum(rows.filter((row) => !isUp(row))) };
  });
}

export function reportText(reports: readonly LadderReport[]): string {
  if (reports.length === 0) return 'The program has no ladder.';
  return reports
    .map((report) => {
      const all = report.tiers.reduce((sum, { members }) => sum + members, 0);
      const share = (members: number) => `${((100 * members) / Math.max(1, all)).toFixed(1)} %`;
      const standing = report.tiers.map(({ tier, members }) => [tier, String(members), share(members)]);
      const moved = upAndDown(report).map(({ month, up, down }) => [month, String(up), String(down)]);
      const tables = [inColumns([[report.ladder, 'members', 'share'], ...standing])];
      if (moved.length > 0) tables.push(inColumns([['month', 'up', 'down'], ...moved]));
      return tables.join('\n\n');
    })
    .join('\n\n');
}
