/** The device and the place of a login, by which users recognise their own. */
import Bowser from 'bowser'

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

/** `country` is ISO 3166-1 alpha-2. */
export type Location = { city: string | null; country: string | null }

const text = (value: unknown) => (typeof value === 'string' ? value.slice(0, 120).toWellFormed() : null)

/** The location of a request, as far as Cloudflare knows it. */
export const locationOf = ({ cf }: Request): Location => ({ city: text(cf?.city), country: text(cf?.country) })
