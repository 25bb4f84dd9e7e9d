/** The API keys of whoever is logged in. A key's secret is in the answer to the form alone, and in no address. */
import { z } from '@hono/zod-openapi'
import { createKey, ownKeys, revokeKey } from '../api-keys/api-keys.ts'
import { type ApiKey, NewApiKey } from '../api-keys/wire.ts'
import { whoAmI } from '../auth/me.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { newToken } from '../kernel/token.ts'
import { Frame, LogOut, unlessGone } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Field, Moment, NO_FAULTS, Note, Submit, Summary } from './layout.tsx'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const KEYS = '/account/api-keys'
const REVOKE = '/account/api-keys/revoke'
const MOST_KEYS = 100
const DAYS = ['30', '90', '365'] as const

/** One box that is ticked is a text, more are a list. */
const Ticked = z.preprocess((said) => (typeof said === 'string' ? [said] : said), NewApiKey.shape.permissions)
const Wanted = z
  .object({
    name: NewApiKey.shape.name,
    permissions: Ticked,
    expires: z.enum([...DAYS, 'never']).optional(),
    /** Different for each page: a form that is sent twice makes one key. */
    once: z.string().regex(/^[\w-]{43}$/),
  })
  .strict()

type Form = { faults?: Faults; status?: number; name?: string | undefined; said?: string | null }

async function keysPage(visit: Visit, { faults = NO_FAULTS, status = 200, name }: Form = {}): Promise<Response> {
  const { words, ctx } = visit
  const [{ permissions }, { data: keys }] = await Promise.all([whoAmI(ctx), ownKeys(ctx, { limit: MOST_KEYS })])
  return show(
    visit,
    { title: words.keys.title, wide: true, faults, status, aside: <LogOut visit={visit} /> },
    <Frame visit={visit} at={KEYS}>
      <Note said={status === 200 ? saidIn(visit) : null} />
      <section class="card">
        <h1>{words.keys.title}</h1>
        <p class="lead">{keys.length ? words.keys.lead : words.keys.none}</p>
        {keys.length > 0 && (
          <ul class="rows">
            {keys.map((key) => (
              <KeyRow visit={visit} key_={key} />
            ))}
          </ul>
        )}
      </section>
      <section class="card">
        <h2>{words.keys.create}</h2>
        <Summary words={words} faults={faults} />
        <CreateForm visit={visit} faults={faults} permissions={permissions} name={name} />
      </section>
    </Frame>,
  )
}

const KeyRow = ({ visit, key_: key }: { visit: Visit; key_: z.infer<typeof ApiKey> }) => {
  const { words, language } = visit
  const { keys } = words
  return (
    <li>
      <div class="what">
        <strong>{key.name}</strong> <code class="hint">{`fh_${key.prefix}…`}</code>
        <p class="hint">
          {key.last_used_at ? (
            <>
              {keys.used} <Moment at={key.last_used_at} language={language.tag} />
            </>
          ) : (
            keys.unused
          )}
          {' · '}
          {key.expires_at ? (
            <>
              {keys.until} <Moment at={key.expires_at} language={language.tag} />
            </>
          ) : (
            keys.forever
          )}
        </p>
        <p class="hint">{key.permissions.join(', ')}</p>
      </div>
      <form method="post" action={REVOKE}>
        <FormToken visit={visit} action={REVOKE} />
        <input type="hidden" name="id" value={key.id} />
        <Submit words={words} class="quiet small danger" aria-label={keys.revoke_of.replace('{name}', () => key.name)}>
          {keys.revoke}
        </Submit>
      </form>
    </li>
  )
}

type CreateProps = { visit: Visit; faults: Faults; permissions: string[]; name: string | undefined }

const CreateForm = ({ visit, faults, permissions, name }: CreateProps) => {
  const { words } = visit
  const { keys } = words
  return (
    <form method="post" action={KEYS}>
      <FormToken visit={visit} action={KEYS} />
      <input type="hidden" name="once" value={newToken()} />
      <Field name="name" label={keys.name} faults={faults} value={name} maxlength={100} autocomplete="off" required />
      <fieldset id="permissions" aria-describedby={faults.at.permissions ? 'permissions-wrong' : undefined}>
        <legend>{keys.permissions}</legend>
        <div class="scroll">
          {permissions.map((permission) => (
            <div class="check">
              <input id={`p-${permission}`} type="checkbox" name="permissions" value={permission} />
              <label for={`p-${permission}`}>{permission}</label>
            </div>
          ))}
        </div>
        {faults.at.permissions && (
          <p class="wrong" id="permissions-wrong">
            {faults.at.permissions[0]}
          </p>
        )}
      </fieldset>
      <Field name="expires" label={keys.expires} faults={faults}>
        <select id="expires" name="expires">
          <option value="">{keys.by_default}</option>
          {DAYS.map((days) => (
            <option value={days}>{keys.days.replace('{n}', () => days)}</option>
          ))}
          <option value="never">{keys.never}</option>
        </select>
      </Field>
      <Submit words={words}>{keys.submit}</Submit>
    </form>
  )
}

/** When a key ends that works for so many days; null: never. Undefined: as the settings say. */
function expiryOf(expires: z.infer<typeof Wanted>['expires']): string | null | undefined {
  if (expires === undefined || expires === 'never') return expires && null
  return new Date(Date.now() + Number(expires) * 86_400_000).toISOString()
}

const create = (visit: Visit) =>
  handle(visit, {
    action: KEYS,
    schema: Wanted,
    done: async ({ once, name, permissions, expires }) => {
      const { ctx, words } = visit
      ctx.idempotency = await idempotencyOf(ctx.realm, `POST ${KEYS}`, once, JSON.stringify([name, permissions, expires]))
      const expires_at = expiryOf(expires)
      const { key, name: called } = await createKey(ctx, { name, permissions, ...(expires_at !== undefined && { expires_at }) })
      // The same form was sent before, more than ten minutes ago.
      if (key === undefined) return goTo(visit, `${KEYS}?said=key_was_shown`)
      return show(
        visit,
        { title: words.keys.made },
        <div class="card">
          <h1>{words.keys.made}</h1>
          <p class="lead">{called}</p>
          <p class="note" role="status">
            {words.keys.made_lead}
          </p>
          <code class="code">{key}</code>
          <p class="links">
            <a class="button" href={KEYS}>
              {words.keys.go_back}
            </a>
          </p>
        </div>,
      )
    },
    again: (faults, status, { name }) => keysPage(visit, { faults, status, name }),
  })

/** Revokes a key; one that was revoked before is no error. */
const revoke = (visit: Visit) =>
  handle(visit, {
    action: REVOKE,
    schema: z.object({ id: z.uuid() }).strict(),
    done: async ({ id }) => {
      const isRevoked = await revokeKey(visit.ctx, id).then(() => true, unlessGone)
      return goTo(visit, `${KEYS}?said=${isRevoked ? 'key_revoked' : 'key_was_revoked'}`)
    },
    again: (faults, status) => keysPage(visit, { faults, status }),
  })

export const keyDoors: Door[] = [
  { method: 'GET', path: KEYS, session: true, trips: 2, answer: (visit) => keysPage(visit) },
  { method: 'POST', path: KEYS, session: true, trips: 1, answer: create },
  { method: 'POST', path: REVOKE, session: true, trips: 1, answer: revoke },
]
