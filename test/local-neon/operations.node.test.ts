import { Client } from 'pg'
import { expect, test } from 'vitest'
import { as, sqlOf, started } from './started.ts'

const { ask, call, newProject, settled, uriOf, post, state, start } = started()

const LOCKED = 'project already has running conflicting operations, scheduling of new ones is prohibited'

/** From here on no operation ends, however slow the test is. */
async function stopTheClock() {
  await state.stop()
  await start({ operationMs: 3_600_000 })
}

/** From here on operations are carried out at once. */
async function startTheClock() {
  await state.stop()
  await start({ operationMs: 0 })
}

test('while operations of a project run it takes no other change, but can be read, and other projects change', async () => {
  await stopTheClock()
  const { body } = await ask('POST', '/projects', { project: {} })
  const path = `/projects/${body.project.id}`
  const branch = `${path}/branches/${body.branch.id}`
  const changes = [
    call('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'neondb_owner' } }),
    call('POST', `${branch}/roles`, { role: { name: 'ada' } }),
    call('POST', `${branch}/roles/neondb_owner/reset_password`),
    call('DELETE', `${branch}/databases/neondb`),
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
  expect((await call('GET', branch)).body.branch).toMatchObject({ current_state: 'init', pending_state: 'ready' })
  expect((await call('GET', `${path}/endpoints`)).body.endpoints[0]).toMatchObject({
    current_state: 'init',
    pending_state: 'active',
  })
  expect((await call('POST', '/projects', { project: {} })).status).toBe(201)
})

test('of a hundred changes of a project at once exactly one gets through', async () => {
  await startTheClock()
  const { branch, path } = await newProject()
  await stopTheClock()
  const create = (_: unknown, n: number) => ask('POST', `${branch}/roles`, { role: { name: `role_${n}` } })
  const statuses = (await Promise.all(Array.from({ length: 100 }, create))).map(({ status }) => status)
  expect(statuses.filter((status) => status === 201)).toHaveLength(1)
  expect(statuses.filter((status) => status === 423)).toHaveLength(99)
  expect((await ask('GET', `${branch}/roles`)).body.roles).toHaveLength(2)
  expect((await ask('GET', `${path}/operations`)).body.operations).toHaveLength(3)
})

test('a project can be connected to once its operations have finished', async () => {
  await stopTheClock()
  const { body } = await ask('POST', '/projects', { project: {} })
  const uri = body.connection_uris[0].connection_uri
  expect(await post(uri, { query: 'select 1' })).toMatchObject({
    status: 400,
    body: { message: "password authentication failed for user 'neondb_owner'" },
  })
  await startTheClock()
  await settled(body.project.id)
  expect((await post(uri, { query: 'select 1' })).status).toBe(200)
})

test('a database exists once its operation has finished', async () => {
  await startTheClock()
  const { branch, id } = await newProject()
  await stopTheClock()
  await ask('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'neondb_owner' } })
  const shop = await uriOf(branch, 'shop')
  await expect(sqlOf(shop)`select 1`).rejects.toMatchObject({ code: '3D000', message: 'database "shop" does not exist' })
  await startTheClock()
  await settled(id)
  expect(await sqlOf(shop)`select 1 as one`).toEqual([{ one: 1 }])
})

test('the old password works until its reset has finished, and the new one from then on', async () => {
  await startTheClock()
  const { branch, id, uri: before } = await newProject()
  await stopTheClock()
  const { role } = (await ask('POST', `${branch}/roles/neondb_owner/reset_password`)).body
  const after = as(before, 'neondb_owner', role.password)
  expect(await sqlOf(before)`select 1 as one`).toEqual([{ one: 1 }])
  await expect(sqlOf(after)`select 1`).rejects.toThrow('password authentication failed')
  await startTheClock()
  await settled(id)
  expect(await sqlOf(after)`select 1 as one`).toEqual([{ one: 1 }])
  await expect(sqlOf(before)`select 1`).rejects.toThrow('password authentication failed')
})

test('operations run one after another', async () => {
  await state.stop()
  await start({ operationMs: 40 })
  const { body } = await ask('POST', '/projects', { project: {} })
  const possible = ['running scheduling', 'finished running', 'finished finished']
  for (let place = 0; place < 2; ) {
    const { operations } = (await ask('GET', `/projects/${body.project.id}/operations`)).body
    const seen = possible.indexOf(
      operations
        .map(({ status }: { status: string }) => status)
        .reverse()
        .join(' '),
    )
    expect(seen).toBeGreaterThanOrEqual(place)
    place = seen
  }
})

test('operations that a stop interrupted are finished after the next start', async () => {
  await stopTheClock()
  const { body } = await ask('POST', '/projects', { project: { name: 'interrupted' } })
  await startTheClock()
  await settled(body.project.id)
  const { operations } = (await ask('GET', `/projects/${body.project.id}/operations`)).body
  expect(operations.map(({ action, status }: { action: string; status: string }) => [action, status])).toEqual([
    ['start_compute', 'finished'],
    ['create_timeline', 'finished'],
  ])
  expect(await sqlOf(body.connection_uris[0].connection_uri)`select 1 as one`).toEqual([{ one: 1 }])
})

test('when Postgres crashes in the middle of operations they end, and the project takes changes again', async () => {
  await startTheClock()
  const { path, branch, id } = await newProject()
  await state.stop()
  await start({ operationMs: 200 })
  await ask('POST', `${path}/branches`, { branch: { name: 'child' }, endpoints: [{ type: 'read_write' }] })
  const client = new Client({ connectionString: state.postgresUrl })
  client.on('error', () => undefined)
  await client.connect()
  const { rows } = await client.query(`select pid from pg_stat_activity where backend_type = 'checkpointer'`)
  // A server process that is killed takes all others with it.
  process.kill(rows[0].pid, 'SIGKILL')
  await settled(id)
  const { operations } = (await ask('GET', `${path}/operations?limit=2`)).body
  expect(operations.map(({ status }: { status: string }) => status)).not.toContain('running')
  expect((await ask('POST', `${branch}/roles`, { role: { name: 'ada' } })).status).toBe(201)
})

test('a restart finds everything: key, projects, branches, roles, passwords, databases, operations and data', async () => {
  await startTheClock()
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

  await startTheClock()
  expect(state.apiKey).toBe(before.key)
  expect(await look()).toEqual(before.seen)
  expect(await sqlOf(uri)`select 1 as one`).toEqual([{ one: 1 }])
  expect(await sqlOf(child)`select * from kept`).toEqual([{ one: 1 }])
})

test('a folder is used by one server at a time', async () => {
  await expect(start()).rejects.toThrow(/is in use by process \d+/)
})
