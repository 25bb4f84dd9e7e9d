/** The second factor of whoever is logged in: an authenticator app and its backup codes. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { raw } from 'hono/html'
import type { Child } from 'hono/jsx'
import { Password } from '../auth/auth.ts'
import { BackupCode, Code, disable, enable, renewBackupCodes, setUp } from '../factors/factors.ts'
import { FRESH, TWO_IF_ANY } from '../http/admit.ts'
import { rowsOf } from '../kernel/wire.ts'
import { profileWith } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, PasswordField, Submit, Summary } from './layout.tsx'
import { Back } from './password.tsx'
import { FormToken, goTo, handle, show, type Visit } from './visit.tsx'

const MFA = '/account/mfa'
const SETUP = `${MFA}/setup`
const ENABLE = `${MFA}/enable`
const DISABLE = `${MFA}/disable`
const CODES = `${MFA}/codes`

/** By its name, because a database that is a version behind has no such column. */
const FACTORS = sql`select coalesce(to_jsonb(u) -> 'factors', '[]') as factors from freehold.users u where u.id = (select access.principal())`

async function mfaPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200): Promise<Response> {
  const { words } = visit
  const { mfa } = words
  const { profile, terms, rest } = await profileWith(visit, FACTORS)
  const [{ factors } = { factors: [] }] = rowsOf<{ factors: string[] }>(rest[0])
  const isOn = factors.includes('totp')
  return show(
    visit,
    { title: mfa.title, look: terms.look, faults, status },
    <>
      <div class="card">
        <h1>{mfa.title}</h1>
        <p class="lead">{isOn ? mfa.is_on : mfa.is_off}</p>
        <Summary words={words} faults={faults} />
        {isOn ? (
          <form method="post" action={DISABLE}>
            <FormToken visit={visit} action={DISABLE} />
            <input type="text" autocomplete="username" value={profile.username} readonly hidden />
            <PasswordField words={words} name="password" label={words.password} faults={faults} />
            <CodeField words={words} faults={faults} hint={words.second.hint} />
            <p class="links">
              <Submit words={words} class="danger">
                {mfa.switch_off}
              </Submit>
              <Submit words={words} class="quiet" formaction={CODES}>
                {mfa.new_codes}
              </Submit>
            </p>
          </form>
        ) : (
          <form method="post" action={SETUP}>
            <FormToken visit={visit} action={SETUP} />
            <Submit words={words}>{mfa.set_up}</Submit>
          </form>
        )}
      </div>
      <Back words={words} />
    </>,
  )
}

type CodeProps = Pick<Visit, 'words'> & { faults: Faults; hint?: string }

const CodeField = ({ words, faults, hint }: CodeProps) => (
  <Field
    name="code"
    label={words.second.code}
    faults={faults}
    {...(hint && { hint })}
    autocomplete="one-time-code"
    autocapitalize="none"
    spellcheck={false}
    maxlength={64}
    required
  />
)

/** The form of the first code, below what there is to scan. */
const firstCode = (visit: Visit, children: Child, faults: Faults = NO_FAULTS, status = 200) =>
  show(
    visit,
    { title: visit.words.mfa.scan, faults, status },
    <>
      <div class="card">
        <h1>{visit.words.mfa.scan}</h1>
        <Summary words={visit.words} faults={faults} />
        {children}
        <form method="post" action={ENABLE}>
          <FormToken visit={visit} action={ENABLE} />
          <CodeField words={visit.words} faults={faults} hint={visit.words.mfa.first_code} />
          <Submit words={visit.words}>{visit.words.mfa.switch_on}</Submit>
        </form>
      </div>
      <Back words={visit.words} />
    </>,
  )

const begin = (visit: Visit) =>
  handle(visit, {
    action: SETUP,
    schema: z.object({}).strict(),
    done: async () => {
      const { secret, qr_svg } = await setUp(visit.ctx)
      const { mfa } = visit.words
      return firstCode(
        visit,
        <>
          <p class="lead">{mfa.scan_lead}</p>
          <div class="qr" role="img" aria-label={mfa.qr}>
            {raw(qr_svg)}
          </div>
          <p>{mfa.by_hand}</p>
          <p>
            <code>{secret.replace(/(.{4})(?=.)/g, '$1 ')}</code>
          </p>
        </>,
      )
    },
    again: (faults, status) => mfaPage(visit, faults, status),
  })

const finish = (visit: Visit) =>
  handle(visit, {
    action: ENABLE,
    schema: z.object({ code: Code }).strict(),
    guessed: 'code',
    guess_wrong: visit.words.mfa.wrong_first,
    done: async ({ code }) => codesPage(visit, (await enable(visit.ctx, code)).backup_codes),
    again: (faults, status) => firstCode(visit, null, faults, status),
  })

/** The backup codes, this once. */
function codesPage(visit: Visit, codes: string[]): Promise<Response> {
  const { mfa } = visit.words
  return show(
    visit,
    { title: mfa.codes },
    <div class="card">
      <h1>{mfa.codes}</h1>
      <p class="lead">{mfa.codes_lead}</p>
      <ul class="rows">
        {codes.map((code) => (
          <li>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <p class="links">
        <a class="button" href={MFA}>
          {mfa.kept}
        </a>
      </p>
    </div>,
  )
}

const Proof = z
  .object({ password: Password, code: z.union([Code, BackupCode], { error: 'must be 6 digits, or a backup code' }) })
  .strict()

const typed = (code: string) => (Code.safeParse(code).success ? { code } : { backup_code: code })

/** What takes the password and a code; both forms are one, whose token is that of switching off. */
const change = (visit: Visit, done: (proof: { password: string } & ReturnType<typeof typed>) => Promise<Response>) =>
  handle(visit, {
    action: DISABLE,
    schema: Proof,
    guessed: 'password',
    guess_wrong: visit.words.mfa.wrong,
    done: ({ password, code }) => done({ password, ...typed(code) }),
    again: (faults, status) => mfaPage(visit, faults, status),
  })

const switchOff = (visit: Visit) =>
  change(visit, async (proof) => {
    await disable(visit.ctx, proof)
    return goTo(visit, '/account?said=mfa_off')
  })
const newCodes = (visit: Visit) =>
  change(visit, async (proof) => codesPage(visit, (await renewBackupCodes(visit.ctx, proof)).backup_codes))

const FORM = { method: 'POST', session: true, trips: 2, attempts: 'password-change' } as const

export const mfaDoors: Door[] = [
  { method: 'GET', path: MFA, session: true, any_password: true, trips: 1, answer: (visit) => mfaPage(visit) },
  {
    method: 'POST',
    path: SETUP,
    session: true,
    any_password: true,
    fresh: FRESH,
    aal: TWO_IF_ANY,
    trips: 1,
    answer: begin,
  },
  { ...FORM, path: ENABLE, any_password: true, answer: finish },
  { ...FORM, path: DISABLE, answer: switchOff },
  { ...FORM, path: CODES, answer: newCodes },
]
