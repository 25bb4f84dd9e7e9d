/** What stands before every page: its tenant, its limits, and who is logged in. */

import type { Context, MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import { assetText } from '../assets/assets.ts'
import { refresh } from '../auth/auth.ts'
import { cookiesOf } from '../auth/browser.ts'
import { AVATAR_KIB } from '../avatars/picture.ts'
import { languageOf } from '../http/accept-language.ts'
import { authenticate, contextFor, NOBODY, needOf } from '../http/admit.ts'
import type { AppEnv } from '../http/app-env.ts'
import { fileBody, MULTIPART, strictBody, URLENCODED } from '../http/body.ts'
import { type AccountCookies, clearAuthCookies, ownHost, requireOwnPage } from '../http/cookies.ts'
import { failuresOf, limitAttempts, limitFailures, limitPrincipal } from '../http/rate-limit.ts'
import { speaksSpanish } from '../i18n/language.ts'
import { Problem } from '../kernel/problem.ts'
import type { Bearer } from '../kernel/token.ts'
import { locationOf } from '../sessions/device.ts'
import { accountOf, formSecretOf } from './browser.ts'
import { PAGE_FILES } from './files.ts'
import { goTo, type Visit } from './visit.tsx'
import { en } from './words/en.ts'
import type { Said } from './words/said.ts'
import type { Words } from './words/words.ts'

/** A page, or what its form is sent to. */
export type Door = {
  method: 'GET' | 'POST'
  path: string
  /**
   * Round trips to the tenant's database that a success may spend. One that has to renew the access token spends one more, and so does
   * the page that shows a form again.
   */
  trips: number
  /** Only for who is logged in; everybody else goes to the login first, or with `if_any` sees what is for everybody. */
  session?: true | 'if_any'
  /** Also while the password must be changed. */
  any_password?: true
  /** Who logged in longer ago proves again who they are, and goes on. */
  fresh?: number
  /** Who has a second factor shows it, as of a route (http/admit.ts). */
  aal?: number
  /** Its form has a file. */
  has_file?: true
  /** Limits attempts per network, and failed ones under this name: that of the API, whose limits count both. */
  attempts?: string
  answer: (visit: Visit) => Promise<Response>
}

/** Only tenants have pages, and on their own hosts: cookies count there. Fails with not_found. */
export const onlyOfTenants = createMiddleware<AppEnv>((c, next) => {
  if (c.get('subdomain') === null) throw new Problem('not_found')
  return next()
})

let es: Words | undefined

/** The words of a page can be done without: it is in English when they do not come. */
const WORDS_MS = 2_000

/** What pages say. An isolate reads the Spanish once, if that of the API came (arrive.ts); otherwise pages are in English. */
export async function wordsOf(c: Context<AppEnv>) {
  const language = languageOf(c.req.header('Accept-Language'))
  if (language.tag === 'es' && speaksSpanish())
    es ??= await assetText(PAGE_FILES.spanish, null, WORDS_MS)
      .then((text): Words => JSON.parse(text))
      .catch(() => undefined)
  return { language, words: language.tag === 'es' ? (es ?? en) : en }
}

/** Refuses a form that no page of this host sent. Fails with forbidden. */
const fromOwnPage = createMiddleware<AppEnv>((c, next) => {
  requireOwnPage(c.req.raw, c.get('realm').url)
  return next()
})

/**
 * Refuses what a page of a sibling host loads: to a browser that is the same site, and the cookies come with it. It could read nothing, but
 * keep a session awake, and use up what its user may ask. Somebody who follows a link from there is let in. Fails with forbidden.
 */
const byNavigation = createMiddleware<AppEnv>((c, next) => {
  const [site, mode] = [c.req.header('Sec-Fetch-Site'), c.req.header('Sec-Fetch-Mode')]
  const isForeign = site === 'same-site' || site === 'cross-site'
  if (isForeign && (mode !== 'navigate' || c.req.header('Sec-Fetch-Dest') !== 'document')) throw new Problem('forbidden')
  return next()
})

/** The file that a form may have, and what is around it. */
const FILE_FORM = { types: [MULTIPART], most_kib: AVATAR_KIB + 16 }

/** What a door asks of a request before it is answered. */
export const guards = ({ method, session, attempts, has_file }: Door): MiddlewareHandler<AppEnv>[] => [
  ...(method === 'POST' ? [fromOwnPage] : []),
  ...(method === 'GET' && session ? [byNavigation] : []),
  ...(attempts === undefined ? [] : [limitAttempts, limitFailures(attempts)]),
  ...(method === 'POST' ? (has_file ? fileBody(FILE_FORM) : strictBody([URLENCODED])) : []),
]

/** Answers at a door. */
export async function open(c: Context<AppEnv>, door: Door): Promise<Response> {
  const held = ownHost({ subdomain: c.get('subdomain'), realm: c.get('realm') }) === null ? null : accountOf(c.req.raw)
  const need = needOf({ any_password: door.any_password ?? false, fresh: door.fresh ?? null, aal: door.aal ?? null })
  c.set('ctx', contextFor(c, need, NOBODY))
  const visit = { c, ...(await wordsOf(c)), secret: formSecretOf(c.req.raw), account: held?.account ?? null }
  const ofNobody = () => door.answer({ ...visit, account: null, ctx: c.get('ctx') })
  if (!door.session) return door.answer({ ...visit, ctx: c.get('ctx') })
  try {
    const bearer = held && (await bearerOf(c, held))
    if (!bearer) {
      // An access token that ended, without one to renew it: the login would take it for an account, and come back.
      if (held) c.set('cookies', clearAuthCookies(held.account))
      return door.session === 'if_any' ? ofNobody() : toLogin(c)
    }
    const { trips } = c.get('ctx')
    const ctx = contextFor(c, need, { bearer, key: null })
    ctx.trips = trips
    c.set('ctx', ctx)
    c.set('account', bearer.user_id)
    await limitPrincipal(c, ctx)
    const answered = await door.answer({ ...visit, ctx })
    // Fail closed, as the API does: nothing of an account is shown that the database did not admit.
    if (answered.ok && !ctx.principal) throw new Error(`${c.req.method} ${c.req.path} answered without an admission.`)
    return answered
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    if (error.code === 'password_change_required') return goTo({ c }, '/account/password')
    if (error.code === 'mfa_setup_required') return goTo({ c }, '/account/mfa')
    // Whoever was deactivated could log in as nobody else while these cookies are there.
    if (error.status !== 401 && error.code !== 'user_inactive') throw error
    c.error = error
    c.set('cookies', held ? clearAuthCookies(held.account) : [])
    if (door.session === 'if_any') {
      c.set('ctx', contextFor(c, need, NOBODY))
      return ofNobody()
    }
    return toLogin(c, error.code === 'user_inactive' ? 'inactive' : 'ended')
  }
}

/** The login, from which somebody comes back to the page that they wanted; what was sent is not repeated. */
function toLogin(c: Context<AppEnv>, said?: Said): Response {
  const { pathname, search } = new URL(c.req.url)
  const next = c.req.method === 'POST' ? '/account' : `${pathname}${search}`
  return goTo({ c }, `/login?${new URLSearchParams({ next, ...(said && { said }) })}`)
}

/**
 * Who holds these cookies. Where the access token has ended, the refresh token is exchanged in this request, and the answer carries the
 * new cookies: one round trip more. Fails as `refresh` and `verify` do.
 */
async function bearerOf(c: Context<AppEnv>, { account, access, refresh: token }: AccountCookies): Promise<Bearer | null> {
  const known = access === null ? null : await authenticate(c, access).catch(unlessExpired)
  if (known && known.user_id !== account) throw new Problem('token_invalid')
  if (known) return known
  if (token === null) return null
  const ctx = c.get('ctx')
  const failures = failuresOf(c, 'refresh')
  failures.refuse()
  const entered = await refresh(ctx, token, locationOf(c.req.raw, c.get('config'))).catch(async (error) => {
    await failures.count(error)
    throw error
  })
  const { answer, cookies } = await cookiesOf(ctx, entered)
  if (answer.account !== account) throw new Problem('refresh_invalid')
  c.set('cookies', cookies)
  const { user_id, session_id, proof } = entered.claims
  return { user_id, session_id, proof, expires_at: new Date(Date.now() + answer.expires_in * 1000) }
}

function unlessExpired(error: unknown): null {
  if (error instanceof Problem && error.code === 'token_expired') return null
  throw error
}
