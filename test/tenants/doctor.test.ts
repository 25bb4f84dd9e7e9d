/** What the doctor finds and mends. The stack is every file's: each test looks at its own subjects alone. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { kvKey, signed } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { askNeon } from '../support/faults.ts'
import { call, makeTenant, operatorToken } from '../support/people.ts'
import { plantRun, plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'

type Finding = Record<'check' | 'code' | 'subject' | 'detail', string> & { fix: string | null; tenant_id: string | null }

const NAME = 'ill'
let token: string
let id: string
let host: { id: string; name: string; project_id: string; branch_id: string }

beforeAll(async () => {
  token = await operatorToken()
  id = (await makeTenant(NAME, {}, token)).id
  await settle(NAME)
  const [row] = await master(
    sql`select h.id, h.name, h.project_id, h.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
  )
  host = row as typeof host
})

/** What changed in the last two minutes is not judged in KV. */
const settle = (name: string) =>
  master(sql`update platform.tenants set updated_at = now() - interval '3 minutes' where subdomain = ${name}`)

/** All findings of a check, page by page. */
async function examine(check: string, limit = 100): Promise<Finding[]> {
  const found: Finding[] = []
  let cursor: string | null = null
  do {
    const query: string = `check=${check}&limit=${limit}${cursor ? `&cursor=${cursor}` : ''}`
    const { status, body } = await call('', `/platform/v1/doctor?${query}`, { token })
    expect(status, JSON.stringify(body)).toBe(200)
    found.push(...body.data)
    cursor = body.next_cursor
  } while (cursor)
  return found
}
const about = async (check: string, subject: string) => (await examine(check)).filter((found) => found.subject === subject)
const codes = async (check: string, subject: string) => (await about(check, subject)).map(({ code }) => code)

const fix = (code: string, subject: string) => call('', '/platform/v1/doctor/fix', { token, body: { code, subject } })
const remove = (code: string, subject: string, confirm: string) =>
  call('', '/platform/v1/doctor/remove', { token, body: { code, subject, confirm } })

/** Planted, found, fixed, gone; and not to be fixed twice. */
async function mended(check: string, code: string, subject: string) {
  expect(await codes(check, subject)).toEqual([code])
  const answer = await fix(code, subject)
  expect([answer.status, answer.body.code], JSON.stringify(answer.body)).toEqual([200, code])
  await vi.waitUntil(async () => !(await codes(check, subject)).includes(code), { timeout: 20_000, interval: 200 })
  expectProblem(await fix(code, subject), 409, 'illegal_state')
  const [written] = await master(
    sql`select l.action, u.email, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id left join freehold.users u on u.id = l.user_id
        where l.activity_type = 'DOCTOR_FIXED' and d.after ->> 'subject' = ${subject} order by l.at desc limit 1`,
  )
  expect(written).toEqual({ action: 'fix', email: 'ada@freehold.test', after: { code, subject } })
}

describe('a tenant that is well', () => {
  it('is no finding of any check', async () => {
    for (const check of ['registry', 'kv', 'neon', 'work']) {
      const found = (await examine(check)).filter((each) => each.tenant_id === id)
      expect(found, check).toEqual([])
    }
  })

  it('is none while it is created or erased, as long as its lease runs', async () => {
    const making = await plantTenant('ill-making', 'provisioning')
    await plantRun(making)
    const erasing = await plantTenant('ill-erasing')
    await master(
      sql`update platform.tenants set status = 'erasing', erasing_until = now() + interval '1 hour' where id = ${erasing}`,
    )
    expect([await codes('work', 'ill-making'), await codes('work', 'ill-erasing')]).toEqual([[], []])
    await master(
      sql`update platform.provisioning_runs set state = 'failed' where tenant_id = ${making}`,
      sql`update platform.tenants set status = 'failed' where id in (${making}, ${erasing})`,
    )
  })
})

describe('the entry in KV', () => {
  const entry = async () => {
    const { signature: _, ...said } = JSON.parse((await env.TENANTS.get(kvKey(NAME))) ?? '{}')
    return said
  }
  it.each<[string, string, () => Promise<unknown>]>([
    ['kv_missing', 'is missing', () => env.TENANTS.delete(kvKey(NAME))],
    ['kv_forged', 'is no JSON', () => env.TENANTS.put(kvKey(NAME), 'nonsense')],
    ['kv_forged', 'is null', () => env.TENANTS.put(kvKey(NAME), 'null')],
    [
      'kv_forged',
      'says something else under its signature',
      async () => {
        const text = (await env.TENANTS.get(kvKey(NAME))) ?? ''
        await env.TENANTS.put(kvKey(NAME), JSON.stringify({ ...JSON.parse(text), legal_name: 'Mallory' }))
      },
    ],
    [
      'kv_stale',
      'is older',
      async () => {
        const said = await entry()
        await env.TENANTS.put(kvKey(NAME), await signed(settings(), { ...said, v: said.v - 1 }))
      },
    ],
    [
      'kv_stale',
      'is newer',
      async () => {
        const said = await entry()
        await env.TENANTS.put(kvKey(NAME), await signed(settings(), { ...said, v: said.v + 1_000 }))
      },
    ],
    [
      'kv_other',
      'has the version, and says something else',
      async () => {
        const said = await entry()
        await env.TENANTS.put(kvKey(NAME), await signed(settings(), { ...said, legal_name: 'Another' }))
      },
    ],
  ])('%s: it %s', async (code, _, plant) => {
    await plant()
    await mended('kv', code, NAME)
  })

  it('is not judged when the tenant changed in this minute: KV may be behind', async () => {
    await master(sql`update platform.tenants set updated_at = now() where id = ${id}`)
    const kept = (await env.TENANTS.get(kvKey(NAME))) ?? ''
    await env.TENANTS.delete(kvKey(NAME))
    expect(await codes('kv', NAME)).toEqual([])
    await env.TENANTS.put(kvKey(NAME), kept)
    await settle(NAME)
  })

  it('kv_orphaned: it is of nobody', async () => {
    await env.TENANTS.put(kvKey('ill-nobody'), '{}')
    await mended('kv', 'kv_orphaned', kvKey('ill-nobody'))
  })

  it('of a tenant that failed is not of nobody', async () => {
    await plantTenant('ill-failed-key')
    await env.TENANTS.put(kvKey('ill-failed-key'), '{}')
    expect(await codes('kv', kvKey('ill-failed-key'))).toEqual([])
    expectProblem(await fix('kv_orphaned', kvKey('ill-failed-key')), 409, 'illegal_state')
    expect(await env.TENANTS.get(kvKey('ill-failed-key'))).toBe('{}')
  })
})

describe('the registry', () => {
  it('tenant_incomplete, secret_unreadable: a tenant without what it needs, or whose key is lost', async () => {
    const [kept] = await master(
      sql`select owner_url_encrypted, schema_version, refresh_key_encrypted from platform.tenants where id = ${id}`,
    )
    await master(
      sql`update platform.tenants set owner_url_encrypted = null, schema_version = null, refresh_key_encrypted = 'k1.AAAAAAAAAAAAAAAA.AAAA' where id = ${id}`,
    )
    const found = await about('registry', NAME)
    await master(
      sql`update platform.tenants set owner_url_encrypted = ${kept?.owner_url_encrypted}, schema_version = ${kept?.schema_version}, refresh_key_encrypted = ${kept?.refresh_key_encrypted} where id = ${id}`,
    )
    expect(found.map(({ code, detail, fix, tenant_id }) => [code, detail, fix, tenant_id])).toEqual([
      ['tenant_incomplete', 'It lacks the owner login, the version of its schema.', null, id],
      ['secret_unreadable', 'No key opens the refresh key.', null, id],
    ])
    expect(await codes('registry', NAME)).toEqual([])
  })

  it('host_counted, host_overfull: a host whose places are not what is there', async () => {
    const name = 'ill-host'
    await master(
      sql`insert into platform.hosts (id, name, kind, state, region, capacity, taken, lease_until) values (gen_random_uuid(), ${name}, 'branch', 'opening', 'x', 1, 1, now() + interval '1 day') on conflict do nothing`,
    )
    expect(await codes('registry', name)).toEqual(['host_counted'])
    expect((await fix('host_counted', name)).status).toBe(200)
    expect(await codes('registry', name)).toEqual([])
    const crowd = [await plantTenant('ill-crowd-a'), await plantTenant('ill-crowd-b')]
    for (const tenant of crowd)
      await master(
        sql`update platform.tenants set host_id = (select h.id from platform.hosts h where h.name = ${name}) where id = ${tenant}`,
      )
    expect((await codes('registry', name)).sort()).toEqual(['host_counted', 'host_overfull'])
    for (const tenant of crowd) await master(sql`update platform.tenants set host_id = null where id = ${tenant}`)
    await master(sql`delete from platform.hosts where name = ${name}`)
  })
})

describe('at Neon', () => {
  const databases = (more = '', init = {}) =>
    askNeon(`/projects/${host.project_id}/branches/${host.branch_id}/databases${more}`, init)
  const finished = () =>
    vi.waitUntil(
      async () =>
        (await askNeon(`/projects/${host.project_id}/operations`)).operations.every(
          (o: { status: string }) => o.status === 'finished',
        ),
      { timeout: 20_000, interval: 100 },
    )
  const made = async (name: string) => {
    const { branches } = { branches: (await databases()).databases }
    const owner_name = branches[0].owner_name
    await vi.waitUntil(
      () =>
        databases('', { method: 'POST', body: JSON.stringify({ database: { name, owner_name } }) }).then(
          () => true,
          () => false,
        ),
      { timeout: 20_000, interval: 200 },
    )
    await finished()
  }

  it('database_of_nobody: a database that no tenant of the host has is deleted when its name is repeated, and not else', async () => {
    await made('ill_stranger')
    const subject = `${host.name}/ill_stranger`
    const [found] = await about('neon', subject)
    expect(found).toMatchObject({ code: 'database_of_nobody', fix: 'ask', tenant_id: null })
    expectProblem(await remove('database_of_nobody', subject, 'ill'), 400, 'invalid_request')
    expectProblem(await remove('database_of_nobody', subject, subject), 400, 'invalid_request')
    expectProblem(await fix('database_of_nobody', subject), 400, 'invalid_request')
    expect(await codes('neon', subject)).toEqual(['database_of_nobody'])
    expect((await remove('database_of_nobody', subject, 'ill_stranger')).status).toBe(200)
    expect(await codes('neon', subject)).toEqual([])
    expectProblem(await remove('database_of_nobody', subject, 'ill_stranger'), 409, 'illegal_state')
  })

  it('a database of a tenant, of the host itself, or with a tenant’s data under another name is never deleted', async () => {
    const { name } = await databaseOf(NAME)
    expectProblem(await remove('database_of_nobody', `${host.name}/${name}`, name), 409, 'illegal_state')
    expectProblem(await remove('database_of_nobody', `${host.name}/neondb`, 'neondb'), 409, 'illegal_state')
    // As after a hand that set the name in the master.
    await master(sql`update platform.tenants set database_name = 'ill_elsewhere' where id = ${id}`)
    const answer = await remove('database_of_nobody', `${host.name}/${name}`, name)
    const found = await about('neon', `${host.name}/${NAME}`)
    await master(sql`update platform.tenants set database_name = ${name} where id = ${id}`)
    expectProblem(answer, 409, 'illegal_state')
    expect(answer.body.detail).toContain(NAME)
    expect(found.map(({ code }) => code)).toEqual(['database_missing'])
    expect((await databases()).databases.map((each: { name: string }) => each.name)).toContain(name)
    const [row] = await master(sql`select h.removing, h.removing_until from platform.hosts h where h.id = ${host.id}`)
    expect(row).toEqual({ removing: null, removing_until: null })
  })

  it('login_of_nobody: a login that no tenant has is dropped, and that of a tenant is not', async () => {
    const role = 'freehold_app_0123456789ab_a'
    const { host_url } = await databaseOf(NAME)
    await rowsOf(host_url, sql.raw(`create role ${role} nologin`))
    const subject = `${host.name}/${role}`
    expect(await codes('neon', subject)).toEqual(['login_of_nobody'])
    expect((await remove('login_of_nobody', subject, role)).status).toBe(200)
    expect(await codes('neon', subject)).toEqual([])
    const own = `freehold_app_${id.replaceAll('-', '').slice(0, 12)}_a`
    expectProblem(await remove('login_of_nobody', `${host.name}/${own}`, own), 409, 'illegal_state')
    expectProblem(await remove('login_of_nobody', `${host.name}/freehold_owner`, 'freehold_owner'), 409, 'illegal_state')
  })

  it('login_missing: a tenant whose logins are gone', async () => {
    const stranger = crypto.randomUUID()
    await plantTenant('ill-unknown')
    await master(
      sql`update platform.tenants set id = ${stranger}, host_id = ${host.id}, status = 'inactive' where subdomain = 'ill-unknown'`,
    )
    const found = await about('neon', `${host.name}/ill-unknown`)
    await master(sql`update platform.tenants set status = 'failed', host_id = null where id = ${stranger}`)
    expect(found.map(({ code }) => code)).toEqual(['database_missing', 'login_missing', 'login_missing'])
    expect(found.every((each) => each.fix === null && each.tenant_id === stranger)).toBe(true)
  })

  it('branch_of_nobody, branch_missing: branches with the id of no tenant, and tenants without their branch', async () => {
    const made = await makeTenant('ill-branch', { isolation: 'branch' }, token)
    const [home] = await master(
      sql`select h.id, h.name, h.project_id, t.branch_id from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${made.id}`,
    )
    const name = `tenant-${crypto.randomUUID()}`
    await askNeon(`/projects/${home?.project_id}/branches`, { method: 'POST', body: JSON.stringify({ branch: { name } }) })
    const subject = `${home?.name}/${name}`
    expect(await codes('neon', subject)).toEqual(['branch_of_nobody'])
    expect((await examine('neon')).filter(({ tenant_id }) => tenant_id === made.id)).toEqual([])
    expectProblem(await remove('branch_of_nobody', `${home?.name}/tenant-${made.id}`, `tenant-${made.id}`), 409, 'illegal_state')
    expect((await remove('branch_of_nobody', subject, name)).status).toBe(200)
    expect(await codes('neon', subject)).toEqual([])
    await master(sql`update platform.tenants set branch_id = 'br-gone-ill' where id = ${made.id}`)
    expect(await codes('neon', `${home?.name}/ill-branch`)).toEqual(['branch_missing'])
    await master(sql`update platform.tenants set branch_id = ${home?.branch_id} where id = ${made.id}`)
  }, 30_000)

  it('host_missing: a host whose project or branch Neon does not have', async () => {
    const lost = crypto.randomUUID()
    const plant = (project: string, branch: string) =>
      master(
        sql`insert into platform.hosts (id, name, kind, state, region, project_id, branch_id, owner_role, owner_url_encrypted, capacity, lease_until)
            select ${lost}, 'ill-lost', 'branch', 'open', 'x', ${project}, ${branch}, 'x', 'x', 1, now() on conflict (id) do update set project_id = excluded.project_id, branch_id = excluded.branch_id`,
      )
    await plant('lost-project-1', 'br-lost-1')
    // Its secret is one of nobody, so that nothing is placed there: it cannot be read at all.
    expect(await codes('neon', 'ill-lost')).toEqual(['neon_unreadable'])
    const { sealOwnerUrl } = await import('../../src/tenants/provisioning/owner-url.ts')
    const sealed = await sealOwnerUrl(settings(), lost, 'postgresql://a:b@c.test/d')
    await master(sql`update platform.hosts set owner_url_encrypted = ${sealed}, capacity = 0 where id = ${lost}`)
    const [found] = await about('neon', 'ill-lost')
    expect([found?.code, found?.detail]).toEqual(['host_missing', 'Neon has no project lost-project-1.'])
    await plant(host.project_id, 'br-lost-1')
    await master(sql`update platform.hosts set owner_url_encrypted = ${sealed} where id = ${lost}`)
    const [branch] = await about('neon', 'ill-lost')
    expect([branch?.code, branch?.detail]).toEqual(['host_missing', `The project ${host.project_id} has no branch br-lost-1.`])
    await master(sql`delete from platform.hosts where id = ${lost}`)
  })
})

describe('work that stands still', () => {
  it('provisioning_stuck: a creation whose lease ran out is started again', async () => {
    const stuck = await plantTenant('ill-stuck', 'provisioning')
    const run = await plantRun(stuck)
    await master(sql`update platform.provisioning_runs set lease_until = now() - interval '1 second' where id = ${run}`)
    await mended('work', 'provisioning_stuck', 'ill-stuck')
  }, 30_000)

  it('erasure_stuck: an erasure that nobody works on goes on to its end', async () => {
    const stuck = await plantTenant('ill-erased')
    await master(
      sql`update platform.tenants set status = 'erasing', erasing_until = now() - interval '1 second' where id = ${stuck}`,
    )
    await mended('work', 'erasure_stuck', 'ill-erased')
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
        const failed = await plantTenant('ill-failed')
        await master(
          sql`insert into platform.provisioning_steps (tenant_id, position, name, state, error) values (${failed}, 2, 'place', 'failed', 'Neon answered 500: no')`,
        )
        return 'ill-failed'
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
    const [other] = await master(sql`select h.id from platform.hosts h where h.kind = 'branch' and h.state = 'opening'`)
    const name = 'ill-opening'
    if (!other)
      await master(
        sql`insert into platform.hosts (id, name, kind, state, region, capacity, refused, lease_until) values (gen_random_uuid(), ${name}, 'branch', 'opening', 'x', 1, 'projects limit exceeded', now() - interval '1 minute') on conflict do nothing`,
      )
    const found = (await examine('work')).find(({ code }) => code === 'host_stuck')
    await master(sql`delete from platform.hosts where name = ${name}`)
    if (!other) expect(found?.detail).toContain('projects limit exceeded')
  })
})

describe('the question', () => {
  it('is answered in pages, which together are everything, whatever their size', async () => {
    const one = await examine('kv', 1)
    const many = await examine('kv', 100)
    const own = (found: Finding[]) => found.filter(({ tenant_id }) => tenant_id === id)
    expect(own(one)).toEqual(own(many))
  })

  it('without a check walks all of them, in order', async () => {
    const checks: string[] = []
    let cursor = ''
    do {
      const { body } = await call('', `/platform/v1/doctor?limit=100${cursor ? `&cursor=${cursor}` : ''}`, { token })
      checks.push(...body.data.map(({ check }: Finding) => check))
      cursor = body.next_cursor ?? ''
    } while (cursor)
    const order = ['registry', 'kv', 'neon', 'work']
    expect(checks.map((check) => order.indexOf(check))).toEqual(checks.map((check) => order.indexOf(check)).sort())
  })

  it('and the fixes are for operators who may', async () => {
    await master(
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'ill-reader', 'ill-reader@freehold.test', 'auditor')`,
    )
    const auditor = await tokenOf('', 'ill-reader')
    const ask = (path: string, body?: unknown, as: string | undefined = auditor) =>
      call('', `/platform/v1/doctor${path}`, { token: as, ...(body !== undefined && { body }) })
    expect((await ask('?check=work')).status).toBe(200)
    expectProblem(await ask('/fix', { code: 'kv_missing', subject: NAME }), 403, 'forbidden')
    expectProblem(await ask('/remove', { code: 'login_of_nobody', subject: 'a/b', confirm: 'b' }), 403, 'forbidden')
    expectProblem(await call('', '/platform/v1/doctor'), 401, 'token_missing')
  })

  it.each<[string, object]>([
    ['/fix', {}],
    ['/fix', { code: 'kv_missing' }],
    ['/fix', { code: 'kv_missing', subject: '' }],
    ['/fix', { code: 'kv_missing', subject: 7 }],
    ['/fix', { code: 'kv_missing', subject: 'a\0b' }],
    ['/fix', { code: 'kv_missing', subject: 'x'.repeat(601) }],
    ['/fix', { code: 'tenant_failed', subject: NAME }],
    ['/fix', { code: 'constructor', subject: NAME }],
    ['/fix', { code: 'kv_missing', subject: NAME, more: 1 }],
    ['/remove', { code: 'kv_missing', subject: NAME, confirm: NAME }],
    ['/remove', { code: 'login_of_nobody', subject: 'a/b' }],
    ['/remove', { code: 'login_of_nobody', subject: 'a/b', confirm: null }],
  ])('is refused at %s with %j', async (path, body) => {
    expectProblem(await call('', `/platform/v1/doctor${path}`, { token, body }), 400, 'invalid_request')
  })

  it.each(['check=galaxy', 'limit=0', 'limit=101', 'limit=x', 'more=1'])('is refused with ?%s', async (query) => {
    expectProblem(await call('', `/platform/v1/doctor?${query}`, { token }), 400, 'invalid_request')
  })

  it.each(['x', '', 'c.AAAA.AAAA'])('is refused with a cursor %j that is not of this list', async (cursor) => {
    expectProblem(await call('', `/platform/v1/doctor?cursor=${cursor}`, { token }), 400, 'invalid_cursor')
    const { body } = await call('', '/platform/v1/doctor?check=work&limit=1', { token })
    expectProblem(await call('', `/platform/v1/doctor?check=kv&cursor=${body.next_cursor}`, { token }), 400, 'invalid_cursor')
  })
  it.each(['nobody', 'a/b', '../..', 'tenant:', 'x'.repeat(600)])(
    'of a subject that does not exist (%j) is 409',
    async (subject) => {
      for (const code of ['kv_missing', 'kv_orphaned', 'host_counted', 'provisioning_stuck'])
        expectProblem(await fix(code, subject), 409, 'illegal_state')
      for (const code of ['database_of_nobody', 'branch_of_nobody', 'login_of_nobody'])
        expectProblem(await remove(code, subject, subject.slice(subject.indexOf('/') + 1)), 409, 'illegal_state')
    },
  )
})
