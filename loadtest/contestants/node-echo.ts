/**
 * Contestant: what HTTP alone costs. Bare `node:http` that reads a receipt and sends it back, which is about the size of our
 * reply, with nothing parsed and nothing kept.
 */
import { createServer } from 'node:http';

const { port } = JSON.parse(process.argv[2] ?? '') as { port: number };

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    response.writeHead(201, { 'Content-Type': 'application/json', 'Content-Length': body.length });
    response.end(body);
  });
});
process.on('disconnect', () => process.exit(0));
server.listen(port, '127.0.0.1', () => process.send?.('listening'));
