/** A browser without script at the pages of one tenant: it keeps cookies, reads forms, and sends them. */
import { exports } from 'cloudflare:workers'
import { expect } from 'vitest'
import { doors } from '../../src/pages/routes.tsx'
import { originOf, readCookie } from './jar.ts'

export type Shown = { status: number; html: string; headers: Headers; location: string | null; trips: number }
type Ask = {
  method?: string
  form?: Record<string, string>
  raw?: string | Uint8Array<ArrayBuffer>
  /** An empty one is not sent. */
  headers?: Record<string, string>
  /** Among many of one person, where a login waits for others and asks again: it is held to no budget. */
  at_once?: boolean
}

/** What a browser sends when somebody follows a link of the same host. */
const HERE = { 'Sec-Fetch-Site': 'same-origin', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' }

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" }
const plain = (text: string) => text.replace(/&(#?\w+);/g, (found, name: string) => entities[name] ?? found)

/** The text of a page, as somebody reads it. */
export const textOf = (html: string) =>
  plain(html.replace(/<(head|script)[\s\S]*?<\/\1>/g, '').replace(/<[^>]+>/g, ' '))
    .replace(/\s+/g, ' ')
    .trim()

/** The attributes of the first tag that has all of these. */
export function tagIn(html: string, name: string, wanted: Record<string, string> = {}): Record<string, string> | null {
  for (const [, inside = ''] of html.matchAll(new RegExp(`<${name}\\b([^>]*)>`, 'g'))) {
    const attributes = Object.fromEntries(
      [...inside.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].map(([, key = '', value = '']) => [key, plain(value)]),
    )
    if (Object.entries(wanted).every(([key, value]) => attributes[key] === value)) return attributes
  }
  return null
}

/** The hidden fields of the form that goes to `action`. */
export function hiddenIn(html: string, action: string): Record<string, string> {
  const form = html.split('<form ').find((part) => part.includes(`action="${action}"`))
  expect(form, `a form for ${action} in ${textOf(html)}`).toBeDefined()
  const inputs = [
    ...(form ?? '')
      .split('</form>', 1)
      .join('')
      .matchAll(/<input\b[^>]*type="hidden"[^>]*>/g),
  ]
  return Object.fromEntries(inputs.map(([tag]) => tagIn(tag, 'input') ?? {}).map(({ name = '', value = '' }) => [name, value]))
}

export function newVisitor(at: string, standing: Record<string, string> = {}) {
  const kept = new Map<string, string>()
  const ask = async (path: string, { method, form, raw, headers = {}, at_once }: Ask = {}): Promise<Shown> => {
    const body = raw ?? (form && new URLSearchParams(form).toString())
    const verb = method ?? (body === undefined ? 'GET' : 'POST')
    const cookies = [...kept].map((pair) => pair.join('=')).join('; ')
    const isRenewed = cookies.includes('__Host-fh_r_') && !cookies.includes('__Host-fh_a_')
    const all = {
      'User-Agent': 'cy/1.0',
      ...HERE,
      ...(verb === 'POST' && { Origin: originOf(at), 'Content-Type': 'application/x-www-form-urlencoded' }),
      ...(cookies && { Cookie: cookies }),
      ...standing,
      ...headers,
    }
    const sent = Object.entries(all).filter(([, value]) => value !== '')
    const init = { method: verb, headers: sent, redirect: 'manual' as const, ...(body !== undefined && { body }) }
    const response = await exports.default.fetch(new Request(`${originOf(at)}${path}`, init))
    for (const { name, value, maxAge } of response.headers.getSetCookie().map(readCookie))
      if (maxAge > 0) kept.set(name, value)
      else kept.delete(name)
    const trips = Number(/db;desc="(\d+)"/.exec(response.headers.get('Server-Timing') ?? '')?.[1] ?? 0)
    const shown = { status: response.status, html: await response.text(), headers: response.headers, trips }
    const location = response.headers.get('Location')
    if (!at_once) holdToBudget(verb, path, shown, isRenewed)
    return { ...shown, location }
  }
  /** Fills in a form of a page and sends it. */
  const send = async (page: string, action: string, fields: Record<string, string> = {}, more: Ask = {}) => {
    const shown = await ask(page)
    expect(shown.status, `${page} ${textOf(shown.html)}`).toBe(200)
    return ask(action, { form: { ...hiddenIn(shown.html, action), ...fields }, ...more })
  }
  const logIn = async (username: string, password: string) => {
    const shown = await send('/login', '/login', { username, password })
    expect([shown.status, shown.location], textOf(shown.html)).toEqual([303, '/account'])
    return shown
  }
  return { at, kept, ask, send, logIn }
}
export type Visitor = ReturnType<typeof newVisitor>

/** One more is allowed to a request that renews its access token, and one to what is refused: it shows the form again, or why. */
function holdToBudget(method: string, path: string, { status, trips }: Omit<Shown, 'location'>, isRenewed: boolean) {
  const door = doors.find((one) => one.method === method && one.path === path.split('?')[0])
  if (!door) return
  expect(trips, `${method} ${path} may spend ${door.trips} round trips`).toBeLessThanOrEqual(
    door.trips + (door.session && isRenewed ? 1 : 0) + (status >= 400 ? 1 : 0),
  )
}
