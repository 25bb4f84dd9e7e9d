/** Branches of earlier moments. Threat: a test of going back passes although nothing goes back, because a branch holds what is now. */
import { Client } from 'pg'
import { expect, test } from 'vitest'
import { sqlOf, started } from './started.ts'

const { ask, state, newProject, uriOf } = started()

const mark = async (branch_id: string) => {
  const answer = await fetch(new URL('/marks', state.apiUrl), { method: 'PUT', body: JSON.stringify({ branch_id }) })
  return { status: answer.status, body: (await answer.json()) as { at: string } }
}
const soon = () => new Promise((done) => setTimeout(done, 15))

test('a branch of a moment holds what was there then, from the newest mark of before', async () => {
  const { path, branch, uri } = await newProject()
  const id = branch.split('/').at(-1) ?? ''
  const now = sqlOf(uri)
  const branchAt = (at: string) =>
    ask('POST', `${path}/branches`, { branch: { parent_id: id, parent_timestamp: at }, endpoints: [{ type: 'read_write' }] })
  await now`create table notes (text text)`
  await now`insert into notes values ('first')`
  const early = new Date().toISOString()
  expect((await branchAt(early)).body.message).toMatch(/kept nothing/)
  await soon()
  const { at } = (await mark(id)).body
  await soon()
  const between = new Date().toISOString()
  await now`insert into notes values ('second')`
  await mark(id)
  await now`insert into notes values ('third')`
  for (const moment of [at, between]) {
    const { status, body } = await branchAt(moment)
    expect(status).toBe(201)
    expect(await sqlOf(await uriOf(`${path}/branches/${body.branch.id}`))`select text from notes`).toEqual([{ text: 'first' }])
  }
  const late = await branchAt(new Date().toISOString())
  const texts = await sqlOf(await uriOf(`${path}/branches/${late.body.branch.id}`))`select text from notes`
  expect(texts).toEqual([{ text: 'first' }, { text: 'second' }])
  expect(await now`select count(*)::int as n from notes`).toEqual([{ n: 3 }])
})

test('a moment that is no moment, in the future or outside the history is refused', async () => {
  const { path, branch } = await newProject()
  const id = branch.split('/').at(-1) ?? ''
  await mark(id)
  const days = (n: number) => new Date(Date.now() + n * 86_400_000).toISOString()
  for (const [at, words] of [
    ['yesterday', /time with a zone/],
    [days(1), /future/],
    [days(-40), /older than the history/],
  ] as const) {
    const { status, body } = await ask('POST', `${path}/branches`, { branch: { parent_id: id, parent_timestamp: at } })
    expect([status, body.message]).toEqual([400, expect.stringMatching(words)])
  }
  expect((await mark('br-nobody')).status).toBe(404)
})

test('marks go with their branch, and with their project', async () => {
  const { path, branch } = await newProject()
  const { body } = await ask('POST', `${path}/branches`, { branch: {}, endpoints: [{ type: 'read_write' }] })
  const marks = async () => {
    const client = new Client({ connectionString: state.postgresUrl })
    await client.connect()
    const { rows } = await client.query("select count(*)::int as n from pg_database where datname like 'mark\\_%'")
    await client.end()
    return rows[0].n
  }
  const before = await marks()
  await mark(branch.split('/').at(-1) ?? '')
  await mark(body.branch.id)
  expect(await marks()).toBe(before + 2)
  expect((await ask('DELETE', `${path}/branches/${body.branch.id}`)).status).toBe(200)
  expect(await marks()).toBe(before + 1)
  expect((await ask('DELETE', path)).status).toBe(200)
  expect(await marks()).toBe(before)
})
