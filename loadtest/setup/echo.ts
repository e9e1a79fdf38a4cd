/** Brings up the contestants that only send back what they are sent: how fast HTTP is on this machine. */
import { type Contestant, type Stage, type Surroundings, startListening } from '../contestant.ts';
import { accrual, only } from '../requests.ts';

function echo(script: string, around: Surroundings, own: Pick<Contestant, 'name' | 'title'>): Stage {
  return {
    name: own.name,
    contestants: [
      {
        ...own,
        durability: 'nothing is kept',
        connections: 128,
        counted: { name: 'requests', perRequest: 1 },
        isAccrual: false,
        traffic: only(accrual),
      },
    ],
    prepare: () => Promise.resolve('the accrual comes back as it was sent'),
    async start() {
      const { port, pid, stop } = await startListening(script, {}, around);
      return { port, processes: { api: pid }, stop };
    },
  };
}

/** Bare `node:http`, and bare Express. */
export function echoes(around: Surroundings): Stage[] {
  return [
    echo('loadtest/contestants/node-echo.ts', around, { name: 'node-echo', title: 'bare node:http' }),
    echo('loadtest/contestants/express-echo.ts', around, {
      name: 'express-echo',
      title: 'bare Express that parses and writes JSON',
    }),
  ];
}
