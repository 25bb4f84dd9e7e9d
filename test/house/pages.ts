/** What the pages of the documentation name: links, routes, commands. */
import type { Command } from 'commander'
import { filesIn, read } from './sources.ts'

export type Page = { path: string; text: string }

/** The README, the changelog and everything in docs, but for records of measurements. */
export const pages: Page[] = ['README.md', 'CHANGELOG.md', ...filesIn('docs', '.md')]
  .filter((path) => path !== 'docs/bench.md')
  .map((path) => ({ path, text: read(path) }))

/** Pages that say what is now. Decisions and changes say what was on their day; the local Neon has an API of its own. */
export const living = pages.filter(({ path }) => !/^(CHANGELOG|docs\/(decisions\/|local-neon))/.test(path))

const FENCE = /^( *)```[\s\S]*?^\1```/gm

/** The text of a page outside of its code. */
const prose = (text: string) => text.replace(FENCE, '').replace(/`[^`\n]*`/g, (code) => '`'.padEnd(code.length, ' '))

/** The links of a page that stay in the repository: file and anchor. */
export const linksIn = (text: string) =>
  [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => ({ target, file: target.split('#')[0] ?? '', anchor: target.split('#')[1] }))

/** The anchors that GitHub gives the headings of a page. */
export function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>()
  const headings = text.replace(FENCE, '').matchAll(/^#{1,6} +(.+?)\s*#*$/gm)
  return new Set(
    [...headings].map(([, title = '']) => {
      const slug = title
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .replace(/(?<!\w)_([^_]+)_(?!\w)/g, '$1')
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
        .replaceAll(' ', '-')
      const before = seen.get(slug) ?? 0
      seen.set(slug, before + 1)
      return before ? `${slug}-${before}` : slug
    }),
  )
}

export type NamedRoute = { method: string | null; path: string }

const SEGMENT = /(\{[^}]*\}|<[^>]*>|\$\{?\w+\}?|…|\*)/
/** The routes that a page names in full; in code also those that begin behind `/api/v1` or `/platform/v1`. */
export function routesIn(text: string): NamedRoute[] {
  const full = text.matchAll(
    /(?:\b(GET|POST|PUT|PATCH|DELETE) )?[^\s`"']*?(\/(?:api\/v1|platform\/v1|oauth)(?![\w-])[^\s`"'?|)<>,;]*)/g,
  )
  const short = text.matchAll(
    /`(GET|POST|PUT|PATCH|DELETE) \/?((?!api\/|platform\/|oauth\/|\.well-known|healthz|readyz|version)[a-z][^\s`?]*)/g,
  )
  return [
    ...[...full]
      .map(([, method = null, path = '']) => ({ method, path: cleaned(path) }))
      // A file of that name is none.
      .filter(({ path }) => !path.endsWith('.ts')),
    ...[...short].map(([, method = null, path = '']) => ({ method, path: `/…v1/${cleaned(path)}` })),
  ]
}
const cleaned = (path: string) => path.replace(/[.:*/\\]+$/, '')

/** Whether a name is a route, or the beginning of some. */
export function isRoute({ method, path }: NamedRoute, routes: { method: string; path: string }[]): boolean {
  const wanted = path.split('/').slice(1)
  const fits = (segment: string, of = '') =>
    segment === of || /^\{/.test(of) || (segment === '…v1' && /^(api|platform)$/.test(of)) || SEGMENT.test(segment)
  return routes.some((route) => {
    const own = route.path.replace(/\/$/, '').split('/').slice(1)
    const named = wanted[0] === '…v1' ? [own[0] ?? '', ...wanted.map((part) => (part === '…v1' ? 'v1' : part))] : wanted
    if (method !== null && (route.method !== method || named.length !== own.length)) return false
    return named.length <= own.length && named.every((segment, i) => fits(segment, own[i]))
  })
}

/** The uses of the CLI in the code of a page: the words behind `freehold`, one line each. */
export const commandsIn = (text: string) =>
  [...text.replaceAll(/\\\n\s*/g, ' ').matchAll(/(?:npm run (?:--silent )?freehold -- |`freehold )([^`\n|#;&>)]*)/g)].map(
    ([, words = '']) => words.trim().split(/\s+/).filter(Boolean),
  )

/** What is wrong with a use of the CLI; null: nothing. */
export function faultOf(program: Command, words: string[]): string | null {
  let command = program
  let at = 0
  for (; at < words.length; at++) {
    const next = command.commands.find((one) => one.name() === words[at])
    if (!next) break
    command = next
  }
  const rest = words.slice(at)
  const isPlaceholder = /^[<[…]|^\.\.\.$/.test(rest[0] ?? '')
  if (command.commands.length && rest[0] && !rest[0].startsWith('-') && !isPlaceholder && !command.registeredArguments.length)
    return `${command.name()} has no command ${rest[0]}`
  const known = [...command.options, ...program.options].map((option) => option.long)
  const unknown = rest.find((word) => /^--[a-z]/.test(word) && ![...known, '--help'].includes(word.split('=')[0] ?? ''))
  return unknown ? `${command.name()} has no option ${unknown}` : null
}
