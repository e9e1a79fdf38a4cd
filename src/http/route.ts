/**
 * What a route is. A domain's `routes.ts` returns a list of these; the server mounts them and `openapi.ts` describes
 * them from the same zod schemas, so the two cannot drift.
 */
import type { z } from 'zod';
import type { Program } from '#src/earning/program.ts';
import type { ErrorCode } from '#src/errors.ts';

export const roles = ['pos', 'checkout', 'care', 'finance', 'partner', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Who calls: one key of one client of one program. */
export interface Caller {
  readonly keyId: string;
  readonly program: Program;
  readonly client: number;
  readonly clientName: string;
  readonly role: Role;
  /** Stores that the key may act for; undefined = all. */
  readonly stores: readonly string[] | undefined;
  readonly pointsPerMovementMax: number | undefined;
  readonly pointsPerDayMax: number | undefined;
  readonly backdateDaysMax: number | undefined;
}

/** One authenticated call with its checked input. */
export interface Call<Body = unknown, Query = unknown> {
  readonly caller: Caller;
  readonly body: Body;
  /** The body piece by piece, of a route that streams it. */
  readonly bytes: AsyncIterable<Buffer> | undefined;
  readonly query: Query;
  readonly params: Readonly<Record<string, string>>;
  /** From `Prefer: wait=SECONDS`, 0 to 10,000 ms, default 2,000. */
  readonly waitMs: number;
  readonly idempotencyKey: string | undefined;
  readonly requestId: string;
}

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  /** Sets `Idempotent-Replayed: true`. */
  readonly replayed?: boolean;
}

export interface Route<Body extends z.ZodType = z.ZodType, Query extends z.ZodType = z.ZodType> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Express path below the root, such as `/v1/holds/:id/capture`. */
  readonly path: string;
  /** OpenAPI operationId, a verb and a noun: `captureHold`. */
  readonly operationId: string;
  readonly summary: string;
  readonly tag: 'earning' | 'redemption' | 'members' | 'pools' | 'partners' | 'wallet' | 'program' | 'keys';
  readonly roles: readonly Role[];
  readonly body?: Body;
  /** The body is no JSON but of this type, is handed on as it comes, and is never in memory as a whole. */
  readonly stream?: { readonly mediaType: string; readonly bytesMax: number };
  readonly query?: Query;
  /** Bodies of success, by status. */
  readonly replies: Readonly<Record<number, z.ZodType>>;
  /** Codes that this call may answer beyond those of every call (authentication, malformed body, readiness). */
  readonly errors: readonly ErrorCode[];
  /** Whatever is refused of this call leaves a line in the audit log that begins with this word. */
  readonly refusalsOf?: 'exchange' | 'link';
  /** Largest body in bytes; default 128 KiB. */
  readonly bodyBytesMax?: number;
  handle(call: Call<z.output<Body>, z.output<Query>>): Promise<Reply>;
}

/** Routes of partners alone are signed; every other is authorized by a key. */
export function isSigned({ roles }: Pick<Route, 'roles'>): boolean {
  return roles.every((role) => role === 'partner');
}

/** Keeps the types of body and query together; returns the route unchanged. */
export function route<Body extends z.ZodType, Query extends z.ZodType>(
  definition: Route<Body, Query>,
): Route {
  return definition as unknown as Route;
}
