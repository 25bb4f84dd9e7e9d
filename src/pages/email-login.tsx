/**
 * Login by mail: somebody asks for a code, and enters it or opens the link. Threat: a scanner that follows the link logs in, or somebody
 * is logged in by a link that another person asked for. So the link has its token in the fragment and nothing happens until a form is
 * sent; and in a browser that did not ask, its reader first sees for whom and where that was.
 */
import { z } from '@hono/zod-openapi'
import { Identifier } from '../auth/login.ts'
import { EmailCode } from '../auth/mailed-code.ts'
import { type Confirmation, requestEmailLogin, verifyEmailLogin } from '../email-login/email-login.ts'
import { emailLoginTokenOf, setEmailLoginCookie } from '../http/cookies.ts'
import { invalid } from '../kernel/problem.ts'
import { MailToken } from '../recovery/recovery.ts'
import { locationOf } from '../sessions/device.ts'
import { nextOf } from './browser.ts'
import type { Door } from './doors.tsx'
import { type Faults, Field, Moment, NO_FAULTS, Note, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { browserOf, goOn } from './second-factor.tsx'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'
import type { Words } from './words/words.ts'

const ASK = '/login/email'
const LINK = '/login/link'
const Next = z.string().max(4096).optional()

/** A path, with where somebody wants to go on to after the login. */
const withNext = (path: string, next: string | null, more: Record<string, string> = {}) => {
  const query = new URLSearchParams({ ...more, ...(next && { next }) }).toString()
  return query ? `${path}?${query}` : path
}
const nextIn = ({ c, ctx }: Visit) => nextOf(c.req.query('next'), ctx.realm.url)

/** On the login page, where the tenant allows it. */
export const EmailOffer = ({ words, next }: { words: Words; next: string | null }) => (
  <a class="button quiet" href={withNext(ASK, next)}>
    {words.email_login.offer}
  </a>
)

type Form = { next: string | null; faults?: Faults; status?: number; username?: string | undefined; token?: string | undefined }

async function askPage(visit: Visit, { next, faults = NO_FAULTS, status = 200, username }: Form): Promise<Response> {
  const { words } = visit
  const { look, email_login } = await termsOf(visit.ctx)
  if (!email_login && status === 200) return goTo(visit, withNext('/login', next))
  return show(
    visit,
    { title: words.email_login.title, look, faults, status },
    <>
      <div class="card">
        <h1>{words.email_login.title}</h1>
        <p class="lead">{words.email_login.lead}</p>
        <Summary words={words} faults={faults} />
        <form method="post" action={ASK}>
          <FormToken visit={visit} action={ASK} />
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
          <Submit words={words}>{words.email_login.submit}</Submit>
        </form>
      </div>
      <p class="more">
        <a href={withNext('/login', next)}>{words.login.title}</a>
      </p>
    </>,
  )
}

const ask = (visit: Visit) =>
  handle(visit, {
    action: ASK,
    schema: z.object({ username: Identifier, next: Next }).strict(),
    done: async ({ username, next }) => {
      const place = locationOf(visit.c.req.raw, visit.c.var.config)
      const { request_token, expires_in } = await requestEmailLogin(visit.ctx, { identifier: username, place })
      visit.c.set('cookies', [setEmailLoginCookie(request_token, expires_in)])
      return goTo(visit, withNext(LINK, nextOf(next, visit.ctx.realm.url), { said: 'code_sent' }))
    },
    again: (faults, status, { next, username }) =>
      askPage(visit, { next: nextOf(next, visit.ctx.realm.url), faults, status, username }),
  })

/** Takes the code, or from the script the token of a link. Without script the code is typed where it was asked for. */
async function linkPage(visit: Visit, { next, faults = NO_FAULTS, status = 200, token }: Form): Promise<Response> {
  const { words } = visit
  const { look } = await termsOf(visit.ctx)
  const { email_login } = words
  return show(
    visit,
    { title: email_login.title, look, faults, status },
    <>
      <div class="card">
        <h1>{email_login.title}</h1>
        <p class="lead" data-without-token>
          {email_login.code_lead}
        </p>
        <Note said={status === 200 ? saidIn(visit) : null} />
        <Summary words={words} faults={faults} />
        <form method="post" action={LINK}>
          <FormToken visit={visit} action={LINK} />
          {next && <input type="hidden" name="next" value={next} />}
          <Field
            name="token"
            label={words.code}
            faults={faults}
            hint={email_login.hint}
            value={token}
            data-token
            autocomplete="one-time-code"
            autocapitalize="none"
            spellcheck={false}
            maxlength={512}
            required
          />
          <Submit words={words}>{words.login.submit}</Submit>
        </form>
      </div>
      <p class="more">
        <a href={withNext(ASK, next)}>{email_login.again}</a>
        <a href={withNext('/login', next)}>{words.login.title}</a>
      </p>
    </>,
  )
}

/** Somebody opened the link in a browser that did not ask for it. */
function confirmPage(visit: Visit, asked: Confirmation, token: string): Promise<Response> {
  const { words, language } = visit
  const { email_login } = words
  const place = [asked.city, asked.country].filter(Boolean).join(', ')
  return show(
    visit,
    { title: email_login.title },
    <div class="card">
      <h1>{email_login.confirm.replace('{name}', () => asked.username)}</h1>
      <p class="lead">{email_login.confirm_lead.replace('{email}', () => asked.email)}</p>
      <dl class="facts">
        <dt>{email_login.device}</dt>
        <dd>{asked.device ?? email_login.unknown}</dd>
        <dt>{email_login.place}</dt>
        <dd>{place || email_login.unknown}</dd>
        <dt>{email_login.at}</dt>
        <dd>
          <Moment at={asked.requested_at} language={language.tag} />
        </dd>
      </dl>
      <form method="post" action={LINK}>
        <FormToken visit={visit} action={LINK} />
        <input type="hidden" name="token" value={token} />
        <input type="hidden" name="confirm" value="yes" />
        <Submit words={words}>{email_login.confirm_submit}</Submit>
      </form>
      <a class="button quiet" href="/login">
        {email_login.not_you}
      </a>
    </div>,
  )
}

/** Logs in as the API does with `cookie: true`. */
const logIn = (visit: Visit) =>
  handle(visit, {
    action: LINK,
    schema: z.object({ token: MailToken, confirm: z.literal('yes').optional(), next: Next }).strict(),
    guessed: 'token',
    guess_wrong: visit.words.email_login.wrong,
    done: async ({ token: typed, confirm, next }) => {
      const { c, ctx } = visit
      const { raw } = c.req
      const shown = typed.trim()
      const is_code = EmailCode.safeParse(shown).success
      const request_token = emailLoginTokenOf(raw) ?? undefined
      if (is_code && request_token === undefined)
        throw invalid('token', 'works only in the browser that asked for it: enter it there, or open the link of the mail')
      const outcome = await verifyEmailLogin(ctx, {
        request_token,
        ...(is_code ? { code: shown } : { token: shown }),
        is_confirmed: confirm === 'yes',
        ...browserOf(raw, visit.c.var.config),
      })
      if ('confirmation' in outcome) return confirmPage(visit, outcome.confirmation, shown)
      const answered = await goOn(visit, outcome, next)
      c.set('cookies', [...(c.get('cookies') ?? []), setEmailLoginCookie('', 0)])
      return answered
    },
    again: (faults, status, { token, next }) =>
      linkPage(visit, { next: nextOf(next, visit.ctx.realm.url), faults, status, token }),
  })

export const emailLoginDoors: Door[] = [
  { method: 'GET', path: ASK, trips: 1, answer: (visit) => askPage(visit, { next: nextIn(visit) }) },
  { method: 'POST', path: ASK, trips: 1, attempts: 'mail', answer: ask },
  { method: 'GET', path: LINK, trips: 1, answer: (visit) => linkPage(visit, { next: nextIn(visit) }) },
  { method: 'POST', path: LINK, trips: 1, attempts: 'login', answer: logIn },
]
