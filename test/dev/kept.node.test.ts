/** Threat: a start with an older data folder loses the keys that opened what is in it, or has none for what is new. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkSettings, keptIn } from '../../scripts/dev/settings.ts'

it('a data folder of before there was a ring for owner logins gets one, once, and keeps the rest', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'freehold-kept-'))
  try {
    const first = await keptIn(folder)
    expect(first.owner_keys).toMatch(/^o1:[\w-]{43}$/)
    const { owner_keys: _, ...old } = first
    const file = join(folder, 'credentials.json')
    await writeFile(file, JSON.stringify(old))
    const second = await keptIn(folder)
    expect(second).toEqual({ ...old, owner_keys: expect.stringMatching(/^o1:[\w-]{43}$/) })
    expect(second.owner_keys).not.toBe(first.owner_keys)
    expect(await keptIn(folder)).toEqual(second)
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(second)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(await readdir(folder)).not.toContain('credentials.json.new')
    const { encryption_keys: ENCRYPTION_KEYS, owner_keys: OWNER_KEYS } = second
    expect(() => checkSettings({ BASE_URL: 'http://localhost', ENCRYPTION_KEYS, OWNER_KEYS })).not.toThrow()
  } finally {
    await rm(folder, { recursive: true })
  }
})
