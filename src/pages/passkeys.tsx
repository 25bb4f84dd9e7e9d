/** The passkeys of whoever is logged in, and those that a browser offers for a login. */
import { z } from '@hono/zod-openapi'
import { FRESH, TWO_IF_ANY } from '../http/admit.ts'
import { creationOptions } from '../passkeys/options.ts'
import { listPasskeys, registerPasskey, removePasskey, renamePasskey } from '../passkeys/passkeys.ts'
import { NewCredential, type Passkey, Renaming } from '../passkeys/wire.ts'
import { Frame, LogOut, unlessGone } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Field, Moment, NO_FAULTS, Note, Submit, Summary } from './layout.tsx'
import { Credential, PasskeyForm, passkeyQuestions } from './passkey-form.tsx'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const PASSKEYS = '/account/passkeys'
const RENAME = '/account/passkeys/rename'
const REMOVE = '/account/passkeys/remove'

export const PASSKEY_LOGIN = '/login/passkey'

/** Offers the passkeys of this browser for a login, where the script finds that it has such a thing. */
export const PasskeyOffer = async ({ visit, next }: { visit: Visit; next: string | null }) => {
  const { words, ctx } = visit
  const again = next ? `/login?${new URLSearchParams({ next })}` : '/login'
  return (
    <>
      {(await passkeyQuestions(ctx)).map(({ options, former }) => (
        <PasskeyForm words={words} action={PASSKEY_LOGIN} verb="get" options={options} again={again} is_quiet={former !== null}>
          <FormToken visit={visit} action={PASSKEY_LOGIN} />
          {next && <input type="hidden" name="next" value={next} />}
          <Submit words={words} class="quiet">
            {former === null ? words.passkeys.log_in : words.passkeys.log_in_former.replace('{host}', () => former)}
          </Submit>
        </PasskeyForm>
      ))}
    </>
  )
}

async function passkeysPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200): Promise<Response> {
  const { words, ctx } = visit
  const [{ data }, options] = await Promise.all([listPasskeys(ctx), creationOptions(ctx)])
  const { passkeys } = words
  return show(
    visit,
    { title: passkeys.title, wide: true, faults, status, aside: <LogOut visit={visit} /> },
    <Frame visit={visit} at={PASSKEYS}>
      <Note said={status === 200 ? saidIn(visit) : null} />
      <Summary words={words} faults={faults} />
      <section class="card">
        <h1>{passkeys.title}</h1>
        <p class="lead">{data.length ? passkeys.lead : passkeys.none}</p>
        {data.length > 0 && (
          <ul class="rows">
            {data.map((passkey) => (
              <PasskeyRow visit={visit} passkey={passkey} />
            ))}
          </ul>
        )}
      </section>
      <section class="card">
        <h2>{passkeys.add}</h2>
        <p class="lead">{passkeys.add_lead}</p>
        <PasskeyForm words={words} action={PASSKEYS} verb="create" options={options} again={PASSKEYS}>
          <FormToken visit={visit} action={PASSKEYS} />
          <Field name="name" label={passkeys.name} faults={faults} maxlength={100} autocomplete="off" />
          <Submit words={words}>{passkeys.submit}</Submit>
        </PasskeyForm>
      </section>
    </Frame>,
  )
}

const PasskeyRow = ({ visit, passkey }: { visit: Visit; passkey: z.infer<typeof Passkey> }) => {
  const { words, language } = visit
  const { passkeys } = words
  const { id, name, last_used_at, ends_at, rp_id } = passkey
  return (
    <li>
      <div class="what">
        <strong>{name}</strong>
        <p class="hint">
          {last_used_at ? (
            <>
              {passkeys.used} <Moment at={last_used_at} language={language.tag} />
            </>
          ) : (
            passkeys.unused
          )}
        </p>
        {ends_at && (
          <p class="hint">
            {passkeys.ends.replace('{host}', () => rp_id)} <Moment at={ends_at} language={language.tag} />
          </p>
        )}
        <details>
          <summary>{passkeys.rename}</summary>
          <form method="post" action={RENAME}>
            <FormToken visit={visit} action={RENAME} />
            <input type="hidden" name="id" value={id} />
            <label>
              {passkeys.new_name}
              <input name="name" value={name} maxlength={100} autocomplete="off" required />
            </label>
            <Submit words={words} class="quiet small">
              {passkeys.rename}
            </Submit>
          </form>
        </details>
      </div>
      <form method="post" action={REMOVE}>
        <FormToken visit={visit} action={REMOVE} />
        <input type="hidden" name="id" value={id} />
        <Submit words={words} class="quiet small danger" aria-label={passkeys.remove_of.replace('{name}', () => name)}>
          {passkeys.remove}
        </Submit>
      </form>
    </li>
  )
}

const register = (visit: Visit) =>
  handle(visit, {
    action: PASSKEYS,
    schema: z.object({ credential: Credential(NewCredential), name: Renaming.shape.name.optional() }).strict(),
    done: async ({ credential, name }) => {
      await registerPasskey(visit.ctx, { credential, name })
      return goTo(visit, `${PASSKEYS}?said=passkey_added`)
    },
    again: (faults, status) => passkeysPage(visit, inWords(faults, status, visit.words.passkeys.not_added), status),
  })

/** What a conflict means here, in place of what it means on other pages. */
const inWords = (faults: Faults, status: number, said: string): Faults => (status === 409 ? { general: [said], at: {} } : faults)

/** Renames or removes a passkey; one that is gone is no error. */
const change = <T extends { id: string }>(
  visit: Visit,
  action: string,
  schema: z.ZodType<T>,
  said: string,
  verb: (sent: T) => Promise<unknown>,
) =>
  handle(visit, {
    action,
    schema,
    done: async (sent) => {
      const is_there = await verb(sent).then(() => true, unlessGone)
      return goTo(visit, `${PASSKEYS}?said=${is_there ? said : 'passkey_was_removed'}`)
    },
    again: (faults, status) => passkeysPage(visit, inWords(faults, status, visit.words.passkeys.only_way), status),
  })

const Id = z.object({ id: z.uuid() }).strict()

/** As of the routes (src/passkeys/routes.ts). */
const STRONG = { session: true, fresh: FRESH, aal: TWO_IF_ANY, trips: 1 } as const

export const passkeyDoors: Door[] = [
  { method: 'GET', path: PASSKEYS, session: true, any_password: true, trips: 2, answer: (visit) => passkeysPage(visit) },
  { ...STRONG, method: 'POST', path: PASSKEYS, any_password: true, answer: register },
  {
    method: 'POST',
    path: RENAME,
    session: true,
    trips: 1,
    answer: (visit) =>
      change(visit, RENAME, Id.extend({ name: Renaming.shape.name }).strict(), 'passkey_renamed', ({ id, name }) =>
        renamePasskey(visit.ctx, id, name),
      ),
  },
  {
    ...STRONG,
    method: 'POST',
    path: REMOVE,
    answer: (visit) => change(visit, REMOVE, Id, 'passkey_removed', ({ id }) => removePasskey(visit.ctx, id)),
  },
]
