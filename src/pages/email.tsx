/**
 * Changing the e-mail address: whoever is logged in asks for it, and whoever reads the mail to the new address confirms it, on
 * whatever device.
 */
import { z } from '@hono/zod-openapi'
import { changeEmail, EmailChange } from '../recovery/contact.ts'
import { MailToken } from '../recovery/recovery.ts'
import { verifyEmail } from '../recovery/registration.ts'
import { profileWith } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, Note, PasswordField, Submit, Summary } from './layout.tsx'
import { type Terms, termsOf } from './look.ts'
import { Back } from './password.tsx'
import { CodeField } from './reset.tsx'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const EMAIL = '/email-change'
const CONFIRM = '/email-change/confirm'

type Form = {
  faults?: Faults
  status?: number
  wanted?: string | undefined
  token?: string | undefined
  /** Which of the two forms was sent. */
  sent?: 'change' | 'code'
}

/** Who asks may confirm in the same place; everybody else sees the form of the code alone. */
async function emailPage(visit: Visit, form: Form = {}): Promise<Response> {
  const { words } = visit
  const { faults = NO_FAULTS, status = 200, sent = 'change' } = form
  const known = visit.ctx.bearer ? await profileWith(visit) : null
  const terms: Terms = known?.terms ?? (await termsOf(visit.ctx))
  return show(
    visit,
    { title: words.email_change.title, look: terms.look, faults, status },
    <>
      {known && (
        <div class="card" data-without-token>
          <h1>{words.email_change.title}</h1>
          <p class="lead">{words.email_change.lead}</p>
          <Note said={status === 200 ? saidIn(visit) : null} />
          {sent === 'change' && <Summary words={words} faults={faults} />}
          <AskForm visit={visit} form={form} email={known.profile.email} />
        </div>
      )}
      <div class="card">
        {known ? <h2>{words.email_change.confirm}</h2> : <h1>{words.email_change.confirm}</h1>}
        <p class="lead">{words.email_change.confirm_lead}</p>
        {sent === 'code' && <Summary words={words} faults={faults} />}
        <form method="post" action={CONFIRM}>
          <FormToken visit={visit} action={CONFIRM} is_for_anybody />
          <CodeField words={words} faults={faults} token={form.token} />
          <Submit words={words} class={known ? 'quiet' : undefined}>
            {words.verify.submit}
          </Submit>
        </form>
      </div>
      {known ? <Back words={words} /> : null}
    </>,
  )
}

const AskForm = ({ visit, form, email }: { visit: Visit; form: Form; email: string }) => {
  const { words } = visit
  const faults = form.faults ?? NO_FAULTS
  return (
    <form method="post" action={EMAIL}>
      <FormToken visit={visit} action={EMAIL} />
      <Field
        name="new_email"
        label={words.email_change.field}
        faults={faults}
        hint={words.email_change.now.replace('{email}', () => email)}
        value={form.wanted}
        type="email"
        autocomplete="email"
        maxlength={255}
        required
      />
      <PasswordField words={words} name="current_password" label={words.current_password} faults={faults} />
      <Submit words={words}>{words.email_change.submit}</Submit>
    </form>
  )
}

const askForChange = (visit: Visit) =>
  handle(visit, {
    action: EMAIL,
    schema: EmailChange.strict(),
    guessed: 'current_password',
    done: async (wanted) => {
      await changeEmail(visit.ctx, wanted)
      return goTo(visit, '/email-change?said=email_asked')
    },
    again: (faults, status, { new_email }) => emailPage(visit, { faults, status, wanted: new_email }),
  })

/** Confirms the address of an account. */
const confirm = (visit: Visit) =>
  handle(visit, {
    action: CONFIRM,
    schema: z.object({ token: MailToken }).strict(),
    done: async ({ token }) => {
      await verifyEmail(visit.ctx, { token })
      return goTo(visit, visit.account ? '/account?said=verified' : '/login?said=verified_again')
    },
    // One of a registration, which wants a password: that is asked for elsewhere.
    again: async (faults, status, { token }) =>
      status === 422 ? goTo(visit, '/verify-email') : emailPage(visit, { faults, status, token, sent: 'code' }),
  })

export const emailDoors: Door[] = [
  { method: 'GET', path: EMAIL, session: 'if_any', trips: 1, answer: (visit) => emailPage(visit) },
  { method: 'POST', path: EMAIL, session: true, trips: 2, attempts: 'password-change', answer: askForChange },
  { method: 'GET', path: CONFIRM, trips: 0, answer: async (visit) => goTo(visit, EMAIL) },
  { method: 'POST', path: CONFIRM, trips: 2, attempts: 'verify', answer: confirm },
]
