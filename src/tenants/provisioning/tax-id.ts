const WEIGHTS = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2]

/**
 * What is wrong with a tax id, or null. Peru's RUC has 11 digits, the last of which checks the others (modulo 11); elsewhere 1-32
 * characters.
 */
export function taxIdFault(country: string, tax_id: string): string | null {
  if (country !== 'PE') return tax_id.length <= 32 ? null : 'must have at most 32 characters'
  if (!/^\d{11}$/.test(tax_id)) return 'must have 11 digits (RUC)'
  const sum = WEIGHTS.reduce((total, weight, i) => total + weight * Number(tax_id[i]), 0)
  return Number(tax_id[10]) === (11 - (sum % 11)) % 10 ? null : 'has a wrong check digit (RUC)'
}
