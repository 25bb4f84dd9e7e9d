/**
 * The measured Worker: the real one, and beside it bare routes that do only a part of its work. JavaScript, because it needs the
 * types of Workers and the programs around it those of Node. Never deployed.
 */
import './migrations.js'
import { WorkflowEntrypoint } from 'cloudflare:workers'
import { neon } from '@neondatabase/serverless'
import { sql } from 'drizzle-orm'
import { Hono } from 'hono'
import { me } from '../../../src/auth/me.ts'
import worker from '../../../src/index.ts'
import { configOf } from '../../../src/kernel/config.ts'
import { makeCtx } from '../../../src/kernel/context.ts'
import { batch, useSqlUrl } from '../../../src/kernel/db.ts'
import { lifetimeOf, sign, verify } from '../../../src/kernel/token.ts'
import { digest, newHashParameters } from '../../../src/passwords/hash.ts'
import { advance, begin } from '../../../src/tenants/migration/fleet.ts'
import { stepNames } from '../../../src/tenants/provisioning/steps.ts'
import { publish } from '../../../src/tenants/registry/publishing.ts'
import { lookUp } from '../../../src/tenants/registry/registry.ts'

export { Bells, Migration, Move, NeonTurns, Provisioning, Restore } from '../../../src/index.ts'

/** As many steps as provisioning takes, with its two at the end, or as many as are asked for; and nothing in them. */
export class Empty extends WorkflowEntrypoint {
  /** @override */
  async run({ payload }, step) {
    const all = [...stepNames, 'finish', 'spare']
    for (const name of all.slice(0, payload?.steps)) await step.do(name, async () => {})
  }
}

/** The tenant and the token that the bare routes work with; set once, before the first request that counts. */
let subject

const bare = new Hono()
bare.onError((error, c) => c.text(String(error.cause ?? error), 500))

bare.get('/bench/bare', (c) => c.json({ status: 'ok' }))

bare.get('/bench/select', async (c) => c.json(await neon(subject.realm.database_url).query('select 1', [])))

bare.get('/bench/drizzle', async (c) => c.json(await batch(subject.realm.database_url, [sql`select 1`])))

/** One statement of the measure's own, sent as the others are. */
bare.post('/bench/statement', async (c) => {
  const { text, params } = await c.req.json()
  const given = params.map((value) => sql`${value}`)
  const [before, ...after] = text.split(/\$\d+/)
  const statement = sql.join([sql.raw(before), ...after.flatMap((part, i) => [given[i], sql.raw(part)])])
  return c.json(await batch(subject.realm.database_url, [statement]))
})

bare.get('/bench/me', async (c) => {
  const config = configOf(c.env)
  const { realm, token } = subject
  const request = { address: null, agent: null, method: 'GET', path: c.req.path, trace_id: '0'.repeat(32) }
  const need = { permission: null, any_password: true }
  const bearer = subject.bearer ?? (await verify(realm, token))
  subject.bearer = bearer
  return c.json(
    await me(
      makeCtx({
        config,
        realm,
        request,
        need,
        bearer,
        key: null,
        reloadRealm: async () => null,
        reportActivity: () => null,
        countUse: () => {},
        ring: () => {},
        later: () => {},
      }),
    ),
  )
})

/** Verifies the same token many times, or each time a new one. */
bare.get('/bench/verify', async (c) => {
  const { realm, token } = subject
  const fresh = c.req.query('fresh') ? subject.fresh : null
  for (let i = Number(c.req.query('times')); i > 0; i--) await verify(realm, fresh?.pop() ?? token)
  return c.json({ status: 'ok', left: fresh?.length })
})

/** Signs tokens that were never verified before. */
bare.post('/bench/tokens', async (c) => {
  const { bearer, realm } = { ...subject, bearer: subject.bearer ?? (await verify(subject.realm, subject.token)) }
  const about = { sub: bearer.user_id, sid: bearer.session_id, client_id: 'bench', ...lifetimeOf(15) }
  const signed = (n) => sign(realm, { ...about, jti: String(n) })
  subject.fresh = await Promise.all(Array.from({ length: Number(c.req.query('count')) }, (_, n) => signed(n)))
  return c.json({ status: 'ok' })
})

bare.post('/bench/hash', async (c) => {
  const { password } = await c.req.json()
  return c.json({ digest: await digest(password, newHashParameters(configOf(c.env).PASSWORD_HASH_ITERATIONS)) })
})

bare.post('/bench/subject', async (c) => {
  const { subdomain, token } = await c.req.json()
  const config = configOf(c.env)
  useSqlUrl(config.NEON_SQL_URL)
  const found = await lookUp({ env: c.env, config, meter: { master: 0 } }, subdomain)
  subject = { realm: found.realm, token }
  return c.json({ id: found.realm.id, database_url: found.realm.database_url })
})

bare.post('/bench/workflow', async (c) => {
  const steps = c.req.query('steps')
  const instance = await c.env.EMPTY.create({ params: steps ? { steps: Number(steps) } : {} })
  for (;;) {
    const { status } = await instance.status()
    if (status === 'complete') return c.json({ status })
    if (status === 'errored') throw new Error('The empty Workflow failed.')
    await scheduler.wait(Number(c.req.query('poll')))
  }
})

/** Puts tenants into KV as the registry itself publishes them. */
bare.post('/bench/publish', async (c) => {
  const config = configOf(c.env)
  useSqlUrl(config.NEON_SQL_URL)
  for (const id of await c.req.json()) await publish({ env: c.env, config, meter: { master: 0 } }, id)
  return c.json({ status: 'ok' })
})

/** Begins a run over all tenants that are behind, and starts none. */
bare.post('/bench/begin', async (c) => {
  const config = configOf(c.env)
  useSqlUrl(config.NEON_SQL_URL)
  const send = (statements) => batch(config.MASTER_DATABASE_URL, statements)
  const id = await begin(send, config, { concurrency: 10, stop_percent: 5, rest: 'now' }, '0'.repeat(32))
  return c.json({ id })
})

const MOST_GOING = 40

/**
 * Goes on with the run, with a stand-in for the Workflow: a tenant is done with what the last step of its migration writes, and goes on
 * as that does. Until the run is over, or `most` tenants are done: then it stops as if everything was killed.
 */
bare.post('/bench/fleet', async (c) => {
  const config = configOf(c.env)
  useSqlUrl(config.NEON_SQL_URL)
  let left = Number(c.req.query('most'))
  const going = new Set()
  const create = async ({ params }) => {
    // Of tenants that are done at once most would wait for the row of the run, each with a connection: more than a compute has.
    while (going.size >= MOST_GOING) await Promise.race(going)
    const one = migrated(params).finally(() => going.delete(one))
    going.add(one)
  }
  const env = { ...c.env, MIGRATION: { create } }
  const migrated = async ({ tenant_id, target, attempt }) => {
    if (left-- <= 0) return
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenants set schema_version = ${target} where id = ${tenant_id}`,
      sql`update platform.tenant_migrations set state = 'done', ms = 1, finished_at = now()
          where tenant_id = ${tenant_id} and target = ${target} and attempts = ${attempt} and state = 'running'`,
    ])
    await advance(env, config)
  }
  await advance(env, config)
  while (going.size) await Promise.race(going)
  return c.json({ left })
})

let forward = 0
const now = Date.now

/** Advances this isolate's clock, so that everything in the registry's memory is stale. */
bare.post('/bench/forget', (c) => {
  forward += 60_000
  Date.now = () => now() + forward
  return c.json({ status: 'ok' })
})

export default {
  ...worker,
  fetch: (request, env, ctx) => (new URL(request.url).pathname.startsWith('/bench/') ? bare : worker).fetch(request, env, ctx),
}
