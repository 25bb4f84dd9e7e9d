/** The API keys of whoever is logged in. A key's secret is in the answer to the form alone, and in no address. */
import { z } from '@hono/zod-openapi'
import { createKey, ownKeysQuery, revokeKey, rotateKey } from '../api-keys/api-keys.ts'
import { NewApiKey, Rotation } from '../api-keys/wire.ts'
import { PERMISSIONS_QUERY } from '../auth/me.ts'
import { FRESH } from '../http/admit.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { rowsOf } from '../kernel/wire.ts'
import { Frame, LogOut, unlessGone } from './account.tsx'
import type { Door } from './doors.tsx'
import { CreateForm, DAYS, KEYS, type Key, KeyRow, REVOKE, ROTATE } from './key-forms.tsx'
import { type Faults, NO_FAULTS, Note, Summary } from './layout.tsx'
import { lookOf } from './look.ts'
import { goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const MOST_KEYS = 100

/** One box that is ticked is a text, more are a list. */
const Ticked = z.preprocess((said) => (typeof said === 'string' ? [said] : said), NewApiKey.shape.permissions)
/** Written with spaces, commas or lines between them. */
const Addresses = z.preprocess(
  (said) => (typeof said === 'string' ? said.split(/[\s,;]+/).filter(Boolean) : said),
  NewApiKey.shape.addresses,
)
/** Different for each page: a form that is sent twice makes one key. */
const Once = z.string().regex(/^[\w-]{43}$/)
const Wanted = z
  .object({
    name: NewApiKey.shape.name,
    permissions: Ticked,
    addresses: Addresses,
    expires: z.enum([...DAYS, 'never']).optional(),
    once: Once,
  })
  .strict()

type Form = { faults?: Faults; status?: number; sent?: Record<string, string> }

async function keysPage(visit: Visit, { faults = NO_FAULTS, status = 200, sent = {} }: Form = {}): Promise<Response> {
  const { words, ctx } = visit
  const [[caller, held], look] = await Promise.all([
    ctx.run(ctx.db.execute(PERMISSIONS_QUERY), ctx.db.execute(ownKeysQuery(MOST_KEYS))),
    lookOf(ctx),
  ])
  const permissions = rowsOf<{ answer: { permissions: string[] } }>(caller)[0]?.answer.permissions ?? []
  const keys = rowsOf<Key>(held)
  const rotated = new Set(keys.map(({ rotated_from }) => rotated_from))
  return show(
    visit,
    { title: words.keys.title, look, wide: true, faults, status, aside: <LogOut visit={visit} /> },
    <Frame visit={visit} at={KEYS}>
      <Note said={status === 200 ? saidIn(visit) : null} />
      <section class="card">
        <h1>{words.keys.title}</h1>
        <p class="lead">{keys.length ? words.keys.lead : words.keys.none}</p>
        {keys.length > 0 && (
          <ul class="rows">
            {keys.map((key) => (
              <KeyRow visit={visit} key_={key} was_rotated={rotated.has(key.id)} />
            ))}
          </ul>
        )}
      </section>
      <section class="card">
        <h2>{words.keys.create}</h2>
        <Summary words={words} faults={faults} />
        <CreateForm visit={visit} faults={faults} permissions={permissions} sent={sent} />
      </section>
    </Frame>,
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
    done: async ({ once, name, permissions, addresses = [], expires }) => {
      const { ctx } = visit
      ctx.idempotency = await idempotencyOf(
        ctx.realm,
        `POST ${KEYS}`,
        once,
        JSON.stringify([name, permissions, addresses, expires]),
      )
      const expires_at = expiryOf(expires)
      const made = await createKey(ctx, { name, permissions, addresses, ...(expires_at !== undefined && { expires_at }) })
      return madePage(visit, made, visit.words.keys.made_lead)
    },
    again: (faults, status, sent) => keysPage(visit, { faults, status, sent }),
  })

/** Makes the successor of a key, which works beside it for an hour. */
const rotate = (visit: Visit) =>
  handle(visit, {
    action: ROTATE,
    schema: z.object({ id: z.uuid(), once: Once }).strict(),
    done: async ({ id, once }) => {
      const { ctx, words } = visit
      ctx.idempotency = await idempotencyOf(ctx.realm, `POST ${ROTATE}`, once, id)
      const made = await rotateKey(ctx, id, Rotation.parse({})).catch(unlessGone)
      return made ? madePage(visit, made, words.keys.rotated_lead) : goTo(visit, `${KEYS}?said=key_was_revoked`)
    },
    again: (faults, status) => keysPage(visit, { faults, status }),
  })

type Made = { key?: string | undefined; name: string }

/** The one page that shows a key. */
async function madePage(visit: Visit, { key, name }: Made, lead: string): Promise<Response> {
  const { ctx, words } = visit
  // The same form was sent before, more than ten minutes ago.
  if (key === undefined) return goTo(visit, `${KEYS}?said=key_was_shown`)
  return show(
    visit,
    { title: words.keys.made, look: await lookOf(ctx) },
    <div class="card">
      <h1>{words.keys.made}</h1>
      <p class="lead">{name}</p>
      <p class="note" role="status">
        {lead}
      </p>
      <code class="code">{key}</code>
      <p class="links">
        <a class="button" href={KEYS}>
          {words.keys.go_back}
        </a>
      </p>
    </div>,
  )
}

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
  { method: 'POST', path: KEYS, session: true, fresh: FRESH, trips: 2, answer: create },
  { method: 'POST', path: ROTATE, session: true, fresh: FRESH, trips: 2, answer: rotate },
  { method: 'POST', path: REVOKE, session: true, trips: 1, answer: revoke },
]
