/** `npm run audit`: prints what was compared and the drift; exit 1 on any finding, 2 when it could not run. */
import { parseArgs } from 'node:util';
import { loadConfig } from '#src/config.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import { audit, auditConnection } from './audit.ts';
import { renderReport } from './audit-report.ts';
import { installedShards } from './installation.ts';

const help = `npm run audit [-- --shard N] [-- --json]

Recomputes every balance and lot from entries, entries and the hash chain from operations, and compares what is hot in
Redis with the books at the same sequence. Reads only; the service may run meanwhile.

  --shard N  one shard alone
  --json     one JSON object instead of the table
  --help     this text
`;

const options = { shard: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean' } } as const;

async function main(args: readonly string[]): Promise<number> {
  const { values } = typed(() => parseArgs({ args: [...args], options }));
  if (values.help) {
    print(help);
    return 0;
  }
  if (values.shard !== undefined && !/^\d{1,4}$/.test(values.shard))
    throw new UsageFault('--shard takes a number');
  const { databaseUrl, redisUrl } = loadConfig();
  const connection = auditConnection(databaseUrl);
  let nodes: RedisNodes | undefined;
  const showProgress = process.stderr.isTTY && !values.json;
  try {
    await connection.connect();
    nodes = await openShardNodes(redisUrl, await installedShards(connection), { commandTimeoutMs: 30_000 });
    const report = await audit({
      connection,
      nodes,
      shard: values.shard === undefined ? undefined : Number(values.shard),
      onProgress: (sentence) => showProgress && process.stderr.write(`\r\x1b[K${sentence}`),
    });
    if (showProgress) process.stderr.write('\r\x1b[K');
    const text = values.json ? JSON.stringify({ object: 'audit', ...report }) : renderReport(report);
    print(text);
    return report.clean ? 0 : 1;
  } finally {
    nodes?.close();
    await connection.end().catch(() => {});
  }
}

await runCommand('audit', main, 2);
