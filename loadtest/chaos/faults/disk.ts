/** The journal's disk: every flush is slow, or there is no room left. Both need what only some machines have. */
import { appendFile, cp, mkdir, readFile, rename, rm, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { endProcess, launch, run, waitUntil } from '#src/platform/local/processes.ts';
import { untilServing } from '../house.ts';
import type { RedisNode } from '../house-redis.ts';
import { type Fault, seen } from './fault.ts';

const traceMs = 5_000;

const slowFlush: Fault = {
  name: 'redis-slow-fdatasync',
  does: 'every fdatasync of Redis takes 20 to 200 ms longer (injected by strace)',
  async missing() {
    const { code } = await run({ file: 'strace', args: ['-V'] }, traceMs);
    return code === 0 ? undefined : 'there is no strace on this machine';
  },
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const ms = random.pick([20, 60, 200]);
    const log = join(house.options.folder, 'logs', `strace-${Date.now()}.log`);
    const inject = `inject=fdatasync:delay_enter=${ms * 1_000}`;
    const args = ['-f', '-p', String(node.server.pid), '-e', 'trace=fdatasync', '-e', inject];
    const tracer = launch({ file: 'strace', args }, log);
    const heal = async () => {
      await endProcess(tracer.pid!, () => tracer.hasExited(), [
        { signal: 'SIGINT', waitMs: traceMs },
        { signal: 'SIGKILL', waitMs: traceMs },
      ]);
    };
    const flushes = async () => (await readFile(log, 'utf8')).split('(DELAYED)').length - 1;
    const bitten = await waitUntil(async () => (await flushes()) > 2, traceMs, 20);
    if (!bitten) await heal();
    seen(bitten, 'flushes were delayed');
    return {
      evidence: `fdatasync of ${node.name} is ${ms} ms slower`,
      holdMs: random.whole(2_000, 5_000),
      heal,
    };
  },
};

const roomBytes = 256 * 1024 * 1024;
const mountMs = 10_000;

async function must(file: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await run({ file, args }, mountMs);
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr}`);
}

const pieceBytes = 1024 * 1024;

/** Takes all the room there is; the journal grows beside it, so the end may come early. */
async function fill(path: string, { bavail, bsize }: { bavail: number; bsize: number }): Promise<void> {
  const piece = Buffer.alloc(pieceBytes);
  try {
    for (let left = bavail * bsize; left > 0; left -= pieceBytes) {
      await appendFile(path, left < pieceBytes ? piece.subarray(0, left) : piece);
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}

/** Room again, and the data back where it was. */
async function restoreDisk(node: RedisNode, folder: string, aside: string): Promise<void> {
  await truncate(join(folder, 'ballast')).catch(() => undefined);
  await rm(join(folder, 'ballast'), { force: true });
  await node.server.stop();
  await cp(folder, aside, { recursive: true });
  await must('umount', [folder]);
  await rm(folder, { recursive: true });
  await rename(aside, folder);
  await node.start();
}

const fullDisk: Fault = {
  name: 'redis-full-disk',
  does: 'the file system of the journal has no room left, which ends Redis; then it has room again',
  async missing() {
    if (process.getuid?.() !== 0) return 'only root may mount a small file system';
    const { code } = await run({ file: 'mount', args: ['--version'] }, mountMs);
    return code === 0 ? undefined : 'there is no mount on this machine';
  },
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const folder = join(node.dataDir, 'redis');
    const aside = `${folder}.aside`;
    const sinceMs = Date.now();
    await node.server.stop();
    await rename(folder, aside);
    await mkdir(folder, { mode: 0o700 });
    await must('mount', ['-t', 'tmpfs', '-o', `size=${roomBytes},mode=0700`, 'tmpfs', folder]);
    await cp(aside, folder, { recursive: true });
    await rm(aside, { recursive: true });
    await node.start();
    const heal = () => restoreDisk(node, folder, aside);
    const ballast = join(folder, 'ballast');
    try {
      await untilServing(house, sinceMs, 60_000);
      await fill(ballast, await statfs(folder));
      let hasEnded = false;
      void node.server.exited.then(() => {
        hasEnded = true;
      });
      seen(await waitUntil(() => hasEnded, 20_000), 'Redis met the end of its disk');
      const log = await readFile(join(node.dataDir, 'logs', 'redis.log'), 'utf8');
      // Half a record may fit, so the word is one of the two.
      seen(/No space left on device|Can't recover from AOF write error/.test(log), 'Redis says so');
    } catch (error) {
      await heal();
      throw error;
    }
    return { evidence: `${node.name} ended: no space left on device`, holdMs: 300, heal };
  },
};

export const diskFaults: readonly Fault[] = [slowFlush, fullDisk];
