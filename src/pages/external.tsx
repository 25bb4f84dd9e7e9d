/**
 * Logins from elsewhere: the buttons of the login page, and the two addresses of the code flow. Each button is a link, because
 * `form-action 'self'` stops the redirect of a form, too.
 */
import { beginFlow, finishFlow } from '../external/flow.ts'
import { deviceTokensOf, refreshTokensOf } from '../http/cookies.ts'
import { Problem } from '../kernel/problem.ts'
import { locationOf } from '../sessions/device.ts'
import { nextOf, pageCookie, readPageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import type { Terms } from './look.ts'
import { goOn } from './second-factor.tsx'
import { goTo, type Visit } from './visit.tsx'

const BEGIN = '/login/external/:provider'

type ButtonsProps = { visit: Visit; providers: Terms['providers']; next: string | null }

/** A link for each provider; nothing where there are none. */
export const ExternalButtons = ({ visit: { words }, providers, next }: ButtonsProps) =>
  providers.length ? (
    <p class="links">
      {providers.map(({ name, label }) => (
        <a class="button quiet" href={`/login/external/${name}${next ? `?${new URLSearchParams({ next })}` : ''}`}>
          {words.external.with.replace('{name}', () => label)}
        </a>
      ))}
    </p>
  ) : null

/** Sends the browser to the provider. */
const begin = (visit: Visit) =>
  orBack(visit, async () => {
    const { c, ctx } = visit
    const next = nextOf(c.req.query('next'), ctx.realm.url)
    const { url, keep } = await beginFlow(ctx, c.env.TENANTS, c.req.param('provider') ?? '', next)
    c.set('cookies', [...(c.get('cookies') ?? []), pageCookie('external', keep)])
    return c.redirect(url, 303)
  })

/**
 * Takes the browser back. It came from elsewhere, so that the cookies of its session are not sent with what it is redirected to: the login
 * page asks once more, from itself, and goes on (login.tsx).
 */
const finish = (visit: Visit) =>
  orBack(visit, async () => {
    const { c, ctx } = visit
    const { raw } = c.req
    const keep = readPageCookie(raw, 'external')
    const device = { place: locationOf(raw, c.var.config), devices: deviceTokensOf(raw), former: refreshTokensOf(raw) }
    const { entered, next } = await finishFlow(ctx, c.env.TENANTS, c.req.param('provider') ?? '', {
      url: new URL(raw.url),
      keep,
      device,
    })
    const answer = await goOn(visit, entered, next ?? undefined)
    c.set('cookies', [...(c.get('cookies') ?? []), pageCookie('external', '')])
    const to = answer.headers.get('Location')
    return to === null ? answer : goTo(visit, `/login?${new URLSearchParams({ next: to })}`)
  })

/** What was refused is said on the login page, where another way is at hand. */
async function orBack(visit: Visit, work: () => Promise<Response>): Promise<Response> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Problem) || error.code === 'not_found') throw error
    const said = SAID_OF[error.code]
    if (!said) throw error
    // For the log, for the limits of failures, and for what the audit has of refusals.
    visit.c.error = error
    visit.c.set('cookies', [pageCookie('external', '')])
    return goTo(visit, `/login?${new URLSearchParams({ said })}`)
  }
}

const SAID_OF: Record<string, string | undefined> = {
  invalid_credentials: 'external_refused',
  provider_unavailable: 'external_away',
  user_inactive: 'inactive',
}

export const externalDoors: Door[] = [
  { method: 'GET', path: BEGIN, trips: 1, attempts: 'external-login', answer: begin },
  { method: 'GET', path: `${BEGIN}/callback`, trips: 2, attempts: 'external-login', answer: finish },
]
