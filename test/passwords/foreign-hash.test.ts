/**
 * Hashes of other systems. The vectors are those that others published, and that their implementations are held to:
 * - crypt_blowfish 1.3, wrapper.c, Solar Designer (also php-src ext/standard/tests/strings/crypt_blowfish.phpt, and John the Ripper)
 * - jBCrypt, TestBCrypt.java, Damien Miller
 * - pyca/bcrypt, tests/test_bcrypt.py
 * - passlib 1.6, tests/test_handlers_bcrypt.py and test_handlers_django.py
 * - php-src ext/standard/tests/password/password_verify.phpt, and the manual's page of password_verify
 * - Django, tests/auth_tests/test_hashers.py, of its versions 1.4 to 1.8 (as in Racum/rust-djangohashers, tests/); later ones, which take
 *   longer, are in foreign-hash.node.test.ts
 * Vectors over bytes that are no UTF-8 are left out: no such password reaches a Worker.
 */
import { describe, expect, it } from 'vitest'
import { fromForeign, nextSalt } from '../../src/passwords/foreign-hash.ts'
import { attemptedDigest, digest, rehashParameters } from '../../src/passwords/hash.ts'

const base64 = (data: ArrayBuffer) => btoa(String.fromCharCode(...new Uint8Array(data))).replace(/=+$/, '')
const bytes = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))

function stored(hash: string): { stored: string; recipe: string } {
  const taken = fromForeign(hash)
  if (!('stored' in taken)) throw new Error(`${hash} ${JSON.stringify(taken)}`)
  return { stored: taken.stored, recipe: taken.stored.slice(0, taken.stored.lastIndexOf('$')) }
}
/** Whether a password opens what was stored of a hash, as the database finds out. */
async function opens(hash: string, password: string) {
  const kept = stored(hash)
  const proof = base64(await crypto.subtle.digest('SHA-256', bytes((await attemptedDigest(password, kept.recipe)) ?? '')))
  return `${kept.recipe}$${proof}` === kept.stored
}

const LONG = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored'
const TABLE = 't\u00e1\u0411\u2113\u0259'
const DIGITS = '0123456789'.repeat(26)
const ALL_BY_254 = '$2a$04$R1lJ2gkNaoPGdafE.H.16.1MKHPvmKwryeulRe225LKProWYwt9Oi'

const BCRYPT: [string, string, string][] = [
  ['crypt_blowfish', 'U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
  ['crypt_blowfish', 'U*U*', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK'],
  ['crypt_blowfish', 'U*U*U', '$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'],
  ['crypt_blowfish, more than 72 bytes', LONG, '$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui'],
  ['crypt_blowfish, empty', '', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy'],
  ['jBCrypt, empty', '', '$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.'],
  ['jBCrypt, empty', '', '$2a$08$HqWuK6/Ng6sg9gQzbLrgb.Tl.ZHfXLhvt/SgVyWhQqgqcZ7ZuUtye'],
  ['jBCrypt', 'a', '$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe'],
  ['jBCrypt', 'a', '$2a$08$cfcvVd2aQ8CMvoMpP2EBfeodLEkkFJ9umNEfPD18.hUF62qqlC/V.'],
  ['jBCrypt', 'a', '$2a$12$8NJH3LsPrANStV6XtBakCez0cKHXVxmvxIlcz785vxAIZrihHZpeS'],
  ['jBCrypt', 'abc', '$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'],
  ['jBCrypt', 'abcdefghijklmnopqrstuvwxyz', '$2a$10$fVH8e28OQRj9tqiDXs1e1uxpsjN0c7II7YPKXua2NAKYvM6iQk7dq'],
  ['jBCrypt', '~!@#$%^&*()      ~!@#$%^&*()PNBFRD', '$2a$10$LgfYWkbzEvQ4JakH7rOvHe0y8pHKF9OaFgwUZ2q7W2FFZmZzJYlfS'],
  ['pyca/bcrypt', 'Kk4DQuMMfZL9o', '$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm'],
  ['pyca/bcrypt', '9IeRXmnGxMYbs', '$2b$04$pQ7gRO7e6wx/936oXhNjrOUNOHL1D0h1N2IDbJZYs.1ppzSof6SPy'],
  ['pyca/bcrypt', 'xVQVbwa1S0M8r', '$2b$04$SQe9knOzepOVKoYXo9xTteNYr6MBwVz4tpriJVe3PNgYufGIsgKcW'],
  ['pyca/bcrypt', 'Zfgr26LWd22Za', '$2b$04$eH8zX.q5Q.j2hO1NkVYJQOM6KxntS/ow3.YzVmFrE4t//CoF4fvne'],
  ['pyca/bcrypt', 'J8eHUDuxBB520', '$2b$04$VvlCUKbTMjaxaYJ.k5juoecpG/7IzcH1AkmqKi.lIZMVIOLClWAk.'],
  ['passlib, beyond ASCII', TABLE, '$2a$05$Z17AXnnlpzddNUvnC6cZNOSwMA/8oNiKnHTHTwLlBijfucQQlHjaG'],
  ['passlib, beyond ASCII', TABLE, '$2b$05$Z17AXnnlpzddNUvnC6cZNOSwMA/8oNiKnHTHTwLlBijfucQQlHjaG'],
  ['passlib, 254 bytes', DIGITS.slice(0, 254), ALL_BY_254],
  ['passlib, 257 bytes', DIGITS.slice(0, 257), ALL_BY_254],
  ['passlib, 72 bytes', 'abc'.repeat(24), '$2a$05$......................XuQjdH.wPVNUZ/bOfstdW/FqB8QSjte'],
  ['passlib, 73 bytes', `${'abc'.repeat(24)}x`, '$2a$05$......................XuQjdH.wPVNUZ/bOfstdW/FqB8QSjte'],
  ['php-src', 'rasmuslerdorf', '$2a$07$usesomesillystringfore2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi'],
  ['the manual of PHP', 'rasmuslerdorf', '$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq'],
  ['another reference (Python), beyond ASCII', 'pässwörd', '$2y$10$abcdefghijklmnopqrstuunYspUDVwxKwnshT7FzjzjwI57RV2KKa'],
]

const DJANGO: [string, string, string][] = [
  ['Django 1.4', 'letmein', 'pbkdf2_sha256$10000$seasalt$FQCNpiZpTb0zub+HBsH6TOwyRxJ19FwvjbweatNmK/Y='],
  ['Django 1.5', 'lètmein', 'pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY='],
  ['Django 1.6', 'lètmein', 'pbkdf2_sha256$12000$seasalt2$hlDLKsxgkgb1aeOppkM5atCYw5rPzAjCNQZ4NYyUROw='],
  ['Django 1.8', 'lètmein', 'pbkdf2_sha256$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0='],
  ['passlib', 'not a password', 'pbkdf2_sha256$10000$kjVJaVz6qsnJ$5yPHw3rwJGECpUf70daLGhOrQ5+AMxIJdz1c3bqK1Rs='],
  ['passlib', TABLE, 'pbkdf2_sha256$10000$bEwAfNrH1TlQ$OgYUblFNUX1B8GfMqaCYUK/iHyO0pa7STTDdaEJBuY0='],
]

describe('bcrypt', () => {
  it.each(BCRYPT)('of %s: %j opens %s, and another password does not', async (_, password, hash) => {
    expect(await opens(hash, password)).toBe(true)
    expect(await opens(hash, `x${password}`)).toBe(false)
  })

  it('is one algorithm under three names, and 72 bytes of it count', async () => {
    for (const name of ['2a', '2b', '2y'])
      for (const [password, right] of [
        [LONG, true],
        [LONG.slice(0, 72), true],
        [`${LONG.slice(0, 72)}another end`, true],
        [LONG.slice(0, 71), false],
      ] as const)
        expect(await opens(`$${name}$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui`, password)).toBe(right)
  })
})

describe('Django’s pbkdf2_sha256', () => {
  it.each(DJANGO)('of %s: %j opens %s, and another password does not', async (_, password, hash) => {
    expect(await opens(hash, password)).toBe(true)
    expect(await opens(hash, `${password}z`)).toBe(false)
  })

  it('may have any salt that has no $', async () => {
    const salt = 'sål t,=+/%"\\ñ😀'
    const key = await crypto.subtle.importKey('raw', new TextEncoder().encode('pw'), 'PBKDF2', false, ['deriveBits'])
    const made = await crypto.subtle.deriveBits(
      { name: 'PBKDF2', hash: 'SHA-256', salt: new TextEncoder().encode(salt), iterations: 1000 },
      key,
      256,
    )
    const hash = `pbkdf2_sha256$1000$${salt}$${btoa(String.fromCharCode(...new Uint8Array(made)))}`
    expect(await opens(hash, 'pw')).toBe(true)
    expect(await opens(hash, 'pW')).toBe(false)
  })
})

describe('what is stored', () => {
  const [, password = '', hash = ''] = BCRYPT[13] ?? []

  it('opens no door: it is the hash of a digest, and has nothing of the other hash but its salt', async () => {
    const kept = stored(hash)
    expect(kept.stored).toMatch(/^\$bcrypt\$r=4,next=[A-Za-z0-9+/]{22}\$cVWp4XaNU8a4v1uMRum2SO\$[A-Za-z0-9+/]{43}$/)
    expect(kept.stored).not.toContain(hash.slice(29))
    expect(kept.stored.endsWith(String(await attemptedDigest(password, kept.recipe)))).toBe(false)
    const [, , django = ''] = DJANGO[0] ?? []
    expect(stored(django).stored).toMatch(
      /^\$django-pbkdf2-sha256\$i=10000,next=[A-Za-z0-9+/]{22}\$c2Vhc2FsdA\$[A-Za-z0-9+/]{43}$/,
    )
    expect(stored(django).stored).not.toContain('FQCNpiZpTb0zub')
  })

  it('names the salt of the hash that replaces it: another for each, the same for every first login', () => {
    const many = Array.from({ length: 50 }, () => stored(hash).recipe)
    expect(new Set(many.map(nextSalt)).size).toBe(50)
    const renewal = rehashParameters(many[0] ?? '', 600_000)
    expect(renewal).toBe(`$pbkdf2-sha256-chain$r=6,i=100000$${nextSalt(many[0] ?? '')}`)
    expect(rehashParameters(many[0] ?? '', 600_000)).toBe(renewal)
    expect(rehashParameters(renewal ?? '', 600_000)).toBeNull()
  })

  it('takes a password as it was typed, because the other system did', async () => {
    const [, typed = '', table = ''] = BCRYPT[18] ?? []
    expect(await opens(table, typed.normalize('NFC'))).toBe(true)
    expect(await opens(table, typed.normalize('NFD'))).toBe(false)
  })
})

describe('a hash is refused', () => {
  const tail = 'abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui'
  const digest43 = 'FQCNpiZpTb0zub+HBsH6TOwyRxJ19FwvjbweatNmK/Y'
  const WHOLE = 'must be a whole hash of bcrypt ($2a$, $2b$ or $2y$) or of Django (pbkdf2_sha256$)'
  it.each([
    ['bcrypt of cost 3', `$2b$03$${tail}`, 'must have a bcrypt cost of at least 4'],
    ['bcrypt of cost 32, which there is not', `$2b$32$${tail}`, WHOLE],
    ['bcrypt with the sign error', `$2x$05$${tail}`, WHOLE],
    ['bcrypt without a letter', `$2$05$${tail}`, WHOLE],
    ['bcrypt of an unknown letter', `$2c$05$${tail}`, WHOLE],
    ['bcrypt with a cost of one digit', `$2b$5$${tail}`, WHOLE],
    ['bcrypt that is cut off', `$2b$05$${tail.slice(0, -1)}`, WHOLE],
    ['bcrypt with something behind', `$2b$05$${tail}a`, WHOLE],
    ['bcrypt with a line behind', `$2b$05$${tail}\n`, WHOLE],
    ['bcrypt with a sign of no alphabet', `$2b$05$${tail.replace('l', '!')}`, WHOLE],
    ['bcrypt that nobody made: bits behind its end', `$2b$05$${tail.slice(0, -1)}j`, WHOLE],
    ['Django with no iteration', `pbkdf2_sha256$0$s$${digest43}=`, WHOLE],
    ['Django with one iteration', `pbkdf2_sha256$1$s$${digest43}=`, 'must have at least 1000 iterations'],
    ['Django with 999 iterations', `pbkdf2_sha256$999$s$${digest43}=`, 'must have at least 1000 iterations'],
    ['Django with negative iterations', `pbkdf2_sha256$-1$s$${digest43}=`, WHOLE],
    ['Django without a salt', `pbkdf2_sha256$1000$$${digest43}=`, WHOLE],
    [
      'Django with a salt of 129',
      `pbkdf2_sha256$1000$${'s'.repeat(129)}$${digest43}=`,
      'must have a salt of at most 128 characters',
    ],
    ['Django with a digest of 31 bytes', `pbkdf2_sha256$1000$s$${digest43.slice(0, 41)}A=`, WHOLE],
    ['Django with bits behind its end', `pbkdf2_sha256$1000$s$${digest43.slice(0, 42)}Z=`, WHOLE],
    ['Django with a digest of no base64', `pbkdf2_sha256$1000$s$${digest43.replace('+', '_')}=`, WHOLE],
    ['Django with SHA-1', `pbkdf2_sha1$1000$s$${digest43}=`, WHOLE],
    ['one of ours', `$pbkdf2-sha256-chain$r=6,i=100000$AAECAwQFBgcICQoLDA0ODw$${digest43}`, WHOLE],
    ['a password', 'Tr0ub4dor-and-3', WHOLE],
    ['nothing', '', WHOLE],
  ])('%s', (_, hash, fault) => expect(fromForeign(hash)).toEqual({ fault }))

  it.each(['!', '!4OKBEajkn5PIt4m6lA9DnmJsGss3n1Emot4vZPbb'])('but not where it is none, as Django writes it: %s', (hash) =>
    expect(fromForeign(hash)).toEqual({ unusable: true }),
  )
})

describe('a hash that costs too much is none that is stored, and none that is refused', () => {
  const tail = 'abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui'
  const django = (iterations: number) => `pbkdf2_sha256$${iterations}$s$FQCNpiZpTb0zub+HBsH6TOwyRxJ19FwvjbweatNmK/Y=`
  it.each([
    [`$2b$15$${tail}`, 'has a bcrypt cost above 14'],
    [`$2y$31$${tail}`, 'has a bcrypt cost above 14'],
    [django(1_500_001), 'has more than 1500000 iterations'],
    [django(9_999_999_999), 'has more than 1500000 iterations'],
  ])('%s', (hash, why) =>
    expect(fromForeign(hash)).toEqual({ excess: `${why}, so it is not stored: the user has no password until they reset it` }),
  )

  it.each([`$2b$04$${tail}`, `$2b$14$${tail}`, django(1000), django(1_500_000)])('and %s is stored', (hash) =>
    expect(fromForeign(hash)).toHaveProperty('stored'),
  )
})

describe('a recipe of another system is refused beyond the bounds that imports have ever had', () => {
  const next = 'AAECAwQFBgcICQoLDA0ODw'
  it.each([
    `$bcrypt$r=3,next=${next}$abcdefghijklmnopqrstuu`,
    `$bcrypt$r=15,next=${next}$abcdefghijklmnopqrstuu`,
    `$django-pbkdf2-sha256$i=2000001,next=${next}$c2Vhc2FsdA`,
    `$django-pbkdf2-sha256$i=0,next=${next}$c2Vhc2FsdA`,
  ])('%s', async (recipe) => {
    await expect(attemptedDigest('pw', recipe)).rejects.toThrow('These are no hash parameters of another system.')
    await expect(digest('pw', recipe)).rejects.toThrow('These are no hash parameters of a password.')
  })

  it.each([`$bcrypt$r=5$abcdefghijklmnopqrstuu`, `$bcrypt$r=5,next=${next}$abc`, `$django-pbkdf2-sha256$i=1,next=${next}$`])(
    '%s, which is none',
    async (recipe) => {
      await expect(attemptedDigest('pw', recipe)).rejects.toThrow('These are no hash parameters of a password.')
    },
  )

  it('is computed for an attempt and for nothing else', async () => {
    const recipe = `$django-pbkdf2-sha256$i=1,next=${next}$c2Vhc2FsdA`
    expect(await attemptedDigest('pw', recipe)).toMatch(/^[A-Za-z0-9+/]{43}$/)
    await expect(digest('pw', recipe)).rejects.toThrow('These are no hash parameters of a password.')
  })
})
