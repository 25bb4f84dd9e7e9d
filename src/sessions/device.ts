import Bowser from 'bowser'

/** What a user agent calls itself, for people: `Chrome on Windows`; null when it does not say. */
export function deviceName(agent: string | null): string | null {
  if (!agent) return null
  const { browser, os } = Bowser.parse(agent)
  return [browser.name, os.name].filter(Boolean).join(' on ') || null
}
