/** Tenants that are taken back to an earlier moment. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { expect, inject, vi } from 'vitest'
import { startRestore, tendRestores } from '../../src/tenants/restore/rest.ts'
import { databaseOf, master, settings } from './databases.ts'
import { call, operatorToken } from './people.ts'
import { attempted } from './runs.ts'
import { copyTenant } from './tenants.ts'

type Work = { restore_id: string; attempt: number }

export const pointPath = (id: string, rest = '') => `/platform/v1/tenants/${id}/restore-point${rest}`

/** A tenant with a project of its own. */
export const tenantOf = (subdomain: string) => copyTenant(subdomain, { isolation: 'project' })

/** Keeps what a tenant's branch holds now, as Neon does by itself. Returns a moment after it. */
export async function mark(id: string): Promise<string> {
  const [host] = await master(
    sql`select h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
  )
  const marked = await fetch(new URL('/marks', inject('settings').NEON_API_URL), {
    method: 'PUT',
    body: JSON.stringify({ branch_id: host?.branch_id }),
  })
  expect(marked.status, await marked.clone().text()).toBe(200)
  await scheduler.wait(5)
  const [row] = await master(sql`select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at`)
  await scheduler.wait(5)
  return String(row?.at)
}

export const ask = async (id: string, at: string) => call('', pointPath(id), { token: await operatorToken(), body: { at } })
export const look = async (id: string) => (await call('', pointPath(id), { token: await operatorToken() })).body
export const confirm = async (id: string, restore_id: string, subdomain: string, verb = 'confirm') =>
  call('', pointPath(id, `/${restore_id}/${verb}`), { token: await operatorToken(), body: { confirm: subdomain } })

/** The newest restore point, once nobody works on it. */
export async function settled(id: string): Promise<any> {
  let newest: any
  await vi.waitUntil(
    async () => {
      newest = (await look(id)).newest
      return newest && !['making', 'restoring', 'returning'].includes(newest.state)
    },
    { timeout: 60_000, interval: 100 },
  )
  return newest
}

/** A restore point that is ready. */
export async function pointAt(id: string, at: string): Promise<any> {
  const begun = await ask(id, at)
  expect([begun.status, begun.body.newest?.state], JSON.stringify(begun.body)).toEqual([202, 'making'])
  const newest = await settled(id)
  expect(newest.state, JSON.stringify(newest)).toBe('ready')
  return newest
}

/** Takes a tenant back, or with `return` forward again. */
export async function restoreTo(id: string, subdomain: string, restore_id: string, verb = 'confirm'): Promise<any> {
  const begun = await confirm(id, restore_id, subdomain, verb)
  expect(begun.status, JSON.stringify(begun.body)).toBe(202)
  const newest = await settled(id)
  expect(newest.state, JSON.stringify(newest)).toBe(verb === 'confirm' ? 'restored' : 'returned')
  return newest
}

/** Starts an instance, and waits until it has ended, without a request that might meet a fault meant for it. */
export async function runRestore(work: Work): Promise<void> {
  await startRestore(env, work)
  const instance = await env.RESTORE.get(`restore-${work.restore_id}-${work.attempt}`)
  await vi.waitUntil(async () => ['complete', 'errored', 'terminated'].includes((await instance.status()).status), {
    timeout: 90_000,
    interval: 50,
  })
}

/** Goes on with what is left of restores, as the scheduled job does once their leases have run out, until none is left of this tenant. */
export async function tendUntilSettled(id: string): Promise<string> {
  for (let tries = 0; tries < 60; tries++) {
    const [row] = await master(
      sql`update platform.restore_points set lease_until = now() - interval '1 second' where tenant_id = ${id} and state in ('making', 'restoring', 'returning')`,
      sql`select r.state from platform.restore_points r where r.tenant_id = ${id} order by r.created_at desc limit 1`,
    )
    if (!['making', 'restoring', 'returning'].includes(row?.state)) return String(row?.state)
    await tendRestores(env, settings())
    await attempted(
      async () =>
        (
          await master(
            sql`select from platform.restore_points where tenant_id = ${id} and state in ('making', 'restoring', 'returning')`,
          )
        ).length > 0,
    )
  }
  return 'unfinished'
}

/** The usernames in a tenant's database. */
export const peopleOf = async (subdomain: string) =>
  (await (await databaseOf(subdomain)).asOwner(sql`select username from freehold.users order by 1`)).map(
    ({ username }) => username,
  )

const newTrace = () => crypto.randomUUID().replaceAll('-', '')

/** A restore point that is being made, as the door begins one, without its instance. */
export async function plantPoint(id: string, at: string): Promise<Work> {
  const restore_id = crypto.randomUUID()
  const [row] = await master(
    sql`insert into platform.restore_points (id, tenant_id, at, state, project_id, parent_id, attempts, lease_until, trace_id, kept_until)
        select ${restore_id}, t.id, ${at}::timestamptz, 'making', h.project_id, h.branch_id, platform.next_fence_attempt(t.id), now() + interval '3 minutes', ${newTrace()}, now() + interval '1 day'
        from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id} returning attempts as attempt`,
  )
  return { restore_id, attempt: Number(row?.attempt) }
}

/** One that is being confirmed or gone back from, the same way. */
export async function plantRestore(id: string, restore_id: string, state: 'restoring' | 'returning'): Promise<Work> {
  const [row] = await master(
    sql`update platform.tenants set move_id = ${restore_id} where id = ${id}`,
    sql`update platform.restore_points r set state = ${state}, attempts = platform.next_fence_attempt(r.tenant_id), lease_until = now() + interval '3 minutes', error = null, exchanged_at = null, finished_at = null
        where r.id = ${restore_id} returning attempts as attempt`,
  )
  return { restore_id, attempt: Number(row?.attempt) }
}
