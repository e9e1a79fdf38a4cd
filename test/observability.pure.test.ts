/** Dashboard, alarms and containers against what the code really measures and demands. Files only; nothing is started. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { supervisorMetrics } from '#src/http/processes/supervisor-metrics.ts';
import { createTelemetry } from '#src/platform/telemetry.ts';

const observability = new URL('../src/platform/observability/', import.meta.url);
const read = (path: string, base = observability) => readFile(new URL(path, base), 'utf8');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

const dashboardText = await read('grafana/dashboards/points-engine.json');
const { panels } = JSON.parse(dashboardText) as { panels: Panel[] };
const alarms = await read('prometheus/alerts.yml');
const compose = await read('docker-compose.yml', new URL('..', import.meta.url));

/** What Prometheus will know of each metric: its name, and for a histogram the three that it is stored as. */
async function measured(): Promise<Set<string>> {
  const { registry } = createTelemetry({ logLevel: 'silent', processName: 'test', version: 'test' });
  const ofSupervisor = await supervisorMetrics(2).registry.getMetricsAsJSON();
  const metrics = [...(await registry.getMetricsAsJSON()), ...ofSupervisor];
  return new Set(
    metrics.flatMap(({ name, type }) =>
      // The type is a word in prom-client's answers, whatever its declarations say.
      ['histogram', 'summary'].includes(String(type))
        ? [`${name}_bucket`, `${name}_sum`, `${name}_count`]
        : [name],
    ),
  );
}

function metricsIn(text: string): string[] {
  return [...new Set(text.match(/\b(?:loyalty|nodejs|process)_[a-z0-9_]+/g))];
}

describe('dashboard and alarms', () => {
  test('name only metrics that a process publishes', async () => {
    const known = await measured();
    const asked = metricsIn(dashboardText + alarms);
    expect(asked.length).toBeGreaterThan(20);
    expect(asked.filter((name) => !known.has(name))).toEqual([]);
  });

  test('every metric of the engine is on the dashboard or has an alarm', async () => {
    const asked = new Set(metricsIn(dashboardText + alarms));
    const own = [...(await measured())].filter((name) => /^loyalty_.*(?<!_sum|_count|_bucket)$/.test(name));
    const unseen = ['loyalty_build_info', 'loyalty_http_request_log_lines_dropped_total'];
    expect(own.filter((name) => !asked.has(name) && !unseen.includes(name))).toEqual([]);
  });

  test('shard states are the words of the ledger writer', async () => {
    const writer = await read('../../ledger/writer-process.ts');
    const states = [...(dashboardText + alarms).matchAll(/loyalty_shard_state\{[^}]*state=\\?"(\w+)/g)];
    expect(states.length).toBeGreaterThan(1);
    for (const [, state] of states) expect(writer).toContain(`'${state}'`);
  });
});

describe('dashboard', () => {
  test('asks the provisioned data source and no other', async () => {
    const uid = /uid: (\S+)/.exec(await read('grafana/provisioning/datasources/prometheus.yml'))?.[1];
    const asked = dashboardText.matchAll(/"datasource": \{ "type": "prometheus", "uid": "([^"]+)" \}/g);
    expect(new Set([...asked].map((match) => match[1]))).toEqual(new Set([uid]));
  });

  test('panels have numbers of their own and do not overlap', () => {
    expect(new Set(panels.map((panel) => panel.id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(panels.every(({ type, targets }) => (type === 'row') === (targets === undefined))).toBe(true);
  });
});

describe('containers', () => {
  test('open ports on this machine only', () => {
    const published = [...compose.matchAll(/ports: \["([^"]+)"\]/g)].map((match) => match[1]!);
    expect(published.length).toBe(3);
    expect(published.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  });

  test('are given longer to stop than the service takes to drain', () => {
    const drainSeconds = Number(/SHUTDOWN_SECONDS: "(\d+)"/.exec(compose)?.[1]);
    const graces = [...compose.matchAll(/stop_grace_period: (\d+)s/g)].map((match) => Number(match[1]));
    expect(drainSeconds).toBeGreaterThan(0);
    expect(graces.length).toBe(8);
    expect(Math.min(...graces)).toBeGreaterThan(drainSeconds);
  });

  test('run Redis with every setting that readiness demands', async () => {
    const demanded = /const wanted[^{]*\{([^}]+)\}/.exec(await read('../redis.ts'))?.[1] ?? '';
    const settings = [...demanded.matchAll(/'?([a-z-]+)'?: '([a-z]+)'/g)];
    expect(settings.length).toBeGreaterThan(3);
    for (const [, name, value] of settings) {
      expect(compose).toMatch(new RegExp(`- --${name}\\n\\s+- "?${value}"?\\n`));
    }
  });

  test('run the programs that exist', async () => {
    const scripts = [...compose.matchAll(/command: \["node", "([^"]+)"\]/g)].map((match) => match[1]!);
    expect(scripts.length).toBe(6);
    for (const script of scripts)
      await expect(read(script, new URL('..', import.meta.url))).resolves.not.toBe('');
  });
});
