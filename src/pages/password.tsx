/** Changing the password, and the e-mail address, of whoever is logged in. */
import { changePassword, PasswordChange } from '../auth/auth.ts'
import { changeEmail, EmailChange } from '../recovery/contact.ts'
import { profileWith } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, PasswordField, Submit, Summary } from './layout.tsx'
import { FormToken, goTo, handle, show, Ticked, type Visit } from './visit.tsx'

const PASSWORD = '/account/password'
const EMAIL = '/email-change'
async function passwordPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200): Promise<Response> {
  const { words } = visit
  const { profile, terms } = await profileWith(visit)
  const { change } = words
  return show(
    visit,
    { title: change.title, look: terms.look, faults, status },
    <>
      <div class="card">
        <h1>{change.title}</h1>
        <p class="lead">{change.lead}</p>
        <Summary words={words} faults={faults} />
        <form method="post" action={PASSWORD}>
          <FormToken visit={visit} action={PASSWORD} />
          <input type="text" autocomplete="username" value={profile.username} readonly hidden />
          <PasswordField words={words} name="current_password" label={words.current_password} faults={faults} />
          <PasswordField words={words} name="new_password" label={words.new_password} faults={faults} policy={terms.policy} />
          <div class="check">
            <input id="revoke_api_keys" name="revoke_api_keys" type="checkbox" value="yes" />
            <label for="revoke_api_keys">{change.revoke}</label>
          </div>
          <Submit words={words}>{change.submit}</Submit>
        </form>
      </div>
      <Back words={words} />
    </>,
  )
}

export const Back = ({ words }: Pick<Visit, 'words'>) => (
  <p class="more">
    <a href="/account">{words.back}</a>
  </p>
)

const changeIt = (visit: Visit) =>
  handle(visit, {
    action: PASSWORD,
    schema: PasswordChange.extend({ revoke_api_keys: Ticked }).strict(),
    guessed: 'current_password',
    done: async (wanted) => {
      await changePassword(visit.ctx, wanted)
      return goTo(visit, '/account?said=password_changed')
    },
    again: (faults, status) => passwordPage(visit, faults, status),
  })

async function emailPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200, wanted?: string): Promise<Response> {
  const { words } = visit
  const { profile, terms } = await profileWith(visit)
  const { email_change } = words
  return show(
    visit,
    { title: email_change.title, look: terms.look, faults, status },
    <>
      <div class="card">
        <h1>{email_change.title}</h1>
        <p class="lead">{email_change.lead}</p>
        <Summary words={words} faults={faults} />
        <form method="post" action={EMAIL}>
          <FormToken visit={visit} action={EMAIL} />
          <Field
            name="new_email"
            label={email_change.field}
            faults={faults}
            hint={profile.email}
            value={wanted}
            type="email"
            autocomplete="email"
            maxlength={255}
            required
          />
          <PasswordField words={words} name="current_password" label={words.current_password} faults={faults} />
          <Submit words={words}>{email_change.submit}</Submit>
        </form>
      </div>
      <Back words={words} />
    </>,
  )
}

const askForChange = (visit: Visit) =>
  handle(visit, {
    action: EMAIL,
    schema: EmailChange.strict(),
    guessed: 'current_password',
    done: async (wanted) => {
      await changeEmail(visit.ctx, wanted)
      return goTo(visit, '/account?said=email_asked')
    },
    again: (faults, status, { new_email }) => emailPage(visit, faults, status, new_email),
  })

const CHANGE = { method: 'POST', session: true, trips: 2, attempts: 'password-change' } as const

export const passwordDoors: Door[] = [
  { method: 'GET', path: PASSWORD, session: true, any_password: true, trips: 1, answer: (visit) => passwordPage(visit) },
  { ...CHANGE, path: PASSWORD, any_password: true, answer: changeIt },
  { method: 'GET', path: EMAIL, session: true, trips: 1, answer: (visit) => emailPage(visit) },
  { ...CHANGE, path: EMAIL, answer: askForChange },
]
