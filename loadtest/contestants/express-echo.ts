/** Contestant: what HTTP, Express and JSON cost. Express that parses a receipt and sends it back, with nothing kept. */
import { createBareExpress } from '../bare-express.ts';

const { port } = JSON.parse(process.argv[2] ?? '') as { port: number };

const { app, listen } = createBareExpress();
app.post('/v1/accruals', (request, response) => {
  response.status(201).json(request.body);
});

listen(port);
