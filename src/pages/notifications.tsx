/** What whoever is logged in is told, and what they choose to be told. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { rowsOf } from '../kernel/wire.ts'
import {
  KINDS,
  listNotifications,
  type Notification,
  type NotificationPreferences,
  readAll,
  readNotification,
  setPreferences,
} from '../notifications/notifications.ts'
import { Frame, LogOut, profileWith, unlessGone } from './account.tsx'
import type { Door } from './doors.tsx'
import { type Faults, Moment, NO_FAULTS, Note, Submit, Summary } from './layout.tsx'
import { FormToken, goTo, handle, saidIn, show, Ticked, type Visit } from './visit.tsx'

const NOTIFICATIONS = '/account/notifications'
const READ = '/account/notifications/read'
const READ_ALL = '/account/notifications/read-all'
const CHOOSE = '/account/notifications/preferences'
const MOST = 20
const MAILS = ['now', 'digest', 'off'] as const

type Chosen = z.infer<typeof NotificationPreferences>

async function notificationsPage(visit: Visit, faults: Faults = NO_FAULTS, status = 200): Promise<Response> {
  const { words, ctx, language, c } = visit
  const { terms, rest } = await profileWith(visit, sql`select access.notification_preferences() as answer`)
  const chosen = rowsOf<{ answer: Chosen }>(rest[0])[0]?.answer
  const cursor = c.req.method === 'GET' ? c.req.query('cursor') : undefined
  const { data, next_cursor } = await listNotifications(ctx, language, { limit: MOST, cursor })
  const { notifications } = words
  return show(
    visit,
    { title: notifications.title, look: terms.look, wide: true, faults, status, aside: <LogOut visit={visit} /> },
    <Frame visit={visit} at={NOTIFICATIONS}>
      <Note said={status === 200 ? saidIn(visit) : null} />
      <Summary words={words} faults={faults} />
      <section class="card">
        <div class="row">
          <h1>{notifications.title}</h1>
          {data.some(({ read_at }) => read_at === null) && (
            <form method="post" action={READ_ALL}>
              <FormToken visit={visit} action={READ_ALL} />
              <Submit words={words} class="quiet small">
                {notifications.read_all}
              </Submit>
            </form>
          )}
        </div>
        {data.length === 0 && <p class="lead">{notifications.none}</p>}
        {data.length > 0 && (
          <ul class="rows">
            {data.map((one) => (
              <Row visit={visit} one={one} />
            ))}
          </ul>
        )}
        {next_cursor && (
          <p class="more">
            <a href={`${NOTIFICATIONS}?cursor=${encodeURIComponent(next_cursor)}`}>{notifications.older}</a>
          </p>
        )}
      </section>
      {chosen && <Choosing visit={visit} chosen={chosen} />}
    </Frame>,
  )
}

const Row = ({ visit, one }: { visit: Visit; one: z.infer<typeof Notification> }) => {
  const { words, language } = visit
  const { notifications } = words
  return (
    <li>
      <div class="what">
        <strong>{one.title}</strong>
        {one.read_at === null && <span class="pill">{notifications.unread}</span>}
        <p>{one.text}</p>
        <p class="hint">
          <Moment at={one.created_at} language={language.tag} />
        </p>
      </div>
      {one.read_at === null && (
        <form method="post" action={READ}>
          <FormToken visit={visit} action={READ} />
          <input type="hidden" name="id" value={one.id} />
          <Submit words={words} class="quiet small" aria-label={notifications.read_of.replace('{title}', () => one.title)}>
            {notifications.read}
          </Submit>
        </form>
      )}
    </li>
  )
}

const Choosing = ({ visit, chosen }: { visit: Visit; chosen: Chosen }) => {
  const { words } = visit
  const { notifications } = words
  return (
    <section class="card">
      <h2>{notifications.choose}</h2>
      <p class="lead">{notifications.choose_lead}</p>
      <form method="post" action={CHOOSE}>
        <FormToken visit={visit} action={CHOOSE} />
        {KINDS.map((kind) => (
          <fieldset>
            <legend>{notifications.kinds[kind]}</legend>
            <label class="check">
              <input type="checkbox" name={`${kind}_in_app`} value="yes" checked={chosen[kind].in_app} />
              <span>{notifications.in_app}</span>
            </label>
            <label for={`${kind}_mail`}>{notifications.mail}</label>
            <select id={`${kind}_mail`} name={`${kind}_mail`}>
              {MAILS.map((mail) => (
                <option value={mail} selected={chosen[kind].mail === mail}>
                  {notifications.mails[mail]}
                </option>
              ))}
            </select>
          </fieldset>
        ))}
        <Submit words={words}>{notifications.keep}</Submit>
      </form>
    </section>
  )
}

/** Marks one as read; one that is gone is no error. */
const read = (visit: Visit) =>
  handle(visit, {
    action: READ,
    schema: z.object({ id: z.uuid() }).strict(),
    done: async ({ id }) => {
      await readNotification(visit.ctx, visit.language, id).catch(unlessGone)
      return goTo(visit, `${NOTIFICATIONS}?said=notification_read`)
    },
    again: (faults, status) => notificationsPage(visit, faults, status),
  })

const readEvery = (visit: Visit) =>
  handle(visit, {
    action: READ_ALL,
    schema: z.object({}).strict(),
    done: async () => {
      await readAll(visit.ctx)
      return goTo(visit, `${NOTIFICATIONS}?said=notifications_read`)
    },
    again: (faults, status) => notificationsPage(visit, faults, status),
  })

const Mail = z.enum(MAILS)
const Choice = z
  .object({
    ...{ security_in_app: Ticked, competency_in_app: Ticked, invitation_in_app: Ticked, delegation_in_app: Ticked },
    ...{ license_in_app: Ticked, security_mail: Mail, competency_mail: Mail, invitation_mail: Mail, delegation_mail: Mail },
    license_mail: Mail,
  })
  .strict()

const choose = (visit: Visit) =>
  handle(visit, {
    action: CHOOSE,
    schema: Choice,
    done: async (sent) => {
      const kinds = KINDS.map((kind) => [kind, { in_app: sent[`${kind}_in_app`], mail: sent[`${kind}_mail`] }])
      await setPreferences(visit.ctx, Object.fromEntries(kinds))
      return goTo(visit, `${NOTIFICATIONS}?said=notifications_chosen`)
    },
    again: (faults, status) => notificationsPage(visit, faults, status),
  })

export const notificationDoors: Door[] = [
  { method: 'GET', path: NOTIFICATIONS, session: true, trips: 2, answer: (visit) => notificationsPage(visit) },
  { method: 'POST', path: READ, session: true, trips: 1, answer: read },
  { method: 'POST', path: READ_ALL, session: true, trips: 1, answer: readEvery },
  { method: 'POST', path: CHOOSE, session: true, trips: 1, answer: choose },
]
