/** The list of API keys on a page, and the form for another. */
import type { z } from '@hono/zod-openapi'
import type { ApiKey } from '../api-keys/wire.ts'
import { newToken } from '../kernel/token.ts'
import { type Faults, Field, Moment, Submit, stateOf } from './layout.tsx'
import { FormToken, type Visit } from './visit.tsx'

export const KEYS = '/account/api-keys'
export const REVOKE = '/account/api-keys/revoke'
export const ROTATE = '/account/api-keys/rotate'
export const DAYS = ['30', '90', '365'] as const

export type Key = z.infer<typeof ApiKey>

export const KeyRow = ({ visit, key_: key, was_rotated }: { visit: Visit; key_: Key; was_rotated: boolean }) => {
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
        {key.addresses.length > 0 && (
          <p class="hint">
            {keys.from} {key.addresses.join(', ')}
          </p>
        )}
      </div>
      {!was_rotated && (
        <form method="post" action={ROTATE}>
          <FormToken visit={visit} action={ROTATE} />
          <input type="hidden" name="id" value={key.id} />
          <input type="hidden" name="once" value={newToken()} />
          <Submit words={words} class="quiet small" aria-label={keys.rotate_of.replace('{name}', () => key.name)}>
            {keys.rotate}
          </Submit>
        </form>
      )}
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

type CreateProps = { visit: Visit; faults: Faults; permissions: string[]; sent: Record<string, string> }

export const CreateForm = ({ visit, faults, permissions, sent }: CreateProps) => {
  const { words } = visit
  const { keys } = words
  return (
    <form method="post" action={KEYS}>
      <FormToken visit={visit} action={KEYS} />
      <input type="hidden" name="once" value={newToken()} />
      <Field name="name" label={keys.name} faults={faults} value={sent.name} maxlength={100} autocomplete="off" required />
      <fieldset
        id="permissions"
        aria-describedby={faults.at.permissions ? 'permissions-wrong' : undefined}
        tabindex={faults.at.permissions && -1}
        autofocus={stateOf('permissions', faults).autofocus}
      >
        <legend>{keys.permissions}</legend>
        <div class="scroll">
          {permissions.map((permission) => (
            <label class="check">
              <input type="checkbox" name="permissions" value={permission} />
              {permission}
            </label>
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
      <Field
        name="addresses"
        label={keys.addresses}
        faults={faults}
        hint={keys.addresses_hint}
        value={sent.addresses}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        maxlength={2000}
      />
      <Submit words={words}>{keys.submit}</Submit>
    </form>
  )
}
