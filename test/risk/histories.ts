/**
 * Synthetic histories of logins with a label, always the same: what is measured in labelled.test.ts. People live in a town, have one to
 * three devices and a few networks, and log in at their hours; some travel, use a VPN, or work at night. Their last login is theirs, or
 * that of somebody who has their password, their cookie or their refresh token.
 */

type Place = {
  agent: string
  device: string | null
  network: string
  asn: number
  country: string
  latitude: number
  longitude: number
}
export type History = {
  label: string
  is_attack: boolean
  places: Place[]
  /** Seconds before the last one, and the index of the place. */
  past: [number, number][]
  here: Place & { kind: 'login' | 'refresh' }
  failures: number
  accounts: number
  has_foreign: boolean
  is_breached: boolean
}

/** mulberry32: the same numbers on every machine. */
function numbersFrom(seed: number) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Country, latitude, longitude, two carriers, and the hour (UTC) at which work begins. */
const TOWNS: [string, number, number, number, number, number][] = [
  ['PE', -12.05, -77.04, 6147, 12252, 13],
  ['PE', -16.4, -71.54, 6147, 21575, 13],
  ['MX', 19.43, -99.13, 8151, 13999, 14],
  ['CO', 4.71, -74.07, 3816, 19429, 13],
  ['CL', -33.45, -70.67, 7418, 22047, 12],
  ['ES', 40.42, -3.7, 3352, 12479, 7],
  ['DE', 52.52, 13.4, 3320, 6805, 7],
  ['US', 40.71, -74.01, 7922, 701, 13],
  ['US', 34.05, -118.24, 20001, 7018, 16],
  ['BR', -23.55, -46.63, 26599, 28573, 11],
]
/** From where attackers, VPNs and travellers come. */
const ELSEWHERE: [string, number, number, number][] = [
  ['NL', 52.37, 4.9, 60781],
  ['RU', 55.75, 37.62, 12389],
  ['NG', 6.52, 3.38, 37282],
  ['VN', 10.82, 106.63, 45899],
  ['RO', 44.43, 26.1, 9009],
  ['SG', 1.35, 103.82, 16509],
]
const AGENTS = [
  'Chrome/140 Windows',
  'Chrome/140 macOS',
  'Safari/19 iPhone',
  'Firefox/150 Linux',
  'Chrome/140 Android',
  'Edge/140',
]

export function histories(count: number, seed: number): History[] {
  const random = numbersFrom(seed)
  const below = (n: number) => Math.floor(random() * n)
  const chance = (p: number) => random() < p
  const one = <T>(of: readonly T[]): T => of[below(of.length)] as T
  let devices = 0
  const newDevice = () => `00000000-0000-4000-8000-${String(++devices).padStart(12, '0')}`
  const address = () => `${1 + below(220)}.${below(256)}.${below(256)}.${below(256)}`

  const made = (kind: number): History => {
    const [country, latitude, longitude, carrier, other, begins] = one(TOWNS)
    const home = (agent: string, device: string | null, asn = carrier): Place => ({
      agent,
      device,
      network: address(),
      asn,
      country,
      latitude,
      longitude,
    })
    // A program shows no token of its device.
    const own = Array.from({ length: 1 + below(3) }, () => ({ agent: one(AGENTS), device: chance(0.8) ? newDevice() : null }))
    const places = own.flatMap(({ agent, device }) => [home(agent, device), home(agent, device, other)])
    const works_at_night = chance(0.05)
    const times = 15 + below(40)
    const gap = 1 + below(36)
    const past = Array.from({ length: times }, (_, i): [number, number] => {
      // Working hours of theirs, or any hour of who works at night and whenever.
      const hour = works_at_night ? below(24) : begins + below(10)
      const day = Math.floor((i * (20 + below(40))) / times)
      return [(day * 24 + gap + ((hour % 24) - (begins % 24))) * 3600 + below(3600), below(places.length)]
    }).filter(([ago]) => ago > 600)
    const mine = one(places)
    const there = one(ELSEWHERE)
    const abroad = (agent: string, device: string | null): Place => ({
      agent,
      device,
      network: address(),
      country: there[0],
      latitude: there[1],
      longitude: there[2],
      asn: there[3],
    })
    const quiet = { failures: 0, accounts: 0, has_foreign: false, is_breached: false, kind: 'login' as const }
    const is = (
      label: string,
      is_attack: boolean,
      here: Place,
      more: Partial<typeof quiet> | { kind: 'refresh' } = {},
    ): History => {
      const { kind: sort, ...signs } = { ...quiet, ...more }
      return { label, is_attack, places, past, here: { ...here, kind: sort }, ...signs }
    }
    // 84 of 100 are honest.
    if (kind < 56) return is('as always', false, { ...mine, network: address() })
    if (kind < 62) return is('mistyped', false, mine, { failures: 1 + below(3) })
    if (kind < 68) return is('a new device', false, home(one(AGENTS), null, one([carrier, other])))
    if (kind < 72) return is('a new carrier at home', false, { ...mine, asn: 64_000 + below(500), network: address() })
    if (kind < 76) return is('a VPN, in its browser', false, abroad(mine.agent, mine.device))
    if (kind < 80) {
      for (const login of past) login[0] += 30 * 3600
      return is('on a journey', false, abroad(mine.agent, chance(0.7) ? mine.device : null))
    }
    if (kind < 82) {
      for (const login of past) login[0] += 30 * 3600
      return is('on a journey, with a new device', false, abroad(one(AGENTS), null))
    }
    if (kind < 84) return is('in an office that somebody attacks', false, mine, { accounts: 3 + below(4), failures: below(2) })
    // 16 of 100 are not.
    if (kind < 90) return is('a phished password, from abroad', true, abroad(one(AGENTS), null), { failures: below(2) })
    if (kind < 93)
      return is('stuffing, from abroad', true, abroad(one(AGENTS), null), {
        accounts: 5 + below(30),
        failures: below(2),
        is_breached: true,
      })
    if (kind < 95)
      return is('stuffing, from the same country', true, home(one(AGENTS), null, 64_600 + below(300)), {
        accounts: 5 + below(30),
        failures: below(4),
        is_breached: chance(0.8),
      })
    if (kind < 97) return is('a stolen refresh token, abroad', true, abroad(one(AGENTS), null), { kind: 'refresh' })
    if (kind < 98) return is('guessed at home', true, home(one(AGENTS), null, 64_900), { failures: 3 + below(2) })
    if (kind < 99)
      return is('with the token of another tenant', true, home(one(AGENTS), null, 64_950), {
        has_foreign: true,
        failures: below(3),
      })
    return is('the own device, in other hands', true, mine, {})
  }
  return Array.from({ length: count }, (_, i) => made(i % 100))
}
