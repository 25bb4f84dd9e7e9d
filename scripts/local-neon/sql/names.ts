import { escapeIdentifier } from 'pg'
import { inBranch } from '../state/records.ts'
import type { Store } from '../state/store.ts'

// A statement uses the name of a database in its branch. The cluster holds all branches and may use another name.

/** The pattern of an identifier in SQL, quoted or not. */
export const NAME = String.raw`("(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)`

const ABOUT_DATABASES = /^(?:\s|--[^\n]*\n)*(?:grant|revoke|create|alter|drop|comment)\s[\s\S]*\bdatabase\s/i
const MENTIONS = new RegExp(String.raw`(\bdatabase\s+(?:if\s+exists\s+)?|\btemplate\s*=?\s*)${NAME}`, 'giu')

/** The identifier without its quotes, or as Postgres folds it. */
export const readName = (name: string) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase())

/** The statement with the cluster's names for the databases that it is about. Nearly always it is the same. */
export function inClusterNames(text: string, branchId: string, store: Store): string {
  if (!ABOUT_DATABASES.test(text)) return text
  return text.replaceAll(MENTIONS, (mention: string, before: string, name: string) => {
    const database = store.get('database', inBranch(branchId, readName(name)))
    return database && database.real_name !== database.name ? `${before}${escapeIdentifier(database.real_name)}` : mention
  })
}
