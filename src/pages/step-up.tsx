/**
 * What somebody proves once more in the middle of something (decision 73): their password, a code, or a passkey, whichever they have. What
 * was wanted waits in this form, and the browser sends it on by itself once the proof was right: with 307, which keeps the method and the
 * fields. Threat: this form sends a visitor's fields to another place. So where they go is part of what its token proves.
 */
import type { Child } from 'hono/jsx'
import type { Ctx } from '../kernel/context.ts'
import { formToken } from './browser.ts'
import { type Faults, Field, NO_FAULTS, PasswordField, Submit, Summary } from './layout.tsx'
import { PasskeyForm, passkeyQuestions } from './passkey-form.tsx'
import type { Words } from './words/words.ts'

/** The fields of a form: one that was sent more than once is a list. */
export type Sent = Record<string, string | string[]>

export const STEP_UP = '/account/step-up'

/** The fields of this form beside those that wait in it. */
const OWN = {
  form: 'step_up_form',
  to: 'step_up_to',
  password: 'step_up_password',
  code: 'step_up_code',
  passkey: 'step_up_passkey',
} as const

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
export const proofIn = (sent: Sent) => ({
  form: sent[OWN.form],
  to: sent[OWN.to],
  password: sent[OWN.password],
  code: sent[OWN.code],
  passkey: sent[OWN.passkey],
})

/** What shows that this form was for who is logged in, and for going on there. */
export const proofToken = ({ secret, account }: { secret: string; account: string | null }, to: string) =>
  formToken(secret, `${STEP_UP}:${to}`, account)

/** A fault of what was sent; a passkey has no field. */
export const wrongProof = (which: 'password' | 'code' | 'passkey', words: Words): Faults => {
  if (which === 'passkey') return { general: [words.passkeys.refused], at: {} }
  return { general: [], at: { [OWN[which]]: [which === 'code' ? words.step_up.wrong_code : words.step_up.wrong] } }
}

/** By what whoever is logged in can prove who they are (access.step_up_methods). */
export type Proofs = ('password' | 'totp' | 'passkey' | 'backup_code')[]

type AgainProps = Waiting & { words: Words; ctx: Ctx; token: string; proofs: Proofs }

/** The forms that ask for a proof, one for each kind that there is; what waits is in each. */
export const ProofAgain = async ({ words, ctx, token, to, wanted, proofs, faults = NO_FAULTS }: AgainProps) => {
  const waiting = [
    <Hidden name={OWN.form} value={token} />,
    <Hidden name={OWN.to} value={to} />,
    ...Object.entries(withoutProof(wanted)).flatMap(([name, value]) =>
      [value].flat().map((one): Child => <Hidden name={name} value={one} />),
    ),
  ]
  const has_code = proofs.includes('totp') || proofs.includes('backup_code')
  return (
    <div class="card">
      <h1>{words.step_up.title}</h1>
      <p class="lead">{words.step_up.lead}</p>
      <Summary words={words} faults={faults} />
      {proofs.includes('password') && (
        <form method="post" action={STEP_UP}>
          {waiting}
          <PasswordField words={words} name={OWN.password} label={words.current_password} faults={faults} />
          <Submit words={words}>{words.step_up.submit}</Submit>
        </form>
      )}
      {has_code && (
        <form method="post" action={STEP_UP}>
          {waiting}
          <Field
            name={OWN.code}
            label={words.second.code}
            hint={words.second.hint}
            faults={faults}
            autocomplete="one-time-code"
            autocapitalize="none"
            spellcheck={false}
            maxlength={64}
            required
          />
          <Submit words={words} {...(proofs.includes('password') && { class: 'quiet' })}>
            {words.step_up.submit_code}
          </Submit>
        </form>
      )}
      {proofs.includes('passkey') &&
        (await passkeyQuestions(ctx)).map(({ options, former }) => (
          <PasskeyForm words={words} action={STEP_UP} verb="get" options={options} again="/account" field={OWN.passkey} is_quiet>
            {waiting}
            <Submit words={words} class="quiet">
              {former === null ? words.step_up.submit_passkey : words.step_up.submit_former.replace('{host}', () => former)}
            </Submit>
          </PasskeyForm>
        ))}
    </div>
  )
}

const Hidden = ({ name, value }: { name: string; value: string }) => <input type="hidden" name={name} value={value} />
