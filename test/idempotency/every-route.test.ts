/**
 * Threat: a route that creates takes an Idempotency-Key and creates twice. Every POST of the document is asked: those that create
 * keep the claims below, and the others are named.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { resolved } from '../support/document.ts'
import { inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { AT, type Here, otherSession, prepare, type Recipe, recipes } from './recipes.ts'

type Operation = {
  parameters?: { name: string; in: string; required?: boolean }[]
  responses: Record<string, { description: string; headers?: object }>
  'x-round-trips': number
}
const { paths } = resolved((await call('', '/openapi.json')).body) as { paths: Record<string, Record<string, Operation>> }
const isHeader = ({ name, in: where }: { name: string; in: string }) => name === 'Idempotency-Key' && where === 'header'
const posts = Object.entries(paths).flatMap(([path, { post }]) =>
  post ? [{ path: path.replace(/\/$/, ''), post, takes: (post.parameters ?? []).some(isHeader) }] : [],
)
const creating = posts.filter(({ takes }) => takes)

/** The POSTs that take no key: they change something that there is, or read, or are excepted. */
const OTHERS = [
  /^\/(api|platform)\/v1\/auth\//,
  /^\/oauth\//,
  /\/import$/,
  /\/restore-point(\/\{restore_id\}\/(confirm|return))?$/,
  /^\/platform\/v1\/migrations$/,
  /^\/platform\/v1\/doctor\/(fix|remove)$/,
  /\/(activate|deactivate|reactivate|restore|retry|resume|undo-migration|move|rotate-keys|rotate-signing-key|rotate-credentials|unlock|reset-mfa|erase|impersonate|reset-password|approve|reject|verify|revoke|resend|terminate|reinstate|end|read|read-all)$/,
  /^\/api\/v1\/roles\/\{id\}\/permissions$/,
  /^\/api\/v1\/authz\/check$/,
  /^\/api\/v1\/settings\/risk\/rehearse$/,
  /^\/api\/v1\/(webhooks|hooks)\/\{id\}\/(rotate|test|replay)$/,
  // Of strangers, or of whoever was invited: the token works once.
  /^\/api\/v1\/invitations\/(accept|accept\/options|preview)$/,
]

let here: Here
let all: ReturnType<typeof recipes>
beforeAll(async () => {
  here = await prepare()
  all = recipes(here)
})

const isPlatform = (path: string) => path.startsWith('/platform/')
const tokenFor = (path: string) => (isPlatform(path) ? here.operatorToken : here.tenantToken)
const ask = (path: string, key: string, body: object, token = tokenFor(path)) =>
  call(isPlatform(path) ? '' : AT, path, { token, body, headers: { 'Idempotency-Key': key } })
type Answer = Awaited<ReturnType<typeof ask>>
const replayed = ({ headers }: Answer) => headers.get('Idempotency-Replayed')
/** Of a plan its key. */
const idOf = ({ body }: Answer): string => body.id ?? body.key
const isMade = ({ status }: Answer) => status === 201 || status === 202

/** Moves the kept answer of a key back in time. */
async function age(path: string, resource_id: string, interval: string) {
  const realm = await inside(isPlatform(path) ? '' : AT)
  const rows = await realm.asOwner(
    sql`update access.kept_answers set created_at = created_at - ${interval}::interval
      where ${resource_id} in (resource ->> 'id', resource ->> 'key', resource -> 'activity' ->> 'id') returning 1 as aged`,
  )
  expect(rows).toHaveLength(1)
}

/** How many entries of the audit each answer left, in order. */
async function audited(path: string, answers: Answer[]): Promise<number[]> {
  const realm = await inside(isPlatform(path) ? '' : AT)
  const traces = answers.map(({ headers }) => headers.get('X-Trace-Id') ?? '')
  const rows = await realm.asOwner(
    sql`select t.id, count(l.id)::integer as entries from jsonb_array_elements_text(${JSON.stringify(traces)}::jsonb) with ordinality t (id, n)
      left join freehold.audit_log l on l.trace_id = t.id and l.activity_type <> 'ACCESS_REFUSED' group by t.id, t.n order by t.n`,
  )
  return rows.map(({ entries }) => entries)
}

const recipeOf = (path: string): Promise<Recipe> => {
  const recipe = all[path]
  if (!recipe) throw new Error(`Nothing here says how to ask POST ${path}.`)
  return recipe()
}

/** It was answered as a request of its own. A second rotation of a key, or the same delegation again, is refused as one. */
function expectNew(path: string, answer: Answer) {
  if (path.endsWith('/rotate')) return expect(answer.body.detail).toContain('was rotated before')
  if (path.endsWith('/delegations') && answer.status === 409) return expect(answer.body.detail).toContain('You have delegated')
  expect(isMade(answer), JSON.stringify(answer.body)).toBe(true)
  expect(replayed(answer)).toBeNull()
}

/** The answer without what is shown only once. */
function withoutSecret(body: any) {
  const { key, secret, initial_password, ...rest } = body
  if (rest.initial_admin) {
    const { password, ...admin } = rest.initial_admin
    return { ...rest, initial_admin: admin }
  }
  return rest
}

describe('the document', () => {
  it('has the header for every POST that answers 201, and names the answer’s header and both refusals', () => {
    expect(creating.length).toBeGreaterThan(13)
    expect(creating.map(({ path }) => path)).toEqual(
      posts.filter(({ post, path }) => post.responses[201] && !path.endsWith('/accept')).map(({ path }) => path),
    )
    for (const { path, post } of creating) {
      expect(post.parameters?.find(isHeader)?.required ?? false, path).toBe(false)
      expect(post.responses[201]?.headers, path).toHaveProperty('Idempotency-Replayed')
      expect(post.responses[422]?.description, path).toContain('idempotency_mismatch')
      expect(post.responses[409]?.description, path).toContain('illegal_state')
    }
  })

  it('has it for no other: each of those is named here', () => {
    const others = posts.filter(({ takes }) => !takes).map(({ path }) => path)
    expect(others.filter((path) => !OTHERS.some((pattern) => pattern.test(path)))).toEqual([])
    expect(creating.filter(({ path }) => OTHERS.some((pattern) => pattern.test(path)))).toEqual([])
    for (const pattern of OTHERS)
      expect(
        others.some((path) => pattern.test(path)),
        String(pattern),
      ).toBe(true)
  })
})

describe.each(creating)('POST $path', ({ path }) => {
  it('with the same key creates once, and gives the same answer again in one round trip', async () => {
    const { path: at, body } = await recipeOf(path)
    const key = crypto.randomUUID()
    const first = await ask(at, key, body)
    expect(isMade(first), JSON.stringify(first.body)).toBe(true)
    expect(replayed(first)).toBeNull()
    const second = await ask(at, key, body)
    expect({ status: second.status, body: second.body }).toEqual({ status: first.status, body: first.body })
    expect(replayed(second)).toBe('true')
    expect(second.trips).toBe(1)
    for (const name of ['Location', 'ETag']) expect(second.headers.get(name), name).toBe(first.headers.get(name))
    const [once, again] = await audited(path, [first, second])
    expect(once).toBeGreaterThan(0)
    expect(again).toBe(0)
  })

  it('with the same key and another body is refused, and creates nothing', async () => {
    const { path: at, body, other } = await recipeOf(path)
    const key = crypto.randomUUID()
    expect(isMade(await ask(at, key, body))).toBe(true)
    const answer = await ask(at, key, other)
    expectProblem(answer, 422, 'idempotency_mismatch')
    expect(await audited(path, [answer])).toEqual([0])
    expectNew(at, await ask(at, crypto.randomUUID(), other))
  })

  it('with the same key by another session of the same user is another request', async () => {
    const { path: at, body, other } = await recipeOf(path)
    const key = crypto.randomUUID()
    const first = await ask(at, key, body)
    const second = await ask(at, key, other, await otherSession(path))
    expectNew(at, second)
    expect(idOf(second)).not.toBe(idOf(first))
  })

  it('twenty times at once creates once; the others get that answer or a 409', async () => {
    const { path: at, body } = await recipeOf(path)
    const key = crypto.randomUUID()
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(at, key, body)))
    const made = answers.filter(isMade)
    expect(made.filter((answer) => replayed(answer) === null)).toHaveLength(1)
    expect(new Set(made.map((answer) => JSON.stringify(answer.body))).size).toBe(1)
    for (const answer of answers.filter((one) => !isMade(one))) {
      expectProblem(answer, 409, 'illegal_state')
      expect(answer.body.detail).toContain('is being answered')
    }
    expect((await audited(path, answers)).filter((entries) => entries > 0)).toHaveLength(1)
    expect(replayed(await ask(at, key, body))).toBe('true')
  })

  it('gives secrets again within 10 minutes, and the rest of the answer later', async () => {
    const { path: at, body, secret } = await recipeOf(path)
    const key = crypto.randomUUID()
    const first = await ask(at, key, body)
    if (secret) expect(secret(first.body)).toEqual(expect.any(String))
    await age(path, idOf(first), '9 minutes')
    expect((await ask(at, key, body)).body).toEqual(first.body)
    await age(path, idOf(first), '1 minute')
    const late = await ask(at, key, body)
    expect(replayed(late)).toBe('true')
    expect(late.body).toEqual(secret ? withoutSecret(first.body) : first.body)
  })

  it('after 24 hours takes the key for a new request', async () => {
    const { path: at, body, other } = await recipeOf(path)
    const key = crypto.randomUUID()
    const first = await ask(at, key, body)
    await age(path, idOf(first), '23 hours 59 minutes')
    expect(replayed(await ask(at, key, body))).toBe('true')
    await age(path, idOf(first), '1 minute')
    const later = await ask(at, key, other)
    expectNew(at, later)
    if (isMade(later)) expect(replayed(await ask(at, key, other))).toBe('true')
  })

  it('that was refused may be sent again with the same key, corrected', async () => {
    const { path: at, body, bad } = await recipeOf(path)
    const key = crypto.randomUUID()
    const refused = await ask(at, key, bad)
    expect([400, 403, 404, 409]).toContain(refused.status)
    const corrected = await ask(at, key, body)
    expect(isMade(corrected), JSON.stringify(corrected.body)).toBe(true)
    expect(replayed(corrected)).toBeNull()
  })
})
