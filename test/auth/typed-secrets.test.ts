/** Threat: a password that somebody types where their name goes is kept: readable, exportable, for ever. */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, expect, it, vi } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'mistyped'
const MARKER = 'zq7marker'
const SECRET = `My-${MARKER}-Passw0rd!`
/** A password that could be an address. */
const ADDRESS = `${MARKER}@passw0rd.test`
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  await addPerson(realm, 'cy')
})
afterEach(() => vi.restoreAllMocks())

const post = (path: string, body: object) => call(AT, `/api/v1/auth/${path}`, { body })

it('at no public endpoint: not in a table, the audit, its export, a mail or a line of the log', async () => {
  const lines: string[] = []
  vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line)))
  const password = 'Wrong-1'
  const answers = [
    await post('login', { username: SECRET, password }),
    await post('login', { email: ADDRESS, password }),
    await post('login', { username: ADDRESS, password, device_token: SECRET }),
    await post('login', { username: 'cy', password: SECRET }),
    await call(AT, '/api/v1/auth/login', { form: { username: SECRET, password } }),
    await post('password-reset', { email: ADDRESS }),
    await post('password-reset', { email: SECRET }),
    await post('password-reset/confirm', { token: SECRET, new_password: SECRET }),
    await post('verify-email', { token: SECRET, new_password: SECRET }),
    await post('verify-email/resend', { email: ADDRESS }),
    await post('register', { email: ADDRESS, password: SECRET, username: SECRET }),
    await post('refresh', { refresh_token: SECRET }),
  ]
  for (let i = 0; i < 5; i++) await post('login', { username: SECRET, password })
  expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401, 202, 400, 400, 400, 202, 400, 401])
  const headers = { Authorization: `Bearer ${await tokenOf(AT)}` }
  const { text } = await knock(`http://${AT}.freehold.test/api/v1/activities/export?format=ndjson`, { headers })
  expect(text).toContain('"LOGIN_FAILED"')
  expect(lines.join('\n')).toContain('password refused')
  const tables = await realm.asOwner(
    sql`select c.oid::regclass::text as name from pg_class c where c.relkind in ('r', 'm') and c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace)`,
  )
  expect(tables.length).toBeGreaterThan(10)
  for (const { name } of tables) {
    const [row] = await realm.asOwner(sql`select coalesce(string_agg(t::text, E'\n'), '') as all from ${sql.raw(name)} t`)
    expect(row?.all.toLowerCase(), name).not.toContain(MARKER)
  }
  expect(text.toLowerCase()).not.toContain(MARKER)
  expect(lines.join('\n').toLowerCase()).not.toContain(MARKER)
})

it('an analyst sees that one unknown identifier is tried again and again, whatever the spelling', async () => {
  for (const username of ['nobody-here', ' NOBODY-here ', 'somebody-else']) await post('login', { username, password: 'Wrong-1' })
  const names = await realm.asOwner(
    sql`select d.user_name from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'LOGIN_FAILED' order by l.at desc, l.id desc limit 3`,
  )
  const [last, second, first] = names.map(({ user_name }) => user_name)
  expect(first).toMatch(/^unknown:[0-9a-f]{16}$/)
  expect(second).toBe(first)
  expect(last).not.toBe(first)
})
