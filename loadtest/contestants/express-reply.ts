/**
 * Contestant of the open loop: bare Express that reads a receipt's JSON and answers a body of the service's. What a constant
 * rate takes from it is what Express, the network and this machine take from everybody.
 */
import { createBareExpress } from '../bare-express.ts';

const { port, reply } = JSON.parse(process.argv[2] ?? '') as { port: number; reply: object };

const { app, listen } = createBareExpress();
app.post('/v1/accruals', (_request, response) => {
  response.status(201).json(reply);
});

listen(port);
