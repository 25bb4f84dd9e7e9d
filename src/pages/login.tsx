/** The login page, and the way out. */
import { z } from '@hono/zod-openapi'
import { cookiesOf } from '../auth/browser.ts'
import { login, PasswordForm } from '../auth/login.ts'
import { logout, logoutAll } from '../auth/logout.ts'
import {
  accountsIn,
  clearAuthCookies,
  deviceTokensOf,
  evictOldestAccount,
  evictOldestDevices,
  refreshTokensOf,
} from '../http/cookies.ts'
import { locationOf } from '../sessions/device.ts'
import { accountPage } from './account.tsx'
import { NO_ACCOUNT, nextOf, pageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, Note, PasswordField, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const LOGIN = '/login'
const Login = PasswordForm.pick({ username: true, password: true })
  .extend({ next: z.string().max(4096).optional() })
  .strict()

/** Whether the login was reached by a link from elsewhere: then the browser keeps the cookies of a session back (SameSite=Strict). */
function isFromElsewhere({ c }: Visit): boolean {
  const site = c.req.header('Sec-Fetch-Site')
  if (site !== undefined) return site === 'cross-site'
  const from = c.req.header('Referer')
  return from === undefined || !URL.canParse(from) || new URL(from).origin !== c.get('realm').url
}

/**
 * The page. Reached from elsewhere it asks once more, from itself: that request has the cookies. A browser that says where a request
 * comes from gets an almost empty page for it; any other the login, which asks again at once.
 */
async function loginPage(visit: Visit): Promise<Response> {
  const { c, words, account } = visit
  const next = nextOf(c.req.query('next'), c.get('realm').url)
  const said = c.req.query('said')
  if (account) return goTo(visit, next ?? (said ? `/account?${new URLSearchParams({ said })}` : '/account'))
  const once = new URLSearchParams({ ...(next && { next }), ...(said && { said }), again: '1' })
  const refresh = isFromElsewhere(visit) && c.req.query('again') === undefined ? `${LOGIN}?${once}` : undefined
  if (refresh && c.req.header('Sec-Fetch-Site') !== undefined)
    return show(
      visit,
      { title: words.reload.title, refresh },
      <p class="more">
        <span>
          {words.reload.text} <a href={refresh}>{words.reload.link}</a>.
        </span>
      </p>,
    )
  return loginForm(visit, { next, refresh })
}

type Form = { next: string | null; faults?: Faults; status?: number; username?: string | undefined; refresh?: string | undefined }

async function loginForm(visit: Visit, { next, faults = NO_FAULTS, status = 200, username, refresh }: Form): Promise<Response> {
  const { words } = visit
  const { look, registration } = await termsOf(visit.ctx)
  return show(
    visit,
    { title: words.login.title, look, faults, status, refresh },
    <>
      <div class="card">
        <h1>{words.login.title}</h1>
        <p class="lead">{words.login.lead.replace('{name}', () => look.name)}</p>
        <Note said={status === 200 ? saidIn(visit) : null} />
        <Summary words={words} faults={faults} />
        <form method="post" action={LOGIN}>
          <FormToken visit={visit} action={LOGIN} />
          {next && <input type="hidden" name="next" value={next} />}
          <Field
            name="username"
            label={words.identifier}
            faults={faults}
            value={username}
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            maxlength={255}
            required
          />
          <PasswordField
            words={words}
            name="password"
            label={words.password}
            faults={faults}
            above={<a href="/reset-password?step=ask">{words.login.forgot}</a>}
          />
          <Submit words={words}>{words.login.submit}</Submit>
        </form>
      </div>
      {registration && (
        <p class="more">
          <span>
            {words.login.no_account} <a href="/register">{words.login.register}</a>
          </span>
        </p>
      )}
    </>,
  )
}

/** Logs in as the API does with `cookie: true`, and goes on to where somebody wanted to. */
const logIn = (visit: Visit) =>
  handle(visit, {
    action: LOGIN,
    schema: Login,
    guessed: 'password',
    done: async ({ username, password, next }) => {
      const { c, ctx } = visit
      const { raw } = c.req
      const entered = await login(ctx, {
        identifier: username,
        password,
        place: locationOf(raw),
        devices: deviceTokensOf(raw),
        former: refreshTokensOf(raw),
      })
      const { answer, cookies } = await cookiesOf(ctx, entered)
      const { account } = answer
      const evicted = [...evictOldestAccount(raw, account), ...evictOldestDevices(raw, account)]
      c.set('cookies', [...evicted, ...cookies, pageCookie('account', account)])
      return goTo(visit, answer.must_change_password ? '/account/password' : (nextOf(next, ctx.realm.url) ?? '/account'))
    },
    again: (faults, status, { next, username }) =>
      loginForm(visit, { next: nextOf(next, visit.ctx.realm.url), faults, status, username }),
  })

/** After a logout: pages act for nobody, also where somebody else is logged in in this browser. */
const leftAccount = ({ c, account }: Visit) =>
  pageCookie('account', accountsIn(c.req.raw).some((held) => held.account !== account) ? NO_ACCOUNT : '')

/** Ends the session, or all of them, and says so. The cookies go also where it had ended before. */
const leave = (visit: Visit, action: string, end: typeof logout, said: string) =>
  handle(visit, {
    action,
    schema: z.object({}).strict(),
    done: async () => {
      await end(visit.ctx)
      if (visit.account) visit.c.set('cookies', [...clearAuthCookies(visit.account), leftAccount(visit)])
      visit.c.set('clear_site', '"cache", "storage"')
      return goTo(visit, `${LOGIN}?said=${said}`)
    },
    again: (faults, status) => accountPage(visit, faults, status),
  })

const OUT = { method: 'POST', session: true, any_password: true, trips: 1 } as const

export const loginDoors: Door[] = [
  { method: 'GET', path: LOGIN, trips: 1, answer: loginPage },
  { method: 'POST', path: LOGIN, trips: 2, attempts: 'login', answer: logIn },
  { ...OUT, path: '/account/logout', answer: (visit) => leave(visit, '/account/logout', logout, 'logged_out') },
  { ...OUT, path: '/account/logout-all', answer: (visit) => leave(visit, '/account/logout-all', logoutAll, 'logged_out_all') },
]
