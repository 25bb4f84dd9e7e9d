import type { Sync } from '../work/sync.ts'
import { NAME, readName } from './names.ts'
import type { Pool } from './pool.ts'

// Statements that create or drop roles and databases concern more than the session that runs them.

const ROLES = /\b(?:create|alter|drop)\s+(?:role|user|group)\b/i
const DATABASES = /\b(?:create|alter|drop)\s+database\b/i
const NEEDED_ALONE = [
  new RegExp(String.raw`\bdrop\s+database\s+(?:if\s+exists\s+)?${NAME}`, 'giu'),
  new RegExp(String.raw`\balter\s+database\s+${NAME}\s+(?:rename|set\s+tablespace)\b`, 'giu'),
  new RegExp(String.raw`\btemplate\s*=?\s*${NAME}`, 'giu'),
]

export interface Ddl {
  /** The databases that nobody else may be connected to. */
  databases: string[]
  changesDatabases: boolean
  changesRoles: boolean
}

/** Reads from statements what they do to the cluster; undefined for nearly all. */
export function readDdl(queries: { text: string }[]): Ddl | undefined {
  const about = queries.filter(({ text }) => DATABASES.test(text))
  const changesRoles = queries.some(({ text }) => ROLES.test(text))
  if (about.length === 0 && !changesRoles) return undefined
  return { databases: about.flatMap(({ text }) => alone(text)), changesDatabases: about.length > 0, changesRoles }
}

function alone(text: string) {
  return NEEDED_ALONE.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name = '']) => readName(name)))
}

/** Frees the databases that the statements need, and records what they created. */
export async function aroundDdl<T>(
  ddl: Ddl,
  { database, branch }: { database: string; branch: string },
  { pool, sync }: { pool: Pool; sync: Sync },
  run: () => Promise<T>,
): Promise<T> {
  const others = ddl.databases.filter((name) => name !== database)
  // The session that runs the statement may be connected to the database that it copies, but only it.
  if (others.length < ddl.databases.length) await pool.closeDatabase(database)
  try {
    return await (others.length > 0 ? pool.hold([...new Set(others)], run) : run())
  } finally {
    if (ddl.changesDatabases) await sync.databases(branch)
    if (ddl.changesRoles) await sync.roles(branch)
  }
}
