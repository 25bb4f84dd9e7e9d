/** Each step of provisioning may run again, late, after it did its work: an answer was lost, an instance was slow. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { neonApi } from '../../src/tenants/provisioning/neon.ts'
import { stepNames, steps } from '../../src/tenants/provisioning/steps.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { call, login, makeTenant, operatorToken } from '../support/people.ts'

type Job = Parameters<NonNullable<(typeof steps)[string]>>[0]

/** What a step is given when it runs once more for a tenant that is there. */
async function jobOf(subdomain: string): Promise<Job> {
  const config = settings()
  const [row] =
    await master(sql`select to_jsonb(t) as tenant, to_jsonb(h) as host, (select jsonb_object_agg(s.name, s.result) from platform.provisioning_steps s where s.tenant_id = t.id) as results
    from platform.tenants t join platform.hosts h on h.id = t.host_id where t.subdomain = ${subdomain}`)
  const { app_url, owner_url, host_url } = await databaseOf(subdomain)
  const { id, isolation, role_preset, database_name, branch_id } = row?.tenant ?? {}
  const initial_admin = JSON.stringify({
    email: 'late@acme.test',
    username: 'late',
    password_hash: 'x',
    must_change_password: false,
  })
  const tenant = {
    id,
    subdomain,
    isolation,
    role_preset,
    database_name,
    branch_id,
    app_url,
    pair: 'a' as const,
    owner_url,
    initial_admin,
    host: { ...row?.host, owner_url: host_url },
  }
  return { config, env, neon: neonApi(config), trace_id: crypto.randomUUID(), tenant, results: row?.results }
}

const standing = async (subdomain: string) => {
  const [row] =
    await master(sql`select t.status, t.v, t.schema_version, t.host_id, t.branch_id, (select count(*)::integer from platform.signing_keys k where k.realm_id = t.id) as keys, (select h.taken - count(*)::integer from platform.tenants x where x.host_id = h.id) as untaken
    from platform.tenants t join platform.hosts h on h.id = t.host_id where t.subdomain = ${subdomain}`)
  const { app_url, owner_url, asOwner } = await databaseOf(subdomain)
  const roles = await asOwner(
    sql`select name, (select count(*)::integer from freehold.role_permissions p where p.role_id = r.id) as grants from freehold.roles r order by name`,
  )
  return { ...row, app_url, owner_url, roles }
}

describe('a step that runs again', () => {
  let job: Job
  beforeAll(async () => {
    await makeTenant('repeated', {}, await operatorToken())
    job = await jobOf('repeated')
  })

  it.each(stepNames.filter((name) => !['administrator', 'publish', 'activate'].includes(name)))(
    'changes nothing: %s',
    async (name) => {
      const before = await standing('repeated')
      await steps[name]?.(job)
      expect(await standing('repeated')).toEqual(before)
      expect((await login('repeated')).token_type).toBe('Bearer')
    },
  )
  it('does not switch a tenant on that was switched off since, nor take its version back', async () => {
    const { id } = job.tenant
    await call('', `/platform/v1/tenants/${id}/deactivate`, { method: 'POST', token: await operatorToken() })
    const before = await master(sql`select status, v from platform.tenants where id = ${id}`)
    await steps.activate?.(job)
    expect(await master(sql`select status, v from platform.tenants where id = ${id}`)).toEqual(before)
  })

  it('does not publish a tenant as active that was switched off since', async () => {
    const { id } = job.tenant
    await master(sql`update platform.tenants set status = 'inactive' where id = ${id}`)
    await steps.publish?.(job).catch(() => undefined)
    expect(await env.TENANTS.get(kvKey('repeated'), 'json')).toMatchObject({ status: 'inactive' })
  })
})
