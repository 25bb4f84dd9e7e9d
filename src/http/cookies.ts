/**
 * Tokens that a browser keeps in cookies. Threat: a page of somebody else acts in the name of who looks at it, or a script of our own page
 * reads the tokens. So: `__Host-` (of this host alone, never a parent's or a sibling's), HttpOnly, Secure, SameSite=Strict; and because
 * sibling tenants are the same site to a browser, what comes with cookies must also come from a page of this very origin.
 */
import { parse, serialize } from 'hono/utils/cookie'
import { Problem } from '../kernel/problem.ts'

/** Accounts of one host that a browser may be logged in with at once. */
const MAX_ACCOUNTS = 8
/** Some ten times what eight accounts need. */
const MAX_HEADER = 65_536
const NAME = /^__Host-fh_([ar])_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

/** The cookies of one account: the id of its user, its access token and its refresh token, as far as they came. */
export type AccountCookies = { account: string; access: string | null; refresh: string | null }

type RequestHost = { subdomain: string | null; realm: { subdomain: string | null; url: string } }

/** The origin of the realm, if the request came to its own host: there, and nowhere else, cookies count. */
export const ownHost = ({ subdomain, realm }: RequestHost) => (subdomain === realm.subdomain ? realm.url : null)

const nameOf = (kind: 'a' | 'r', account: string) => `__Host-fh_${kind}_${account}`

/**
 * Nothing is lost by Strict over Lax: these cookies are for calls of the tenant's own pages, to which Strict cookies always go, and never
 * for following a link.
 */
const cookie = (name: string, value: string, maxAge: number) =>
  serialize(name, value, { path: '/', secure: true, httpOnly: true, sameSite: 'Strict', maxAge })

/** The accounts whose cookies came, those that a browser got first in front. Fails with invalid_request when there is too much of them. */
function accountsIn(request: Request): AccountCookies[] {
  const header = request.headers.get('Cookie') ?? ''
  if (header.length > MAX_HEADER) throw new Problem('invalid_request', `The header Cookie is longer than ${MAX_HEADER} bytes.`)
  const held = new Map<string, AccountCookies>()
  for (const [name, value] of Object.entries(parse(header))) {
    const [, kind, account] = NAME.exec(name) ?? []
    if (!account || !value) continue
    const known = held.get(account) ?? { account, access: null, refresh: null }
    held.set(account, kind === 'a' ? { ...known, access: value } : { ...known, refresh: value })
  }
  return [...held.values()]
}

/**
 * Refuses what was not sent by a page of `own`, a tenant's origin. A browser names the Origin of everything that may change something, so
 * there a missing one is refused as well; a reading that it calls cross-site or same-site (a sibling tenant's) is somebody else's page.
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
 * The account that a request means by its cookies; `own` is the origin of the realm if the request came to that host, else null. Null: no
 * cookie counts. Fails with credentials_ambiguous, token_missing (X-Account names nobody who is here), forbidden (not of our own page).
 */
export function selectAccount(request: Request, own: string | null): AccountCookies | null {
  const wanted = request.headers.get('X-Account')
  // A browser sends its cookies always, so they do not contradict a token or a key that was sent on purpose: that one counts.
  if (request.headers.has('Authorization') || request.headers.has('X-API-Key')) {
    if (wanted !== null)
      throw new Problem('credentials_ambiguous', 'X-Account means cookies: send either it or another credential.')
    return null
  }
  const held = own === null ? [] : accountsIn(request)
  const meant = wanted === null ? held : held.filter(({ account }) => account === wanted.toLowerCase())
  if (wanted !== null && !meant.length)
    throw new Problem('token_missing', 'There is no cookie of the account in X-Account. Log in.')
  if (meant.length > 1)
    throw new Problem('credentials_ambiguous', `${meant.length} accounts are logged in: say which with the header X-Account.`)
  if (own !== null && meant[0]) requireOwnPage(request, own)
  return meant[0] ?? null
}

/** The access token of an account's cookie. Fails with token_expired when only the refresh token is left: the browser drops both on time. */
export function accessTokenOf(held: AccountCookies): string {
  if (held.access === null) throw new Problem('token_expired', 'POST auth/refresh-token with {} for new cookies.')
  return held.access
}

/** The cookies that hand an account's tokens over. */
export const setAuthCookies = (
  account: string,
  access: { token: string; seconds: number },
  refresh: { token: string; seconds: number },
) => [cookie(nameOf('a', account), access.token, access.seconds), cookie(nameOf('r', account), refresh.token, refresh.seconds)]

/** The cookies that take an account's tokens back. */
export const clearAuthCookies = (account: string) => [cookie(nameOf('a', account), '', 0), cookie(nameOf('r', account), '', 0)]

/**
 * The cookies that make room for one more account. Who was not active of late goes first, then who came first: a refusal would keep people out
 * of a browser that many share.
 */
export function evictOldestAccount(request: Request, account: string): string[] {
  const others = accountsIn(request).filter((held) => held.account !== account)
  const [idle, active] = [others.filter(({ access }) => access === null), others.filter(({ access }) => access !== null)]
  return [...idle, ...active]
    .slice(0, Math.max(0, others.length - MAX_ACCOUNTS + 1))
    .flatMap((held) => clearAuthCookies(held.account))
}
