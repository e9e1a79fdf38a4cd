/**
 * Loaded into an API before anything else (`--import`): shifts that process's own clock, and nobody else's, when it is told
 * to. On SIGUSR2 it reads the shift in milliseconds from the file that its URL names, applies it, and says so in
 * `<file>.applied`. Node has no flag for a clock and the machine's is everybody's.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const file = new URL(import.meta.url).searchParams.get('file');
const RealDate = Date;
const realNow = Date.now.bind(Date);
let shiftMs = 0;

class ShiftedDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(realNow() + shiftMs);
    else super(...(given as [number]));
  }

  static override now(): number {
    return realNow() + shiftMs;
  }
}

if (file !== null) {
  globalThis.Date = ShiftedDate as DateConstructor;
  process.on('SIGUSR2', () => {
    shiftMs = Number(readFileSync(file, 'utf8'));
    writeFileSync(`${file}.applied`, String(shiftMs));
  });
}
