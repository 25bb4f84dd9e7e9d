/**
 * What a page knows of its browser. Threat: a page elsewhere sends one of our forms in the name of its visitor, or logs them in as
 * somebody else; a link leads a visitor through our login to a page of somebody else. So each form carries a MAC under a secret that
 * only this browser has (a `__Host-` cookie, which no sibling host can set), and `next` is a path of this host or nothing.
 */
import { z } from '@hono/zod-openapi'
import { parse, serialize } from 'hono/utils/cookie'
import { FLOW_SECONDS } from '../external/flow.ts'
import { type AccountCookies, accountsIn } from '../http/cookies.ts'
import { newToken, successorOf } from '../kernel/token.ts'

/**
 * The secret of forms; the account that pages act for; what the accounts are called; the secret of a registration until its address is
 * verified; a login that was begun elsewhere; the token of an invitation until somebody has logged in.
 */
const NAMES = {
  form: '__Host-fh_form',
  account: '__Host-fh_page',
  names: '__Host-fh_names',
  registration: '__Host-fh_registration',
  external: '__Host-fh_external',
  invitation: '__Host-fh_invitation',
}
type Name = keyof typeof NAMES
const DAY = 86_400
const SECONDS: Record<Name, number> = {
  form: DAY,
  account: 365 * DAY,
  names: 30 * DAY,
  registration: DAY,
  external: FLOW_SECONDS,
  invitation: 3600,
}
/** A token of ours, or one of a mail. */
const SECRET = /^[\w-]{32}([\w-]{11})?$/
const LONGEST_NEXT = 2000

/** Lax: unlike those of the session they must also come with a link from elsewhere, or another tab's form would lose its secret. */
export const pageCookie = (name: Name, value: string) =>
  serialize(NAMES[name], value, {
    path: '/',
    secure: true,
    httpOnly: true,
    sameSite: 'Lax',
    maxAge: value === '' ? 0 : SECONDS[name],
  })

/** The value of one of our cookies; null when it was not sent, or holds what we never wrote. */
export function readPageCookie(request: Request, name: Name): string | null {
  const value = parse(request.headers.get('Cookie') ?? '', NAMES[name])[NAMES[name]]
  const isOurs = value !== undefined && (['account', 'names', 'external'].includes(name) || SECRET.test(value))
  return isOurs ? value : null
}

/** In place of an account after a logout, so that a page does not go on as somebody else who is logged in in this browser. */
export const NO_ACCOUNT = 'none'

/**
 * The account that a page acts for: the one that last logged in on a page, and nobody once that one is logged out. Where nobody did,
 * the only one that is logged in otherwise; of several none is chosen.
 */
export function accountOf(request: Request): AccountCookies | null {
  const held = accountsIn(request)
  const named = readPageCookie(request, 'account')
  if (named !== null) return held.find(({ account }) => account === named) ?? null
  return held.length === 1 ? (held[0] ?? null) : null
}

const Names = z.record(z.uuid(), z.string().max(255))
const LONGEST_NAME = 100

/** What the accounts that are logged in in this browser are called, as far as a page of theirs was shown in it. */
export function namesIn(request: Request): Record<string, string> {
  try {
    const names = Names.parse(JSON.parse(readPageCookie(request, 'names') ?? '{}'))
    const held = new Set(accountsIn(request).map(({ account }) => account))
    return Object.fromEntries(Object.entries(names).filter(([account]) => held.has(account)))
  } catch {
    return {}
  }
}

/** The cookie that keeps what an account is called, or with null forgets it. Of accounts that are no longer there it keeps nothing. */
export function nameCookie(request: Request, account: string, name: string | null): string {
  const { [account]: _, ...others } = namesIn(request)
  const names = name === null ? others : { ...others, [account]: name.slice(0, LONGEST_NAME).toWellFormed() }
  return pageCookie('names', Object.keys(names).length ? JSON.stringify(names) : '')
}

/** The secret of this browser, a new one if it has none. */
export const formSecretOf = (request: Request) => readPageCookie(request, 'form') ?? newToken()

/** What the form of `action` carries: it counts for this browser, this form, and whoever is logged in. */
export const formToken = (secret: string, action: string, account: string | null) =>
  successorOf(secret, `form:${action}:${account ?? ''}`)

/** Where somebody goes on after a login: a path of this host, as the browser will read it. Null for anything else. */
export function nextOf(said: string | null | undefined, own: string): string | null {
  if (!said || said.length > LONGEST_NEXT || !isPath(said) || !URL.canParse(said, own)) return null
  const url = new URL(said, own)
  // `/a/..//elsewhere` is a path until it is resolved.
  const path = `${url.pathname}${url.search}${url.hash}`
  return url.origin === own && isPath(path) ? path : null
}

/** Browsers read `//` and `/\` as another host, and skip what is no visible character. */
const isPath = (text: string) => /^\/(?![/\\])[^\\\p{Cc}\p{Zl}\p{Zp}]*$/u.test(text)
