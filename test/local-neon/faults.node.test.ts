import { describe, expect, test } from 'vitest'
import { sqlOf, started } from './started.ts'

const { ask, call, newProject, state } = started()

const faults = async (list: unknown[]) => {
  const response = await fetch(state.apiUrl.replace('/api/v2', '/faults'), { method: 'PUT', body: JSON.stringify(list) })
  expect(response.status).toBe(200)
}

test('a status can be answered in place of the real answer, as often as asked', async () => {
  await faults([
    {
      match: { method: 'GET', path: '^/api/v2/projects$' },
      times: 2,
      kind: 'status',
      status: 524,
      body: '<html>',
      headers: { 'retry-after': '1' },
    },
  ])
  for (const _ of [1, 2]) {
    const response = await fetch(`${state.apiUrl}/projects`, { headers: { authorization: `Bearer ${state.apiKey}` } })
    expect([response.status, await response.text(), response.headers.get('retry-after')]).toEqual([524, '<html>', '1'])
  }
  expect((await ask('GET', '/projects')).status).toBe(200)
})

test('a request can be lost before it is carried out, or its answer after', async () => {
  const { branch } = await newProject()
  const create = (name: string) => ask('POST', `${branch}/roles`, { role: { name } })
  await faults([
    { match: { method: 'POST', path: '/roles$' }, times: 1, kind: 'drop_before' },
    { match: { method: 'POST', path: '/roles$' }, times: 1, kind: 'drop_after' },
  ])
  await expect(create('lost')).rejects.toThrow()
  await expect(create('made')).rejects.toThrow()
  expect((await ask('GET', `${branch}/roles/lost`)).status).toBe(404)
  expect((await ask('GET', `${branch}/roles/made`)).status).toBe(200)
})

test('the answer of a query can be lost and another delayed', async () => {
  const sql = sqlOf((await newProject()).uri)
  await sql`create table t (n int)`
  await faults([
    { match: { path: '^/sql$' }, times: 1, kind: 'drop_after' },
    { match: { path: '^/sql$' }, times: 1, kind: 'delay', ms: 150 },
  ])
  await expect(sql`insert into t values (1)`).rejects.toThrow('Error connecting to database')
  const before = performance.now()
  expect(await sql`select * from t`).toEqual([{ n: 1 }])
  expect(performance.now() - before).toBeGreaterThan(140)
})

describe('an operation can be made to fail', () => {
  const failing = (path: string, more: Record<string, unknown> = {}) =>
    faults([{ match: { method: 'POST', path }, times: 1, kind: 'fail_operation', ...more }])
  const states = (operations: { action: string; status: string; error?: string }[]) =>
    operations.map(({ action, status, error }) => [action, status, error])
  const branchOff = (path: string) =>
    call('POST', `${path}/branches`, { branch: { name: 'child' }, endpoints: [{ type: 'read_write' }] })

  test('the branch stays at init, its name is taken, and once it is deleted the name is free', async () => {
    const { path } = await newProject()
    await failing('/branches$')
    const { id } = (await branchOff(path)).body.branch
    expect(states((await call('GET', `${path}/operations?limit=2`)).body.operations)).toEqual([
      ['start_compute', 'cancelled', undefined],
      ['create_branch', 'failed', 'the operation was made to fail'],
    ])
    expect((await call('GET', `${path}/branches/${id}`)).body.branch).toMatchObject({
      current_state: 'init',
      pending_state: 'ready',
    })
    expect((await branchOff(path)).status).toBe(409)
    expect((await call('DELETE', `${path}/branches/${id}`)).status).toBe(200)
    const again = (await branchOff(path)).body
    expect((await call('GET', `${path}/branches/${again.branch.id}`)).body.branch.current_state).toBe('ready')
    expect(await sqlOf(again.connection_uris[0].connection_uri)`select 1 as one`).toEqual([{ one: 1 }])
  })

  test('the compute stays at init when it is the one that fails', async () => {
    const { path } = await newProject()
    await failing('/branches$', { action: 'start_compute' })
    const { id } = (await branchOff(path)).body.branch
    expect((await call('GET', `${path}/branches/${id}`)).body.branch.current_state).toBe('ready')
    const { endpoints } = (await call('GET', `${path}/branches/${id}/endpoints`)).body
    expect(endpoints).toMatchObject([{ current_state: 'init', pending_state: 'active' }])
  })

  test('the database is named and is not there', async () => {
    const { branch, uri } = await newProject()
    await failing('/databases$')
    await call('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'neondb_owner' } })
    expect((await call('GET', `${branch}/databases/shop`)).status).toBe(200)
    const shop = Object.assign(new URL(uri), { pathname: '/shop' }).href
    await expect(sqlOf(shop)`select 1`).rejects.toMatchObject({ code: '3D000' })
  })
})

test('a list that makes no sense is refused', async () => {
  for (const body of ['{}', '[{"kind":"explode"}]', '[{"kind":"delay","times":1,"match":{"path":"("}}]', 'x']) {
    expect((await fetch(state.apiUrl.replace('/api/v2', '/faults'), { method: 'PUT', body })).status).toBe(400)
  }
})
