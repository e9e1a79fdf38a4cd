/** HTTP as the load generators speak it: a request is bytes with places of a fixed width, a reply has a Content-Length. */

export interface Template {
  readonly bytes: Buffer;
  readonly patches: readonly { readonly at: number; readonly next: () => string }[];
}

/** The bytes of a request such as those of `requests.ts`, and where its `{{places}}` are. */
export function templateOf(text: string, places: Readonly<Record<string, () => string>>): Template {
  const [head, body] = text.split('\r\n\r\n') as [string, string];
  const fill = (part: string) => part.replace(/\{\{(\w+)\}\}/g, (_, name: string) => places[name]!());
  const length = body === '' ? '' : `\r\nContent-Length: ${fill(body).length}`;
  const whole = `${head}${length}\r\n\r\n${body}`;
  const patches: { at: number; next: () => string }[] = [];
  let filled = '';
  for (const [index, part] of whole.split(/\{\{(\w+)\}\}/).entries()) {
    if (index % 2 === 1) patches.push({ at: filled.length, next: places[part]! });
    filled += index % 2 === 1 ? places[part]!() : part;
  }
  return { bytes: Buffer.from(filled, 'latin1'), patches };
}

/** Makes one request after the other, each with bytes of its own; the text is taken apart once, which fills every place. */
export function filling(text: string, places: Readonly<Record<string, () => string>>): () => Buffer {
  const { bytes, patches } = templateOf(text, places);
  return () => {
    const own = Buffer.from(bytes);
    for (const { at, next } of patches) own.write(next(), at, 'latin1');
    return own;
  };
}

/** The end of the first whole reply in `received`; 0 while it is incomplete. Throws where its length is not said. */
export function replyEnd(received: Buffer): number {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd < 0) return 0;
  const length = /content-length: *(\d+)/i.exec(received.toString('latin1', 0, headEnd))?.[1];
  if (length === undefined) throw new Error('a reply has no Content-Length');
  const end = headEnd + 4 + Number(length);
  return received.length >= end ? end : 0;
}
