/** `/v1/program/budgets`: what budgets have given, what they hold and what is left of them. */
import type pg from 'pg';
import { z } from 'zod';
import { type Role, type Route, route } from '#src/http/route.ts';
import { type BudgetStanding, budgetStandings } from '#src/wallet/grants.ts';
import { budgetLeft, budgetTerms } from './budgets.ts';
import { type Program, presentVersion } from './program.ts';

const readers: readonly Role[] = ['admin', 'finance'];

const points = (description: string) => z.int().min(0).meta({ description });
const budgetSchema = z
  .object({
    object: z.literal('budget'),
    mode: z.enum(['live', 'test']),
    name: z.string(),
    points: points('All of it. A budget of money counts as the whole points that it pays for.'),
    given: points('What the ledger has given from it, less what came back.'),
    returned: points('What came back of what was given.'),
    held: points('Kept by shards for the next receipts; it goes back when others need it.'),
    left: points('Neither given nor held.'),
    leftNow: points(
      'Of a budget that is spread over the day: what of `left` may be given at this hour.',
    ).optional(),
    whenFull: z.enum(['trim', 'refuse']),
    usedBy: z.array(z.string()).meta({ description: 'Rules and promotions of the version in force.' }),
  })
  .meta({ id: 'Budget' });

function budgetViews(program: Program, standings: readonly BudgetStanding[]): z.input<typeof budgetSchema>[] {
  const { definition } = presentVersion(program);
  return definition.budgets.map(({ name, whenFull }) => {
    const number = definition.numbers.budgets[name]!;
    const terms = budgetTerms(program, number)!;
    const standing = standings.find(({ budget }) => budget === number);
    const { given, left, leftNow } = budgetLeft(terms, standing);
    return {
      object: 'budget',
      mode: program.mode,
      name,
      points: terms.pointsMax,
      given,
      returned: standing?.givenBack ?? 0,
      held: standing?.held ?? 0,
      left,
      ...(terms.pace ? { leftNow } : {}),
      whenFull,
      usedBy: [...definition.rules, ...definition.promotions]
        .filter(({ budget }) => budget === name)
        .map((each) => each.name),
    };
  });
}

export function budgetRoutes({ pool }: { readonly pool: pg.Pool }): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/program/budgets',
      operationId: 'listBudgets',
      summary: 'Budgets of the version in force: what they gave, hold and have left',
      tag: 'program',
      roles: readers,
      replies: {
        200: z.object({ object: z.literal('list'), data: z.array(budgetSchema) }).meta({ id: 'Budgets' }),
      },
      errors: [],
      async handle({ caller: { program } }) {
        const standings = await budgetStandings(pool, program.number);
        return { status: 200, body: { object: 'list', data: budgetViews(program, standings) } };
      },
    }),
  ];
}
