import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { presets } from '../../src/presets/presets.ts'
import { freehold } from './run.ts'

test('docs/presets.md is what `presets --markdown` prints now', async () => {
  const { code, stdout, stderr } = await freehold(['presets', '--markdown'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const page = await readFile(new URL('../../docs/presets.md', import.meta.url), 'utf8')
  expect(page, 'write it with: npm run --silent freehold -- presets --markdown > docs/presets.md').toBe(stdout)
})

test('presets are a table for people and the data for machines', async () => {
  const { stdout } = await freehold(['presets'])
  expect(stdout).toMatch(/^PRESET +ADMINISTRATOR +DEFAULT +ROLES\n/)
  expect(stdout).toMatch(/^coveris +ADMIN +VIEWER +EMPLOYEE VIEWER SUPERVISOR MANAGER ADMIN$/m)
  expect(JSON.parse((await freehold(['presets', '--json'])).stdout)).toEqual({ data: Object.values(presets) })
})
