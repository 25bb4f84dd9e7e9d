/** A summary of repeated measurements: the median, and the range of the middle half. */
export type Spread = { median: number; low: number; high: number; n: number }

export function spread(values: number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => {
    const place = (sorted.length - 1) * share
    const [below = 0, above = below] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]]
    return below + (above - below) * (place % 1)
  }
  return { median: at(0.5), low: at(0.25), high: at(0.75), n: sorted.length }
}

/**
 * Measures several things in turns, A B B A, so that a disturbance of the machine affects all of them alike. Returns the values
 * of each, by name, in the order of the rounds.
 */
export async function inTurns<K extends string>(
  rounds: number,
  things: Record<K, () => Promise<number>>,
): Promise<Record<K, number[]>> {
  const names = Object.keys(things) as K[]
  const values = Object.fromEntries(names.map((name): [K, number[]] => [name, []])) as Record<K, number[]>
  for (let round = 0; round < rounds; round++)
    for (const name of round % 2 ? [...names].reverse() : names) values[name].push(await things[name]())
  return values
}

/** One thing over another, round by round. */
export const ratios = (above: number[], below: number[]) => spread(above.map((value, i) => value / (below[i] ?? Number.NaN)))

export const differences = (above: number[], below: number[]) => spread(above.map((value, i) => value - (below[i] ?? Number.NaN)))
