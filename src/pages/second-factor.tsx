/** The second step of a login: the code of an authenticator app, a backup code, or the code that was mailed for a risky login. */
import { z } from '@hono/zod-openapi'
import type { Entered } from '../auth/auth.ts'
import { cookiesOf } from '../auth/browser.ts'
import { type Challenged, openedChallenge } from '../auth/challenge.ts'
import { EmailCode } from '../auth/mailed-code.ts'
import { BackupCode, Code, verify } from '../factors/factors.ts'
import { resendLoginCode } from '../factors/resending.ts'
import { deviceTokensOf, evictOldestAccount, evictOldestDevices, refreshTokensOf } from '../http/cookies.ts'
import type { Config } from '../kernel/config.ts'
import { locationOf } from '../sessions/device.ts'
import { nextOf, pageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, Note, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { PasskeyOffer } from './passkeys.tsx'
import { FormToken, fieldsOf, goTo, handle, show, Ticked, type Visit } from './visit.tsx'

const CODE = '/login/code'
const RESEND = '/login/code/resend'
const Held = z.strictObject({ mfa_token: z.string().max(4096), next: z.string().max(4096).optional() })
const stepBy = (code: z.ZodType<string>) => Held.extend({ code, mailed: Ticked, remember_device: Ticked })
const BY_FACTOR = stepBy(z.union([Code, BackupCode], { error: 'must be 6 digits, or a backup code' }))
const BY_MAIL = stepBy(EmailCode)

/** What a login knows of the browser that it is from. */
export const browserOf = (request: Request, config: Config) => ({
  place: locationOf(request, config),
  devices: deviceTokensOf(request),
  former: refreshTokensOf(request),
})

/** After a login: its cookies, and on to where somebody wanted to; or the form of what is still missing. */
export async function goOn(visit: Visit, entered: Entered | Challenged, next: string | undefined): Promise<Response> {
  const { c, ctx } = visit
  const { raw } = c.req
  if ('challenge' in entered) {
    const { mfa_token, methods, remember_days } = entered.challenge
    return codeForm(visit, { mfa_token, methods, remember_days, next })
  }
  const { answer, cookies } = await cookiesOf(ctx, entered)
  const { account } = answer
  const evicted = [...evictOldestAccount(raw, account), ...evictOldestDevices(raw, account)]
  c.set('cookies', [...evicted, ...cookies, pageCookie('account', account)])
  const account_page = answer.passkey_ends_at ? '/account?said=passkey_ends' : '/account'
  return goTo(visit, answer.must_change_password ? '/account/password' : (nextOf(next, ctx.realm.url) ?? account_page))
}

type Methods = Challenged['challenge']['methods']
type Form = {
  mfa_token: string
  methods?: Methods
  remember_days: number
  next?: string | undefined
  faults?: Faults
  status?: number
  said?: string
}

/** A form for each of the methods; what a passkey answers is a login by itself. After a wrong code the methods are not known any more. */
async function codeForm(
  visit: Visit,
  { mfa_token, methods = ['totp', 'passkey'], remember_days, next, faults = NO_FAULTS, status = 200, said }: Form,
): Promise<Response> {
  const { words, ctx } = visit
  const { second } = words
  const onward = nextOf(next, ctx.realm.url)
  const is_mailed = methods.includes('email_code')
  // Known from the step before: asking for it would be one round trip too many.
  const look = status === 200 ? undefined : (await termsOf(ctx)).look
  return show(
    visit,
    { title: second.title, faults, status, ...(look && { look }) },
    <>
      <div class="card">
        <h1>{second.title}</h1>
        <p class="lead">{is_mailed ? second.mailed_lead : second.lead}</p>
        <Note said={said ?? null} />
        <Summary words={words} faults={faults} />
        {methods.some((method) => method !== 'passkey') && (
          <form method="post" action={CODE}>
            <FormToken visit={visit} action={CODE} />
            <input type="hidden" name="mfa_token" value={mfa_token} />
            {onward && <input type="hidden" name="next" value={onward} />}
            {is_mailed && <input type="hidden" name="mailed" value="yes" />}
            <Field
              name="code"
              label={second.code}
              hint={is_mailed ? second.mailed_hint : second.hint}
              faults={faults}
              autocomplete="one-time-code"
              inputmode={is_mailed ? 'numeric' : undefined}
              autocapitalize="none"
              spellcheck={false}
              maxlength={64}
              required
            />
            {remember_days > 0 && (
              <label class="check">
                <input type="checkbox" name="remember_device" value="yes" />
                {second.remember.replace('{days}', String(remember_days))}
              </label>
            )}
            <Submit words={words}>{words.login.submit}</Submit>
          </form>
        )}
        {is_mailed && (
          <form method="post" action={RESEND}>
            <FormToken visit={visit} action={RESEND} />
            <input type="hidden" name="mfa_token" value={mfa_token} />
            {onward && <input type="hidden" name="next" value={onward} />}
            <Submit words={words} class="quiet">
              {second.resend}
            </Submit>
          </form>
        )}
        {methods.includes('passkey') && <PasskeyOffer visit={visit} next={onward} />}
      </div>
      <p class="more">
        <a href="/login">{second.again}</a>
      </p>
    </>,
  )
}

const MAILED = { methods: ['email_code'] as Methods, remember_days: 0 }

/** Ends the login as the API does with `cookie: true`. */
async function secondStep(visit: Visit): Promise<Response> {
  const fields = await fieldsOf(visit.c)
  const is_mailed = fields.mailed === 'yes'
  return handle(visit, {
    action: CODE,
    fields,
    schema: is_mailed ? BY_MAIL : BY_FACTOR,
    guessed: 'code',
    guess_wrong: visit.words.second.wrong,
    done: async ({ mfa_token, code, next, remember_device: remember }) => {
      const { raw } = visit.c.req
      const typed = is_mailed ? { email_code: code } : Code.safeParse(code).success ? { code } : { backup_code: code }
      const browser = { place: locationOf(raw, visit.c.var.config), former: refreshTokensOf(raw) }
      const entered = await verify(visit.ctx, { mfa_token, ...typed, ...browser, remember })
      return goOn(visit, entered, next)
    },
    again: async (faults, status, { mfa_token = '', next }) => {
      if (is_mailed) return codeForm(visit, { mfa_token, ...MAILED, next, faults, status })
      const remember_days = (await openedChallenge(visit.ctx, mfa_token))?.remember_days ?? 0
      return codeForm(visit, { mfa_token, remember_days, next, faults, status })
    },
  })
}

/** Mails another code, and shows the form again: the address has nothing of the login, and a redirect would lose it. */
const resend = (visit: Visit) =>
  handle(visit, {
    action: RESEND,
    schema: Held,
    done: async ({ mfa_token, next }) => {
      await resendLoginCode(visit.ctx, mfa_token)
      return codeForm(visit, { mfa_token, ...MAILED, next, said: visit.words.second.resent })
    },
    again: (faults, status, { mfa_token = '', next }) => {
      const { ended, no_more, too_soon } = visit.words.second
      const said = { 401: ended, 409: no_more, 429: too_soon }[status]
      const told = said ? { general: [said], at: {} } : faults
      return codeForm(visit, { mfa_token, ...MAILED, next, faults: told, status })
    },
  })

export const secondFactorDoors: Door[] = [
  { method: 'POST', path: CODE, trips: 1, attempts: 'login', answer: secondStep },
  { method: 'POST', path: RESEND, trips: 1, attempts: 'login', answer: resend },
]
