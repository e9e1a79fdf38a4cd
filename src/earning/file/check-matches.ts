/** PURE. Matches and alliances of a ladder: whether the tiers they name are there, each once, and whether they ever hold. */
import type { Path, Report } from './check.ts';
import type { FileLadder } from './ladder-schema.ts';

interface Dated {
  readonly from?: string | undefined;
  readonly through?: string | undefined;
}

function checkDates({ from, through }: Dated, path: Path, { fault }: Report): void {
  if (from !== undefined && through !== undefined && through < from)
    fault([...path, 'through'], `never holds: it ends before it begins, on ${from}`);
}

/** Names that may stand once each. */
function once(names: readonly (readonly [name: string, path: Path])[], { fault }: Report): void {
  const seen = new Set<string>();
  for (const [name, path] of names) {
    if (seen.has(name)) fault(path, `${name} is used twice`);
    seen.add(name);
  }
}

export function checkTierMatches(ladder: FileLadder, path: Path, report: Report): void {
  const names = ladder.tiers.map(({ name }) => name);
  const checkTier = (name: string, at: Path) => {
    if (!names.includes(name))
      report.fault(at, `${name} is no tier of ${ladder.name}: there is ${names.join(', ')}`);
    else if (name === names[0]) report.fault(at, `everybody has ${name}`);
  };
  once(
    ladder.matches.map(({ name }, i) => [name, [...path, 'matches', i, 'name']]),
    report,
  );
  for (const [i, match] of ladder.matches.entries()) {
    const at = [...path, 'matches', i];
    checkDates(match, at, report);
    const theirs = match.tiers.flatMap(({ from }, j) =>
      from.map((name, k) => [name, [...at, 'tiers', j, 'from', k]] as const),
    );
    once(theirs, report);
    for (const [j, { tier }] of match.tiers.entries()) checkTier(tier, [...at, 'tiers', j, 'tier']);
  }
  for (const [i, alliance] of ladder.alliances.entries()) {
    const at = [...path, 'alliances', i];
    checkDates(alliance, at, report);
    once(
      alliance.tiers.map(({ tier }, j) => [tier, [...at, 'tiers', j, 'tier']]),
      report,
    );
    for (const [j, { tier }] of alliance.tiers.entries()) checkTier(tier, [...at, 'tiers', j, 'tier']);
  }
}
