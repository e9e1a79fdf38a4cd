/** PURE. What can be counted of a member's days. */

/** The small number of a currency of points in the books. */
export type CurrencyNumber = number;

/**
 * spend           smallest units of the program's money
 * visits          orders and receipts of which something is left
 * flights         flights
 * distance        miles flown, as the flights said them
 * active_months   months of the calendar with a visit or a flight in them
 * points          points of a currency that accruals gave, less what was taken back of them
 */
export type Measure =
  | 'spend'
  | 'visits'
  | 'flights'
  | 'distance'
  | 'active_months'
  | { readonly points: CurrencyNumber };
