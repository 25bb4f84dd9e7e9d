/**
 * Django's own vectors of later versions (tests/auth_tests/test_hashers.py of django/django; the older ones as in Racum/rust-djangohashers,
 * tests/), with as many iterations as nobody wants to wait for where tests are not compiled.
 */
import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { foreignDigest, fromForeign } from '../../src/passwords/foreign-hash.ts'

it.each([
  ['Django 2.0', 'lètmein', 'pbkdf2_sha256$100000$seasalt$BNZ6eyaNc8qFTJPjrAq99hSYb73EgAdytAtdBg2Sdcc='],
  ['Django 2.1', 'lètmein', 'pbkdf2_sha256$120000$seasalt$fsgWMpOXin7ZAmi4j+7XjKCZ4JCvxJTGiwwDrawRqSc='],
  ['Django 3.0', 'lètmein', 'pbkdf2_sha256$180000$seasalt$gH56uAM9k5UGHuCzAYqLtJQ7AFgnXEZ4LMzt71ldHoc='],
  ['Django 4.1', 'lètmein', 'pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c='],
  ['Django 5.1', 'lètmein', 'pbkdf2_sha256$870000$seasalt$wJSpLMQRQz0Dhj/pFpbyjMj71B2gUYp6HJS5AU+32Ac='],
  ['Django 6', 'lètmein', 'pbkdf2_sha256$1500000$seasalt$P4UiMPVduVWIL/oS1GzH+IofsccjJNM5hUTikBvi5to='],
])('%s: %j opens %s', async (_, password, hash) => {
  const taken = fromForeign(hash)
  if (!('stored' in taken)) throw new Error(JSON.stringify(taken))
  const [, recipe = '', kept] = /^(.*)\$([^$]+)$/.exec(taken.stored) ?? []
  const digest = (await foreignDigest(password, recipe)) ?? new Uint8Array()
  expect(createHash('sha256').update(digest).digest('base64').replace('=', '')).toBe(kept)
})
