/** PURE. The names that conditions know: variables, their fields and the fields' types. */
import {
  ActivityView,
  FlightView,
  LineView,
  MemberView,
  MomentView,
  PaymentView,
  ReceiptView,
} from './condition-views.ts';

/** Every class with its name in messages and the types of its fields. A type's list stands after the type. */
export const viewTypes = {
  Line: {
    ctor: LineView,
    fields: {
      line: 'string',
      sku: 'string',
      category: 'string',
      brand: 'string',
      quantity: 'double',
      unit: 'string',
      amount: 'int',
    },
  },
  Payment: { ctor: PaymentView, fields: { means: 'string', amount: 'int' } },
  Receipt: {
    ctor: ReceiptView,
    fields: {
      total: 'int',
      currency: 'string',
      store: 'string',
      channel: 'string',
      terminal: 'string',
      order: 'string',
      lines: 'list<Line>',
      payments: 'list<Payment>',
    },
  },
  Flight: {
    ctor: FlightView,
    fields: {
      carrier: 'string',
      operatingCarrier: 'string',
      flightNumber: 'string',
      date: 'string',
      from: 'string',
      to: 'string',
      distanceMiles: 'int',
      bookingClass: 'string',
      ticket: 'string',
      fare: 'int',
      fareCurrency: 'string',
    },
  },
  Activity: { ctor: ActivityView, fields: { type: 'string', attributes: 'map<string, string>' } },
  Member: {
    ctor: MemberView,
    fields: {
      known: 'bool',
      tier: 'string',
      segments: 'list<string>',
      joinedDays: 'int',
      hasBirthday: 'bool',
      attributes: 'map<string, dyn>',
    },
  },
  Moment: {
    ctor: MomentView,
    fields: {
      year: 'int',
      month: 'int',
      day: 'int',
      weekday: 'int',
      hour: 'int',
      minute: 'int',
      date: 'string',
    },
  },
} as const;

/** The variables and their types. */
export const variableTypes = {
  receipt: 'Receipt',
  flight: 'Flight',
  activity: 'Activity',
  line: 'Line',
  member: 'Member',
  at: 'Moment',
} as const;
export type VariableName = keyof typeof variableTypes;

/** The fields of a variable and their types; undefined for what is no variable. */
export function fieldsOf(variable: string): Readonly<Record<string, string>> | undefined {
  if (!Object.hasOwn(variableTypes, variable)) return undefined;
  return viewTypes[variableTypes[variable as VariableName]].fields;
}

/** The type of a variable's field, such as `at.weekday`. */
export function fieldTypeOf(path: string): string | undefined {
  const [variable = '', field = '', ...deeper] = path.split('.');
  return deeper.length > 0 ? undefined : fieldsOf(variable)?.[field];
}
