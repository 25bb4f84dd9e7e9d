import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { GUESSED_WORDS } from '../../src/passwords/guessed-words.ts'
import { lims } from '../../src/presets/lims.ts'

it('the guide lists the context words that are looked for, and no others', async () => {
  const guide = await readFile(new URL('../../docs/guides/passwords.md', import.meta.url), 'utf8')
  const listed = Object.keys(GUESSED_WORDS).map((kind) => [
    kind,
    new RegExp(`^\\| ${kind} +\\| ([a-z0-9 ]+) \\|$`, 'm').exec(guide)?.[1]?.trim(),
  ])
  expect(Object.fromEntries(listed)).toEqual(
    Object.fromEntries(Object.entries(GUESSED_WORDS).map(([kind, words]) => [kind, words.split(/\s+/).join(' ')])),
  )
  for (const setting of Object.keys(lims.settings ?? {})) expect(guide).toContain(`\`${setting}\``)
})
