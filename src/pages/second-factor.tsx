/** The second step of a login: the code of an authenticator app, or a backup code. */
import { z } from '@hono/zod-openapi'
import type { Entered } from '../auth/auth.ts'
import { cookiesOf } from '../auth/browser.ts'
import { type Challenged, openedChallenge } from '../auth/challenge.ts'
import { EmailCode } from '../auth/mailed-code.ts'
import { BackupCode, Code, verify } from '../factors/factors.ts'
import { deviceTokensOf, evictOldestAccount, evictOldestDevices, refreshTokensOf } from '../http/cookies.ts'
import type { Config } from '../kernel/config.ts'
import { locationOf } from '../sessions/device.ts'
import { nextOf, pageCookie } from './browser.ts'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { PasskeyOffer } from './passkeys.tsx'
import { FormToken, goTo, handle, show, Ticked, type Visit } from './visit.tsx'

const CODE = '/login/code'
const SecondStep = z
  .object({
    mfa_token: z.string().max(4096),
    code: z.union([Code, BackupCode, EmailCode], { error: 'must be 6 digits, or a backup code' }),
    mailed: Ticked,
    next: z.string().max(4096).optional(),
    remember_device: Ticked,
  })
  .strict()

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
}

/** A form for each of the methods; what a passkey answers is a login by itself. After a wrong code the methods are not known any more. */
async function codeForm(
  visit: Visit,
  { mfa_token, methods = ['totp', 'passkey'], remember_days, next, faults = NO_FAULTS, status = 200 }: Form,
): Promise<Response> {
  const { words, ctx } = visit
  const { second } = words
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
        <Summary words={words} faults={faults} />
        {methods.some((method) => method !== 'passkey') && (
          <form method="post" action={CODE}>
            <FormToken visit={visit} action={CODE} />
            <input type="hidden" name="mfa_token" value={mfa_token} />
            {next && <input type="hidden" name="next" value={next} />}
            {is_mailed && <input type="hidden" name="mailed" value="yes" />}
            <Field
              name="code"
              label={second.code}
              hint={is_mailed ? second.mailed_hint : second.hint}
              faults={faults}
              autocomplete="one-time-code"
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
        {methods.includes('passkey') && <PasskeyOffer visit={visit} next={nextOf(next, ctx.realm.url)} />}
      </div>
      <p class="more">
        <a href="/login">{second.again}</a>
      </p>
    </>,
  )
}

/** Ends the login as the API does with `cookie: true`. */
const secondStep = (visit: Visit) =>
  handle(visit, {
    action: CODE,
    schema: SecondStep,
    guessed: 'code',
    guess_wrong: visit.words.second.wrong,
    done: async ({ mfa_token, code, next, remember_device: remember }) => {
      const { raw } = visit.c.req
      const is_mailed = EmailCode.safeParse(code).success
      const typed = is_mailed ? { email_code: code } : Code.safeParse(code).success ? { code } : { backup_code: code }
      const browser = { place: locationOf(raw, visit.c.var.config), former: refreshTokensOf(raw) }
      const entered = await verify(visit.ctx, { mfa_token, ...typed, ...browser, remember })
      return goOn(visit, entered, next)
    },
    again: async (faults, status, { mfa_token = '', next, mailed }) => {
      const remember_days = (await openedChallenge(visit.ctx, mfa_token))?.remember_days ?? 0
      const methods = mailed === 'yes' ? { methods: ['email_code'] as Methods } : {}
      return codeForm(visit, { mfa_token, ...methods, remember_days, next, faults, status })
    },
  })

export const secondFactorDoors: Door[] = [{ method: 'POST', path: CODE, trips: 1, attempts: 'login', answer: secondStep }]
