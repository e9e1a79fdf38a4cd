/** The requests of `requests.ts` as bytes, for drivers that run inside the benchmark's own process. */
import { randomBytes } from 'node:crypto';
import { templateOf } from './wire.ts';

const runPart = randomBytes(4).toString('hex');
let count = 0;

/** A new UUIDv7: the time, this run, a number. */
function reference(): string {
  count += 1;
  const time = Date.now().toString(16).padStart(12, '0');
  const number = count.toString(16).padStart(8, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${runPart.slice(0, 3)}-8${runPart.slice(3, 6)}-${runPart.slice(4)}${number}`;
}

function order(): string {
  count += 1;
  return runPart + count.toString(36).padStart(8, '0');
}

/** Makes one request after the other; `memberAt` says whom the n-th place of a member is about. */
export function requestsOf(text: string, memberAt: (index: number) => string): () => Buffer {
  let index = 0;
  const member = () => {
    index += 1;
    return memberAt(index - 1);
  };
  const now = () => new Date().toISOString();
  const { bytes, patches } = templateOf(text, { reference, order, member, now });
  // Taking the text apart has filled every place already.
  index = 0;
  return () => {
    const own = Buffer.from(bytes);
    for (const { at, next } of patches) own.write(next(), at, 'latin1');
    return own;
  };
}
