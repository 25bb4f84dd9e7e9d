/**
 * Tokens that a browser keeps in cookies. Threat: a page of another site acts in the name of its visitor, or a script on our own
 * page reads the tokens. So: `__Host-` (this host only, never a parent's or a sibling's), HttpOnly, Secure, SameSite=Strict; and
 * because sibling tenants are the same site to a browser, a request with cookies must also come from a page of this very origin.
 */
import { parse, serialize } from 'hono/utils/cookie'
import { invalid, Problem } from '../kernel/problem.ts'

/** Accounts of one host that a browser may be logged in to at once. */
const MAX_ACCOUNTS = 8
/** Of so many accounts a browser keeps that they logged in on it. */
const MAX_DEVICES = 16
/** As long as the database accepts a device token (src/auth/devices.sql). */
const DEVICE_SECONDS = 30 * 86_400
/** About ten times what eight accounts need. */
const MAX_HEADER = 65_536
const NAME = /^__Host-fh_([ard])_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

/** The cookies of one account: the id of its user, its access token and its refresh token; null where the cookie was not sent. */
export type AccountCookies = { account: string; access: string | null; refresh: string | null }

type RequestHost = { subdomain: string | null; realm: { subdomain: string | null; url: string } }

/** The origin of the realm if the request came to its own host, else null. Cookies count on that host only. */
export const ownHost = ({ subdomain, realm }: RequestHost) => (subdomain === realm.subdomain ? realm.url : null)

const nameOf = (kind: 'a' | 'r' | 'd', account: string) => `__Host-fh_${kind}_${account}`

/**
 * Strict costs nothing over Lax: these cookies are for calls from the tenant's own pages, which always send Strict cookies, and
 * never for following a link.
 */
const cookie = (name: string, value: string, maxAge: number) =>
  serialize(name, value, { path: '/', secure: true, httpOnly: true, sameSite: 'Strict', maxAge })

/** Our cookies that were sent, the oldest first. Fails with invalid_request when the header is too long. */
function cookiesIn(request: Request): { kind: string; account: string; value: string }[] {
  const header = request.headers.get('Cookie') ?? ''
  if (header.length > MAX_HEADER) throw new Problem('invalid_request', `The header Cookie is longer than ${MAX_HEADER} bytes.`)
  return Object.entries(parse(header)).flatMap(([name, value]) => {
    const [, kind, account] = NAME.exec(name) ?? []
    return kind && account && value ? [{ kind, account, value }] : []
  })
}

/** The accounts whose cookies were sent, the oldest cookies first. Fails with invalid_request when the header is too long. */
export function accountsIn(request: Request): AccountCookies[] {
  const held = new Map<string, AccountCookies>()
  for (const { kind, account, value } of cookiesIn(request)) {
    if (kind === 'd') continue
    const known = held.get(account) ?? { account, access: null, refresh: null }
    held.set(account, kind === 'a' ? { ...known, access: value } : { ...known, refresh: value })
  }
  return [...held.values()]
}

/**
 * Refuses a request that no page of `own`, a tenant's origin, sent. Browsers send Origin with every request that may change
 * something, so there a missing Origin is refused too. A read that Sec-Fetch-Site calls cross-site or same-site (a sibling
 * tenant) came from another origin.
 */
export function requireOwnPage(request: Request, own: string): void {
  const origin = request.headers.get('Origin')
  const is_reading = ['GET', 'HEAD'].includes(request.method)
  const site = is_reading ? (request.headers.get('Sec-Fetch-Site') ?? '') : ''
  if (origin === null ? is_reading && !['cross-site', 'same-site'].includes(site) : origin === own) return
  const why = origin === null && !is_reading ? 'it has no Origin' : 'it came from a page of another origin'
  throw new Problem('forbidden', `With cookies a request must come from a page of ${own}, and ${why}.`)
}

/**
 * Refuses a login with cookies on a host where they do not count, or from a page of another origin. Fails with invalid_request,
 * forbidden.
 */
export function requireCookieHost(request: Request, host: RequestHost): void {
  const own = ownHost(host)
  if (own === null) throw invalid('cookie', `works only on ${host.realm.url}; on this host a login returns tokens`)
  requireOwnPage(request, own)
}

/**
 * Selects the account whose cookies authenticate the request; `own` is the origin of the realm if the request came to its own
 * host, else null. Returns null when no cookie counts. Fails with credentials_ambiguous, token_missing (no cookie for X-Account),
 * forbidden (not sent by a page of `own`).
 */
export function selectAccount(request: Request, own: string | null): AccountCookies | null {
  const wanted = request.headers.get('X-Account')
  // A browser always sends its cookies, so they do not conflict with a token or a key that was sent deliberately.
  if (request.headers.has('Authorization') || request.headers.has('X-API-Key')) {
    if (wanted !== null)
      throw new Problem('credentials_ambiguous', 'X-Account selects a cookie: do not send it with another credential.')
    return null
  }
  const held = own === null ? [] : accountsIn(request)
  const selected = wanted === null ? held : held.filter(({ account }) => account === wanted.toLowerCase())
  if (wanted !== null && !selected.length)
    throw new Problem('token_missing', 'There is no cookie for the account in X-Account. Log in.')
  if (selected.length > 1)
    throw new Problem('credentials_ambiguous', `${selected.length} accounts are logged in: choose one with the header X-Account.`)
  if (own !== null && selected[0]) requireOwnPage(request, own)
  return selected[0] ?? null
}

/**
 * The access token in an account's cookies. Fails with token_expired when only the refresh token is left: browsers drop expired
 * cookies.
 */
export function accessTokenOf(held: AccountCookies): string {
  if (held.access === null) throw new Problem('token_expired', 'POST auth/refresh-token with {} for new cookies.')
  return held.access
}

/** The cookie that stores an account's access token. */
export const setAccessCookie = (account: string, token: string, seconds: number) => cookie(nameOf('a', account), token, seconds)

/** The cookies that store an account's tokens. */
export const setAuthCookies = (
  account: string,
  access: { token: string; seconds: number },
  refresh: { token: string; seconds: number },
) => [setAccessCookie(account, access.token, access.seconds), cookie(nameOf('r', account), refresh.token, refresh.seconds)]

/** The cookies that delete an account's tokens. */
export const clearAuthCookies = (account: string) => [cookie(nameOf('a', account), '', 0), cookie(nameOf('r', account), '', 0)]

/**
 * The cookies that delete accounts until one more fits: inactive accounts first, then the oldest. To refuse the login instead
 * would lock users out of a browser that many share.
 */
export function evictOldestAccount(request: Request, account: string): string[] {
  const others = accountsIn(request).filter((held) => held.account !== account)
  const [idle, active] = [others.filter(({ access }) => access === null), others.filter(({ access }) => access !== null)]
  return [...idle, ...active]
    .slice(0, Math.max(0, others.length - MAX_ACCOUNTS + 1))
    .flatMap((held) => clearAuthCookies(held.account))
}

/** The cookie that keeps on which device an account logged in. No logout deletes it: it lets nobody in. */
export const setDeviceCookie = (account: string, token: string) => cookie(nameOf('d', account), token, DEVICE_SECONDS)

/** The newest device tokens of a browser, one of each account. A browser cannot repair a cookie: one that is no token counts as none. */
export const deviceTokensOf = (request: Request) =>
  cookiesIn(request)
    // Postgres takes no text with a zero byte, which a cookie may hold as %00.
    .filter(({ kind, value }) => kind === 'd' && value.length <= 255 && !value.includes('\0'))
    .slice(-MAX_DEVICES)
    .map(({ value }) => value)

/** The cookies that delete the oldest device cookies of other accounts until one more fits. */
export function evictOldestDevices(request: Request, account: string): string[] {
  const others = cookiesIn(request).filter((sent) => sent.kind === 'd' && sent.account !== account)
  return others.slice(0, Math.max(0, others.length - MAX_DEVICES + 1)).map((sent) => cookie(nameOf('d', sent.account), '', 0))
}

/** The newest refresh tokens of a browser, by account. */
export const refreshTokensOf = (request: Request) =>
  new Map(
    accountsIn(request)
      .slice(-MAX_ACCOUNTS)
      .flatMap(({ account, refresh }) => (refresh === null ? [] : [[account, refresh] as const])),
  )

const EMAIL_LOGIN = '__Host-fh_email_login'

/** The cookie that keeps the token of a login by mail in the browser that asked for it. An empty one deletes it. */
export const setEmailLoginCookie = (token: string, seconds: number) => cookie(EMAIL_LOGIN, token, seconds)

/** The token of the login by mail that this browser asked for last; null: of none. */
export function emailLoginTokenOf(request: Request): string | null {
  const value = parse(request.headers.get('Cookie') ?? '', EMAIL_LOGIN)[EMAIL_LOGIN]
  return value !== undefined && /^[\w-]{43}$/.test(value) ? value : null
}
