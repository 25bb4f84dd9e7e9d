/** Faults of the local Neon, tenants that are made under them, and the comparison of Neon, master and KV afterwards. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { inject } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { encrypt } from '../../src/kernel/keyring.ts'
import { hash } from '../../src/passwords/hash.ts'
import { placeAt } from '../../src/tenants/adoption/adopt.ts'
import { readConnectionString } from '../../src/tenants/adoption/connection-string.ts'
import { inspect } from '../../src/tenants/adoption/inspect.ts'
import { databaseName } from '../../src/tenants/provisioning/new-tenant.ts'
import { nextRun, startRun } from '../../src/tenants/provisioning/provisioning.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { BESIDE, compared, HOMES, ROLES, TENANTS } from '../faults/both-sides.ts'
import { askNeon } from './ask-neon.ts'
import { databaseOf, master, settings } from './databases.ts'
import { ADMIN, newRuc } from './people.ts'
import { strangersDatabase } from './stranger.ts'

export type Isolation = 'database' | 'branch' | 'project' | 'external'

export { askNeon }

const faultsUrl = () => new URL('/faults', inject('settings').NEON_API_URL).href

/** Replaces what is switched on. */
export async function switchOn(...faults: Fault[]): Promise<void> {
  const answer = await fetch(faultsUrl(), { method: 'PUT', body: JSON.stringify(faults) })
  if (answer.status !== 200) throw new Error(`No faults: ${answer.status} ${await answer.text()}`)
}

/** The faults that have not happened yet. */
export const pending = async () => (await (await fetch(faultsUrl())).json()) as Fault[]

/** A request that matches, by method and the end of its path. */
export const on = (call: string): Fault['match'] => {
  const [method = '', path = ''] = call.split(' ')
  return { method, path }
}

let hashed: Promise<string> | undefined

/** Reserves a tenant and its first run in the master, as the door does, and leaves the start of the run to `start`. */
export async function reserve(subdomain: string, isolation: Isolation): Promise<{ id: string; run_id: string }> {
  const config = settings()
  const place = isolation === 'external' ? await strangersPlace(subdomain) : null
  const [id, run_id] = [place?.tenant_id ?? crypto.randomUUID(), crypto.randomUUID()]
  hashed ??= hash(ADMIN.password, config.PASSWORD_HASH_ITERATIONS)
  const admin = { email: ADMIN.email, username: 'bo', password_hash: await hashed, must_change_password: false }
  const sealed = await encrypt(config.ENCRYPTION_KEYS, id, 'initial_admin', JSON.stringify(admin))
  await master(
    ...(place ? [place.host] : []),
    sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, admin_email, environment, status, isolation, role_preset, database_name, initial_admin_encrypted, host_id)
        values (${id}, ${subdomain}, ${`${subdomain} S.A.C.`}, ${newRuc()}, 'PE', ${config.NEON_REGION}, ${ADMIN.email}, 'demo', 'provisioning', ${isolation}, 'minimal',
          ${place?.database_name ?? databaseName(config.TENANT_DB_TEMPLATE, subdomain, id)}, ${sealed}, ${place?.host_id ?? null})`,
    ...nextRun(id, run_id, 'a'.repeat(32)),
  )
  return { id, run_id }
}

/** A database of somebody else's, as the door finds it. */
async function strangersPlace(name: string) {
  const at = readConnectionString(settings(), (await strangersDatabase(name)).url)
  const { found } = await inspect(at, ADMIN.email)
  return placeAt(settings(), at, null, found)
}

/** No host of a kind has room: the next tenant needs another. */
export const fillHomes = (kind: Isolation) =>
  master(sql`update platform.hosts set capacity = taken where kind = ${kind} and state = 'open'`)

/**
 * Starts a run and waits for its instance to end, without a request to the master that might meet a fault meant for the run. Once the
 * faults have happened, a host whose claim was answered to nobody is not waited for until its lease (a minute) has run out.
 */
export async function run(run_id: string): Promise<void> {
  await startRun(env, run_id)
  await ended(run_id)
}

export async function ended(run_id: string): Promise<void> {
  const instance = await env.PROVISIONING.get(`prov-${run_id}`)
  for (const from = Date.now(); Date.now() < from + 60_000; await scheduler.wait(50)) {
    const { status } = await instance.status()
    if (status === 'complete') return
    if (status === 'errored' || status === 'terminated') throw new Error(`The instance is ${status}.`)
    if (Date.now() > from + 2_000 && (await pending()).length === 0)
      await master(
        sql`update platform.hosts set lease_until = now() where state = 'opening' and refused is null and lease_until > now() + interval '40 seconds' and lease_until < now() + interval '58 seconds'`,
      )
  }
  throw new Error('The instance did not end within a minute.')
}

/** What the master, the tenant's own database and KV say of a tenant that is whole. */
export async function whole(subdomain: string) {
  const [found] = await master(
    sql`select t.status, t.v, t.published_v = t.v as published, t.initial_admin_encrypted is null as forgotten,
          (select count(*)::integer from platform.signing_keys k where k.realm_id = t.id) as keys,
          (select count(*)::integer from platform.provisioning_steps s where s.tenant_id = t.id and s.state <> 'done') as undone,
          (select string_agg(s.name || ': ' || s.error, '; ') from platform.provisioning_steps s where s.tenant_id = t.id and s.state <> 'done') as errors
        from platform.tenants t where t.subdomain = ${subdomain}`,
  )
  if (found?.status !== 'active') return { status: found?.status, errors: found?.errors }
  const { asOwner, asApp } = await databaseOf(subdomain)
  const [inside] = await asOwner(
    sql`select (select count(*)::integer from freehold.users) as users, (select count(*)::integer from freehold.passwords) as passwords,
          (select string_agg(subdomain, ',') from freehold.tenant) as subdomain, current_database() as database`,
  )
  const [seen] = await asApp(sql`select count(*)::integer as seen from freehold.users`)
  const kept = await env.TENANTS.get<Entry>(kvKey(subdomain), 'json')
  const { v, errors: _, ...master_ } = found
  return {
    ...master_,
    users: inside?.users,
    passwords: inside?.passwords,
    subdomain: inside?.subdomain,
    seen: seen?.seen,
    kv: kept?.v === Number(v) && kept?.status,
  }
}

export const WHOLE = {
  status: 'active',
  published: true,
  forgotten: true,
  keys: 1,
  undone: 0,
  users: 1,
  passwords: 1,
  seen: 0,
  kv: 'active',
}

const left = { neon: new Set<string>(), known: new Set<string>() }

/** Remembers what differs before a file begins: what other files left is not this one's. For beforeAll. */
export async function rememberLeft(): Promise<void> {
  const { neon, known } = await bothSides('nobody-has-this')
  left.neon = new Set(neon.filter((line) => !known.includes(line)))
  left.known = new Set(known.filter((line) => !neon.includes(line)))
}

/** What Neon and KV have beside what the master knows; of KV the names that begin with `mine`. */
export async function bothSides(mine: string) {
  const [hosts, tenants, roles, beside] = await Promise.all([HOMES, TENANTS, ROLES, BESIDE].map((text) => master(sql.raw(text))))
  if (!hosts || !tenants || !roles || !beside) throw new Error('The master says nothing.')
  const { neon, known } = await compared(askNeon, { hosts, tenants, roles, beside })
  const { keys } = await env.TENANTS.list({ prefix: kvKey(mine) })
  const active = tenants.filter((tenant) => tenant.status === 'active' && tenant.subdomain.startsWith(mine))
  return {
    neon: [...neon.filter((line) => !left.neon.has(line)), ...keys.map((key) => key.name).sort()],
    known: [...known.filter((line) => !left.known.has(line)), ...active.map((tenant) => kvKey(tenant.subdomain)).sort()],
  }
}

/** Runs statements in one transaction that lasts, past the Worker's driver, which does not wait for so long. `letGo` ends it. */
export function hold(url: string, ...texts: string[]) {
  const queries = ["select set_config('statement_timeout', '0', true), set_config('transaction_timeout', '0', true)", ...texts]
  const body = JSON.stringify({ queries: queries.map((query) => ({ query, params: [] })) })
  const over = new AbortController()
  const answer = fetch(inject('settings').NEON_SQL_URL ?? '', {
    method: 'POST',
    headers: { 'Neon-Connection-String': url },
    body,
    signal: over.signal,
  }).catch(() => null)
  return { answer, letGo: () => over.abort() }
}
/** Waits until somebody in a tenant's database waits for a lock of this type of pg_locks. */
export async function waiting(subdomain: string, locktype: 'advisory' | 'relation'): Promise<void> {
  const { asOwner } = await databaseOf(subdomain)
  const found = sql`select 1 from pg_locks where locktype = ${locktype} and not granted and database = (select oid from pg_database where datname = current_database())`
  for (const from = Date.now(); !(await asOwner(found)).length; await scheduler.wait(50))
    if (Date.now() > from + 20_000) throw new Error(`In ${subdomain} nobody waits for a lock.`)
}
