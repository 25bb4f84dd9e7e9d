/**
 * Computes that sleep. Threat: what works while a compute is awake fails, or takes a second, at the first request of the morning; and a
 * project whose branches all wake at once has fewer computes than branches.
 */
import { describe, expect, test } from 'vitest'
import { sqlOf, started } from './started.ts'

const { call, ask, newProject, settled, uriOf } = started({ limits: { activeComputes: 2 }, wakeMs: 300 })

const stateOf = async (path: string, id: string) => (await ask('GET', `${path}/endpoints/${id}`)).body.endpoint.current_state

describe('a compute', () => {
  test('that is suspended is idle, has closed its connections, and wakes with the next request', async () => {
    const { path, uri, body } = await newProject()
    const [{ id }] = body.endpoints
    const backend = async () => (await sqlOf(uri)`select pg_backend_pid() as pid`)[0]?.pid
    const before = await backend()
    const answer = await call('POST', `${path}/endpoints/${id}/suspend`)
    expect([answer.status, answer.body.operations[0].action]).toEqual([200, 'suspend_compute'])
    expect(await stateOf(path, id)).toBe('idle')
    const pids = await Promise.all(Array.from({ length: 20 }, backend))
    expect(pids).not.toContain(before)
    expect(await stateOf(path, id)).toBe('active')
  })

  test('is started by the API, too', async () => {
    const { path, body } = await newProject()
    const [{ id }] = body.endpoints
    await call('POST', `${path}/endpoints/${id}/suspend`)
    const answer = await call('POST', `${path}/endpoints/${id}/start`)
    expect([answer.status, answer.body.endpoint.current_state]).toEqual([200, 'active'])
  })

  test('that nobody uses is suspended after as long as its setting says, and one that never is is not', async () => {
    const brief = await newProject({ default_endpoint_settings: { suspend_timeout_seconds: 1 } })
    const lasting = await newProject({ default_endpoint_settings: { suspend_timeout_seconds: -1 } })
    await expect.poll(() => stateOf(brief.path, brief.body.endpoints[0].id), { timeout: 60_000, interval: 200 }).toBe('idle')
    expect(await stateOf(lasting.path, lasting.body.endpoints[0].id)).toBe('active')
    expect(await sqlOf(brief.uri)`select 1 as one`).toEqual([{ one: 1 }])
  })

  test('wakes when fewer than the plan’s others are active; that of the default branch always does', async () => {
    const project = await newProject()
    const uris: string[] = []
    const ids: string[] = []
    for (const name of ['a', 'b', 'c']) {
      const { body } = await ask('POST', `${project.path}/branches`, { branch: { name }, endpoints: [{ type: 'read_write' }] })
      await settled(project.id)
      await ask('POST', `${project.path}/endpoints/${body.endpoints[0].id}/suspend`)
      await settled(project.id)
      ids.push(body.endpoints[0].id)
      uris.push(await uriOf(`${project.path}/branches/${body.branch.id}`))
    }
    const asked = (uri = '') => sqlOf(uri)`select 1`.then(() => 'answered', String)
    expect(await asked(uris[0])).toBe('answered')
    expect(await asked(uris[1])).toBe('answered')
    expect(await asked(uris[2])).toMatch(/active endpoints limit exceeded/)
    expect(await asked(project.uri)).toBe('answered')
    await ask('POST', `${project.path}/endpoints/${ids[0]}/suspend`)
    expect(await asked(uris[2])).toBe('answered')
  })
})
