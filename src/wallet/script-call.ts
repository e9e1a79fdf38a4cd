/**
 * Calls of scripts whose arguments were put into Redis's protocol (RESP) one movement at a time, when each came. ioredis
 * copies the arguments of a call three times and measures each one again as it sends it; a call of four movements has
 * thirty-six, and that was 2 µs of each.
 */
import { Buffer } from 'node:buffer';
import { Command, type Redis } from 'ioredis';

/** Arguments as they are sent, and how many they are. */
export interface ScriptArguments {
  readonly text: string;
  readonly count: number;
}

/** PURE. RESP's bulk strings, one after the other. */
export function scriptArguments(values: readonly (string | number)[]): ScriptArguments {
  let text = '';
  for (const value of values) {
    const argument = typeof value === 'string' ? value : String(value);
    text += `$${Buffer.byteLength(argument)}\r\n${argument}\r\n`;
  }
  return { text, count: values.length };
}

class ScriptCall extends Command {
  readonly #text: string;

  constructor(text: string) {
    super('evalsha', [], { replyEncoding: 'utf8' });
    this.#text = text;
  }

  /** Also what ioredis sends again after a connection broke. */
  override toWritable(): string {
    return this.#text;
  }
}

/** `EVALSHA sha 1 key …`: first the arguments of the call, then those of its items. */
export function callScript(
  redis: Redis,
  sha: string,
  key: string,
  common: readonly (string | number)[],
  items: readonly { readonly args: ScriptArguments }[],
): Promise<unknown> {
  const opening = scriptArguments(['evalsha', sha, 1, key, ...common]);
  let count = opening.count;
  let text = opening.text;
  for (const { args } of items) {
    count += args.count;
    text += args.text;
  }
  return redis.sendCommand(new ScriptCall(`*${count}\r\n${text}`)) as Promise<unknown>;
}
