/** Threat: what is refused to a tenant of one isolation is open to one of another, and nobody looks because the first was looked at. */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { encrypt } from '../../src/kernel/keyring.ts'
import { catalogueOf } from '../support/catalogue.ts'
import { atDatabase, type Database, databaseOf, master, refusalOf, settings } from '../support/databases.ts'
import { askNeon, bothSides, type Isolation, rememberLeft } from '../support/faults.ts'
import { ADMIN, call, login, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { makeIsolated } from '../support/stranger.ts'

beforeAll(rememberLeft, 60_000)

const ISOLATIONS: Isolation[] = ['database', 'branch', 'project', 'external']
const NOT_LET_IN = /permission denied for database|password authentication failed|does not exist/
const names = (isolation: Isolation) => [`isolated-${isolation}`, `isolated-${isolation}-other`] as const

let token: string
const made = new Map<string, { tenant: any; database: Database }>()
const tenantOf = (name: string) => made.get(name)?.tenant
const databaseNamed = (name: string) => made.get(name)?.database as Database

beforeAll(async () => {
  token = await operatorToken()
  const both = ISOLATIONS.flatMap((isolation) => names(isolation).map((name) => ({ name, isolation })))
  await Promise.all(
    both.map(async ({ name, isolation }) => {
      const tenant = await makeIsolated(name, isolation, token)
      made.set(name, { tenant, database: await databaseOf(name) })
    }),
  )
})

const verb = (word: string, id: string) => call('', `/platform/v1/tenants/${id}/${word}`, { method: 'POST', token })

describe.each(ISOLATIONS)('a tenant of isolation %s', (isolation) => {
  const [name, other] = names(isolation)
  let mine: Database
  beforeAll(() => {
    mine = databaseNamed(name)
  })

  it('is made, and its administrator logs in to a database of the name that the template gives', async () => {
    const database_name = `${isolation === 'external' ? 'shop' : 'freehold'}_isolated_${isolation}`
    expect(tenantOf(name)).toMatchObject({ isolation, status: 'active', database_name })
    const session = await login(name)
    expect(session).toMatchObject({ token_type: 'Bearer' })
    const { body } = await call(name, '/api/v1/auth/me', { token: session.access_token })
    expect(body).toMatchObject({ email: ADMIN.email, tenant: name, roles: ['admin'] })
    expect(new URL(mine.app_url).pathname).toBe(`/${database_name}`)
    expect(await mine.asOwner(sql`select id, subdomain from freehold.tenant`)).toEqual([{ id: mine.id, subdomain: name }])
  })

  it('that is made beside another of its kind at once shares nothing with it: neither logins nor keys nor people', async () => {
    const [theirs, own] = await Promise.all(
      [other, name].map(async (one) => {
        const database = databaseNamed(one)
        const [secret] = await database.asOwner(sql`select encode(sha256(inner_key), 'hex') as key from access.secrets`)
        const [person] = await database.asOwner(sql`select id from freehold.users`)
        const [key] = (await call(one, '/.well-known/jwks.json')).body.keys
        return [new URL(database.app_url).username, new URL(database.app_url).password, secret?.key, person?.id, key.x]
      }),
    )
    expect(theirs?.filter((value) => own?.includes(value))).toEqual([])
    const { access_token } = await login(other)
    expect((await call(name, '/api/v1/auth/me', { token: access_token })).body.code).toBe('token_wrong_tenant')
  })

  it('shows its app login nobody without an admission', async () => {
    await login(name)
    for (const table of ['users', 'sessions', 'user_roles', 'tenant', 'audit_log', 'audit_detail'])
      expect(await mine.asApp(sql.raw(`select * from freehold.${table}`)), table).toEqual([])
    for (const hidden of ['freehold.passwords', 'freehold.refresh_tokens', 'access.secrets'])
      expect(await refusalOf(mine.app_url, sql.raw(`select * from ${hidden}`)), hidden).toMatch(/^42501 /)
    const facts = JSON.stringify({ user_id: crypto.randomUUID(), scope: 'all', permission: 'user:read' })
    const forged = sql`select set_config('access.claims', ${facts}, true), set_config('access.signature', repeat('0', 64), true)`
    expect(await mine.asApp(forged, sql`select * from freehold.users`)).toEqual([])
  })

  it('has two logins that enter no other database: no tenant’s of either isolation, no host’s, not the template, not the master', async () => {
    const tenants = [...made.keys()].filter((one) => one !== name).map(databaseNamed)
    const elsewhere = [...tenants.flatMap(({ app_url, host_url }) => [app_url, host_url]), settings().MASTER_DATABASE_URL]
    // In somebody else's cluster their other databases are open to everybody, unless they close them.
    const closed = isolation === 'external' ? [] : ['neondb']
    const nearby = ['postgres', 'template1', ...closed, 'freehold_master', ...tenants.map((one) => one.name)]
    for (const own of [mine.app_url, mine.owner_url]) {
      const { username, password } = new URL(own)
      const urls = [
        ...elsewhere.map((url) => Object.assign(new URL(url), { username, password }).href),
        ...nearby.map((database) => atDatabase(own, database)),
      ]
      for (const url of urls) {
        const { host, pathname } = new URL(url)
        expect(await refusalOf(url, sql`select 1`), `${username} at ${host}${pathname}`).toMatch(NOT_LET_IN)
      }
      expect(await refusalOf(own, sql`select 1`)).toBe('none')
    }
  })

  it('has a database that PUBLIC may not connect to, whose objects all belong to freehold_owner', async () => {
    const open = sql`select privilege_type from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) where datname = current_database() and grantee = 0`
    expect(await mine.asOwner(open)).toEqual([])
    const owners = sql`select relowner::regrole::text as name from pg_class where relnamespace in ('freehold'::regnamespace, 'access'::regnamespace)
      union select proowner::regrole::text from pg_proc where pronamespace in ('freehold'::regnamespace, 'access'::regnamespace)
      union select typowner::regrole::text from pg_type where typnamespace in ('freehold'::regnamespace, 'access'::regnamespace)
      union select nspowner::regrole::text from pg_namespace where nspname in ('freehold', 'access')`
    expect(await mine.asOwner(owners)).toEqual([{ name: 'freehold_owner' }])
  })

  it('is refused everywhere while it is switched off, and is not retried: it has not failed', async () => {
    const { id } = tenantOf(name)
    const session = await login(name)
    const doors = () =>
      Promise.all([
        call(name, '/api/v1/auth/me', { token: session.access_token }),
        call(name, '/api/v1/auth/login', { body: ADMIN }),
        call(name, '/api/v1/auth/refresh-token', { body: { refresh_token: session.refresh_token } }),
      ])
    expect((await verb('retry', id)).body).toMatchObject({ status: 409, code: 'illegal_state' })
    expect((await verb('deactivate', id)).status).toBe(200)
    for (const { status, body } of await doors()) expect([status, body.code]).toEqual([403, 'tenant_inactive'])
    expect((await verb('retry', id)).body).toMatchObject({ status: 409, code: 'illegal_state' })
    expect((await call(other, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
    expect((await verb('activate', id)).status).toBe(200)
    expect((await doors()).map(({ status }) => status)).toEqual([200, 200, 200])
  })
})

it('the catalogues of tenants do not differ, whatever their isolation: owners, grants, functions, policies, ledger, roles', async () => {
  const catalogues = await Promise.all(
    [...made.values()].map(async ({ tenant, database }) => {
      const lines = await catalogueOf(database)
      // Who may connect to somebody else's database is theirs to say.
      return tenant.isolation === 'external' ? lines.filter((line) => !line.startsWith('database: ')) : lines
    }),
  )
  const [first = [], ...others] = catalogues.sort((a, b) => a.length - b.length)
  const all = catalogues.at(-1) ?? []
  expect(first.length).toBeGreaterThan(300)
  for (const lines of others)
    expect({
      missing: first.filter((line) => !lines.includes(line)),
      added: lines.filter((line) => !all.includes(line)),
    }).toEqual({ missing: [], added: [] })
})

describe('a tenant whose making cannot go on', () => {
  let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
  beforeAll(async () => {
    introspector = await introspectWorkflow(env.PROVISIONING)
    // What is waited between two tries is Cloudflare's; what comes of them is ours.
    await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  })
  afterAll(() => introspector.dispose())

  /** Retries a tenant, and gives where it stands when nobody works at it any more. */
  async function retried(id: string) {
    const again = await verb('retry', id)
    expect(again.status, JSON.stringify(again.body)).toBe(202)
    const look = async () => (await call('', `/platform/v1/tenants/${id}/provisioning`, { token })).body
    await vi.waitUntil(async () => (await look()).status !== 'provisioning', { timeout: 60_000, interval: 100 })
    const { status, data } = await look()
    const stopped = data.find((step: any) => step.state === 'failed')
    return { status, step: stopped?.name, error: stopped?.error }
  }

  it('because the master names an isolation that nobody knows, fails with that reason, and is made once it is mended', async () => {
    const id = await plantTenant('isolated-unknown')
    for (const unknown of ['galaxy', '']) {
      await master(sql`update platform.tenants set isolation = ${unknown} where id = ${id}`)
      expect(await retried(id)).toEqual({ status: 'failed', step: 'place', error: `There is no isolation ${unknown}.` })
    }
    await master(sql`update platform.tenants set isolation = 'database' where id = ${id}`)
    expect(await retried(id)).toMatchObject({ status: 'active', step: undefined })
    expect((await login('isolated-unknown')).token_type).toBe('Bearer')
  })

  /** A project of our own, as somebody's host would be. */
  async function openProject(name: string) {
    const { project, branch, databases, connection_uris } = await askNeon('/projects', {
      method: 'POST',
      body: JSON.stringify({ project: { name, region_id: settings().NEON_REGION } }),
    })
    const at = { project_id: project.id, branch_id: branch.id, owner_role: databases[0].owner_name }
    return { ...at, owner_url: connection_uris[0].connection_uri as string }
  }
  type Place = Awaited<ReturnType<typeof openProject>>

  /** A tenant that has its place in a host which is there for it alone. */
  async function placed(subdomain: string, isolation: Isolation, place: Place) {
    const id = await plantTenant(subdomain)
    const host_id = crypto.randomUUID()
    const sealed = await encrypt(settings().OWNER_KEYS, host_id, 'owner_url', place.owner_url)
    await master(
      sql`insert into platform.hosts (id, name, kind, state, region, project_id, branch_id, owner_role, owner_url_encrypted, capacity, taken, lease_until)
          values (${host_id}, ${subdomain}, ${isolation}, 'open', ${settings().NEON_REGION}, ${place.project_id}, ${place.branch_id}, ${place.owner_role}, ${sealed}, 1, 1, now())`,
      sql`update platform.tenants set host_id = ${host_id}, isolation = ${isolation} where id = ${id}`,
    )
    return { id, host_id }
  }

  /** A tenant whose host is lost moves to one where others of its kind are, and what is left of the lost one is deleted. */
  async function mend(id: string, host_id: string, isolation: Isolation) {
    const [host] = await master(sql`select name from platform.hosts where id = ${host_id}`)
    const { projects } = await askNeon('/projects?limit=400')
    for (const project of projects.filter(({ name }: { name: string }) => name === host?.name))
      await askNeon(`/projects/${project.id}`, { method: 'DELETE' })
    const right = sql`select t.host_id from platform.tenants t where t.subdomain = ${names(isolation)[0]}`
    await master(
      sql`update platform.hosts set taken = taken + 1 where id = (${right})`,
      sql`update platform.tenants set host_id = (${right}) where id = ${id}`,
      sql`delete from platform.hosts where id = ${host_id}`,
    )
  }

  const gone: [string, (name: string) => Promise<Place>][] = [
    [
      'project',
      async (name) => {
        const place = await openProject(name)
        await askNeon(`/projects/${place.project_id}`, { method: 'DELETE' })
        return place
      },
    ],
    [
      'branch',
      async (name) => {
        const place = await openProject(name)
        const { branch, connection_uris } = await askNeon(`/projects/${place.project_id}/branches`, {
          method: 'POST',
          body: JSON.stringify({ branch: { name: 'short-lived' }, endpoints: [{ type: 'read_write' }] }),
        })
        await askNeon(`/projects/${place.project_id}/branches/${branch.id}`, { method: 'DELETE' })
        return { ...place, branch_id: branch.id, owner_url: connection_uris?.[0]?.connection_uri ?? place.owner_url }
      },
    ],
  ]
  // The host of a `project`, or of an `external`, is its own: there is no other for it.
  const shared: Isolation[] = ['database', 'branch']
  it.each(shared.flatMap((isolation) => gone.map(([what, lose]) => ({ what, isolation, lose }))))(
    'because the $what of its host is gone (isolation $isolation), fails at its database with Neon’s words, and is made once it has another host',
    async ({ what, isolation, lose }) => {
      const name = `isolated-no-${what}-${isolation}`
      const { id, host_id } = await placed(name, isolation, await lose(name))
      const failed = await retried(id)
      // A branch is copied from a template that is migrated first, through SQL: there it is Neon's proxy that says no.
      const words = isolation === 'database' ? new RegExp(`${what} not found`) : /not found|authentication failed/
      expect(failed).toMatchObject({ status: 'failed', step: 'database', error: expect.stringMatching(words) })
      expect(failed.error).not.toMatch(/postgres(ql)?:|\n\s+at /)
      await mend(id, host_id, isolation)
      expect(await retried(id)).toMatchObject({ status: 'active', step: undefined })
      expect((await login(name)).token_type).toBe('Bearer')
    },
  )
})

it('nothing is there twice or left over: Neon, the master and KV hold the same', async () => {
  const { neon, known } = await bothSides('isolated-')
  expect(neon).toEqual(known)
})
