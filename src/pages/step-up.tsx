/**
 * The password, asked for once more in the middle of something (decision 73). What was wanted waits in this form, and the browser sends it
 * on by itself once the password was right: with 307, which keeps the method and the fields. Threat: this form sends a visitor's fields
 * to another place. So where they go is part of what its token proves.
 */
import type { Child } from 'hono/jsx'
import { formToken } from './browser.ts'
import { type Faults, NO_FAULTS, PasswordField, Submit, Summary } from './layout.tsx'
import type { Words } from './words/words.ts'

/** The fields of a form: one that was sent more than once is a list. */
export type Sent = Record<string, string | string[]>

export const STEP_UP = '/account/step-up'

/** The fields of this form beside those that wait in it. */
const OWN = { form: 'step_up_form', to: 'step_up_to', password: 'step_up_password' } as const

export type Waiting = {
  /** Where the form goes that waits, and its fields. */
  to: string
  wanted: Sent
  faults?: Faults
  status?: number
}

/** The fields that were wanted, without those of this form. */
export const withoutProof = (sent: Sent): Sent =>
  Object.fromEntries(Object.entries(sent).filter(([name]) => !Object.values<string>(OWN).includes(name)))

/** What this form sent of its own. */
export const proofIn = (sent: Sent) => ({ form: sent[OWN.form], to: sent[OWN.to], password: sent[OWN.password] })

/** What shows that this form was for who is logged in, and for going on there. */
export const proofToken = ({ secret, account }: { secret: string; account: string | null }, to: string) =>
  formToken(secret, `${STEP_UP}:${to}`, account)

/** A fault of the password. */
export const wrongPassword = (said: string): Faults => ({ general: [], at: { [OWN.password]: [said] } })

type AgainProps = Waiting & { words: Words; token: string }

/** The form that asks for the password. */
export const PasswordAgain = ({ words, token, to, wanted, faults = NO_FAULTS }: AgainProps) => (
  <div class="card">
    <h1>{words.step_up.title}</h1>
    <p class="lead">{words.step_up.lead}</p>
    <Summary words={words} faults={faults} />
    <form method="post" action={STEP_UP}>
      <Hidden name={OWN.form} value={token} />
      <Hidden name={OWN.to} value={to} />
      {Object.entries(withoutProof(wanted)).flatMap(([name, value]) =>
        [value].flat().map((one): Child => <Hidden name={name} value={one} />),
      )}
      <PasswordField words={words} name={OWN.password} label={words.current_password} faults={faults} />
      <Submit words={words}>{words.step_up.submit}</Submit>
    </form>
  </div>
)

const Hidden = ({ name, value }: { name: string; value: string }) => <input type="hidden" name={name} value={value} />
