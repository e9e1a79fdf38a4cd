/** The end of an API process on the channel to its supervisor: says how it stands, and asks for the others. */
import cluster from 'node:cluster';
import { waitUntil } from '#src/platform/local/processes.ts';
import type { Health, NotReady, Siblings } from '../health.ts';
import type { Answer, FromProcess, ToProcess } from './messages.ts';
import { metricsTogether, reasonsTogether } from './together.ts';

export interface SupervisorLink {
  /** Passed to the pages: whoever is asked answers for all. */
  readonly siblings: Siblings;
  /** Waits until this process is ready, or for a few seconds: the others serve meanwhile. */
  untilReady(health: Health): Promise<void>;
  /** From now on this process takes connections and says how it is. */
  report(health: Health): void;
}

export const standingEveryMs = 500;
const readyMsMax = 5_000;
const answerMsMax = 1_500;
/** Somebody asks for a page every few seconds; so many at once mean that no answer comes. */
const asksMax = 100;

/**
 * A worker of `node:cluster` ends itself at once when its primary is gone, in the middle of its requests. `exitWithParent`
 * drains it instead; this keeps the other from happening.
 */
function drainWithoutSupervisor(): void {
  const worker = cluster.worker;
  worker?.on('disconnect', () => {
    worker.exitedAfterDisconnect = true;
  });
}

function send(message: FromProcess): void {
  // A channel that closes is noticed by itself, and what was to be said has nobody to hear it.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

/** Asks the supervisor; undefined where it does not answer in time. */
function asking(): {
  ask(what: 'standings' | 'metrics'): Promise<Answer | undefined>;
  hear(answer: Answer): void;
} {
  const waiting = new Map<number, (answer: Answer | undefined) => void>();
  let last = 0;
  return {
    hear: (answer) => waiting.get(answer.ask)?.(answer),
    async ask(what) {
      if (!process.connected || waiting.size >= asksMax) return undefined;
      last += 1;
      const number = last;
      const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
      const timer = setTimeout(() => resolve(undefined), answerMsMax);
      waiting.set(number, resolve);
      send({ kind: 'ask', ask: number, what });
      const answer = await promise;
      clearTimeout(timer);
      waiting.delete(number);
      return answer;
    },
  };
}

const supervisorSilent: NotReady = {
  reason: 'supervisor_silent',
  detail: 'the process that accepts connections does not answer',
};

/** Joins the processes of a port as number `number`. */
export function joinSupervisor(number: number): SupervisorLink {
  drainWithoutSupervisor();
  const { ask, hear } = asking();
  let health: Health | undefined;
  process.on('message', (message: ToProcess) => {
    if (message.kind === 'standings' || message.kind === 'texts') hear(message);
    if (message.kind !== 'collect') return;
    const { collection } = message;
    health?.metrics().then(
      (text) => send({ kind: 'metrics', collection, text }),
      // The page of whoever asked is written without this process.
      () => undefined,
    );
  });
  // A listener makes the channel keep the process alive; a process that is done should be able to end.
  process.channel?.unref();
  const say = async () => {
    if (health !== undefined) send({ kind: 'standing', reasons: await health.reasons() });
  };
  return {
    siblings: {
      async reasons(own) {
        const answer = await ask('standings');
        if (answer?.kind !== 'standings') return [...own, supervisorSilent];
        return reasonsTogether([{ number, reasons: own }, ...answer.standings]);
      },
      async metrics(own) {
        const answer = await ask('metrics');
        return answer?.kind === 'texts' ? metricsTogether([own, ...answer.texts]) : own;
      },
    },
    async untilReady(own) {
      await waitUntil(async () => (await own.reasons()).length === 0, readyMsMax, 50);
    },
    report(own) {
      health = own;
      void say();
      setInterval(() => void say(), standingEveryMs).unref();
    },
  };
}
