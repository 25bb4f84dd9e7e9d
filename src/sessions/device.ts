/** What of a login people recognise as theirs: on which device, and where. */
import Bowser from 'bowser'

/** What a user agent calls itself, for people: `Chrome on Windows`; null when it does not say. */
export function deviceName(agent: string | null): string | null {
  if (!agent) return null
  const { browser, os } = Bowser.parse(agent)
  return [browser.name, os.name].filter(Boolean).join(' on ') || null
}

/** `country` is ISO 3166-1 alpha-2. */
export type Location = { city: string | null; country: string | null }

const text = (value: unknown) => (typeof value === 'string' ? value.slice(0, 120).toWellFormed() : null)

/** What Cloudflare says of where a request comes from, if it says something. */
export const locationOf = ({ cf }: Request): Location => ({ city: text(cf?.city), country: text(cf?.country) })
