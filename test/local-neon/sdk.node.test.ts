import { createNeonClient } from '@neon/sdk'
import { neon } from '@neondatabase/serverless'
import { expect, test } from 'vitest'
import { started } from './started.ts'

const { state } = started({ operationMs: 10 })

const client = (retries = 2) =>
  createNeonClient({
    apiKey: state.apiKey,
    baseUrl: state.apiUrl,
    throwOnError: true,
    waitForReadiness: true,
    wait: { pollIntervalMs: 5 },
    retries,
  })

test('a project can be created and connected to', async () => {
  const { project, connectionString } = await client().projects.createAndConnect({ name: 'sdk' })
  expect(project.name).toBe('sdk')
  expect(await neon(connectionString)`select 1 as one`).toEqual([{ one: 1 }])
})

test('a database and its owner can be made, used and removed', async () => {
  const api = client()
  const { project } = await api.projects.createAndConnect({ name: 'parts' })
  const [branch] = await api.branches.list({ projectId: project.id }).all()
  const place = { projectId: project.id, branchId: branch?.id ?? '' }
  const role = await api.postgres.roles.create({ ...place, name: 'shop_owner' })
  const database = await api.postgres.databases.create({ ...place, name: 'shop', owner_name: role.name })
  const uri = await api.postgres.connectionString({ ...place, databaseName: database.name, roleName: role.name })
  expect(await neon(uri)`select current_user as me`).toEqual([{ me: 'shop_owner' }])
  await api.postgres.databases.delete({ ...place, databaseName: 'shop' })
  await expect(api.postgres.databases.get({ ...place, databaseName: 'shop' })).rejects.toMatchObject({ kind: 'not_found' })
})

test('a locked project is retried until it is free', async () => {
  const api = client(5)
  const { project } = await api.projects.createAndConnect({ name: 'busy' })
  const names = ['one', 'two']
  const made = await Promise.all(names.map((name) => api.branches.create({ projectId: project.id, name })))
  expect(made.map(({ name }) => name)).toEqual(names)
})

test('failures are of the kinds that the SDK knows', async () => {
  const stranger = createNeonClient({ apiKey: 'napi_guess', baseUrl: state.apiUrl })
  expect((await stranger.projects.list().all()).error).toMatchObject({ kind: 'auth', status: 401 })
  await expect(client().projects.get({ projectId: 'no-such-0' })).rejects.toMatchObject({ kind: 'not_found', status: 404 })
})
