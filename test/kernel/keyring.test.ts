/** Threat: whoever can write to KV or the master moves a ciphertext to where it opens something else. */
import { describe, expect, it } from 'vitest'
import { decrypt, encrypt, type KeyRing } from '../../src/kernel/keyring.ts'

const key = (fill: number) => new Uint8Array(32).fill(fill)
const ring: KeyRing = [{ id: 'k1', key: key(1) }]
const ANA = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'
const BEA = '1e8d2b63-8d2f-4c4a-8e1e-4d904f1c9b22'

describe('a ciphertext', () => {
  it.each(['', 'x', 'postgresql://user:ñandú@host/db', 'x'.repeat(10_000)])('opens to what was put in (%.20s)', async (text) => {
    expect(await decrypt(ring, ANA, 'app_url', await encrypt(ring, ANA, 'app_url', text))).toBe(text)
  })

  it('tells the key’s id and nothing of what is in it, and is never the same twice', async () => {
    const sealed = await Promise.all(Array.from({ length: 20 }, () => encrypt(ring, ANA, 'app_url', 'secret')))
    expect(new Set(sealed).size).toBe(20)
    expect(new Set(sealed.map((text) => text.split('.')[1])).size).toBe(20)
    for (const text of sealed) expect(text).toMatch(/^k1\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{30}$/)
  })

  it('does not open for another tenant, another field, or with another key of the same name', async () => {
    const sealed = await encrypt(ring, ANA, 'app_url', 'secret')
    await expect(decrypt(ring, BEA, 'app_url', sealed)).rejects.toThrow()
    await expect(decrypt(ring, ANA, 'owner_url', sealed)).rejects.toThrow()
    await expect(decrypt([{ id: 'k1', key: key(2) }], ANA, 'app_url', sealed)).rejects.toThrow()
    await expect(decrypt(ring, ANA.toUpperCase(), 'app_url', sealed)).rejects.toThrow()
  })

  it('is not confused by a tenant and field that run together', async () => {
    await expect(decrypt(ring, 'a:b', 'c', await encrypt(ring, 'a', 'b:c', 'secret'))).resolves.toBe('secret')
    // Harmless only because a tenant's id is a UUID, which holds no colon.
    expect(ANA).not.toContain(':')
  })

  it('does not open when a single character of it was changed', async () => {
    const sealed = await encrypt(ring, ANA, 'app_url', 'secret')
    for (let i = 3; i < sealed.length - 1; i++) {
      if (sealed[i] === '.') continue
      const changed = `${sealed.slice(0, i)}${sealed[i] === 'A' ? 'B' : 'A'}${sealed.slice(i + 1)}`
      await expect(decrypt(ring, ANA, 'app_url', changed), changed).rejects.toThrow()
    }
  })

  it.each([
    '',
    'k1',
    'k1.',
    'k1..',
    'k1.AAAA',
    'k1.AAAAAAAAAAAAAAAA.',
    'k1.AAAAAAAAAAAAAAAA.AAAA',
    'k1.!!!!.!!!!',
    '.AAAAAAAAAAAAAAAA.AAAA',
  ])('that is %j does not open', async (sealed) => {
    await expect(decrypt(ring, ANA, 'app_url', sealed)).rejects.toThrow()
  })
})

describe('a key ring that was rotated', () => {
  const rotated: KeyRing = [{ id: 'k2', key: key(2) }, ...ring]

  it('opens what the old key closed, and closes with the new one', async () => {
    const old = await encrypt(ring, ANA, 'app_url', 'secret')
    expect(await decrypt(rotated, ANA, 'app_url', old)).toBe('secret')
    const fresh = await encrypt(rotated, ANA, 'app_url', 'secret')
    expect(fresh).toMatch(/^k2\./)
    await expect(decrypt(ring, ANA, 'app_url', fresh)).rejects.toThrow(/no key k2/)
  })

  it('does not take the id of a key for more than a name', async () => {
    const old = await encrypt(ring, ANA, 'app_url', 'secret')
    await expect(decrypt(rotated, ANA, 'app_url', old.replace('k1.', 'k2.'))).rejects.toThrow()
  })

  it('that lost a key says which one, for what and for whom, and nothing else', async () => {
    const old = await encrypt(ring, ANA, 'app_url', 'secret')
    await expect(decrypt(rotated.slice(0, 1), ANA, 'app_url', old)).rejects.toThrow(
      `ENCRYPTION_KEYS has no key k1 for app_url of tenant ${ANA}.`,
    )
  })

  it('that is empty closes nothing', async () => {
    await expect(encrypt([], ANA, 'app_url', 'secret')).rejects.toThrow('The key ring is empty.')
  })
})
