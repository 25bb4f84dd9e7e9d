/** The logins from elsewhere of whoever is logged in. */
import { z } from '@hono/zod-openapi'
import { type Identity, listIdentities, unlinkIdentity } from '../external/identities.ts'
import { FRESH } from '../http/admit.ts'
import { Frame, LogOut, unlessGone } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Moment, NO_FAULTS, Note, Submit, Summary } from './layout.tsx'
import { termsOf } from './look.ts'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const LOGINS = '/account/logins'
const REMOVE = '/account/logins/remove'

async function loginsPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200): Promise<Response> {
  const { words, ctx } = visit
  const [{ data }, { look, providers }] = await Promise.all([listIdentities(ctx), termsOf(ctx)])
  const { logins } = words
  const labels = new Map(providers.map(({ name, label }) => [name, label]))
  return show(
    visit,
    { title: logins.title, look, wide: true, faults, status, aside: <LogOut visit={visit} /> },
    <Frame visit={visit} at={LOGINS}>
      <Note said={status === 200 ? saidIn(visit) : null} />
      <Summary words={words} faults={faults} />
      <section class="card">
        <h1>{logins.title}</h1>
        <p class="lead">{data.length ? logins.lead : logins.none}</p>
        {data.length > 0 && (
          <ul class="rows">
            {data.map((identity) => (
              <LoginRow visit={visit} identity={identity} label={labels.get(identity.provider) ?? identity.provider} />
            ))}
          </ul>
        )}
      </section>
    </Frame>,
  )
}

type RowProps = { visit: Visit; identity: z.infer<typeof Identity>; label: string }

const LoginRow = ({ visit, identity, label }: RowProps) => {
  const { words, language } = visit
  const { logins } = words
  const { id, email, external_id, last_used_at } = identity
  return (
    <li>
      <div class="what">
        <strong>{label}</strong>
        <p class="hint">{email ?? external_id}</p>
        {last_used_at && (
          <p class="hint">
            {logins.used} <Moment at={last_used_at} language={language.tag} />
          </p>
        )}
      </div>
      <form method="post" action={REMOVE}>
        <FormToken visit={visit} action={REMOVE} />
        <input type="hidden" name="id" value={id} />
        <Submit words={words} class="quiet small danger" aria-label={logins.remove_of.replace('{name}', () => label)}>
          {logins.remove}
        </Submit>
      </form>
    </li>
  )
}

/** Removes one; one that is gone is no error, and the last way in stays. */
const remove = (visit: Visit) =>
  handle(visit, {
    action: REMOVE,
    schema: z.object({ id: z.uuid() }).strict(),
    done: async ({ id }) => {
      const is_there = await unlinkIdentity(visit.ctx, id).then(() => true, unlessGone)
      return goTo(visit, `${LOGINS}?said=${is_there ? 'login_removed' : 'login_was_removed'}`)
    },
    again: (faults, status) =>
      loginsPage(visit, status === 409 ? { general: [visit.words.logins.only_way], at: {} } : faults, status),
  })

export const loginDoorsElsewhere: Door[] = [
  { method: 'GET', path: LOGINS, session: true, trips: 2, answer: (visit) => loginsPage(visit) },
  { method: 'POST', path: REMOVE, session: true, fresh: FRESH, trips: 2, answer: remove },
]
