/** The account page: who somebody is, and where they are logged in. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Child } from 'hono/jsx'
import { ME_QUERY, type Me } from '../auth/me.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { endOwnSession, ownSessionsQuery, type Session } from '../sessions/sessions.ts'
import type { StoredLook } from '../settings/look.ts'
import { OtherAccounts } from './accounts.tsx'
import { nameCookie, namesIn } from './browser.ts'
import type { Door } from './doors.tsx'
import { type Faults, Moment, Note, Submit, Summary } from './layout.tsx'
import { termsFrom, termsQuery } from './look.ts'
import { FormToken, goTo, handle, saidIn, show, type Visit } from './visit.tsx'

const ACCOUNT = '/account'
const END = '/account/sessions/end'
const MOST_SESSIONS = 50

type Profile = Omit<z.infer<typeof Me>, 'tenant'>

/** Who is logged in and the terms of the tenant, with what else a page asks for, in one round trip. */
export async function profileWith(visit: Visit, ...more: ReturnType<typeof sql>[]) {
  const { ctx } = visit
  const statements = [ME_QUERY, sql`select ${termsQuery(ctx)} as answer`, ...more].map((each) => ctx.db.execute(each))
  const [first, second, ...rest] = await ctx.run(...statements)
  const [{ answer: profile } = { answer: null }] = rowsOf<{ answer: Profile | null }>(first)
  const [terms] = rowsOf<{ answer: StoredLook }>(second)
  if (!profile || !terms) throw new Error('The admitted user does not exist.')
  return { profile, terms: termsFrom(ctx, terms.answer), rest }
}

type FrameProps = { visit: Visit; at: string; children?: Child }

/** What the pages of an account share. */
export const Frame = ({ visit: { words }, at, children }: FrameProps) => (
  <>
    <nav class="tabs">
      {(
        [
          [ACCOUNT, words.account.title],
          ['/account/notifications', words.notifications.title],
          ['/account/passkeys', words.passkeys.title],
          ['/account/api-keys', words.keys.title],
          ['/account/data', words.data.title],
        ] as const
      ).map(([path, title]) => (
        <a href={path} aria-current={path === at ? 'page' : undefined}>
          {title}
        </a>
      ))}
    </nav>
    {children}
  </>
)

/** Beside the name at the top. */
export const LogOut = ({ visit }: { visit: Visit }) => (
  <form method="post" action="/account/logout">
    <FormToken visit={visit} action="/account/logout" />
    <Submit words={visit.words} class="quiet small">
      {visit.words.account.log_out}
    </Submit>
  </form>
)

const nameOf = ({ given_name, username }: Profile) => given_name ?? username

/** The page, after what was wrong with a form on it. */
export async function accountPage(visit: Visit, faults?: Faults, status = 200): Promise<Response> {
  const { words, language } = visit
  const { statement, read } = await ownSessionsQuery(visit.ctx, { limit: MOST_SESSIONS, is_behind: visit.c.get('is_behind') })
  const { profile, terms, rest } = await profileWith(visit, statement)
  const { data: sessions } = await read(rest[0])
  const { account } = words
  const { raw } = visit.c.req
  if (namesIn(raw)[profile.sub] !== profile.email)
    visit.c.set('cookies', [...(visit.c.get('cookies') ?? []), nameCookie(raw, profile.sub, profile.email)])
  return show(
    visit,
    {
      title: account.title,
      look: terms.look,
      wide: true,
      status,
      ...(faults && { faults }),
      aside: <LogOut visit={visit} />,
    },
    <Frame visit={visit} at={ACCOUNT}>
      <Note said={status === 200 ? saidIn(visit) : null} />
      {faults && <Summary words={words} faults={faults} />}
      <section class="card">
        <h1>{account.greeting.replace('{name}', () => nameOf(profile))}</h1>
        <dl class="facts">
          <dt>{account.username}</dt>
          <dd>{profile.username}</dd>
          <dt>{account.email}</dt>
          <dd>
            {profile.email} <span class="hint">({profile.email_verified ? account.verified : account.unverified})</span>
          </dd>
          <dt>{account.roles}</dt>
          <dd>{profile.roles.join(', ') || account.none}</dd>
        </dl>
        <p class="links">
          <a class="button quiet" href="/account/password">
            {account.change_password}
          </a>
          <a class="button quiet" href="/email-change">
            {account.change_email}
          </a>
          <a class="button quiet" href="/account/mfa">
            {words.mfa.title}
          </a>
          <a class="button quiet" href="/account/logins">
            {words.logins.title}
          </a>
        </p>
      </section>
      <section class="card">
        <div class="row">
          <h2>{account.sessions}</h2>
          <form method="post" action="/account/logout-all">
            <FormToken visit={visit} action="/account/logout-all" />
            <Submit words={words} class="quiet small danger">
              {account.log_out_all}
            </Submit>
          </form>
        </div>
        <p class="lead">{account.log_out_all_hint}</p>
        <ul class="rows">
          {sessions.map((session) => (
            <SessionRow visit={visit} session={session} language={language.tag} />
          ))}
        </ul>
      </section>
      <OtherAccounts visit={visit} />
      <p class="more">
        <a href="/login?add=1">{words.accounts.add}</a>
      </p>
    </Frame>,
  )
}

type SessionProps = { visit: Visit; session: z.infer<typeof Session>; language: string }

const SessionRow = ({ visit, session, language }: SessionProps) => {
  const { words } = visit
  const { account } = words
  const device = session.device_name ?? account.unknown_device
  const place = [session.city, session.country, session.address].filter(Boolean).join(', ')
  return (
    <li>
      <div class="what">
        <strong>{device}</strong>
        {session.is_current && <span class="pill">{account.this_session}</span>}
        {session.remembered && <span class="pill">{account.remembered}</span>}
        <p class="hint">
          {place && `${place} · `}
          {account.last_active} <Moment at={session.last_active_at} language={language} />
        </p>
      </div>
      {!session.is_current && (
        <form method="post" action={END}>
          <FormToken visit={visit} action={END} />
          <input type="hidden" name="id" value={session.id} />
          <Submit words={words} class="quiet small" aria-label={account.end_of.replace('{device}', () => device)}>
            {account.end}
          </Submit>
        </form>
      )}
    </li>
  )
}

/** Ends one of the visitor's own sessions; one that has ended before is no error. */
const endOne = (visit: Visit) =>
  handle(visit, {
    action: END,
    schema: z.object({ id: z.uuid() }).strict(),
    done: async ({ id }) => {
      const hasEnded = await endOwnSession(visit.ctx, id).then(() => true, unlessGone)
      return goTo(visit, `${ACCOUNT}?said=${hasEnded ? 'session_ended' : 'session_was_ended'}`)
    },
    again: (faults, status) => accountPage(visit, faults, status),
  })

/** Passes over that something is not there. */
export function unlessGone(error: unknown): false {
  if (error instanceof Problem && error.code === 'not_found') return false
  throw error
}

export const accountDoors: Door[] = [
  { method: 'GET', path: '/', trips: 0, answer: async (visit) => goTo(visit, visit.account ? ACCOUNT : '/login') },
  { method: 'GET', path: ACCOUNT, session: true, trips: 1, answer: (visit) => accountPage(visit) },
  { method: 'POST', path: END, session: true, trips: 1, answer: endOne },
]
