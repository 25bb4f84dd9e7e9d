/** Changing the password of whoever is logged in. */
import { changePassword, PasswordChange } from '../auth/auth.ts'
import { profileWith } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, NO_FAULTS, PasswordField, Submit, Summary } from './layout.tsx'
import { FormToken, goTo, handle, show, Ticked, type Visit } from './visit.tsx'

const PASSWORD = '/account/password'
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

const CHANGE = { method: 'POST', session: true, trips: 2, attempts: 'password-change' } as const

export const passwordDoors: Door[] = [
  { method: 'GET', path: PASSWORD, session: true, any_password: true, trips: 1, answer: (visit) => passwordPage(visit) },
  { ...CHANGE, path: PASSWORD, any_password: true, answer: changeIt },
]
