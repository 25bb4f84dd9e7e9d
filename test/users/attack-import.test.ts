/** Threat: a line that breaks more than itself; and a file by which a key hands out what it does not name. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { type KeyCast, keyCast } from '../api-keys/cast.ts'

const AT = 'import-attack'
let here: KeyCast
beforeAll(async () => {
  here = await keyCast(AT)
})

type Row = { line: number; status: string; code?: string; errors?: { pointer: string; detail: string }[] }

/** Moves lines in as they are written; the answer without its last line. */
async function move(lines: (string | object)[], token = here.bo.token): Promise<Row[]> {
  const body = lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('')
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/x-ndjson' }
  const answer = await exports.default.fetch(
    new Request(`http://${AT}.freehold.test/api/v1/users/import`, { method: 'POST', headers, body }),
  )
  const rows = new TextDecoder()
    .decode(await answer.arrayBuffer())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(answer.status, JSON.stringify(rows)).toBe(200)
  expect(rows.pop()).toMatchObject({ summary: true, complete: true })
  return rows
}
const nested = (open: string, close: string, times: number) => open.repeat(times) + close.repeat(times)
const about = (name: string, rest: string) => `{"email":"${name}@hostile.test",${rest}}`

it('a hostile line is told what is wrong with it, and the people beside it are moved in', async () => {
  const hostile = [
    nested('[', ']', 8_000),
    '['.repeat(16_000),
    nested('{"a":', '1}', 2_000).replace('1}', '1'),
    about('deep', `"preferences":{"a":${nested('[', ']', 8_000)}}`),
    about('nul', '"preferences":{"a":"\\u0000"}'),
    about('half', '"preferences":{"\\ud800":1}'),
    about('name', '"given_name":"a\\r\\nBcc: x@x.test"'),
    about('bell', '"family_name":"\\u0007"'),
    about('roles', '"roles":["\\u0000"]'),
    about('proto', '"__proto__":{"role":"admin"}'),
    about('constructor', '"constructor":{}'),
    about('infinite', '"max_sessions":1e400'),
    about('years', '"joined_at":"9999-12-31T23:59:59-12:00"'),
    about('long', `"preferences":{"a":"${'x'.repeat(9_000)}"}`),
    about('cost', `"password_hash":"$2b$03$${'a'.repeat(53)}"`),
    about('iterations', `"password_hash":"pbkdf2_sha256$1$salt$${'A'.repeat(43)}="`),
    '{"email":"two@hostile.test, three@hostile.test"}',
    '{"email":"<two@hostile.test>"}',
    '{"email":"two@hostile.test\\r\\nRCPT TO:<x@x.test>"}',
    '"text"',
    'null',
    '0',
  ]
  const rows = await move(hostile.flatMap((line, i) => [line, { email: `beside-${i}@people.test` }]))
  expect(rows.filter(({ line }) => line % 2 === 1).filter(({ status }) => status !== 'failed')).toEqual([])
  expect(rows.filter(({ line }) => line % 2 === 0).filter(({ status }) => status !== 'created')).toEqual([])
  expect(await here.realm.asOwner(sql`select email from freehold.users where email like '%hostile%'`)).toEqual([])
})

it('by a key moves in nobody with a role that carries what the key does not name, whatever its owner holds', async () => {
  await here.role('reader', { 'unit:read': 'all' })
  await here.role('mighty', { 'unit:delete': 'all' })
  await here.role('heir', {}, { parent_id: await here.roleId('mighty') })
  const fallback = (
    await here.realm.asOwner(
      sql`select c.permission from freehold.roles r cross join lateral access.role_content(r.id) c where r.is_fallback`,
    )
  ).map(({ permission }) => permission as string)
  const key = await here.made(
    [...new Set(['user:create', 'role:update', 'unit:read', ...fallback])].filter((name) => name !== 'unit:delete'),
  )
  const rows = await move(
    [
      { email: 'a@key.test', role: 'reader' },
      { email: 'b@key.test', role: 'mighty' },
      { email: 'c@key.test', role: 'reader', roles: ['mighty'] },
      { email: 'd@key.test', roles: ['heir'] },
      { email: 'e@key.test', roles: ['admin'] },
    ],
    key.key,
  )
  expect(rows.map(({ status }) => status)).toEqual(['created', 'failed', 'failed', 'failed', 'failed'])
  for (const { code, errors } of rows.slice(1)) {
    expect(code).toBe('forbidden')
    expect(errors?.[0]?.detail).toMatch(/^This API key does not include /)
  }
  expect((await move([{ email: 'f@key.test', roles: ['mighty'] }]))[0]?.status, 'by its owner').toBe('created')
  const alone = await here.made(['user:create'])
  const [first] = await move([{ email: 'g@key.test', role: 'reader' }], alone.key)
  expect(first).toMatchObject({ status: 'failed', code: 'forbidden' })
})

it('a role that is none is told of where it stands', async () => {
  const rows = await move([
    { email: 'x@where.test', role: 'nobody' },
    { email: 'y@where.test', roles: ['nobody'] },
    { email: 'z@where.test', role: 'user', roles: ['nobody'] },
  ])
  expect(rows.map(({ errors }) => errors?.[0]?.pointer)).toEqual(['#/role', '#/roles', '#/roles'])
})
