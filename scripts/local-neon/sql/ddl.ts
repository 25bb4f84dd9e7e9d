import type { Context } from '../work/context.ts'
import { syncDatabases, syncRoles } from '../work/sync.ts'
import type { Login } from './pool.ts'

// Statements that make or end roles and databases concern more than the session that runs them.

const ROLES = /\b(?:create|alter|drop)\s+(?:role|user|group)\b/i
const DATABASES = /\b(?:create|alter|drop)\s+database\b/i
const NAME = String.raw`("(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)`
const LEFT_ALONE = [
  new RegExp(String.raw`\bdrop\s+database\s+(?:if\s+exists\s+)?${NAME}`, 'giu'),
  new RegExp(String.raw`\balter\s+database\s+${NAME}\s+(?:rename|set\s+tablespace)\b`, 'giu'),
  new RegExp(String.raw`\btemplate\s*=?\s*${NAME}`, 'giu'),
]

/** Frees the databases that a statement needs to itself, and takes notice of what it made. */
export async function aroundDdl<T>(
  queries: { text: string }[],
  login: Login & { branch: string },
  context: Context,
  run: () => Promise<T>,
): Promise<T> {
  const databases = queries.filter(({ text }) => DATABASES.test(text))
  const roles = queries.some(({ text }) => ROLES.test(text))
  if (databases.length === 0 && !roles) return run()
  try {
    const names = new Set(databases.flatMap(({ text }) => needed(text)))
    names.delete(login.database)
    return await (names.size > 0 ? context.pool.hold([...names], run) : run())
  } finally {
    if (databases.length > 0) await syncDatabases(context, login.branch)
    if (roles) await syncRoles(context, login.branch)
  }
}

function needed(text: string) {
  return LEFT_ALONE.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name = '']) => unquote(name)))
}

const unquote = (name: string) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase())
