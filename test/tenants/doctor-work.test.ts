/** What the doctor finds of work that stands still, and has go on. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { databaseOf, master } from '../support/databases.ts'
import { about, codes, fix, mended, patient, settle } from '../support/doctor.ts'
import { plantRun, plantTenant } from '../support/planted.ts'

const NAME = 'idle'
let id: string

beforeAll(async () => {
  id = (await patient(NAME)).id
})

describe('work that stands still', () => {
  it('provisioning_stuck: a creation whose lease ran out is started again', async () => {
    const stuck = await plantTenant('idle-stuck', 'provisioning')
    const run = await plantRun(stuck)
    await master(sql`update platform.provisioning_runs set lease_until = now() - interval '1 second' where id = ${run}`)
    await mended('work', 'provisioning_stuck', 'idle-stuck')
  })

  it('erasure_stuck: an erasure that nobody works on goes on to its end', async () => {
    const stuck = await plantTenant('idle-erased')
    await master(
      sql`update platform.tenants set status = 'erasing', erasing_until = now() - interval '1 second' where id = ${stuck}`,
    )
    await mended('work', 'erasure_stuck', 'idle-erased')
    expect(await master(sql`select from platform.tenants where id = ${stuck}`)).toEqual([])
  })

  it('rotation_stuck: a rotation of keys that stopped half-way goes on', async () => {
    await master(sql`update platform.tenants set rotating_since = now() - interval '5 minutes' where id = ${id}`)
    await mended('work', 'rotation_stuck', NAME)
    await settle(NAME)
  })

  it.each<[string, () => Promise<string>, string]>([
    [
      'tenant_failed',
      async () => {
        const failed = await plantTenant('idle-failed')
        await master(
          sql`insert into platform.provisioning_steps (tenant_id, position, name, state, error) values (${failed}, 2, 'place', 'failed', 'Neon answered 500: no')`,
        )
        return 'idle-failed'
      },
      'Step place failed: Neon answered 500: no',
    ],
    [
      'maintenance_overdue',
      async () => {
        await master(
          sql`update platform.maintenance set due_at = now() - interval '5 hours', maintained_at = now(), active_until = '-infinity' where realm_id = ${id}`,
        )
        return NAME
      },
      'It is due since 5 hours.',
    ],
    [
      'audit_head_missing',
      async () => {
        await master(
          sql`update platform.tenants set created_at = now() - interval '2 days' where id = ${id}`,
          sql`delete from platform.audit_heads where realm_id = ${id}`,
        )
        return NAME
      },
      'It has existed for a day, and the master holds no checkpoint of its audit.',
    ],
  ])('%s is told with the reason', async (code, plant, detail) => {
    const subject = await plant()
    const found = (await about('work', subject)).find((each) => each.code === code)
    expect([found?.detail, found?.fix]).toEqual([detail, null])
    await master(
      sql`update platform.tenants set created_at = now() where id = ${id}`,
      sql`update platform.maintenance set due_at = now() + interval '1 day' where realm_id = ${id}`,
    )
  })

  it('host_stuck: a host that Neon refused to create is told with Neon’s words', async () => {
    const name = 'idle-opening'
    await master(
      sql`insert into platform.hosts (id, name, kind, state, region, capacity, refused, lease_until) values (gen_random_uuid(), ${name}, 'none', 'opening', 'x', 1, 'projects limit exceeded', now() - interval '1 minute')`,
    )
    const [found] = await about('work', name)
    await master(sql`delete from platform.hosts where name = ${name}`)
    expect([found?.code, found?.detail]).toEqual(['host_stuck', 'Neon refused to create it: projects limit exceeded'])
  })

  it('drifted: what the last migration found changed is told, until it is compared again and is so no longer', async () => {
    const { asOwner } = await databaseOf(NAME)
    await asOwner(sql`create table freehold.by_hand (n integer)`)
    const drift = JSON.stringify({ count: 2, objects: [{ object: 'table freehold.by_hand', state: 'added' }] })
    await master(
      sql`insert into platform.tenant_migrations (tenant_id, target, wave, state, drift) values (${id}, ${tenantMigrations.at(-1)?.name}, 0, 'done', ${drift}::jsonb)`,
    )
    const told = async () => (await about('work', NAME)).find(({ code }) => code === 'drifted')?.detail
    expect(await told()).toMatch(/^2 objects .*: table freehold.by_hand added\.$/)
    const answer = await fix('drifted', NAME)
    expect([answer.status, answer.body.done], JSON.stringify(answer.body)).toEqual([
      200,
      expect.stringMatching(/nothing was changed/),
    ])
    expect(await told()).toMatch(/added\.$/)
    await asOwner(sql`drop table freehold.by_hand`)
    await mended('work', 'drifted', NAME)
    await master(sql`delete from platform.tenant_migrations where tenant_id = ${id}`)
  })

  it('tenant_behind, migration_failed, migration_stopped: what the newest run did not do is told with its reason', async () => {
    const run = crypto.randomUUID()
    const [kept] = await master(sql`select t.schema_version from platform.tenants t where t.id = ${id}`)
    await master(
      sql`update platform.tenants set schema_version = ${tenantMigrations.at(-2)?.name}, updated_at = updated_at where id = ${id}`,
    )
    const behind = await codes('work', NAME)
    await master(
      sql`insert into platform.migration_runs (id, target, state, reason, concurrency, stop_percent, rest_from, created_at) values (${run}, ${tenantMigrations.at(-1)?.name}, 'stopped', '1 of 1 tenants failed', 1, 5, now(), now() + interval '1 hour')`,
      sql`insert into platform.tenant_migrations (tenant_id, target, run_id, wave, state, error) values (${id}, ${tenantMigrations.at(-1)?.name}, ${run}, 0, 'failed', 'relation exists')`,
    )
    const [failed, stopped] = [await about('work', NAME), await about('work', run)]
    await master(
      sql`delete from platform.tenant_migrations where run_id = ${run}`,
      sql`delete from platform.migration_runs where id = ${run}`,
      sql`update platform.tenants set schema_version = ${kept?.schema_version} where id = ${id}`,
    )
    await settle(NAME)
    expect(behind).toEqual(['tenant_behind'])
    expect(failed.map(({ code, detail }) => [code, detail])).toEqual([
      ['migration_failed', `${tenantMigrations.at(-1)?.name} failed: relation exists`],
    ])
    expect(stopped.map(({ code, detail }) => [code, detail])).toEqual([
      ['migration_stopped', 'It stopped: 1 of 1 tenants failed'],
    ])
  })
})
