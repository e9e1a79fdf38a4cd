/** Work that stands still at named places until it is told to go on, as a process that was stopped there would. */

export interface Stepping<T> {
  /** Goes on until the next place or the end; `undefined` at a place, the result at the end. Throws what the work throws. */
  next(): Promise<{ readonly result: T } | undefined>;
}

export function stepwise<T>(work: (pause: () => Promise<void>) => Promise<T>): Stepping<T> {
  let goOn: (() => void) | undefined;
  let stopped = Promise.withResolvers<undefined>();
  const pause = () =>
    new Promise<void>((resolve) => {
      goOn = resolve;
      stopped.resolve(undefined);
    });
  let running: Promise<{ readonly result: T }> | undefined;
  return {
    next() {
      stopped = Promise.withResolvers<undefined>();
      goOn?.();
      running ??= work(pause).then((result) => ({ result }));
      return Promise.race([running, stopped.promise]);
    },
  };
}
