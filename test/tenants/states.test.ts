/** Threat: a tenant goes from one state to another that nobody allowed, and what operators read about it is not so. The table of the guide is the test. */
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { master } from '../support/databases.ts'
import { call, operatorToken } from '../support/people.ts'
import { plantRun, plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'

const [guide = ''] = Object.values(
  import.meta.glob<string>('../../docs/guides/tenants.md', { eager: true, import: 'default', query: '?raw' }),
)
const cellsOf = (line: string) =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('`', ''))
const [head = [], , ...rows] = guide
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .slice(0, 8)
  .map(cellsOf)
const cells = rows.flatMap(([state = '', ...row]) => row.map((becomes, i) => ({ state, verb: head[i + 1] ?? '', becomes })))

const VERBS: Record<string, (id: string, subdomain: string) => { method: string; path?: string; body?: unknown }> = {
  activate: () => ({ method: 'POST', path: '/activate' }),
  deactivate: () => ({ method: 'POST', path: '/deactivate' }),
  delete: () => ({ method: 'DELETE' }),
  restore: () => ({ method: 'POST', path: '/restore' }),
  retry: () => ({ method: 'POST', path: '/retry' }),
  erase: (_, subdomain) => ({ method: 'DELETE', path: `?hard=true&confirm=${subdomain}` }),
  change: () => ({ method: 'PATCH', body: { contact_name: 'changed' } }),
  rename: (_, subdomain) => ({ method: 'PATCH', body: { subdomain: `${subdomain}-2` } }),
}

let token: string
beforeAll(async () => {
  token = await operatorToken()
})
// No job of another file may find them in a state in which it would do something.
afterAll(async () => {
  await master(sql`update platform.tenants set status = 'failed' where subdomain like 'stated-%' and status <> 'provisioning'`)
})

const stateOf = async (id: string) =>
  (
    await master(
      sql`select t.status, t.is_active, t.deleted_at is not null as is_deleted from platform.tenants t where t.id = ${id}`,
    )
  )[0]

describe('the table of states', () => {
  it('has every state, every verb and nothing else', async () => {
    expect(head).toEqual(['state', ...Object.keys(VERBS)])
    const [check] = await master(
      sql`select pg_get_constraintdef(oid) as text from pg_constraint where conname = 'tenants_status'`,
    )
    const states = [...String(check?.text).matchAll(/'(\w+)'::text/g)].map(([, state]) => state)
    expect(rows.map(([state]) => state).sort()).toEqual(states.sort())
    expect(cells).toHaveLength(48)
    for (const { becomes } of cells) expect(['no', 'stays', ...states]).toContain(becomes)
  })

  it.each(cells)('says that $verb makes $becomes of $state', async ({ state, verb, becomes }) => {
    const subdomain = `stated-${state}-${verb}`
    const id = await plantTenant(subdomain, 'provisioning')
    await plantRun(id)
    if (state !== 'provisioning')
      await master(
        sql`update platform.provisioning_runs set state = 'failed', finished_at = now() where tenant_id = ${id}`,
        sql`update platform.tenants set status = ${state}, erasing_until = now() + interval '1 day', deleted_at = case when ${state} in ('deleted', 'erasing') then now() end where id = ${id}`,
      )
    const before = await stateOf(id)
    const { method, path = '', body } = VERBS[verb]?.(id, subdomain) ?? { method: 'GET' }
    const answer = await call('', `/platform/v1/tenants/${id}${path}`, { token, method, body })
    if (becomes === 'no') {
      expectProblem(answer, 409, 'illegal_state')
      expect(await stateOf(id)).toEqual(before)
      return
    }
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
    if (answer.body) expect(answer.body.status).toBe(becomes === 'stays' ? state : becomes)
    const after = await stateOf(id)
    // What is erased may be gone already, and what is retried done.
    if (becomes === 'erasing') expect([undefined, 'erasing']).toContain(after?.status)
    else if (becomes === 'provisioning') expect(['provisioning', 'active']).toContain(after?.status)
    else expect(after?.status).toBe(becomes === 'stays' ? state : becomes)
    if (after && becomes !== 'stays') expect(after.is_deleted).toBe(['deleted', 'erasing'].includes(String(after.status)))
  })

  it('holds when twenty requests of all kinds are made at once: each that is done was allowed in the state that it found', async () => {
    const id = await plantTenant('stated-crowd')
    await master(sql`update platform.tenants set status = 'inactive' where id = ${id}`)
    const verbs = ['activate', 'deactivate', 'delete', 'restore', 'change'].flatMap((verb) => Array<string>(4).fill(verb))
    const answers = await Promise.all(
      verbs.map(async (verb) => {
        const { method, path = '', body } = VERBS[verb]?.(id, 'stated-crowd') ?? { method: 'GET' }
        return { verb, status: (await call('', `/platform/v1/tenants/${id}${path}`, { token, method, body })).status }
      }),
    )
    expect(answers.filter(({ status }) => ![200, 204, 409].includes(status))).toEqual([])
    // The audit has them in their order: each begins where the one before ended.
    const steps = await master(
      sql`select d.before ->> 'status' as before, d.after ->> 'status' as after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
          where l.resource_id = ${id} and l.action = 'update' and d.after ? 'status' order by (d.after ->> 'updated_at'), l.at`,
    )
    const allowed = new Set(
      cells.filter(({ becomes }) => !['no', 'stays'].includes(becomes)).map(({ state, becomes }) => `${state} ${becomes}`),
    )
    for (const { before, after } of steps.slice(1)) expect(allowed).toContain(`${before} ${after}`)
    const done = answers.filter(({ verb, status }) => verb !== 'change' && status < 300).length
    expect(steps.length - 1).toBe(done)
  })
})
