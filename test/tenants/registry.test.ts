/** Threat: an old, broken or foreign copy in KV sends a request to the wrong database, or tells what it should not. */
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { encrypt } from '../../src/kernel/keyring.ts'
import { type Entry, forgetUnknown, kvKey, lookUp, type SignedEntry } from '../../src/tenants/registry/registry.ts'
import { signed } from '../../src/tenants/registry/signature.ts'
import { type Database, databaseOf, master, settings } from '../support/databases.ts'
import { ADMIN, makeTenant, newRuc } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const MALLORY = 'mallory@other.test'
const HOUR = 3_600_000
let a: Database
let b: Database
let kept: string
let now = Date.now()

beforeAll(async () => {
  await copyTenant('copied')
  await copyTenant('copied-other', { admin_email: MALLORY })
  await copyTenant('copied-slow')
  a = await databaseOf('copied')
  b = await databaseOf('copied-other')
  kept = (await env.TENANTS.get(kvKey('copied'))) ?? ''
})
/** Each test begins with KV as it was published, and memory right but long out of date. */
beforeEach(async () => {
  await env.TENANTS.put(kvKey('copied'), kept)
  now += HOUR
  vi.useFakeTimers({ toFake: ['Date'], now })
  await fresh()
  now += HOUR
  vi.setSystemTime(now)
})
afterEach(() => vi.useRealTimers())

async function entry(name = 'copied'): Promise<Entry> {
  const { signature: _, ...value } = (await env.TENANTS.get<SignedEntry>(kvKey(name), 'json')) as SignedEntry
  return value
}
/** Puts what the Worker itself might have written. */
const publish = async (value: Entry) => env.TENANTS.put(kvKey('copied'), await signed(settings(), value))
/** Puts what somebody else wrote, under the seal of what was there. */
const plant = async (changes: Partial<Entry>) =>
  env.TENANTS.put(kvKey('copied'), JSON.stringify({ ...JSON.parse(kept), ...changes }))
const fresh = (name = 'copied') => lookUp({ env, config: settings(), meter: { master: 0 } }, name, true)
/** What memory holds is right, and too old to be used. */
const outOfDate = () => {
  now += HOUR
  vi.setSystemTime(now)
}
const later = (ms: number) => vi.setSystemTime(Date.now() + ms)

/** Looks a name up, and says what it took: reads of KV, round trips to the master. */
async function look(name = 'copied', TENANTS: Pick<KVNamespace, 'get'> = env.TENANTS) {
  const meter = { master: 0 }
  let kv = 0
  const get = (...given: unknown[]) => {
    kv++
    return (TENANTS.get as (...args: unknown[]) => unknown)(...given)
  }
  const found = await lookUp({ env: { ...env, TENANTS: { get } as KVNamespace }, config: settings(), meter }, name)
  return { found, kv, master: meter.master }
}

async function knock(path: string, init: RequestInit = {}) {
  const response = await exports.default.fetch(new Request(`http://copied.freehold.test${path}`, init))
  return { status: response.status, body: (await response.json()) as any }
}
const logIn = (email: string) =>
  knock('/api/v1/auth/login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email, password: ADMIN.password }),
  })

describe('a look-up asks', () => {
  it('KV when memory is out of date, memory for ten seconds after, and the master not at all', async () => {
    expect(await look()).toMatchObject({ found: { realm: { id: a.id } }, kv: 1, master: 0 })
    later(9_900)
    expect(await look()).toMatchObject({ found: { realm: { id: a.id } }, kv: 0, master: 0 })
    later(200)
    expect(await look()).toMatchObject({ found: { realm: { id: a.id } }, kv: 1, master: 0 })
  })

  it('the master, when KV is empty', async () => {
    await env.TENANTS.delete(kvKey('copied'))
    expect(await look()).toMatchObject({ found: { status: 'active', realm: { id: a.id } }, kv: 1, master: 1 })
    expect((await knock('/.well-known/jwks.json')).status).toBe(200)
  })

  it('once in two seconds about a name that nobody has, and at once when it was given here', async () => {
    const missed = { found: null, kv: 1, master: 1 }
    expect(await look('copied-nobody')).toEqual(missed)
    for (let i = 0; i < 20; i++) expect(await look('copied-nobody')).toEqual({ found: null, kv: 0, master: 0 })
    later(1_900)
    expect((await look('copied-nobody')).master).toBe(0)
    later(200)
    expect(await look('copied-nobody')).toEqual(missed)
    forgetUnknown('copied-nobody')
    expect(await look('copied-nobody')).toEqual(missed)
  })

  it('again about a name that was given here while it was asked for', async () => {
    let arrive = (_: null) => {}
    const slow = { get: () => new Promise<null>((resolve) => (arrive = resolve)) } as unknown as Pick<KVNamespace, 'get'>
    const first = look('copied-meanwhile', slow)
    const asked = vi.spyOn(globalThis, 'fetch').mockImplementationOnce(async (...given) => {
      const answer = await fetch(...given)
      forgetUnknown('copied-meanwhile')
      return answer
    })
    arrive(null)
    expect((await first).found).toBe(null)
    expect(asked).toHaveBeenCalled()
    asked.mockRestore()
    expect((await look('copied-meanwhile')).master).toBe(1)
  })

  it('memory about names that exist, however many nobody has', async () => {
    expect((await look()).kv).toBe(1)
    const none = { get: async () => null } as unknown as Pick<KVNamespace, 'get'>
    for (let i = 0; i < 1_050; i += 50)
      await Promise.all(Array.from({ length: 50 }, (_, j) => look(`copied-none-${i + j}`, none)))
    expect(await look()).toMatchObject({ found: { realm: { id: a.id } }, kv: 0, master: 0 })
  })

  it('about at most a thousand names from memory', async () => {
    const { realm } = (await look()).found ?? {}
    expect(realm?.id).toBe(a.id)
    const value = await entry()
    const any = {
      get: async (key: string) => JSON.parse(await signed(settings(), { ...value, subdomain: key.slice('tenant:'.length) })),
    } as unknown as Pick<KVNamespace, 'get'>
    for (let i = 0; i < 1_000; i++) await look(`copied-many-${i}`, any)
    expect((await look('copied-many-999', any)).kv).toBe(0)
    expect((await look()).kv).toBe(1)
  })
})

describe('what memory knows', () => {
  it('is not replaced by an older entry', async () => {
    const value = await entry()
    expect((await look()).found?.realm?.legal_name).toBe('copied S.A.C.')
    later(11_000)
    await publish({ ...value, v: value.v - 1, legal_name: 'Old Name' })
    expect(await look()).toMatchObject({ found: { realm: { legal_name: 'copied S.A.C.' } }, master: 1 })
  })

  it('is not replaced by an older entry that was asked for before it and came after it', async () => {
    const value = await entry('copied-slow')
    let arrive = (_: SignedEntry) => {}
    const slow = { get: () => new Promise<SignedEntry>((resolve) => (arrive = resolve)) } as unknown as Pick<KVNamespace, 'get'>
    const first = look('copied-slow', slow)
    await fresh('copied-slow')
    arrive(JSON.parse(await signed(settings(), { ...value, v: value.v - 1, legal_name: 'Old Name' })))
    await first
    expect((await look('copied-slow')).found?.realm?.legal_name).toBe('copied-slow S.A.C.')
  })

  it('is replaced by a newer one', async () => {
    const value = await entry('copied-slow')
    await look('copied-slow')
    later(11_000)
    await env.TENANTS.put(kvKey('copied-slow'), await signed(settings(), { ...value, v: value.v + 1, legal_name: 'New Name' }))
    expect(await look('copied-slow')).toMatchObject({ found: { realm: { legal_name: 'New Name' } }, master: 0 })
  })
})

describe('an entry of KV', () => {
  it('holds no secret in the clear', async () => {
    const secrets = [a.app_url, new URL(a.app_url).password, new URL(a.owner_url).password]
    for (const secret of secrets) expect(kept).not.toContain(secret)
    expect(kept).not.toMatch(/postgres|"d":|password|@/)
    const value = JSON.parse(kept) as SignedEntry
    expect(Object.keys(value).sort()).toEqual([
      'database',
      'former_names',
      'former_refresh_key',
      'is_demo',
      'legal_name',
      'license',
      'origin_patterns',
      'origins',
      'refresh_key',
      'refresh_key_from',
      'schema_version',
      'signature',
      'signing_keys',
      'status',
      'subdomain',
      'tenant_id',
      'v',
    ])
    for (const text of [value.signature, value.database, value.refresh_key, value.signing_keys[0]?.private])
      expect(text).toMatch(/^k1\.[\w-]{16}\.[\w-]+$/)
    expect(Object.keys(value.signing_keys[0]?.public ?? {}).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  })

  it.each(['database', 'refresh_key'] as const)(
    'with another tenant’s %s does not open, under its seal or not, and shows nothing of theirs',
    async (field) => {
      const theirs = { [field]: (await entry('copied-other'))[field] }
      for (const put of [() => plant(theirs), async () => publish({ ...(await entry()), ...theirs })]) {
        await put()
        expect(await look()).toMatchObject({ found: { realm: { id: a.id, database_url: a.app_url } }, kv: 1, master: 1 })
        expect((await logIn(MALLORY)).body.code).toBe('invalid_credentials')
        outOfDate()
      }
    },
  )

  it('with its own ciphertexts exchanged does not open, though its seal is right', async () => {
    const right = (await look()).found?.realm
    outOfDate()
    const value = await entry()
    await publish({ ...value, database: value.refresh_key, refresh_key: value.database })
    const { database_url, refresh_key } = right ?? {}
    expect(await look()).toMatchObject({ found: { realm: { database_url, refresh_key } }, kv: 1, master: 1 })
  })

  it('that points at another’s database, rightly encrypted, ends in the right one', async () => {
    const database = await encrypt(settings().ENCRYPTION_KEYS, a.id, 'app_url', b.app_url)
    const planted = { ...(await entry()), database }
    await publish(planted)
    expect((await look()).found?.realm?.database_url).toBe(b.app_url)
    const foreign = await logIn(MALLORY)
    expect([foreign.status, foreign.body.code]).toEqual([401, 'invalid_credentials'])
    now += HOUR
    vi.setSystemTime(now)
    await publish(planted)
    expect((await look()).found?.realm?.database_url).toBe(b.app_url)
    const own = await logIn(ADMIN.email)
    expect(own.status).toBe(200)
    expect(JSON.parse(atob(own.body.access_token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')))).toMatchObject({
      tid: a.id,
      email: ADMIN.email,
    })
    expect((await look()).found?.realm?.database_url).toBe(a.app_url)
  })

  it('that points at a server that refuses the login ends in the right one', async () => {
    const wrong = Object.assign(new URL(a.app_url), { password: 'another-password' }).href
    await publish({ ...(await entry()), database: await encrypt(settings().ENCRYPTION_KEYS, a.id, 'app_url', wrong) })
    expect((await logIn(ADMIN.email)).status).toBe(200)
  })
  it.each<[string, string]>([
    ['empty', ''],
    ['not JSON', '{"v":'],
    ['null', 'null'],
    ['a number', '7'],
    ['an array', '[]'],
    ['an empty object', '{}'],
    ['without keys', '{"v":999999,"status":"active","tenant_id":"x","subdomain":"copied"}'],
    ['with a version that is a word', JSON.stringify({ v: 'zzz', status: 'active', signing_keys: [] })],
  ])('that is %s does not shut the door', async (_, value) => {
    await env.TENANTS.put(kvKey('copied'), value)
    const answer = await knock('/.well-known/jwks.json')
    expect([answer.status, answer.body.keys?.length], JSON.stringify(answer.body)).toEqual([200, 1])
    expect((await logIn(ADMIN.email)).status).toBe(200)
  })

  it.each(['database', 'refresh_key'] as const)(
    'whose %s does not open is read from the master, though its seal is right',
    async (field) => {
      await publish({ ...(await entry()), [field]: 'k9.AAAAAAAAAAAAAAAA.AAAA' })
      expect(await look()).toMatchObject({ found: { status: 'active', realm: { id: a.id } }, kv: 1, master: 1 })
      expect((await logIn(ADMIN.email)).status).toBe(200)
    },
  )

  it('that is another tenant’s, whole, does not make this host theirs', async () => {
    await env.TENANTS.put(kvKey('copied'), (await env.TENANTS.get(kvKey('copied-other'))) ?? '')
    expect((await look()).found?.realm?.id).toBe(a.id)
    expect((await logIn(MALLORY)).status).toBe(401)
    expect((await logIn(ADMIN.email)).status).toBe(200)
  })

  it('that is another tenant’s with this one’s name on it does not make this host theirs', async () => {
    const theirs = JSON.parse((await env.TENANTS.get(kvKey('copied-other'))) ?? '')
    await env.TENANTS.put(kvKey('copied'), JSON.stringify({ ...theirs, subdomain: 'copied', v: 999_999 }))
    expect([(await look()).found?.realm?.id, (await logIn(MALLORY)).status]).toEqual([a.id, 401])
  })

  it('with a public key that is not of its private key does not get it published', async () => {
    const value = await entry()
    const { publicKey } = (await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
      'verify',
    ])) as CryptoKeyPair
    const { x, y } = (await crypto.subtle.exportKey('jwk', publicKey)) as JsonWebKey
    const signing_keys = value.signing_keys.map((key) => ({ ...key, public: { ...key.public, x, y } })) as Entry['signing_keys']
    await plant({ signing_keys })
    expect(JSON.stringify((await knock('/.well-known/jwks.json')).body)).not.toContain(x)
  })

  it('with a tenant’s name that somebody else chose is not believed', async () => {
    await plant({ legal_name: 'Send your password to Mallory' })
    expect(await look()).toMatchObject({ found: { realm: { legal_name: 'copied S.A.C.' } }, kv: 1, master: 1 })
  })

  it('from before it was switched off does not open it in an isolate that knows better', async () => {
    await master(sql`update platform.tenants set status = 'inactive' where subdomain = 'copied'`)
    expect((await fresh())?.status).toBe('inactive')
    later(11_000)
    expect((await look()).found).toEqual({ status: 'inactive', realm: null, renamed_to: null })
    await master(sql`update platform.tenants set status = 'active' where subdomain = 'copied'`)
    later(11_000)
    expect(await look()).toMatchObject({ found: { status: 'active' }, master: 1 })
  })
})

it('a name that is given again after its tenant went is the new tenant’s', async () => {
  vi.useRealTimers()
  await env.TENANTS.put(
    kvKey('copied-again'),
    await signed(settings(), { ...(await entry('copied-other')), subdomain: 'copied-again', v: 1, status: 'inactive' }),
  )
  await makeTenant('copied-again', { tax_id: newRuc() })
  const [row] = await master(sql`select id from platform.tenants where subdomain = 'copied-again'`)
  expect((await look('copied-again')).found?.realm?.id).toBe(row?.id)
})
