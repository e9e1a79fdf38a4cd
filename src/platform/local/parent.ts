/** For processes that the supervisor starts: not outliving it. */

/** Longer than any drain: a process that still stands then is stuck. */
const lastResortMs = 60_000;

/**
 * When this process has a supervisor and loses it (kill -9 of the supervisor closes the channel between them), it asks
 * itself to stop as Ctrl-C would, with everything drained. Without a supervisor it does nothing.
 */
export function exitWithParent(): void {
  if (process.send === undefined) return;
  const stop = (): void => {
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), lastResortMs).unref();
    process.kill(process.pid, 'SIGTERM');
  };
  if (!process.connected) {
    stop();
    return;
  }
  process.once('disconnect', stop);
  // A listener makes the channel keep the process alive; a process that is done should be able to end.
  process.channel?.unref();
}
