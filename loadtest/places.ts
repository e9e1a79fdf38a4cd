/** What fills the places of the requests of `requests.ts`, each with a fixed width, and those requests as bytes. */
import { randomBytes } from 'node:crypto';
import { filling } from './wire.ts';

/** Orders and references of one receipt have one number; a reference is the first of the two in every request. */
let count = 0;
const runPart = randomBytes(4).readUInt32LE().toString(16).padStart(8, '0');

/** A new UUIDv7: the time, this run, a number. */
export function reference(): string {
  count += 1;
  const time = Date.now().toString(16).padStart(12, '0');
  const number = count.toString(16).padStart(8, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${runPart.slice(0, 3)}-8${runPart.slice(3, 6)}-${runPart.slice(4)}${number}`;
}

const tills = 1_000;
/** As tills number their receipts: store, till, day, running number. The store is this run's, so nothing comes twice. */
export function natural(): string {
  count += 1;
  const till = String(count % tills).padStart(3, '0');
  const number = String(Math.floor(count / tills)).padStart(6, '0');
  return `s${runPart}/t${till}/${now().slice(0, 10)}/${number}`;
}

export function order(): string {
  return runPart + count.toString(36).padStart(8, '0');
}

export function now(): string {
  return new Date().toISOString();
}

/** Makes one request after the other; `memberAt` says whom the n-th place of a member is about. */
export function requestsOf(text: string, memberAt: (index: number) => string): () => Buffer {
  let index = 0;
  const member = () => {
    index += 1;
    return memberAt(index - 1);
  };
  const next = filling(text, { reference, natural, order, member, now });
  // Taking the text apart has filled every place already.
  index = 0;
  return next;
}
