/**
 * Threat: a key is taken away that something is still under, which then nobody can read; or a value that the Worker wrote meanwhile is
 * overwritten with an older one.
 */
import { createServer } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { parseSettings } from '../../src/kernel/config.ts'
import { batch, useSqlUrl } from '../../src/kernel/db.ts'
import { decrypt, encrypt } from '../../src/kernel/keyring.ts'
import { OWNER_LOGINS, openOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { PAGE, reencryptAll } from '../../src/tenants/rotations/reencrypt.ts'
import { IN_MASTER, IN_REALM, SHORT_LIVED } from '../../src/tenants/rotations/sealed.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { ended, freehold, killGroup, started } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const TRACE = '00000000000000000000000000000054'
const ID = KEYS.ENCRYPTION_KEYS.split(':')[0] ?? ''
const FRESH = `zz9:${'C'.repeat(42)}E`
let stack: Stack
let url: string
let token: string
let stops: (() => Promise<void>)[] = []

/** The settings of a Worker that has the new key first; both keys open. */
const given = () => {
  const { MASTER_DATABASE_URL = '', OWNER_KEYS = '', NEON_SQL_URL = '' } = stack.env as Record<string, string>
  return { MASTER_DATABASE_URL, OWNER_KEYS, NEON_SQL_URL, ENCRYPTION_KEYS: `${FRESH},${KEYS.ENCRYPTION_KEYS}` }
}
const back = () => ({ ...given(), ENCRYPTION_KEYS: `${KEYS.ENCRYPTION_KEYS},${FRESH}` })
const parsed = ({ ENCRYPTION_KEYS }: { ENCRYPTION_KEYS: string }) => parseSettings({ ...stack.env, ENCRYPTION_KEYS })
const config = () => parsed(given())

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  return typeof address === 'object' && address ? address.port : 0
}

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-keys')
  stops = [folder.remove]
  const port = await freePort()
  url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  stack = await startStack({
    ...quiet,
    given: { ...LOW_COST, BASE_URL: url, ...KEYS, ENCRYPTION_KEYS: `${KEYS.ENCRYPTION_KEYS},${FRESH}` },
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 0,
  })
  stops.unshift(stack.stop)
  // It has both keys, as every Worker has before a rotation.
  const worker = await startInWorkerd({ ...stack.env, ENCRYPTION_KEYS: back().ENCRYPTION_KEYS }, { port })
  stops.unshift(worker.stop)
  useSqlUrl(stack.env.NEON_SQL_URL)
  token = (await ask('/platform/v1/auth/login', OPERATOR)).body.access_token
  for (const name of ['kept', 'kept-other']) {
    const made = await ask('/platform/v1/tenants', { ...about(name), environment: 'demo' }, { Prefer: 'wait=30' })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
  }
})
afterAll(async () => {
  for (const stop of stops) await stop()
})
afterEach(() => vi.restoreAllMocks())

const about = (subdomain: string) => ({
  subdomain,
  legal_name: `The ${subdomain} company`,
  tax_id: rucFor(subdomain),
  admin_email: `bo@${subdomain}.test`,
  admin_password: 'Quiet-Ledger-52-bo',
})
async function ask(path: string, body: object, headers: Record<string, string> = {}) {
  const answer = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token && !headers['X-Tenant'] && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify(body),
  })
  return { status: answer.status, body: (await answer.json()) as any }
}
const logIn = (name: string) =>
  ask('/api/v1/auth/login', { email: `bo@${name}.test`, password: 'Quiet-Ledger-52-bo' }, { 'X-Tenant': name })
const master = async (...statements: ReturnType<typeof sql>[]) =>
  (await batch(String(stack.env.MASTER_DATABASE_URL), [sql`set local role freehold_owner`, ...statements])).at(-1) ?? []
async function tenant(name: string) {
  const [[row] = []] = await batch(String(stack.env.MASTER_DATABASE_URL), [
    sql`select id, owner_url_encrypted as owner from platform.tenants where subdomain = ${name}`,
  ])
  const { id, owner } = row as { id: string; owner: string }
  const at = await openOwnerUrl(config(), id, owner)
  return {
    id,
    owner_url: at,
    rows: async (...statements: ReturnType<typeof sql>[]) =>
      (await batch(at, [sql`set local role freehold_owner`, ...statements])).at(-1) ?? [],
  }
}
/** Mails that wait with a secret, of which so many are under the old key. */
async function plantMails(name: string, count: number) {
  const { id, rows } = await tenant(name)
  const sealed = await encrypt(parsed(back()).ENCRYPTION_KEYS, id, 'mail', '{"token":"secret"}')
  await rows(
    sql`insert into freehold.mails (id, kind, recipient, locale, secrets_encrypted, next_at)
        select gen_random_uuid(), 'password_reset', 'x@kept.test', 'en', ${sealed}, now() + interval '1 day' from generate_series(1, ${count}::integer)`,
  )
  return sealed
}
const under = async (name: string, key: string) =>
  Number(
    (
      await (
        await tenant(name)
      ).rows(sql`select count(*)::integer as n from freehold.mails where secrets_encrypted like ${`${key}.%`}`)
    )[0]?.n,
  )
/** What the scheduled job does in the Worker. */
const published = () => master(sql`update platform.tenants set published_v = v`)

test('the list has every encrypted column of both databases', async () => {
  const columns = sql`select table_schema || '.' || table_name || '.' || column_name as name from information_schema.columns
    where column_name like '%\\_encrypted' and table_schema not in ('pg_catalog', 'information_schema') order by 1`
  const named = (tables: typeof IN_MASTER) =>
    tables.flatMap(({ table, columns }) => columns.map(({ name }) => `${table}.${name}`))
  const ofRealm = [...named(IN_REALM), `${SHORT_LIVED.table}.${SHORT_LIVED.column}`]
  const owners = OWNER_LOGINS.map(([table]) => `${table}.owner_url_encrypted`)
  const found = async (at: string) => ((await batch(at, [columns]))[0] ?? []).map(({ name }) => String(name))
  expect(await found(String(stack.env.MASTER_DATABASE_URL))).toEqual([...ofRealm, ...owners, ...named(IN_MASTER)].sort())
  expect(await found((await tenant('kept')).owner_url)).toEqual(ofRealm.sort())
})

/** Every value of every column of a database that has the form of a value under this key. */
async function sealedUnder(at: string, key: string): Promise<string[]> {
  const [columns = []] = await batch(at, [
    sql`select format('%I.%I', table_schema, table_name) as "table", column_name as name from information_schema.columns
        where table_schema in ('platform', 'freehold', 'access') and data_type in ('text', 'json', 'jsonb', 'ARRAY')
          and (table_schema, table_name) in (select schemaname, tablename from pg_tables)`,
  ])
  const form = `(^|[^a-z0-9])${key}\\.[A-Za-z0-9_-]{16}\\.[A-Za-z0-9_-]`
  const found: string[] = []
  for (const { table, name } of columns) {
    const [, [row] = []] = await batch(at, [
      sql`set local role freehold_owner`,
      sql`select count(*)::integer as n from ${sql.raw(String(table))} where ${sql.identifier(String(name))}::text ~ ${form}`,
    ])
    if (Number(row?.n)) found.push(`${table}.${name}: ${row?.n}`)
  }
  return found
}

describe('keys rotate', () => {
  test('leaves nothing under the old key in any column of any database, and says that it can go when KV has it', async () => {
    await plantMails('kept', 3)
    const at = [String(stack.env.MASTER_DATABASE_URL), (await tenant('kept')).owner_url, (await tenant('kept-other')).owner_url]
    expect((await sealedUnder(at[0] ?? '', ID)).length).toBeGreaterThan(3)
    const first = await freehold(['keys', 'rotate', '--json'], given())
    const told = JSON.parse(first.stdout)
    expect(first.code).toBe(1)
    expect(told).toMatchObject({ key: 'zz9', can_go: [] })
    expect(told.left).toEqual([{ where: 'KV', rows: 2, because: expect.stringContaining('run it again') }])
    expect(first.stderr).toContain('Keep every key of ENCRYPTION_KEYS')
    for (const one of at) expect(await sealedUnder(one, ID)).toEqual([])
    // The Worker's own, which has both keys and the old one first.
    for (const name of ['kept', 'kept-other']) expect((await logIn(name)).status).toBe(200)
    await published()
    const again = await freehold(['keys', 'rotate'], given())
    expect(again).toMatchObject({ code: 0, stderr: expect.stringContaining(`Nothing is under ${ID} any more`) })
    expect(again.stderr).toContain('0 rows were encrypted again under zz9.')
    const { ENCRYPTION_KEYS } = parsed({ ENCRYPTION_KEYS: FRESH })
    for (const row of await master(sql`select id, app_url_encrypted as sealed from platform.tenants`))
      expect(await decrypt(ENCRYPTION_KEYS, String(row.id), 'app_url', String(row.sealed))).toMatch(/^postgresql:/)
    expect((await freehold(['keys', 'rotate', '--json'], back())).code).toBe(1)
    await published()
    expect((await freehold(['keys', 'rotate', '--json'], back())).code).toBe(0)
    expect((await sealedUnder(at[0] ?? '', 'zz9')).length).toBe(0)
  })

  test('encrypts the secret of an authenticator app again, whose code is then right under the new key alone', async () => {
    const { id, rows } = await tenant('kept')
    const [user] = await rows(sql`select u.id from freehold.users u limit 1`)
    const field = `totp:${user?.id}`
    const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
    const sealed = await encrypt(parsed(back()).ENCRYPTION_KEYS, id, field, secret)
    await rows(
      sql`insert into freehold.totp_factors (user_id, secret_encrypted, enabled_at) values (${user?.id}, ${sealed}, now())`,
    )
    expect(sealed).toMatch(new RegExp(`^${ID}[.]`))
    await freehold(['keys', 'rotate', '--json'], given())
    const [row] = await rows(sql`select secret_encrypted as kept from freehold.totp_factors where user_id = ${user?.id}`)
    expect(row?.kept).toMatch(/^zz9[.]/)
    const { ENCRYPTION_KEYS } = parsed({ ENCRYPTION_KEYS: FRESH })
    expect(await decrypt(ENCRYPTION_KEYS, id, field, String(row?.kept))).toBe(secret)
    await rows(sql`delete from freehold.totp_factors where user_id = ${user?.id}`)
    await freehold(['keys', 'rotate', '--json'], back())
    await published()
  })

  test('begins only when the Worker encrypts under the new key, where it is told whom to ask', async () => {
    const asked = { FREEHOLD_URL: url, FREEHOLD_TOKEN: token }
    const run = (ring: Record<string, string>, ...more: string[]) => freehold(['keys', 'rotate', ...more], { ...ring, ...asked })
    const others = { ...given(), ENCRYPTION_KEYS: `aa1:${'D'.repeat(42)}E,${KEYS.ENCRYPTION_KEYS},${FRESH}` }
    expect(await run(others)).toMatchObject({ code: 1, stderr: expect.stringContaining('does not have the key aa1 yet') })
    const early = await run(given())
    expect(early).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`still encrypts under ${ID}: put zz9 first, and deploy`),
    })
    const nobody = await freehold(['keys', 'rotate'], { ...back(), ...asked, FREEHOLD_TOKEN: 'nobody' })
    expect(nobody).toMatchObject({ code: 1, stdout: '' })
    expect((await sealedUnder(String(stack.env.MASTER_DATABASE_URL), 'zz9')).length).toBe(0)
    expect(JSON.parse((await run(back(), '--json')).stdout)).toMatchObject({ key: ID, worker_keys: [ID, 'zz9'] })
    await published()
    expect(await run(back())).toMatchObject({ code: 0, stderr: expect.stringContaining('Nothing is under zz9 any more') })
    const unasked = await freehold(['keys', 'rotate'], back())
    expect(unasked).toMatchObject({ code: 0, stderr: expect.stringContaining('The Worker was not asked') })
  })

  test('takes ten thousand rows some at a time, and as many from each statement whatever there is', async () => {
    await plantMails('kept', 10_000)
    let most = 0
    let longest = 0
    const real = globalThis.fetch
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (...asked) => {
      longest = Math.max(longest, String(asked[1]?.body ?? '').length)
      const answer = await real(...asked)
      const text = await answer.text()
      const said = JSON.parse(text)
      for (const { rows = [] } of said.results ?? []) most = Math.max(most, rows.length)
      longest = Math.max(longest, text.length)
      return new Response(text, answer)
    })
    const done = await reencryptAll(config(), TRACE)
    vi.restoreAllMocks()
    expect(done.reencrypted).toBeGreaterThanOrEqual(10_000)
    expect(await under('kept', ID)).toBe(0)
    expect(most).toBe(PAGE)
    expect(longest, 'bytes of a request or an answer').toBeLessThan(1000 * PAGE)
  })

  test('overwrites nothing that somebody changed between its reading and its writing, and names it', async () => {
    await reencryptAll(parsed(back()), TRACE)
    const { id, rows } = await tenant('kept')
    const [mail] = await rows(sql`select id from freehold.mails where secrets_encrypted is not null order by id limit 1`)
    const newer = await encrypt(parsed(back()).ENCRYPTION_KEYS, id, 'mail', '{"token":"newer"}')
    const real = globalThis.fetch
    let changed = false
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (...asked) => {
      if (!changed && /update .*freehold\.mails/s.test(String(asked[1]?.body))) {
        changed = true
        await rows(sql`update freehold.mails set secrets_encrypted = ${newer} where id = ${mail?.id}`)
      }
      return real(...asked)
    })
    const done = await reencryptAll(config(), TRACE)
    vi.restoreAllMocks()
    expect(changed).toBe(true)
    expect((await rows(sql`select secrets_encrypted as kept from freehold.mails where id = ${mail?.id}`))[0]?.kept).toBe(newer)
    expect(done.can_go).toEqual([])
    expect(done.left).toContainEqual({ where: 'kept: freehold.mails', rows: 1, because: expect.stringContaining('run it again') })
    const again = await reencryptAll(config(), TRACE)
    expect(again.left.map(({ where }) => where)).not.toContain('kept: freehold.mails')
    expect(await under('kept', ID)).toBe(0)
  })

  test('goes on where it stopped after it was killed, and does nothing twice', async () => {
    await reencryptAll(parsed(back()), TRACE)
    const all = await under('kept', ID)
    const child = started(['keys', 'rotate'], given())
    const over = ended(child)
    await new Promise<void>((done) => {
      child.stderr.on('data', (chunk: Buffer) => /kept: [0-9]{3}/.test(chunk.toString()) && done())
      child.once('close', () => done())
    })
    killGroup(child)
    await over
    const done = await under('kept', 'zz9')
    expect(done).toBeGreaterThan(0)
    expect(done).toBeLessThan(all)
    const again = JSON.parse((await freehold(['keys', 'rotate', '--json'], given())).stdout)
    expect(again.reencrypted).toBeLessThanOrEqual(all - done)
    expect(again.reencrypted).toBeGreaterThan(0)
    expect(await under('kept', ID)).toBe(0)
  })

  test('names a tenant whose database does not answer, and does it when it does', async () => {
    await reencryptAll(parsed(back()), TRACE)
    await plantMails('kept-other', 2)
    const { owner_url } = await tenant('kept-other')
    const name = new URL(owner_url).pathname.slice(1)
    const real = globalThis.fetch
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (...asked) => {
      const at = new Headers(asked[1]?.headers).get('Neon-Connection-String') ?? ''
      if (at.includes(`/${name}`)) throw new TypeError('connection refused')
      return real(...asked)
    })
    const done = await reencryptAll(config(), TRACE)
    vi.restoreAllMocks()
    expect(done.can_go).toEqual([])
    expect(done.left).toContainEqual({ where: 'kept-other', rows: null, because: expect.stringMatching(/does not answer/) })
    expect(await under('kept', ID)).toBe(0)
    expect(await under('kept-other', ID)).toBe(2)
    await reencryptAll(config(), TRACE)
    expect(await under('kept-other', ID)).toBe(0)
  })

  test('removes kept secrets of answers after ten minutes, and waits for younger ones', async () => {
    const { rows } = await tenant('kept')
    const plant = (minutes: number) =>
      rows(
        sql`insert into access.kept_answers (id, user_id, request_hash, resource, secrets_encrypted, created_at)
            values (sha256(${`kept ${minutes}`}), gen_random_uuid(), sha256('x'), '{}', ${`${ID}.AAAAAAAAAAAAAAAA.AAAA`}, now() - make_interval(mins => ${minutes}::integer))`,
      )
    await plant(11)
    await plant(2)
    const done = await reencryptAll(config(), TRACE)
    expect(done.left).toContainEqual({
      where: 'kept: access.kept_answers',
      rows: 1,
      because: expect.stringContaining('ten minutes'),
    })
    await rows(sql`update access.kept_answers set created_at = created_at - interval '9 minutes'`)
    const again = await reencryptAll(config(), TRACE)
    expect(again.left.map(({ where }) => where)).not.toContain('kept: access.kept_answers')
    expect(
      Number((await rows(sql`select count(*)::integer as n from access.kept_answers where secrets_encrypted is not null`))[0]?.n),
    ).toBe(0)
  })
})
