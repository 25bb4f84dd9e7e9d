/** Threat: a page that sends its reader to a page, a route, a command, a setting or a code that is not there, or leaves one out. */
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commandLine } from '../../scripts/freehold/program.ts'
import { documentOf } from '../../scripts/package/main.ts'
import { EnvironmentSettings } from '../../src/kernel/config.ts'
import { problemCatalogue } from '../../src/kernel/problem.ts'
import { anchorsOf, commandsIn, faultOf, isRoute, linksIn, living, pages, routesIn } from './pages.ts'
import { ROOT, read } from './sources.ts'

type Operation = { parameters?: { in?: string; name?: string; schema?: { enum?: string[] } }[] }
const document = (await documentOf('https://ids.example.com')) as { paths: Record<string, Record<string, Operation>> }
const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
)
const program = commandLine()

/** The rows of the tables of a page, by their cells. */
const rowsIn = (path: string) =>
  [...read(path).matchAll(/^\|(.+)\|$/gm)].map(([, row = '']) => row.split(/(?<!\\)\|/).map((cell) => cell.trim()))

describe('the pages', () => {
  it('link to files and headings that are there', () => {
    const links = pages.flatMap(({ path, text }) => linksIn(text).map((link) => ({ path, ...link })))
    expect(links.length).toBeGreaterThan(300)
    const broken = links.filter(({ path, file, anchor }) => {
      const target = file === '' ? path : normalize(join(dirname(path), file))
      if (!existsSync(`${ROOT}${target}`)) return true
      return anchor !== undefined && target.endsWith('.md') && !anchorsOf(read(target)).has(anchor)
    })
    expect(broken.map(({ path, target }) => `${path}: ${target}`)).toEqual([])
  })

  it('name routes that the document has, with their methods', () => {
    const named = living.flatMap(({ path, text }) => routesIn(text).map((route) => ({ at: path, ...route })))
    expect(named.length).toBeGreaterThan(100)
    const unknown = named.filter((route) => !isRoute(route, routes))
    expect(unknown.map(({ at, method, path }) => `${at}: ${method ?? ''} ${path}`)).toEqual([])
  })

  it('name commands and options that the command line has', () => {
    expect(program.commands.length).toBeGreaterThan(8)
    const used = living.flatMap(({ path, text }) => commandsIn(text).map((words) => ({ path, words })))
    expect(used.length).toBeGreaterThan(40)
    const wrong = used.map(({ path, words }) => [path, words.join(' '), faultOf(program, words)]).filter(([, , fault]) => fault)
    expect(wrong).toEqual([])
  })
})

describe('the guides', () => {
  it('have a row for each code of a problem, with its status', () => {
    const rows = rowsIn('docs/guides/errors.md').flatMap(([code = '', status]) => {
      const [, name] = /^`(\w+)`$/.exec(code) ?? []
      return name && /^\d+$/.test(status ?? '') ? [[name, Number(status)]] : []
    })
    expect(rows).toEqual(Object.entries(problemCatalogue).map(([code, [status]]) => [code, status]))
  })

  it('say of a list what it can be filtered by, no more and no less', () => {
    const lists = rowsIn('docs/guides/pagination-and-filters.md').flatMap(([list = '', filters = '']) => {
      const [, path] = /^`GET (\/\S+)`$/.exec(list) ?? []
      return path ? [{ path, filters: [...filters.matchAll(/`(\w+)`/g)].map(([, name]) => name) }] : []
    })
    expect(lists.length).toBeGreaterThan(8)
    for (const { path, filters } of lists) {
      const asked = document.paths[path]?.get?.parameters?.flatMap((one) => (one.in === 'query' ? (one.name ?? []) : [])) ?? []
      expect(filters, path).toEqual(asked.filter((name) => !['limit', 'cursor'].includes(name)))
    }
  })

  it('have a row for each setting of the Worker that an operator sets', () => {
    const rows = rowsIn('docs/guides/settings.md').flatMap(([setting = '']) => /^`([A-Z_]+)`$/.exec(setting)?.[1] ?? [])
    // Bindings, and what local stacks and tests set.
    const others = ['NEON_TURNS', 'EMAIL', 'NEON_API_URL', 'NEON_SQL_URL', 'NEON_POLL_MS', 'MAILBOX_URL']
    expect(rows.sort()).toEqual(
      Object.keys(EnvironmentSettings.shape)
        .filter((name) => !others.includes(name))
        .sort(),
    )
  })

  it('are all in the index', () => {
    const index = linksIn(read('docs/guides/README.md')).map(({ file }) => file)
    const guides = pages.flatMap(({ path }) => /^docs\/guides\/((?!README)[\w-]+\.md)$/.exec(path)?.[1] ?? [])
    expect(guides.filter((guide) => !index.includes(guide))).toEqual([])
  })
})

describe('what would be caught', () => {
  it.each([
    ['GET', '/api/v1/userz'],
    ['DELETE', '/api/v1/users'],
    [null, '/platform/v1/tenants/{id}/nothing'],
    ['POST', '/…v1/auth/log-in'],
  ])('the route %s %s', (method, path) => expect(isRoute({ method, path }, routes)).toBe(false))

  it.each([
    ['GET', '/api/v1/users/$CY/permissions'],
    [null, '/platform/v1/auth'],
    ['POST', '/…v1/auth/password-reset'],
    ['DELETE', '/api/v1/users/{id}/sessions'],
  ])('and not the route %s %s', (method, path) => expect(isRoute({ method, path }, routes)).toBe(true))

  it.each(['tenants lst', 'tenants list --sorted x', 'nothing'])('the command %s', (words) =>
    expect(faultOf(program, words.split(' '))).not.toBeNull(),
  )

  it('a heading with a dot, a code or a repetition has the anchor that GitHub gives it', () => {
    expect([...anchorsOf('# A `b`: c, d\n## A `b`: c, d\n```sh\n# no\n```\n## What is _not_ there')]).toEqual([
      'a-b-c-d',
      'a-b-c-d-1',
      'what-is-not-there',
    ])
  })
})
