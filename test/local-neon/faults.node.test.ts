import { expect, test } from 'vitest'
import { sqlOf, started } from './started.ts'

const { ask, newProject, state } = started()

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

test('a list that makes no sense is refused', async () => {
  for (const body of ['{}', '[{"kind":"explode"}]', '[{"kind":"delay","times":1,"match":{"path":"("}}]', 'x']) {
    expect((await fetch(state.apiUrl.replace('/api/v2', '/faults'), { method: 'PUT', body })).status).toBe(400)
  }
})
