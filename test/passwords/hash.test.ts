/** Vectors were computed with another implementation of PBKDF2 (Python's hashlib), one call per round. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { digest, extendedParameters, generatePassword, hash, loginDigests, newHashParameters } from '../../src/passwords/hash.ts'
import { DEFAULT_POLICY, weaknesses } from '../../src/passwords/policy.ts'

const SALT = 'AAECAwQFBgcICQoLDA0ODw'
const PASSWORD = 'Tr0ub4dor-and-3'
const bytes = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
const base64 = (data: ArrayBuffer) => btoa(String.fromCharCode(...new Uint8Array(data))).replace(/=+$/, '')

afterEach(() => vi.restoreAllMocks())

describe('a digest', () => {
  it.each([
    [
      'six rounds of 100,000',
      PASSWORD,
      `$pbkdf2-sha256-chain$r=6,i=100000$${SALT}`,
      'XSz8gJzax4L2W5FF35lY6ATXi/iIDxY7gTX2tW+TrrU',
    ],
    [
      'two rounds of 1,000, beyond ASCII',
      'Ünïcödé-9',
      `$pbkdf2-sha256-chain$r=2,i=1000$${SALT}`,
      'Pw4CXUpOfqITwDgUlI0PK6inTc59xRPzJokl1NX8SLc',
    ],
    [
      'one round, which is plain PBKDF2',
      'password',
      `$pbkdf2-sha256-chain$r=1,i=4096$${btoa('saltSALTsaltSALTsaltSALTsaltSALTsalt')}`,
      'jnDAupU0snkycwpS+o057Nl6iOyCzKIgHwsrMJ8SoSs',
    ],
  ])('is as others compute it: %s', async (_, password, recipe, expected) =>
    expect(await digest(password, recipe)).toBe(expected),
  )

  it('is a chain: each round takes what the one before gave, with its number behind the salt', async () => {
    let material: BufferSource = new TextEncoder().encode(PASSWORD)
    for (const round of [1, 2, 3]) {
      const salt = round === 1 ? bytes(SALT) : Uint8Array.of(...bytes(SALT), round)
      const imported = await crypto.subtle.importKey('raw', material, 'PBKDF2', false, ['deriveBits'])
      material = await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations: 50 }, imported, 256)
    }
    expect(await digest(PASSWORD, `$pbkdf2-sha256-chain$r=3,i=50$${SALT}`)).toBe(base64(material as ArrayBuffer))
  })

  it('is made by six calls of 100,000, never by one of more', async () => {
    const calls = vi.spyOn(crypto.subtle, 'deriveBits')
    await digest(PASSWORD, newHashParameters(600_000))
    expect(calls.mock.calls.map(([algorithm]) => (algorithm as { iterations: number }).iterations)).toEqual(
      Array(6).fill(100_000),
    )
  })

  it('is the same for one password in two Unicode forms', async () => {
    const recipe = `$pbkdf2-sha256-chain$r=1,i=10$${SALT}`
    expect(await digest('Ami\u0301-go9', recipe)).toBe(await digest('Am\u00ed-go9', recipe))
    expect(await digest('Amí-go9', recipe)).not.toBe(await digest('Ami-go9', recipe))
  })

  it.each([
    ['more than 100,000 in one call', `$pbkdf2-sha256-chain$r=6,i=100001$${SALT}`],
    ['600,000 in one call', `$pbkdf2-sha256-chain$r=1,i=600000$${SALT}`],
    ['a million', `$pbkdf2-sha256-chain$r=1,i=1000000$${SALT}`],
    ['no iteration', `$pbkdf2-sha256-chain$r=6,i=0$${SALT}`],
    ['no round', `$pbkdf2-sha256-chain$r=0,i=100000$${SALT}`],
    ['more rounds than anybody needs', `$pbkdf2-sha256-chain$r=41,i=100000$${SALT}`],
    ['more rounds than that in parts', `$pbkdf2-sha256-chain$r=21,i=100000+r=20,i=1$${SALT}`],
    ['a part without rounds', `$pbkdf2-sha256-chain$r=6,i=100000+r=0,i=1$${SALT}`],
    ['a short salt', '$pbkdf2-sha256-chain$r=6,i=100000$AAECAwQFBgc'],
    ['no salt', '$pbkdf2-sha256-chain$r=6,i=100000$'],
    ['another scheme', `$pbkdf2-sha256$r=6,i=100000$${SALT}`],
    ['a whole hash', `$pbkdf2-sha256-chain$r=6,i=100000$${SALT}$XSz8gJzax4L2W5FF35lY6ATXi/iIDxY7gTX2tW+TrrU`],
    ['a line behind', `$pbkdf2-sha256-chain$r=6,i=100000$${SALT}\n`],
    ['nothing', ''],
  ])('is refused for a recipe with %s', async (_, recipe) => {
    await expect(digest(PASSWORD, recipe)).rejects.toThrow('These are no hash parameters of a password.')
  })
})

describe('a hash', () => {
  it('is the recipe and the SHA-256 of the digest: what is stored opens no door', async () => {
    const stored = await hash(PASSWORD, 600_000)
    const [, recipe = '', kept] = /^(.*)\$([^$]+)$/.exec(stored) ?? []
    expect(recipe).toMatch(/^\$pbkdf2-sha256-chain\$r=6,i=100000\$[A-Za-z0-9+/]{22}$/)
    const door = await digest(PASSWORD, recipe)
    expect(kept).not.toBe(door)
    expect(kept).toBe(base64(await crypto.subtle.digest('SHA-256', bytes(door))))
  })

  it('never has the same salt', () =>
    expect(new Set(Array.from({ length: 100 }, () => newHashParameters(600_000))).size).toBe(100))
})

describe('the cost of a hash', () => {
  it.each([
    [1, 'r=1,i=1'],
    [1_000, 'r=1,i=1000'],
    [100_000, 'r=1,i=100000'],
    [100_001, 'r=2,i=50001'],
    [600_000, 'r=6,i=100000'],
    [650_000, 'r=7,i=92858'],
    [2_000_000, 'r=20,i=100000'],
  ])('of %i iterations is %s: as few calls as Cloudflare lets, and not one iteration less', (iterations, cost) =>
    expect(newHashParameters(iterations)).toContain(`$${cost}$`),
  )

  it('is what a hash has, from the least to the most that a setting may say', async () => {
    for (const iterations of [1, 100_001, 2_000_000])
      expect((await hash(PASSWORD, iterations)).split('$')[2]).toBe(newHashParameters(iterations).split('$')[2])
  })

  it.each([
    [450_000, 600_000, 'r=5,i=90000+r=2,i=75000'],
    [600_000, 650_000, 'r=6,i=100000+r=1,i=50000'],
    [1, 2_000_000, 'r=1,i=1+r=20,i=100000'],
  ])('of %i iterations is extended to %i as %s, with the same salt', (old, wanted, cost) => {
    const parameters = newHashParameters(old)
    expect(extendedParameters(parameters, wanted)).toBe(`$pbkdf2-sha256-chain$${cost}$${parameters.split('$').at(-1)}`)
  })

  it('is not extended where it is enough, and parameters of another system are none', () => {
    for (const enough of [newHashParameters(600_000), newHashParameters(2_000_000)])
      expect(extendedParameters(enough, 600_000), enough).toBeNull()
    for (const other of ['$2b$04$cVWp4XaNU8a4v1uMRum2SO', '', '$pbkdf2-sha256-chain$r=6,i=100000+$AAAAAAAAAAAAAAAAAAAAAA'])
      expect(() => extendedParameters(other, 600_000), other).toThrow('These are no hash parameters of a password.')
  })

  it('of a login is that of a new hash: what compares the old one goes on to the new one', async () => {
    const parameters = newHashParameters(3_000)
    const { compared, renewal } = await loginDigests(PASSWORD, parameters, 150_000)
    expect(compared).toBe(await digest(PASSWORD, parameters))
    expect(renewal?.parameters).toBe(extendedParameters(parameters, 150_000))
    expect(renewal?.digest).toBe(await digest(PASSWORD, renewal?.parameters ?? ''))
    expect(renewal?.digest).not.toBe(compared)
    expect((await loginDigests(PASSWORD, parameters, 3_000)).renewal).toBeNull()
  })
})

describe('a generated password', () => {
  it('is strong, long, and another each time', async () => {
    const made = Array.from({ length: 200 }, () => generatePassword())
    expect(new Set(made).size).toBe(200)
    for (const password of made) {
      expect(password).toHaveLength(20)
      expect(
        await weaknesses(password, {}, DEFAULT_POLICY, {
          subdomain: 'acme',
          legal_name: 'Acme',
          url: 'https://acme.example.com',
        }),
      ).toEqual([])
    }
  })

  it('uses all of its letters, evenly', () => {
    const counts = new Map<string, number>()
    for (const c of Array.from({ length: 2_000 }, () => generatePassword().slice(0, 16)).join(''))
      counts.set(c, (counts.get(c) ?? 0) + 1)
    const expected = 32_000 / counts.size
    expect(counts.size).toBeGreaterThan(55)
    for (const [letter, count] of counts) expect(Math.abs(count - expected) / expected, letter).toBeLessThan(0.35)
  })
})

describe('what Cloudflare refuses in production only', () => {
  it('is refused here too: more than 100,000 iterations in one call', async () => {
    const material = await crypto.subtle.importKey('raw', new TextEncoder().encode('x'), 'PBKDF2', false, [
      'deriveBits',
      'deriveKey',
    ])
    const algorithm = (iterations: number) => ({ name: 'PBKDF2', hash: 'SHA-256', salt: new Uint8Array(16), iterations })
    const aes = { name: 'AES-GCM', length: 256 }
    for (const iterations of [600_000, 100_001]) {
      const error = await crypto.subtle.deriveBits(algorithm(iterations), material, 256).catch((e: Error) => e)
      expect(error).toMatchObject({ name: 'NotSupportedError', message: expect.stringContaining('100000 are not supported') })
      await expect(crypto.subtle.deriveKey(algorithm(iterations), material, aes, false, ['encrypt'])).rejects.toThrow(
        'not supported',
      )
    }
    expect((await crypto.subtle.deriveBits(algorithm(100_000), material, 256)).byteLength).toBe(32)
  })
})
