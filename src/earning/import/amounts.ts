// Decimal strings to integer minor units, by digits alone: a float never touches money.

/**
 * ISO 4217 currencies whose minor unit is not a hundredth. `Intl` is not asked: it follows what shops print
 * (IQD without decimals), not what ISO counts (three).
 */
const minorUnitDigits: ReadonlyMap<string, number> = new Map([
  ...['BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI'].map(zeroDigits),
  ...['VND', 'VUV', 'XAF', 'XOF', 'XPF'].map(zeroDigits),
  ...['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND'].map((code): [string, number] => [code, 3]),
  ...['CLF', 'UYW'].map((code): [string, number] => [code, 4]),
]);

function zeroDigits(code: string): [string, number] {
  return [code, 0];
}

/** How many decimals the currency's minor unit has: 2 for USD, 0 for JPY, 3 for KWD. */
export function currencyDigits(currency: string): number {
  return minorUnitDigits.get(currency) ?? 2;
}

export type AmountReading = { amount: number } | { fault: string };

/**
 * Reads a decimal string as an integer number of 10^-digits. More decimals than that round half-up at the first
 * one dropped (0.005 is 0.01). Negative amounts are a fault: a return is not an accrual.
 */
export function readAmount(text: string, digits: number, decimalComma = false): AmountReading {
  const match = (decimalComma ? commaDecimal : pointDecimal).exec(text);
  if (match === null) return { fault: text === '' ? 'no amount' : `"${shorten(text)}" is not an amount` };
  const [, sign, whole = '', fraction = ''] = match;
  if (whole === '' && fraction === '') return { fault: `"${shorten(text)}" is not an amount` };
  const kept = fraction.slice(0, digits).padEnd(digits, '0');
  const roundsUp = (fraction[digits] ?? '0') >= '5';
  const amount = Number(`${whole}${kept}` || '0') + (roundsUp ? 1 : 0);
  if (sign === '-' && /[1-9]/.test(whole + fraction)) {
    return { fault: `amount ${shorten(text)} is negative: a return is not an accrual` };
  }
  if (!Number.isSafeInteger(amount)) return { fault: `amount ${shorten(text)} is too large` };
  return { amount };
}

const pointDecimal = /^([+-]?)(\d*)(?:\.(\d*))?$/;
const commaDecimal = /^([+-]?)(\d*)(?:,(\d*))?$/;

/** Reads a quantity ("2", "32.150") into the API's decimal string. */
export function readQuantity(text: string, decimalComma = false): { quantity: string } | { fault: string } {
  const quantity = decimalComma ? text.replace(',', '.') : text;
  if (!/^\d{1,15}(\.\d{1,9})?$/.test(quantity)) return { fault: `"${shorten(text)}" is not a quantity` };
  return { quantity };
}

/** Shortens a value for a fault's sentence. */
export function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
