/**
 * Registration, and the verification of an address. The secret that makes the password of a registration count stays in a cookie of the
 * browser that registered (src/recovery/verification.sql); elsewhere the reader of the mail chooses a password.
 */
import { z } from '@hono/zod-openapi'
import { Problem } from '../kernel/problem.ts'
import { MailToken, Password } from '../recovery/recovery.ts'
import { Registration, Resend, register, resendVerification, verifyEmail } from '../recovery/registration.ts'
import { pageCookie, readPageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, Note, PasswordField, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { CodeField } from './reset.tsx'
import { FormToken, goTo, handle, saidIn, show, Ticked, type Visit } from './visit.tsx'

const REGISTER = '/register'
const VERIFY = '/verify-email'
const RESEND = '/verify-email/resend'
const Wanted = Registration.pick({ email: true, password: true }).strict()
/** What a page asks of EmailProof; the secret is in a cookie, and does not go with a code that the reader says is of an account. */
const Proof = z.object({ token: MailToken, new_password: Password.optional(), of_account: Ticked }).strict()

async function registerPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200, email?: string): Promise<Response> {
  const { words } = visit
  const { look, registration, policy } = await termsOf(visit.ctx)
  const { title, lead } = words.register
  return show(
    visit,
    { title, look, faults, status },
    <>
      <div class="card">
        <h1>{title}</h1>
        <p class="lead">{registration ? lead.replace('{name}', () => look.name) : words.register.closed}</p>
        <Summary words={words} faults={faults} />
        {registration && (
          <form method="post" action={REGISTER}>
            <FormToken visit={visit} action={REGISTER} />
            <Field
              name="email"
              label={words.email}
              faults={faults}
              value={email}
              type="email"
              autocomplete="username"
              maxlength={255}
              required
            />
            <PasswordField words={words} name="password" label={words.password} faults={faults} policy={policy} />
            <Submit words={words}>{words.register.submit}</Submit>
          </form>
        )}
      </div>
      <p class="more">
        <span>
          {words.register.have_account} <a href="/login">{words.register.login}</a>
        </span>
      </p>
    </>,
  )
}

const registerThem = (visit: Visit) =>
  handle(visit, {
    action: REGISTER,
    schema: Wanted,
    done: async (wanted) => {
      const { registration_secret } = await register(visit.ctx, { ...wanted, locale: visit.language.tag })
      visit.c.set('cookies', [pageCookie('registration', registration_secret)])
      return goTo(visit, `${VERIFY}?said=registered`)
    },
    again: (faults, status, { email }) => registerPage(visit, faults, status, email),
  })

type Form = {
  faults?: Faults
  status?: number
  token?: string | undefined
  email?: string | undefined
  /** The next step of a code: a password, or that it is of an account. */
  chooses?: boolean
  is_of_account?: boolean
}

async function verifyPage(visit: Visit, form: Form = {}): Promise<Response> {
  const { words } = visit
  const { faults = NO_FAULTS, status = 200, token, email, chooses = false, is_of_account = false } = form
  const { look, policy } = await termsOf(visit.ctx)
  const { verify } = words
  return show(
    visit,
    { title: verify.title, look, faults, status },
    <>
      <div class="card">
        <h1>{verify.title}</h1>
        <p class="lead">{verify.lead}</p>
        <Note said={status === 200 ? (chooses ? verify.password : is_of_account ? verify.of_account : saidIn(visit)) : null} />
        <Summary words={words} faults={faults} />
        <form method="post" action={VERIFY}>
          <FormToken visit={visit} action={VERIFY} />
          <CodeField words={words} faults={faults} token={token} />
          {chooses && (
            <PasswordField words={words} name="new_password" label={words.new_password} faults={faults} policy={policy} />
          )}
          {is_of_account && <input type="hidden" name="of_account" value="yes" />}
          <Submit words={words}>{is_of_account ? verify.is_mine : verify.submit}</Submit>
        </form>
      </div>
      <div class="card" data-without-token>
        <h2>{verify.again_title}</h2>
        <form method="post" action={RESEND}>
          <FormToken visit={visit} action={RESEND} />
          <Field
            name="email"
            label={words.email}
            faults={faults}
            value={email}
            type="email"
            autocomplete="email"
            maxlength={255}
            required
          />
          <Submit words={words} class="quiet">
            {verify.again}
          </Submit>
        </form>
      </div>
    </>,
  )
}

const verify = (visit: Visit) => {
  let isOfAccount = false
  return handle(visit, {
    action: VERIFY,
    schema: Proof,
    done: async ({ token, new_password, of_account }) => {
      const registration_secret = of_account ? null : readPageCookie(visit.c.req.raw, 'registration')
      const proof = { token, ...(new_password !== undefined && { new_password }) }
      const withSecret = new_password === undefined && registration_secret !== null
      await verifyEmail(visit.ctx, withSecret ? { ...proof, registration_secret } : proof).catch((error) => {
        isOfAccount = error instanceof Problem && error.errors?.[0]?.pointer === '#/registration_secret'
        throw error
      })
      visit.c.set('cookies', [pageCookie('registration', '')])
      return goTo(visit, `/login?said=${visit.account ? 'verified' : 'verified_again'}`)
    },
    // That a password is wanted is the next step, and no fault. So is a code that does not belong to the registration in this browser: it
    // changes the address of an account, which somebody else may have asked for, so that its reader says first that it is theirs.
    again: (faults, status, { token, new_password }) => {
      if (status === 422) return verifyPage(visit, { token, chooses: true })
      if (isOfAccount) return verifyPage(visit, { token, is_of_account: true })
      return verifyPage(visit, { faults, status, token, chooses: new_password !== undefined })
    },
  })
}

const resend = (visit: Visit) =>
  handle(visit, {
    action: RESEND,
    schema: Resend.strict(),
    done: async (wanted) => {
      await resendVerification(visit.ctx, wanted)
      return goTo(visit, `${VERIFY}?said=mail_again`)
    },
    again: (faults, status, { email }) => verifyPage(visit, { faults, status, email }),
  })

export const registerDoors: Door[] = [
  { method: 'GET', path: REGISTER, trips: 1, answer: (visit) => registerPage(visit) },
  { method: 'POST', path: REGISTER, trips: 2, attempts: 'register', answer: registerThem },
  { method: 'GET', path: VERIFY, trips: 1, answer: (visit) => verifyPage(visit) },
  { method: 'POST', path: VERIFY, trips: 2, attempts: 'verify', answer: verify },
  { method: 'GET', path: RESEND, trips: 0, answer: async (visit) => goTo(visit, VERIFY) },
  { method: 'POST', path: RESEND, trips: 1, attempts: 'mail', answer: resend },
]
