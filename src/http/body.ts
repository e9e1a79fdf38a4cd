/**
 * Reads and decodes JSON bodies. Express's own reader is not used: it accepts encodings that nobody here sends, decodes
 * invalid UTF-8 to replacement characters and cannot bound nesting.
 *
 * A body that is refused is still taken off the wire, so that the next request on the connection works: Node discards
 * what nobody reads, and what is read past the limit is dropped here. Its 30 s request timeout bounds both.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { type Fault, Problem, validationProblem } from '#src/errors.ts';
import { bodyPointer } from './faults.ts';

export const bodyBytesMaxDefault = 128 * 1024;
/** A body announced as larger than this is not worth taking off the wire; its connection is closed instead. */
export const discardBytesMax = 64 * 1024 * 1024;
const depthMax = 32;

/** A request whose body `readJson` reads. */
export interface BodyRequest extends IncomingMessage {
  /** The body was taken at once. Its stream learns of its end by `read()`, which the reply calls. */
  isBodyTaken: boolean;
}
const unstorableFaultsMax = 8;

function tooLarge(bytesMax: number): Problem {
  return new Problem('body_too_large', `The body may have at most ${bytesMax} bytes.`);
}

/** The length that the request announced; undefined when it comes in chunks. */
export function announcedBytes(request: IncomingMessage): number | undefined {
  const length = request.headers['content-length'];
  if (length !== undefined) return Number(length);
  return request.headers['transfer-encoding'] === undefined ? 0 : undefined;
}

/** Refuses every form that is not plain JSON in UTF-8. */
function checkMediaType(request: IncomingMessage): void {
  const type = request.headers['content-type'];
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new Problem('media_type_unsupported', 'Compressed bodies are not accepted.');
  }
  if (type === 'application/json' || type === 'application/json; charset=utf-8') return;
  const [mediaType, ...parameters] = (type ?? '').toLowerCase().split(';');
  if (mediaType?.trim() !== 'application/json') throw new Problem('media_type_unsupported');
  for (const parameter of parameters) {
    const [name, value] = parameter.split('=');
    if (name?.trim() !== 'charset') continue;
    if (value?.trim().replaceAll('"', '') !== 'utf-8') throw new Problem('media_type_unsupported');
  }
}

function collect(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let first: Buffer | undefined;
    let rest: Buffer[] | undefined;
    let bytes = 0;
    let ended = false;
    // Every request closes at last, so this must cost nothing once the body is complete.
    const truncated = () => {
      if (!ended) reject(new Problem('body_malformed', 'The body ended before its announced length.'));
    };
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesMax) {
        rest = undefined;
        reject(tooLarge(bytesMax));
        if (bytes > bytesMax + discardBytesMax) request.destroy();
      } else if (first === undefined) {
        first = chunk;
      } else {
        rest ??= [first];
        rest.push(chunk);
      }
    });
    request.on('end', () => {
      ended = true;
      resolve(rest ? Buffer.concat(rest, bytes) : (first ?? Buffer.alloc(0)));
    });
    request.on('error', truncated);
    request.on('close', truncated);
  });
}

/** True when the text is nested deeper than `depthMax`. Most bodies have fewer brackets than that and need no scan. */
function isTooDeep(text: string): boolean {
  let openings = 0;
  for (const bracket of ['{', '[']) {
    for (let at = text.indexOf(bracket); at >= 0 && openings <= depthMax; at = text.indexOf(bracket, at + 1))
      openings += 1;
  }
  if (openings <= depthMax) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code === 0x22) {
      for (i = text.indexOf('"', i + 1); i >= 0 && isEscaped(text, i); i = text.indexOf('"', i + 1));
      if (i < 0) return false;
    } else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > depthMax) return true;
    } else if (code === 0x7d || code === 0x5d) {
      depth -= 1;
    }
  }
  return false;
}

function isEscaped(text: string, quote: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes += 1;
  return backslashes % 2 === 1;
}

/** NUL and half surrogate pairs pass JSON's grammar by escapes, and no database column can hold them. */
function isUnstorable(text: string): boolean {
  return text.includes('\0') || !text.isWellFormed();
}

function findUnstorable(value: unknown, path: readonly PropertyKey[], faults: Fault[]): void {
  if (faults.length >= unstorableFaultsMax) return;
  if (typeof value === 'string') {
    if (isUnstorable(value))
      faults.push({ pointer: bodyPointer(path), detail: 'holds a character that cannot be stored' });
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      if (isUnstorable(key))
        faults.push({ pointer: bodyPointer(path), detail: 'has a name that cannot be stored' });
      else findUnstorable(inner, [...path, key], faults);
    }
  }
}

function parseJson(text: string): unknown {
  if (isTooDeep(text))
    throw new Problem('body_malformed', `The body is nested deeper than ${depthMax} levels.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // V8's message quotes the body; only the place of the fault is repeated.
    const at = error instanceof SyntaxError ? /position (\d+)/.exec(error.message)?.[1] : undefined;
    throw new Problem(
      'body_malformed',
      at ? `The body is not JSON from character ${at} on.` : 'The body is not JSON.',
    );
  }
  if (text.includes('\\u')) {
    const faults: Fault[] = [];
    findUnstorable(value, [], faults);
    if (faults.length > 0) throw validationProblem(faults);
  }
  return value;
}

/**
 * Reads a request's body as JSON. Every way in which it can be wrong is a Problem.
 *
 * A receipt comes in one packet with its headers, but Node's parser hands the body over only after the handler was called.
 * One microtask later it is there and is taken at once: a flowing stream with its listeners costs 2 µs a request more.
 */
export async function readJson(request: BodyRequest, bytesMax: number): Promise<unknown> {
  const announced = announcedBytes(request);
  if (announced === 0) throw new Problem('body_malformed', 'The body is empty.');
  checkMediaType(request);
  if (announced !== undefined && announced > bytesMax) throw tooLarge(bytesMax);
  await undefined;
  request.isBodyTaken = announced !== undefined && request.readableLength === announced;
  const bytes = request.isBodyTaken ? (request.read() as Buffer) : await collect(request, bytesMax);
  return jsonIn(bytes);
}

function jsonIn(bytes: Buffer): unknown {
  if (bytes.length === 0) throw new Problem('body_malformed', 'The body is empty.');
  if (!isUtf8(bytes)) throw new Problem('body_malformed', 'The body is not UTF-8.');
  return parseJson(bytes.toString('utf8'));
}

/** The bytes of a body as they came, whatever they are: what a signature covers. */
export async function readBytes(request: BodyRequest, bytesMax: number): Promise<Buffer> {
  const announced = announcedBytes(request);
  if (announced === 0) return Buffer.alloc(0);
  if (announced !== undefined && announced > bytesMax) throw tooLarge(bytesMax);
  await undefined;
  request.isBodyTaken = announced !== undefined && request.readableLength === announced;
  return request.isBodyTaken ? (request.read() as Buffer) : collect(request, bytesMax);
}

/** Bytes that were read before, as `readJson` takes them. */
export function jsonOf(request: BodyRequest, bytes: Buffer): unknown {
  if (bytes.length > 0) checkMediaType(request);
  return jsonIn(bytes);
}

/** The bytes of a body as they come. Where whoever takes them stops before the end, the rest is dropped. */
async function* piecesOf(request: IncomingMessage, bytesMax: number): AsyncGenerator<Buffer> {
  let bytes = 0;
  try {
    for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > bytesMax) throw tooLarge(bytesMax);
      yield piece;
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem('body_malformed', 'The body ended before its announced length.', {}, { cause: error });
  } finally {
    request.resume();
  }
}

/** The body of a route that streams it; of another type, or announced as too large, it is refused before any of it is read. */
export function streamedBody(
  request: IncomingMessage,
  { mediaType, bytesMax }: { readonly mediaType: string; readonly bytesMax: number },
): AsyncGenerator<Buffer> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers;
  if (encoding.toLowerCase() !== 'identity')
    throw new Problem('media_type_unsupported', 'Compressed bodies are not accepted.');
  if (type.split(';')[0]!.trim().toLowerCase() !== mediaType)
    throw new Problem('media_type_unsupported', `The body must be ${mediaType}.`);
  if ((announcedBytes(request) ?? 0) > bytesMax) throw tooLarge(bytesMax);
  return piecesOf(request, bytesMax);
}
