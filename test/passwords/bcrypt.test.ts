/** Our bcrypt against the one that everybody uses, for passwords that nobody chose; the published vectors are in foreign-hash.test.ts. */
import { genSaltSync, hashSync } from 'bcryptjs'
import { expect, it } from 'vitest'
import { bcrypt } from '../../src/passwords/bcrypt.ts'

const slices = { ended: 0 }
const endSlice = async () => {
  slices.ended++
}
const random = (length: number) =>
  String.fromCodePoint(
    ...[...crypto.getRandomValues(new Uint32Array(length))].map(
      (n) => [33 + (n % 90), 160 + (n % 1800), 0x4e00 + (n % 20_000)][n % 3] ?? 0,
    ),
  )

it('computes what bcryptjs computes, of passwords of any length and salts of any bits', async () => {
  for (const length of [0, 1, 2, 3, 8, 23, 24, 25, 35, 36, 70, 71, 72, 73, 100, 500]) {
    const password = random(length)
    const salt = genSaltSync(4)
    expect(salt.slice(7) + (await bcrypt(password, 4, salt.slice(7), endSlice)), password).toBe(hashSync(password, salt).slice(7))
  }
})

it('ends a slice after every 128 rounds, by whatever clock', async () => {
  const count = async (cost: number) => {
    const before = slices.ended
    await bcrypt('pw', cost, 'abcdefghijklmnopqrstuu', endSlice)
    return slices.ended - before
  }
  expect([await count(6), await count(7), await count(10)]).toEqual([0, 1, 8])
})

it('takes no password for twice itself, with the byte between them that ends it', async () => {
  const [salt, once] = ['abcdefghijklmnopqrstuu', 'Copper-Window-17']
  expect(await bcrypt(`${once}\0${once}`, 4, salt, endSlice)).not.toBe(await bcrypt(once, 4, salt, endSlice))
})
