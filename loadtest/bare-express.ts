/**
 * Express for the contestants, at its best: it creates its messages with Express's methods already on them, as
 * `src/http/server.ts` does. Without that Express changes the prototype of every request and loses up to two thirds of
 * its speed, and every comparison would flatter us.
 */
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import express, { type Express } from 'express';

/** An Express that reads JSON bodies, and how to let it listen; the parent process is told when it does. */
export function createBareExpress(): { app: Express; listen(port: number): void } {
  const app = express();
  class InboundRequest extends IncomingMessage {}
  class OutboundResponse<Of extends IncomingMessage> extends ServerResponse<Of> {}
  const own = { app: { configurable: true, enumerable: true, writable: true, value: app } };
  Object.defineProperties(InboundRequest.prototype, {
    ...Object.getOwnPropertyDescriptors(express.request),
    ...own,
  });
  Object.defineProperties(OutboundResponse.prototype, {
    ...Object.getOwnPropertyDescriptors(express.response),
    ...own,
  });
  Object.assign(app, { request: InboundRequest.prototype, response: OutboundResponse.prototype });
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(express.json());
  const server = createServer({ IncomingMessage: InboundRequest, ServerResponse: OutboundResponse }, app);
  // The default of five seconds closes what an open loop leaves idle just when a burst wants it.
  server.keepAliveTimeout = 65_000;
  process.on('disconnect', () => process.exit(0));
  return { app, listen: (port) => void server.listen(port, '127.0.0.1', () => process.send?.('listening')) };
}

/** The receipt as the load generator sends it. */
export interface Receipt {
  readonly member: string;
  readonly reference: string;
  readonly occurredAt: string;
  readonly purchase: { readonly order: string; readonly lines: readonly { readonly amount: number }[] };
}

/** One point for each whole 100 minor units, the rule of the sample program. */
export function pointsOf({ purchase }: Pick<Receipt, 'purchase'>): number {
  return Math.floor(purchase.lines.reduce((sum, line) => sum + line.amount, 0) / 100);
}
