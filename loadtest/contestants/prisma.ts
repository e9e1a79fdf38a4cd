/**
 * Contestant: the usual design. Express and one interactive Prisma transaction per accrual: raise the balance (which
 * locks the member's row), write the accrual under its unique reference, write the ledger entry. The database commits
 * synchronously. No key and no validation, so all its time goes into the work. Tables and indexes: `usual.prisma`.
 */
import { PrismaPg } from '@prisma/adapter-pg';
import { createBareExpress, pointsOf, type Receipt } from '../bare-express.ts';

interface Settings {
  readonly port: number;
  readonly databaseUrl: string;
  readonly poolSize: number;
  /** URL of the client that `prisma generate` wrote. */
  readonly clientUrl: string;
}

/** What is used of the generated client, which is not there when types are checked. */
interface Tables {
  member: {
    update(query: {
      where: { code: string };
      data: { balance: { increment: number } };
      select: { id: true; balance: true };
    }): Promise<{ id: number; balance: bigint }>;
  };
  accrual: {
    create(query: {
      data: { reference: string; memberId: number; points: number; occurredAt: string; request: unknown };
      select: { id: true };
    }): Promise<{ id: string }>;
  };
  entry: {
    create(query: {
      data: { memberId: number; accrualId: string; points: number; balanceAfter: bigint };
      select: { id: true };
    }): Promise<{ id: bigint }>;
  };
}

interface Client {
  $connect(): Promise<void>;
  $transaction<T>(work: (tx: Tables) => Promise<T>, limits: { maxWait: number; timeout: number }): Promise<T>;
}

const { port, databaseUrl, poolSize, clientUrl } = JSON.parse(process.argv[2] ?? '') as Settings;
const { PrismaClient } = (await import(clientUrl)) as {
  PrismaClient: new (options: { adapter: PrismaPg }) => Client;
};
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: databaseUrl, max: poolSize }) });
await prisma.$connect();
const limits = { maxWait: 10_000, timeout: 10_000 };

const { app, listen } = createBareExpress();
app.post('/v1/accruals', async (request, response) => {
  const { member: code, reference, occurredAt, purchase } = request.body as Receipt;
  const points = pointsOf({ purchase });
  const { accrual, balance } = await prisma.$transaction(async (tx) => {
    const member = await tx.member.update({
      where: { code },
      data: { balance: { increment: points } },
      select: { id: true, balance: true },
    });
    const written = await tx.accrual.create({
      data: { reference, memberId: member.id, points, occurredAt, request: { purchase } },
      select: { id: true },
    });
    await tx.entry.create({
      data: { memberId: member.id, accrualId: written.id, points, balanceAfter: member.balance },
      select: { id: true },
    });
    return { accrual: written.id, balance: member.balance };
  }, limits);
  response.status(201).json({
    object: 'accrual',
    id: `acc_${accrual}`,
    mode: 'live',
    status: 'accrued',
    member: code,
    order: purchase.order,
    awards: [{ currency: 'points', points, rule: 'spend' }],
    balances: { points: { available: Number(balance), pending: 0, held: 0, debt: 0 } },
    ledger: { position: accrual, durability: 'ledger' },
  });
});

listen(port);
