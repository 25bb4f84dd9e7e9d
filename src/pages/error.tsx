import type { Context } from 'hono'
import { contextFor, NOBODY, needOf } from '../http/admit.ts'
import type { AppEnv } from '../http/app-env.ts'
import type { Code } from '../kernel/problem.ts'
import { formSecretOf } from './browser.ts'
import { wordsOf } from './doors.tsx'
import { knownLookOf, type Look, lookOf, plainLook } from './look.ts'
import { show } from './visit.tsx'

type Refused = { code: Code; title: string; detail: string; trace_id: string }

/** A refusal of the API as a page: what is wrong, and what to do. The status and what its headers say stay. */
export async function errorPage(c: Context<AppEnv>, refused: Response): Promise<Response> {
  const { code, title, detail, trace_id } = (await refused.json()) as Refused
  const { language, words } = await wordsOf(c)
  const isOurs = refused.status >= 500
  const look = await lookOfRefusal(c, refused.status)
  const visit = { c, ctx: c.get('ctx'), language, words, secret: formSecretOf(c.req.raw), account: null }
  const page = await show(
    visit,
    { title, look, status: refused.status },
    <div class="card">
      <h1>{title}</h1>
      <p class="lead" role="alert">
        {words.problems[code] ?? detail}
      </p>
      {isOurs && (
        <p class="lead">
          {words.trace} <code>{trace_id}</code>
        </p>
      )}
      {!isOurs && (
        <p class="links">
          <a href="/login">{words.details}</a>
        </p>
      )}
    </div>,
  )
  for (const name of ['Retry-After', 'RateLimit', 'RateLimit-Policy', 'WWW-Authenticate', 'Allow']) {
    const value = refused.headers.get(name)
    if (value !== null) page.headers.set(name, value)
  }
  return page
}

/** What is refused for its number, or because the database does not answer, costs that database nothing. */
async function lookOfRefusal(c: Context<AppEnv>, status: number): Promise<Look> {
  const realm = c.get('realm')
  if (!realm) return plainLook({ legal_name: c.get('subdomain') ?? '' })
  if (status >= 500 || status === 429) return knownLookOf(realm)
  if (!c.get('ctx')) c.set('ctx', contextFor(c, needOf({}), NOBODY))
  return lookOf(c.get('ctx'))
}
