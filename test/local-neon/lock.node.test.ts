import { expect, test } from 'vitest'
import { as, sqlOf, started } from './started.ts'

const { call, newProject, settled, uriOf, post } = started({ operationMs: 100 })

const LOCKED = 'project already has running conflicting operations, scheduling of new ones is prohibited'

test('while operations of a project run it takes no other change', async () => {
  const { body } = await call('POST', '/projects', { project: {} })
  const path = `/projects/${body.project.id}`
  const branch = `${path}/branches/${body.branch.id}`
  const changes = [
    call('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'neondb_owner' } }),
    call('POST', `${branch}/roles`, { role: { name: 'ada' } }),
    call('POST', `${branch}/roles/neondb_owner/reset_password`),
    call('POST', `${path}/branches`),
    call('PATCH', branch, { branch: { name: 'other' } }),
    call('PATCH', path, { project: { name: 'other' } }),
    call('DELETE', `${path}/endpoints/${body.endpoints[0].id}`),
    call('DELETE', path),
  ]
  for (const { status, body } of await Promise.all(changes)) {
    expect(status).toBe(423)
    expect(body).toMatchObject({ code: '', message: LOCKED })
  }
  await settled(body.project.id)
})

test('while operations of a project run it can be read, and other projects change', async () => {
  const { path } = await newProject()
  await call('POST', `${path}/branches`)
  expect((await call('GET', `${path}/branches`)).status).toBe(200)
  expect((await call('POST', '/projects', { project: {} })).status).toBe(201)
})

test('operations run one after another and all finish', async () => {
  const { body } = await call('POST', '/projects', { project: {} })
  const seen = new Set<string>()
  for (let last = ''; last !== 'finished finished'; seen.add(last)) {
    const { operations } = (await call('GET', `/projects/${body.project.id}/operations`)).body
    last = operations.map(({ status }: { status: string }) => status).join(' ')
  }
  expect([...seen].filter(Boolean)).toEqual(['scheduling running', 'running finished', 'finished finished'])
})

test('a project cannot be connected to before its operations have finished', async () => {
  const { body } = await call('POST', '/projects', { project: {} })
  const early = await post(body.connection_uris[0].connection_uri, { query: 'select 1' })
  expect(early).toMatchObject({ status: 400, body: { message: "password authentication failed for user 'neondb_owner'" } })
  await settled(body.project.id)
  expect((await post(body.connection_uris[0].connection_uri, { query: 'select 1' })).status).toBe(200)
})

test('a database exists once its operation has finished', async () => {
  const { branch, id } = await newProject()
  await call('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'neondb_owner' } })
  const shop = await uriOf(branch, 'shop')
  await expect(sqlOf(shop)`select 1`).rejects.toMatchObject({ code: '3D000', message: 'database "shop" does not exist' })
  await settled(id)
  expect(await sqlOf(shop)`select 1 as one`).toEqual([{ one: 1 }])
})

test('the old password works until its reset has finished, and the new one from then on', async () => {
  const { branch, id, uri: before } = await newProject()
  const { role } = (await call('POST', `${branch}/roles/neondb_owner/reset_password`)).body
  const after = as(before, 'neondb_owner', role.password)
  expect(await sqlOf(before)`select 1 as one`).toEqual([{ one: 1 }])
  await expect(sqlOf(after)`select 1`).rejects.toThrow('password authentication failed')
  await settled(id)
  expect(await sqlOf(after)`select 1 as one`).toEqual([{ one: 1 }])
  await expect(sqlOf(before)`select 1`).rejects.toThrow('password authentication failed')
})
