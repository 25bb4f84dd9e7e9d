/**
 * Threat: a tenant's database is a copy of something that is not an empty one of this release: of an older schema, of half a schema, of
 * one with keys or people in it; or a copy whose answer was lost is made twice, or left behind where nobody knows of it.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { alone } from '../../src/kernel/db.ts'
import { type MasterRow, openHost } from '../../src/tenants/provisioning/job.ts'
import { copyTemplate, keepTemplate, templateOf } from '../../src/tenants/provisioning/template.ts'
import { BROKEN, GATEWAY, RATE, SQL, spoiled, status } from '../support/answers.ts'
import { catalogueOf } from '../support/catalogue.ts'
import { type Database, databaseOf, master, refusalOf, rowsOf, settings } from '../support/databases.ts'
import { bothSides, fillHomes, on, pending, reserve, run, switchOn, WHOLE, whole } from '../support/faults.ts'
import { eraseTenant } from '../support/stranger.ts'

const TRACE = 'a'.repeat(32)
/** What a step may be answered instead of the copy: Neon’s control plane refuses it. */
const UNFORWARDED = status(400, JSON.stringify({ message: 'Received HTTP code 423 from control plane', code: 'XX000' }))

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
let host: Awaited<ReturnType<typeof openHost>>
let template: string
let first: string
let n = 0
const nameFor = () => `patterned-${++n}`

/** Makes a tenant on the newest host. */
async function made(...faults: Fault[]): Promise<string> {
  const name = nameFor()
  const { run_id } = await reserve(name, 'database')
  await switchOn(...faults)
  await run(run_id)
  await switchOn()
  expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
  return name
}

const hostUrlTo = (database: string) => Object.assign(new URL(host.owner_url), { pathname: `/${database}` }).href
const templates = () =>
  rowsOf(
    host.owner_url,
    sql`select datname as name, datconnlimit = 0 as is_sealed from pg_database where starts_with(datname, ${template.slice(0, -12)}) order by 1`,
  )
const SEALED = () => [{ name: template, is_sealed: true }]

/** True of a tenant whose schema was there before the tenant. */
async function isCopied(name: string): Promise<boolean> {
  const { asOwner } = await databaseOf(name)
  const [ledger] = await asOwner(sql`select max(applied_at)::text as applied_at from freehold.migrations`)
  const [row] = await master(
    sql`select ${ledger?.applied_at}::timestamptz < created_at as is_copied from platform.tenants where subdomain = ${name}`,
  )
  return row?.is_copied
}

/** The database of a tenant that is reserved, as the step that copies the template leaves it. */
async function copied(name: string): Promise<string> {
  const [row] = await master(sql`select database_name from platform.tenants where subdomain = ${name}`)
  expect(await copyTemplate(host, row?.database_name)).toBe(true)
  return String(row?.database_name)
}

/** Another release’s template, as far as its name says. */
const stale = () => `${template.slice(0, -12)}${'0'.repeat(12)}`
const unseal = () => alone(host.owner_url, sql`alter database ${sql.identifier(template)} connection limit -1`)

beforeAll(async () => {
  introspector = await introspectWorkflow(env.PROVISIONING)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  await fillHomes('database')
  first = await made()
  const [row] = await master(
    sql`select to_jsonb(h) as host from platform.hosts h join platform.tenants t on t.host_id = h.id where t.subdomain = ${first}`,
  )
  host = await openHost(settings(), row?.host as MasterRow)
  template = await templateOf(host)
}, 60_000)
// Each test finds a host with the template of this release, on which everybody sleeps who was made before.
beforeEach(async (context) => {
  await master(sql`update platform.tenants set created_at = now() - interval '2 hours' where subdomain like 'patterned-%'`)
  if (!context.task.name.startsWith('is made')) await keepTemplate(host, TRACE)
})
afterEach(() => switchOn())
afterAll(() => introspector.dispose())

describe('the template of a host', () => {
  it('is made when a second tenant is there, and the third is a copy: no request of Neon’s API makes its database', async () => {
    expect(await templates()).toEqual([])
    const second = await made()
    expect([await isCopied(first), await isCopied(second)]).toEqual([false, false])
    expect(await templates()).toEqual(SEALED())
    const name = nameFor()
    const { run_id } = await reserve(name, 'database')
    await switchOn({ match: on('POST /databases$'), times: 9, kind: 'delay', ms: 0 })
    await run(run_id)
    expect(await pending()).toMatchObject([{ times: 9 }])
    expect(await isCopied(name)).toBe(true)
  })

  it('gives a tenant what migrations give: the same catalogue, as many rows, and no key that another has', async () => {
    const [one, other] = [await databaseOf(first), await databaseOf(await made())]
    expect(await catalogueOf(other)).toEqual(await catalogueOf(one))
    const counts = async ({ asOwner }: Database) => {
      const tables = await asOwner(
        sql`select oid::regclass::text as name from pg_class where relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and relkind = 'r' order by 1`,
      )
      const all = sql.join(
        tables.map(({ name }) => sql`select ${name} as name, count(*)::integer as n from ${sql.raw(name)}`),
        sql` union all `,
      )
      return asOwner(all)
    }
    expect(await counts(other)).toEqual(await counts(one))
    const secrets = async (asOwner: typeof one.asOwner) =>
      Object.values((await asOwner(sql`select * from access.secrets`))[0] ?? {}).filter((value) => String(value).length > 20)
    const theirs = (await secrets(one.asOwner)).map(String)
    expect(theirs.length).toBeGreaterThan(2)
    for (const value of await secrets(other.asOwner)) expect(theirs).not.toContain(String(value))
  })

  it('takes no connection, not even of its owner, keeps none, and is closed to PUBLIC', async () => {
    await alone(host.owner_url, sql`drop database ${sql.identifier(template)} with (force)`)
    await keepTemplate(host, TRACE)
    expect(await rowsOf(host.owner_url, sql`select 1 from pg_stat_activity where datname = ${template}`)).toEqual([])
    for (const url of [
      hostUrlTo(template),
      Object.assign(new URL((await databaseOf(first)).owner_url), { pathname: `/${template}` }).href,
    ])
      expect(await refusalOf(url, sql`select 1`)).toMatch(/too many connections for database|permission denied for database/)
    const [open] = await rowsOf(
      host.owner_url,
      sql`select count(*)::integer as n from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
          where d.datname = ${template} and a.grantee = 0`,
    )
    expect(open).toEqual({ n: 0 })
  })

  it('of another release is not copied, and is dropped when this release has made its own', async () => {
    await alone(host.owner_url, sql`alter database ${sql.identifier(template)} rename to ${sql.identifier(stale())}`)
    const name = await made()
    expect(await isCopied(name)).toBe(false)
    expect(await templates()).toEqual(SEALED())
    expect(await isCopied(await made())).toBe(true)
  })

  it('is not copied before it is sealed, and is gone on with where somebody stopped', async () => {
    await unseal()
    await rowsOf(
      hostUrlTo(template),
      sql`set local role freehold_owner`,
      sql`delete from freehold.migrations where name like '%baseline'`,
    )
    await expect(keepTemplate(host, TRACE)).rejects.toThrow('it cannot be migrated')
    const name = await made()
    expect(await isCopied(name)).toBe(false)
    expect(await templates()).toEqual([{ name: template, is_sealed: false }])
    await alone(host.owner_url, sql`drop database ${sql.identifier(template)} with (force)`)
    // As after a kill: it is there, with nothing in it.
    await alone(host.owner_url, sql`create database ${sql.identifier(template)}`)
    await keepTemplate(host, TRACE)
    expect(await templates()).toEqual(SEALED())
    expect(await isCopied(await made())).toBe(true)
  })

  it('is never sealed with keys in it', async () => {
    await unseal()
    const owner = hostUrlTo(template)
    await rowsOf(owner, sql`set local role freehold_owner`, sql`call access.make_secrets()`)
    await expect(keepTemplate(host, TRACE)).rejects.toThrow()
    expect(await templates()).toEqual([{ name: template, is_sealed: false }])
    await rowsOf(owner, sql`set local role freehold_owner`, sql`truncate access.secrets`)
  })

  it('is made once by two at once, and by whoever comes after any answer was lost', async () => {
    const drop = () => alone(host.owner_url, sql`drop database ${sql.identifier(template)} with (force)`)
    await drop()
    await Promise.allSettled([keepTemplate(host, TRACE), keepTemplate(host, TRACE)])
    await keepTemplate(host, TRACE)
    expect(await templates()).toEqual(SEALED())
    for (const kind of ['drop_after', 'drop_before'] as const)
      for (const place of [0, 1, 2, 3, 5, 8, 9, 10, 11, 12]) {
        await drop()
        await switchOn({ match: SQL, times: place, kind: 'delay', ms: 0 }, { match: SQL, times: 1, kind })
        await keepTemplate(host, TRACE).catch(() => undefined)
        await switchOn()
        await keepTemplate(host, TRACE)
        expect(await templates(), `${kind} ${place}`).toEqual(SEALED())
      }
    expect(await isCopied(await made())).toBe(true)
  }, 60_000)
})

describe('a tenant is made once and whole from the template', () => {
  const STARTS = Array.from({ length: 13 }, (_, i) => i)
  it.each(STARTS)('when answers of databases are lost after the work was done, from the %ith on', async (start) => {
    await made(...spoiled(start, 12, 2, { kind: 'drop_after' }))
  })

  it.each([0, 3, 6, 9])('when databases cannot be reached, each time in another way, from the %ith request on', async (start) => {
    await made(...spoiled(start, 12, 2, BROKEN, GATEWAY, RATE, { kind: 'drop_before' }))
  })

  it.each(STARTS)('when Neon’s control plane refuses the %ith request of a database', async (place) => {
    await made({ match: SQL, times: place, kind: 'delay', ms: 0 }, { match: SQL, times: 1, ...UNFORWARDED })
  })

  it('when the answer to the copy was lost: until its logins are made, nobody of the host can read it', async () => {
    const name = nameFor()
    const { run_id } = await reserve(name, 'database')
    const database = await copied(name)
    const to = (url: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href
    const others = [host.owner_url, (await databaseOf(first)).owner_url, (await databaseOf(first)).app_url].map(to)
    for (const url of others) expect(await refusalOf(url, sql`select 1`)).toContain('too many connections for database')
    await run(run_id)
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
    expect(await isCopied(name)).toBe(true)
    for (const url of others.slice(1)) expect(await refusalOf(url, sql`select 1`)).toContain('permission denied for database')
  })

  it('when the template goes away in the middle', async () => {
    const name = nameFor()
    const { run_id } = await reserve(name, 'database')
    await switchOn({ match: SQL, times: 40, kind: 'delay', ms: 30 })
    const running = run(run_id)
    await alone(host.owner_url, sql`drop database ${sql.identifier(template)} with (force)`)
    await running
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
  })

  it('with five others at the same time', async () => {
    const names = Array.from({ length: 6 }, nameFor)
    const reserved = await Promise.all(names.map((name) => reserve(name, 'database')))
    await switchOn({ match: SQL, times: 12, kind: 'delay', ms: 0 }, { match: SQL, times: 5, kind: 'drop_after' })
    await Promise.all(reserved.map(({ run_id }) => run(run_id)))
    expect(await pending()).toEqual([])
    for (const name of names) expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
    expect(await templates()).toEqual(SEALED())
  }, 90_000)
})

it('an erasure removes a copy also when Neon’s API does not know it, and leaves the template', async () => {
  const name = await made()
  const { id, name: database } = await databaseOf(name)
  await switchOn({
    match: { method: 'DELETE', path: `/databases/${database}$` },
    times: 9,
    ...status(404, '{"code":"","message":"database not found"}'),
  })
  await eraseTenant(id, name)
  await switchOn()
  expect(await rowsOf(host.owner_url, sql`select 1 from pg_database where datname = ${database}`)).toEqual([])
  expect(await templates()).toEqual(SEALED())
})

it('an erasure leaves the database of the host itself, whose name a tenant was to have', async () => {
  const name = nameFor()
  const { id, run_id } = await reserve(name, 'database')
  const own = new URL(host.owner_url).pathname.slice(1)
  await master(
    sql`update platform.provisioning_runs set state = 'failed', finished_at = now() where id = ${run_id}`,
    sql`update platform.tenants set status = 'failed', host_id = ${host.id}, database_name = ${own} where id = ${id}`,
    sql`update platform.hosts set taken = taken + 1 where id = ${host.id}`,
  )
  await eraseTenant(id, name)
  expect(await rowsOf(host.owner_url, sql`select current_database() as name`)).toEqual([{ name: own }])
})

it('an erasure removes a copy that has no logins yet', async () => {
  const name = nameFor()
  const { id, run_id } = await reserve(name, 'database')
  await master(
    sql`update platform.provisioning_runs set state = 'failed', finished_at = now() where id = ${run_id}`,
    sql`update platform.tenants set status = 'failed', host_id = ${host.id} where id = ${id}`,
    sql`update platform.hosts set taken = taken + 1 where id = ${host.id}`,
  )
  const database = await copied(name)
  await eraseTenant(id, name)
  expect(await rowsOf(host.owner_url, sql`select 1 from pg_database where datname = ${database}`)).toEqual([])
})

it('nothing is there twice and nothing is left over: Neon, the master and KV hold the same', async () => {
  const { neon, known } = await bothSides('patterned-')
  expect(neon).toEqual(known)
}, 60_000)
