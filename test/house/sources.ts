import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The paths of all files of a folder with one of these endings, TypeScript's by default, from the project's root, in order. */
export function filesIn(folder: string, ...endings: string[]): string[] {
  const wanted = endings.length ? endings : ['.ts', '.tsx']
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && wanted.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort()
}

export const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

/** A source without comments and what stands in quotes: what is left is what the program does. Line breaks stay. */
export const bare = (text: string) =>
  text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g, (found, at: number) =>
    found.startsWith('//') && text[at - 1] === ':' ? found : found.replace(/[^\n]/g, ' '),
  )

/** What a source imports, also for types alone, also later: packages by name, files by their path from the root. */
export function importsOf(path: string): string[] {
  const found = read(path).matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|(?<!\/)\bimport\s*\(?\s*['"]([^'"]+)['"]/g,
  )
  return [...found]
    .map(([, from, plain]) => from ?? plain ?? '')
    .map((name) => (name.startsWith('.') ? normalize(join(dirname(path), name)) : name))
}
