import { z } from 'zod'
import type { Api } from './api.ts'
import type { Command } from './command.ts'
import { whole } from './options.ts'
import { print, printJson, tell } from './output.ts'
import { table } from './table.ts'

const PAGE = 100
const MAX_LIST = 100_000

/** The parameters of a list; one that is undefined is not sent. */
export type Asked = Record<string, string | undefined>
export type List<T> = { data: T[]; next_cursor: string | null }
/** How much of a list is wanted. */
export type Paging = { limit: number; all?: boolean | undefined }
export const EVERYTHING: Paging = { limit: 0, all: true }

/** The options of a command that lists. */
export const addPaging = (command: Command): Command =>
  command
    .option('--limit <n>', 'how many to show at most', whole(1, MAX_LIST), 100)
    .option('--all', 'show all, whatever --limit says')

/** The pages of a list of the API, up to `limit` items in all. */
export async function* pages<S extends z.ZodType>(
  api: Api,
  item: S,
  path: string,
  asked: Asked = {},
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<List<z.infer<S>>, void> {
  const shape = z.object({ data: z.array(item), next_cursor: z.string().nullable() })
  let cursor: string | null | undefined
  let left = limit
  do {
    const given = Object.entries({ limit: String(Math.min(PAGE, left)), ...asked, cursor }).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)]],
    )
    const page: List<z.infer<S>> = await api.call(shape, 'GET', `${path}?${new URLSearchParams(given)}`)
    yield page
    left -= page.data.length
    cursor = page.data.length ? page.next_cursor : null
  } while (cursor !== null && left > 0)
}

/** The items of a list of the API, and the cursor of what was left out. */
export async function listed<S extends z.ZodType>(
  api: Api,
  item: S,
  path: string,
  asked: Asked,
  { limit, all }: Paging,
): Promise<List<z.infer<S>>> {
  const data: z.infer<S>[] = []
  let next_cursor: string | null = null
  for await (const page of pages(api, item, path, asked, all ? Number.POSITIVE_INFINITY : limit)) {
    data.push(...page.data)
    next_cursor = page.next_cursor
  }
  return { data, next_cursor }
}

/** Prints a list: as a table, as the document of --json, or `none` when it is empty. */
export function printList<T>(
  { data, next_cursor }: List<T>,
  { json, limit }: Paging & { json?: boolean | undefined },
  none: string,
  heads: string[],
  row: (item: T) => string[],
): void {
  if (json) printJson({ data, next_cursor })
  else if (data.length) print(table(heads, data.map(row)))
  else tell(none)
  if (next_cursor && !json) tell(`There are more than ${limit}; see --limit.`)
}
