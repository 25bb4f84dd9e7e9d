/** The device and the place of a login, by which users recognise their own. */
import Bowser from 'bowser'
import type { Config } from '../kernel/config.ts'

/** A user agent in readable form: `Chrome on Windows`; null if it does not say. */
export function deviceName(agent: string | null): string | null {
  if (!agent) return null
  const { browser, os } = Bowser.parse(agent)
  return [browser.name, os.name].filter(Boolean).join(' on ') || null
}

/** What most people use. The library takes a name that it does not know from the text itself. */
const BROWSERS = ['Brave', 'Chrome', 'Chromium', 'Firefox', 'Microsoft Edge', 'Opera', 'Safari', 'Samsung Internet for Android']
const SYSTEMS = ['Android', 'Chrome OS', 'iOS', 'Linux', 'macOS', 'Windows']
const KNOWN = new Set([...BROWSERS, ...SYSTEMS])

/** The same for somebody else than whoever sent it, who must not read a text that a stranger chose: known names alone. */
export function knownDeviceName(agent: string | null): string | null {
  if (!agent) return null
  const { browser, os } = Bowser.parse(agent)
  return [browser.name, os.name].filter((name) => name && KNOWN.has(name)).join(' on ') || null
}

/** `country` is ISO 3166-1 alpha-2; `asn` is the number of the autonomous system that the address belongs to. */
export type Location = {
  city: string | null
  country: string | null
  latitude: number | null
  longitude: number | null
  asn: number | null
}

const text = (value: unknown) => (typeof value === 'string' && value ? value.slice(0, 120).toWellFormed() : null)
const within = (value: unknown, most: number) => {
  const n = typeof value === 'string' && value.trim() ? Number(value) : value
  return typeof n === 'number' && Math.abs(n) <= most ? n : null
}
const whole = (n: number | null) => (Number.isInteger(n) ? n : null)

/**
 * The location of a request, as far as Cloudflare knows it: the only place that reads it. Threat: whoever says themselves where they are
 * looks like somebody at home. So a header, `X-Place: PE;Lima;-12.05;-77.04;6147`, is believed by a local Worker alone, and only for what
 * is tried with it.
 */
export function locationOf({ cf, headers }: Request, { ENVIRONMENT }: Pick<Config, 'ENVIRONMENT'>): Location {
  const said = ENVIRONMENT === 'local' ? headers.get('X-Place')?.split(';') : undefined
  const [country, city, latitude, longitude, asn] = said ?? [cf?.country, cf?.city, cf?.latitude, cf?.longitude, cf?.asn]
  return {
    city: text(city),
    country: text(country),
    latitude: within(latitude, 90),
    longitude: within(longitude, 180),
    asn: whole(within(asn, 2 ** 32)),
  }
}
