/**
 * A forgotten password. The link of the mail has its token in the fragment, which no server sees: the script moves it into the field of
 * the code. Without script one types the code that the mail prints.
 */
import { confirmReset, ResetConfirmation, ResetRequest, requestReset } from '../recovery/recovery.ts'
import type { Door } from './doors.tsx'
import { type Faults, Field, NO_FAULTS, Note, PasswordField, Submit, Summary } from './layout.tsx'
import { type Terms, termsOf } from './look.ts'
import { FormToken, goTo, handle, saidIn, show, Ticked, type Visit } from './visit.tsx'
import type { Words } from './words/words.ts'

const RESET = '/reset-password'
const CONFIRM = '/reset-password/confirm'

type Form = { faults?: Faults; status?: number; email?: string | undefined; token?: string | undefined; asks?: boolean }

/** The page: it asks for a link, or takes what came with one. */
async function resetPage(visit: Visit, form: Form = {}): Promise<Response> {
  const { words, c } = visit
  const { faults = NO_FAULTS, status = 200, asks = c.req.query('step') === 'ask' } = form
  const terms = await termsOf(visit.ctx)
  const title = asks ? words.reset.title : words.reset.set_title
  return show(
    visit,
    { title, look: terms.look, faults, status },
    asks ? <AskCard visit={visit} form={form} /> : <SetCards visit={visit} form={form} terms={terms} />,
  )
}

type Props = { visit: Visit; form: Form }

const AskCard = ({ visit, form: { faults = NO_FAULTS, email } }: Props) => {
  const { words } = visit
  return (
    <>
      <div class="card">
        <h1>{words.reset.title}</h1>
        <p class="lead">{words.reset.lead}</p>
        <Summary words={words} faults={faults} />
        <AskForm visit={visit} faults={faults} email={email} />
      </div>
      <p class="more">
        <a href={RESET}>{words.reset.have_code}</a>
        <a href="/login">{words.login.title}</a>
      </p>
    </>
  )
}

type AskProps = { visit: Visit; faults: Faults; email?: string | undefined; is_quiet?: boolean }

const AskForm = ({ visit, faults, email, is_quiet }: AskProps) => (
  <form method="post" action={RESET}>
    <FormToken visit={visit} action={RESET} />
    <Field
      name="email"
      label={visit.words.email}
      faults={faults}
      value={email}
      type="email"
      autocomplete="email"
      maxlength={255}
      required
    />
    <Submit words={visit.words} class={is_quiet ? 'quiet' : undefined}>
      {visit.words.reset.submit}
    </Submit>
  </form>
)

const SetCards = ({ visit, form: { faults = NO_FAULTS, status = 200, token }, terms }: Props & { terms: Terms }) => {
  const { words } = visit
  return (
    <>
      <div class="card">
        <h1>{words.reset.set_title}</h1>
        <p class="lead">{words.reset.set_lead}</p>
        <Note said={status === 200 ? saidIn(visit) : null} />
        <Summary words={words} faults={faults} />
        <form method="post" action={CONFIRM}>
          <FormToken visit={visit} action={CONFIRM} />
          <CodeField words={words} faults={faults} token={token} />
          <PasswordField words={words} name="new_password" label={words.new_password} faults={faults} policy={terms.policy} />
          <div class="check">
            <input id="revoke_api_keys" name="revoke_api_keys" type="checkbox" value="yes" />
            <label for="revoke_api_keys">{words.revoke_api_keys}</label>
          </div>
          <Submit words={words}>{words.reset.set_submit}</Submit>
        </form>
      </div>
      <div class="card" data-without-token>
        <h2>{words.reset.ask_again}</h2>
        <AskForm visit={visit} faults={NO_FAULTS} is_quiet />
      </div>
    </>
  )
}

type CodeProps = { words: Words; faults: Faults; token?: string | undefined }

/** The code of a mail, into which the script puts the token of its link. */
export const CodeField = ({ words, faults, token }: CodeProps) => (
  <Field
    name="token"
    label={words.code}
    faults={faults}
    hint={words.code_hint}
    value={token}
    data-token
    autocomplete="one-time-code"
    autocapitalize="none"
    spellcheck={false}
    maxlength={512}
    required
  />
)

const ask = (visit: Visit) =>
  handle(visit, {
    action: RESET,
    schema: ResetRequest.strict(),
    done: async (wanted) => {
      await requestReset(visit.ctx, wanted)
      return goTo(visit, `${RESET}?said=mail_sent`)
    },
    again: (faults, status, { email }) => resetPage(visit, { faults, status, email, asks: true }),
  })

const confirm = (visit: Visit) =>
  handle(visit, {
    action: CONFIRM,
    schema: ResetConfirmation.extend({ revoke_api_keys: Ticked }).strict(),
    done: async (wanted) => {
      await confirmReset(visit.ctx, wanted)
      return goTo(visit, '/login?said=password_set')
    },
    again: (faults, status, { token }) => resetPage(visit, { faults, status, token, asks: false }),
  })

export const resetDoors: Door[] = [
  { method: 'GET', path: RESET, trips: 1, answer: (visit) => resetPage(visit) },
  { method: 'POST', path: RESET, trips: 1, attempts: 'mail', answer: ask },
  { method: 'GET', path: CONFIRM, trips: 0, answer: async (visit) => goTo(visit, RESET) },
  { method: 'POST', path: CONFIRM, trips: 2, attempts: 'password-reset', answer: confirm },
]
