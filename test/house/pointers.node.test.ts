/** Threat: a comment or a page that sends its reader to a file or a function that is not there any more. */
import { existsSync } from 'node:fs'
import { expect, it } from 'vitest'
import { readDefinitions } from '../../scripts/migration/definitions.ts'
import { filesIn, ROOT, read } from './sources.ts'

const texts = [...filesIn('src'), ...filesIn('src', '.sql'), ...filesIn('scripts'), ...filesIn('docs', '.md'), 'README.md']
  // A past measurement says what it measured; and the page of recipes names a room that the reader makes.
  .filter((path) => !/bench/.test(path))
  .map((path) => ({ path, text: read(path).replaceAll(/(src|test)\/notes\//g, '') }))

const pointers = (pattern: RegExp) =>
  texts.flatMap(({ path, text }) => [...text.matchAll(pattern)].map(([, name = '']) => ({ path, name })))

it('files that are named are there', () => {
  const named = pointers(/(?<![\w./])((?:src|docs|test|scripts|drizzle)\/[\w./-]+\.(?:ts|sql|md|txt|json))\b/g)
  expect(named.length).toBeGreaterThan(40)
  expect(named.filter(({ name }) => !existsSync(`${ROOT}${name}`) && !/^docs\/(openapi|routes)\.ts$/.test(name))).toEqual([])
})

it('functions that are named are defined', () => {
  const defined = new Set(readDefinitions(ROOT).map(({ key }) => key.split(' ')[1]))
  for (const table of [
    'secrets',
    'key_counters',
    'purges',
    'mail_counter',
    'dropped_mails',
    'kept_answers',
    'counted_failures',
    'daily_counts',
    'event_spans',
    'limits',
    'session_places',
    'session_places_session',
    'passkey_challenges',
    'external_tokens',
    'left_avatars',
  ])
    defined.add(`access.${table}`)
  const named = pointers(/(?<![\w.'])(access\.[a-z_]+)\b(?!')/g)
  expect(named.length).toBeGreaterThan(500)
  expect(named.filter(({ name }) => !defined.has(name) && !/^access\.(table|token|seconds|ts|refused)$/.test(name))).toEqual([])
})
