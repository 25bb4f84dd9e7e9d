import { expect, test } from 'vitest'
import { sqlOf, started } from './started.ts'

const { ask, newProject, uriOf, state, start, settled } = started()

test('a restart finds everything: key, projects, branches, roles, passwords, databases, operations and data', async () => {
  const { path, branch, uri } = await newProject({ name: 'lasting' })
  await ask('POST', `${branch}/roles`, { role: { name: 'ada' } })
  await ask('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'ada' } })
  const { body } = await ask('POST', `${path}/branches`, { branch: { name: 'child' }, endpoints: [{ type: 'read_write' }] })
  const child = await uriOf(`${path}/branches/${body.branch.id}`, 'shop', 'ada')
  await sqlOf(child)`create table kept as select 1 as one`
  const look = async () => {
    const places = [path, `${path}/branches`, `${path}/endpoints`, `${path}/operations`, `${branch}/roles`, `${branch}/databases`]
    return Promise.all(places.map(async (place) => (await ask('GET', place)).body))
  }
  const before = { key: state.apiKey, seen: await look() }

  await state.stop()
  await start()
  expect(state.apiKey).toBe(before.key)
  expect(await look()).toEqual(before.seen)
  expect(await sqlOf(uri)`select current_user as me`).toEqual([{ me: 'neondb_owner' }])
  expect(await sqlOf(child)`select * from kept`).toEqual([{ one: 1 }])
})

test('operations that a stop interrupted are finished after the next start', async () => {
  await state.stop()
  await start({ operationMs: 3_600_000 })
  const { body } = await ask('POST', '/projects', { project: { name: 'interrupted' } })
  await state.stop()
  await start()
  await settled(body.project.id)
  const { operations } = (await ask('GET', `/projects/${body.project.id}/operations`)).body
  expect(operations.map(({ action, status }: { action: string; status: string }) => [action, status])).toEqual([
    ['start_compute', 'finished'],
    ['create_timeline', 'finished'],
  ])
  expect(await sqlOf(body.connection_uris[0].connection_uri)`select 1 as one`).toEqual([{ one: 1 }])
})

test('a folder is used by one server at a time', async () => {
  await expect(start()).rejects.toThrow(/is in use by process \d+/)
})
