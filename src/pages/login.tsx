/** The login page, and the way out. */
import { z } from '@hono/zod-openapi'
import { login, PasswordForm } from '../auth/login.ts'
import { logout, logoutAll } from '../auth/logout.ts'
import { accountsIn, clearAuthCookies } from '../http/cookies.ts'
import { passkeyLogin } from '../passkeys/passkeys.ts'
import { Assertion } from '../passkeys/wire.ts'
import { accountPage } from './account.tsx'
import { OtherAccounts } from './accounts.tsx'
import { NO_ACCOUNT, nameCookie, nextOf, pageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import { EmailOffer } from './email-login.tsx'
import { ExternalButtons } from './external.tsx'
import { type Faults, Field, NO_FAULTS, Note, PasswordField, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { Credential } from './passkey-form.tsx'
import { PASSKEY_LOGIN, PasskeyOffer } from './passkeys.tsx'
import { browserOf, goOn } from './second-factor.tsx'
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
  const adds = c.req.query('add') === '1'
  if (account && !adds) return goTo(visit, next ?? (said ? `/account?${new URLSearchParams({ said })}` : '/account'))
  const once = new URLSearchParams({ ...(next && { next }), ...(said && { said }), ...(adds && { add: '1' }), again: '1' })
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
  const { look, registration, email_login, providers } = await termsOf(visit.ctx)
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
            autocomplete="username webauthn"
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
        <PasskeyOffer visit={visit} next={next} />
        {email_login && <EmailOffer words={words} next={next} />}
        <ExternalButtons visit={visit} providers={providers} next={next} />
      </div>
      <OtherAccounts visit={{ ...visit, account: null }} />
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
      const browser = browserOf(visit.c.req.raw, visit.c.var.config)
      return goOn(visit, await login(visit.ctx, { identifier: username, password, ...browser }), next)
    },
    again: (faults, status, { next, username }) =>
      loginForm(visit, { next: nextOf(next, visit.ctx.realm.url), faults, status, username }),
  })

/** Logs in as the API does with `cookie: true`. */
const logInWithPasskey = (visit: Visit) =>
  handle(visit, {
    action: PASSKEY_LOGIN,
    schema: z.object({ credential: Credential(Assertion), next: z.string().max(4096).optional() }).strict(),
    done: async ({ credential, next }) => {
      const browser = browserOf(visit.c.req.raw, visit.c.var.config)
      return goOn(visit, await passkeyLogin(visit.ctx, { credential, ...browser }), next)
    },
    again: (faults, status, { next }) => {
      const said = status === 401 ? { general: [visit.words.passkeys.refused], at: {} } : faults
      return loginForm(visit, { next: nextOf(next, visit.ctx.realm.url), faults: said, status })
    },
  })

/** After a logout: pages act for nobody, also where somebody else is logged in in this browser. */
const leftAccount = ({ c: { req } }: Visit, account: string) => [
  ...clearAuthCookies(account),
  nameCookie(req.raw, account, null),
  pageCookie('account', accountsIn(req.raw).some((held) => held.account !== account) ? NO_ACCOUNT : ''),
]

/** Ends the session, or all of them, and says so. The cookies go also where it had ended before. */
const leave = (visit: Visit, action: string, end: typeof logout, said: string) =>
  handle(visit, {
    action,
    schema: z.object({}).strict(),
    done: async () => {
      await end(visit.ctx)
      if (visit.account) visit.c.set('cookies', leftAccount(visit, visit.account))
      visit.c.set('clear_site', '"cache", "storage"')
      return goTo(visit, `${LOGIN}?said=${said}`)
    },
    again: (faults, status) => accountPage(visit, faults, status),
  })

const OUT = { method: 'POST', session: true, any_password: true, trips: 1 } as const

export const loginDoors: Door[] = [
  { method: 'GET', path: LOGIN, trips: 1, answer: loginPage },
  { method: 'POST', path: LOGIN, trips: 2, attempts: 'login', answer: logIn },
  { method: 'POST', path: PASSKEY_LOGIN, trips: 2, attempts: 'passkey-login', answer: logInWithPasskey },
  { ...OUT, path: '/account/logout', answer: (visit) => leave(visit, '/account/logout', logout, 'logged_out') },
  { ...OUT, path: '/account/logout-all', answer: (visit) => leave(visit, '/account/logout-all', logoutAll, 'logged_out_all') },
]
