/** Threat: a cursor that tells what it holds, that was made up, or that is carried to another realm or list. */
import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding } from '@oslojs/encoding'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Realm } from '../../src/kernel/context.ts'
import { Page, paged, readCursor } from '../../src/kernel/cursor.ts'
import { decrypt, encrypt } from '../../src/kernel/keyring.ts'
import { newToken, successorOf } from '../../src/kernel/token.ts'

const realmOf = (id: string, refresh_key = newToken()) => ({ id, refresh_key }) as Realm
const ACME = realmOf('0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11')
const BETA = realmOf('7b1f6a5e-2f0c-4d5e-8c55-0a3f5e0b8a22')
const HERE = ['ada@acme.test', '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11']

const write = async (realm: Realm, name: string, values: string[]) =>
  String((await paged(realm, name, [values, ['more']], 1, (row) => row)).next_cursor)
const refused = (realm: Realm, name: string, cursor: string) =>
  expect(readCursor(realm, name, cursor), cursor).rejects.toMatchObject({ code: 'invalid_cursor', status: 400 })

let cursor: string
beforeAll(async () => {
  cursor = await write(ACME, 'users:email', HERE)
})

describe('a cursor', () => {
  it('holds what it was made of, and is there only where more rows are', async () => {
    expect(await readCursor(ACME, 'users:email', cursor)).toEqual(HERE)
    expect(await readCursor(ACME, 'users:email', undefined)).toBeNull()
    expect((await paged(ACME, 'users:email', [HERE], 1, (row) => row)).next_cursor).toBeNull()
    expect((await paged(ACME, 'users:email', [], 1, () => [])).next_cursor).toBeNull()
  })

  it('shows nothing of it, however it is decoded, and is another each time', async () => {
    const again = await write(ACME, 'users:email', HERE)
    expect(again).not.toBe(cursor)
    for (const one of [cursor, again]) {
      const [id, ...parts] = one.split('.')
      expect([id, parts.length]).toEqual(['c', 2])
      const plain = parts.map((part) => String.fromCharCode(...decodeBase64urlIgnorePadding(part))).join(' ')
      expect(one + plain).not.toMatch(/ada@|acme|0d9c1a52/)
    }
  })

  it('needs no escaping in a URL', () => {
    expect(cursor).toMatch(/^[\w.-]+$/)
    expect(encodeURIComponent(cursor)).toBe(cursor)
  })

  it('of two names as long as names may be is taken as a parameter', async () => {
    const long = await write(ACME, 'users:name', ['😀'.repeat(255), '"'.repeat(255), HERE[1] ?? ''])
    expect(Page.parse({ cursor: long }).cursor).toBe(long)
    expect((await readCursor(ACME, 'users:name', long))?.[0]).toBe('😀'.repeat(255))
  })

  it('goes on in no other realm, list or order, and not after the key was replaced', async () => {
    await refused(BETA, 'users:email', cursor)
    await refused(ACME, 'users:-email', cursor)
    await refused(ACME, 'units', cursor)
    await refused(realmOf(ACME.id), 'users:email', cursor)
    await refused(realmOf(BETA.id, ACME.refresh_key), 'users:email', cursor)
  })

  it('with any character changed, left out or added is refused', async () => {
    for (let i = 0; i < cursor.length; i++) {
      await refused(ACME, 'users:email', `${cursor.slice(0, i)}${cursor[i] === 'A' ? 'B' : 'A'}${cursor.slice(i + 1)}`)
      await refused(ACME, 'users:email', cursor.slice(0, i) + cursor.slice(i + 1))
    }
    for (const more of ['=', '==', '.', '.x', 'A', ' ', '\n', '!']) await refused(ACME, 'users:email', cursor + more)
  })

  it.each([
    '',
    '.',
    '..',
    'c',
    'c..',
    'c.x.y',
    'c.AAAAAAAAAAAAAAAA.',
    'c.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA',
    'k1.x.y',
    'e30',
    '\u0000',
  ])('made up, %j, is refused', (made_up) => refused(ACME, 'users:email', made_up))

  it('of the former form, base64 and a MAC, is refused', async () => {
    const text = encodeBase64urlNoPadding(new TextEncoder().encode(JSON.stringify(HERE)))
    const mac = (await successorOf(ACME.refresh_key, `cursor:users:email:${text}`)).slice(0, 22)
    await refused(ACME, 'users:email', `${text}.${mac}`)
  })

  it('has a key of its own: the refresh key itself neither makes nor opens one', async () => {
    const ring = [{ id: 'c', key: new Uint8Array(decodeBase64urlIgnorePadding(ACME.refresh_key)) }]
    await refused(ACME, 'users:email', await encrypt(ring, ACME.id, 'cursor:users:email', JSON.stringify(HERE)))
    await expect(decrypt(ring, ACME.id, 'cursor:users:email', cursor)).rejects.toThrow()
  })
})
