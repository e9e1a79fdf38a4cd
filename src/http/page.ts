/** Anything that is served without a key: health, metrics, the API's description and the guides. */

export interface PageContent {
  readonly status: number;
  readonly type: string;
  readonly body: string | Uint8Array;
  /** Extra header names and values, alternating. */
  readonly headers?: readonly string[];
}

export interface Page {
  readonly path: string;
  content(): PageContent | Promise<PageContent>;
}
