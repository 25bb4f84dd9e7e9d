/**
 * A visit: a page that is shown, or a form that is sent. Threat: a form that another page sends, one that changes something without
 * the checks of the API, a page that shows somebody what is another's. So every form goes the same way: origin, size, token, schema,
 * and then the verb that the API calls, which asks the database; and who is logged in is what the database admitted.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Context } from 'hono'
import { html } from 'hono/html'
import type { Child } from 'hono/jsx'
import { timingSafeEqual } from 'hono/utils/buffer'
import { askedOf, contextFor, needOf, stepUpChallenge } from '../http/admit.ts'
import type { AppEnv } from '../http/app-env.ts'
import { isOfOlderSchema } from '../http/failures.ts'
import { issuesIn } from '../http/issues.ts'
import type { Ctx } from '../kernel/context.ts'
import { toProblem } from '../kernel/db.ts'
import { type Issue, type Language, Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { formToken, pageCookie } from './browser.ts'
import { Document, type Faults, NO_FAULTS } from './layout.tsx'
import { knownLookOf, type Look } from './look.ts'
import { ProofAgain, type Proofs, proofToken, type Sent, type Waiting, withoutProof } from './step-up.tsx'
import { SAID } from './words/said.ts'
import type { Words } from './words/words.ts'

/** Own host only. Scripts and styles are files, and forms go to this host. */
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

export type Visit = {
  c: Context<AppEnv>
  ctx: Ctx
  words: Words
  language: Language
  /** Who is logged in, as the cookies say; on a page for everybody nobody has verified it. */
  account: string | null
  /** The secret of forms in this browser. */
  secret: string
}

type Shown = {
  title: string
  look?: Look
  wide?: boolean
  faults?: Faults
  status?: number
  refresh?: string | undefined
  aside?: Child
}

/** A page as a response. It gives the browser its secret of forms, again for a day. */
export async function show(visit: Visit, shown: Shown, body: Child): Promise<Response> {
  const { c, words, language, ctx, secret } = visit
  const { title, look = knownLookOf(ctx.realm), wide = false, faults = NO_FAULTS, status = 200, refresh, aside } = shown
  const is_wrong = status >= 400 || faults.general.length > 0
  const face = { words, language: language.tag, look }
  const page = (
    <Document {...face} title={title} wide={wide} is_wrong={is_wrong} refresh={refresh} aside={aside}>
      {body}
    </Document>
  )
  if (c.get('realm')) c.set('cookies', [...(c.get('cookies') ?? []), pageCookie('form', secret)])
  return new Response(String(await html`<!doctype html>${page}`), {
    status,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Language': language.tag,
      'Content-Security-Policy': POLICY,
      Vary: 'Accept-Language, Cookie, Sec-Fetch-Site',
      // RFC 9110 section 15.5.2 wants one with every 401: that of the API.
      ...(status === 401 && { 'WWW-Authenticate': 'Bearer realm="freehold"' }),
      ...(status === 401 &&
        (ctx.need.fresh || ctx.need.aal) && {
          'WWW-Authenticate': stepUpChallenge(askedOf(ctx.need, c.error)),
        }),
    },
  })
}

/** Sends the browser to another page of this host with GET, whatever was sent (RFC 9110 section 15.4.4). */
export const goTo = ({ c }: Pick<Visit, 'c'>, path: string) => c.redirect(path, 303)

/** What the address of a page says was done before. */
export function saidIn({ c, words }: Visit): string | null {
  const said = SAID.find((one) => one === c.req.query('said'))
  return said ? words.said[said] : null
}

type TokenProps = { visit: Visit; action: string; is_for_anybody?: boolean }

/**
 * What a form carries to show that it came from a page of ours. It counts for whoever is logged in where the form is for them; one for
 * anybody may be shown without the cookies of a session, which do not come with the link of a mail, and be sent with them.
 */
export const FormToken = async ({ visit: { secret, ctx }, action, is_for_anybody = false }: TokenProps) => (
  <input type="hidden" name="form" value={await formToken(secret, action, is_for_anybody ? null : userOf(ctx))} />
)

/** Whose the form is: nobody's on a page for everybody. */
const userOf = ({ bearer }: Ctx) => bearer?.user_id ?? null

/** A box that may be ticked. */
export const Ticked = z
  .literal('yes')
  .optional()
  .transform((said) => said === 'yes')

/** The fields of a form as it was sent: a field that was sent more than once is a list, an empty one counts as left out. */
export async function fieldsOf(c: Context<AppEnv>): Promise<Sent> {
  const sent = new URLSearchParams(await c.req.text())
  const fields = new Map<string, string[]>()
  for (const [name, value] of sent) {
    if (value === '' || name === '__proto__') continue
    const values = fields.get(name)
    if (values) values.push(value)
    else fields.set(name, [value])
  }
  return Object.fromEntries([...fields].map(([name, values]) => [name, values.length > 1 ? values : (values[0] ?? '')]))
}

type Handling<T> = {
  /** The path of the form. */
  action: string
  schema: z.ZodType<T>
  /** What was sent, of a form that the page has read itself. */
  fields?: Sent
  done: (data: T) => Promise<Response>
  /** The page with the form, and what was wrong with it. */
  again: (faults: Faults, status: number, sent: Record<string, string>) => Promise<Response>
  /** The field at which a wrong password is told. */
  guessed?: string
  /** What is said there, in place of the words for a wrong password. */
  guess_wrong?: string
}

/**
 * Does what a form asks for. What the verb refuses is shown in the form again, each error at its field; where it asks for a newer login,
 * that is asked for, and the form goes on with it. A session that has ended and what is not the visitor's to correct is thrown.
 */
export async function handle<T>(visit: Visit, handling: Handling<T>): Promise<Response> {
  const fields = handling.fields ?? (await fieldsOf(visit.c))
  return handled(visit, handling, fields).catch((error) => {
    const problem = toProblem(error)
    if (!(problem instanceof Problem && problem.code === 'step_up_required')) throw error
    visit.c.error = problem
    return proofAgain(visit, { to: handling.action, wanted: fields })
  })
}

/** The page that asks for a proof once more, with what waits for it. Which proofs there are costs one round trip. */
export async function proofAgain(visit: Visit, waiting: Waiting): Promise<Response> {
  const { c, words } = visit
  const { faults = NO_FAULTS, status = 401 } = waiting
  const ctx = contextFor(c, needOf({ any_password: true }), { bearer: visit.ctx.bearer, key: null })
  ctx.trips = visit.ctx.trips
  c.set('ctx', ctx)
  const [found] = await ctx.run(ctx.db.execute(sql`select access.step_up_methods() as proofs`))
  const [{ proofs } = { proofs: [] }] = rowsOf<{ proofs: Proofs }>(found)
  // A password is one factor, and enough for who has no other.
  const stronger = proofs.filter((proof) => proof !== 'password')
  const enough = visit.ctx.need.aal && stronger.length ? stronger : proofs
  const token = await proofToken(visit, waiting.to)
  const body = <ProofAgain words={words} ctx={ctx} token={token} proofs={enough} {...waiting} />
  return show(visit, { title: words.step_up.title, faults, status }, body)
}

async function handled<T>(
  visit: Visit,
  { action, schema, done, again, guessed, guess_wrong }: Handling<T>,
  fields: Sent,
): Promise<Response> {
  const { c, words, language } = visit
  const { form, ...sent } = withoutProof(fields)
  const texts = Object.fromEntries(Object.entries(sent).filter((one): one is [string, string] => typeof one[1] === 'string'))
  const expected = await formToken(visit.secret, action, userOf(visit.ctx))
  if (typeof form !== 'string' || !(await timingSafeEqual(form, expected)))
    return again({ general: [words.stale], at: {} }, 403, texts)
  const parsed = schema.safeParse(sent)
  if (!parsed.success) {
    const errors = issuesIn('#', parsed.error.issues, (issue) => language.issue(issue, sent))
    return again(faultsOf(visit, errors, fieldsIn(schema)), 400, texts)
  }
  try {
    return await done(parsed.data)
  } catch (error) {
    const problem = toProblem(error)
    // What an older schema does not grant yet is nothing that the visitor may not do.
    if (!(problem instanceof Problem) || isOfOlderSchema(problem, c.get('is_behind')) || !isForVisitor(visit, problem))
      throw error
    // For the log, for the limits of failures, and for what the audit has of refusals.
    c.error = problem
    const told = faultsOfProblem(visit, problem, guessed, guess_wrong, fieldsIn(schema))
    const response = await again(told, problem.status, texts)
    const retry = problem.headers['Retry-After']
    if (retry) response.headers.set('Retry-After', retry)
    return response
  }
}

/** What the visitor can correct in the form; all else has a page of its own, or ends the session. */
function isForVisitor({ ctx }: Visit, { code, status }: Problem): boolean {
  // The admission's: the password, or a second factor, comes first, on a page of its own.
  if (code === 'password_change_required' || code === 'mfa_setup_required') return !ctx.bearer || ctx.need.any_password
  return [400, 403, 409, 422, 429].includes(status) || code === 'invalid_credentials'
}

export function faultsOfProblem(
  visit: Visit,
  problem: Problem,
  guessed?: string,
  guess_wrong?: string,
  fields = new Set<string>(),
): Faults {
  const { words, language } = visit
  if (problem.errors)
    return faultsOf(
      visit,
      problem.errors.map((issue) => ({ ...issue, detail: language.sentence(issue.detail) })),
      fields,
    )
  const said = words.problems[problem.code] ?? language.sentence(problem.message)
  if (problem.code === 'invalid_credentials' && guessed) return { general: [], at: { [guessed]: [guess_wrong ?? said] } }
  return { general: [said], at: {} }
}

/** What nobody sees in a form, or has no place for an error beside it. */
const UNSEEN = ['next', 'id', 'mfa_token', 'mailed', 'once', 'account', 'of_account', 'revoke_api_keys', 'expires']
const fieldsIn = (schema: unknown) =>
  new Set(schema instanceof z.ZodObject ? Object.keys(schema.shape).filter((name) => !UNSEEN.includes(name)) : [])

/** Issues at the fields of a form, the others of the form as a whole. Their sentences have no subject, which is the field. */
function faultsOf({ words }: Visit, issues: Issue[], fields: Set<string>): Faults {
  const faults: Faults = { general: [], at: {} }
  for (const { pointer, detail } of issues) {
    const [, name] = /^#\/(\w+)/.exec(pointer) ?? []
    const said = `${detail.charAt(0).toUpperCase()}${detail.slice(1)}.`
    if (name && fields.has(name)) faults.at[name] = [...(faults.at[name] ?? []), said]
    else faults.general.push(name ? `${name} ${detail}.` : said)
  }
  if (!faults.general.length && !issues.length) faults.general.push(words.problems.invalid_request ?? '')
  return faults
}
