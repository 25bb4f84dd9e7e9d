/**
 * Texts that are deployed beside the Worker, as static assets, because few requests need them: the migrations of tenants' databases, what
 * those make, the commonest passwords, and words that people read (scripts/bundle/assets.ts). Threat: an asset of another release, or half of one, is run as the
 * owner of a database, or taken for the whole list, so that passwords pass unchecked. So the Worker has the SHA-256 of each but the
 * words, takes no other text, and fails without one. Nobody can fetch them: every request goes to the Worker, which serves the two files of /docs.
 */
import { env } from 'cloudflare:workers'
import { encodeHexLowerCase } from '@oslojs/encoding'
import type { Env } from '../kernel/env.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'

/** They lie in the same place as the Worker: what takes longer does not come. */
const LIMIT_MS = 15_000

const texts = new Map<string, string>()

/**
 * The text of an asset, by its path and its SHA-256 in hexadecimal; null: of words, which are made when the Worker is built. The isolate keeps it: the text and not the promise, because one
 * request cannot wait for what another one reads. One subrequest of at most `within_ms` when the isolate does not have it. Fails with `asset_unavailable`.
 */
export async function assetText(path: string, checksum: string | null, within_ms = LIMIT_MS): Promise<string> {
  const known = texts.get(checksum ?? path)
  if (known !== undefined) return known
  const bytes = await read(path, within_ms)
  const sum = encodeHexLowerCase(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
  if (checksum !== null && sum !== checksum) throw unavailable(path, `It has the SHA-256 ${sum}, and not ${checksum}.`)
  const text = new TextDecoder().decode(bytes)
  texts.set(checksum ?? path, text)
  return text
}

async function read(path: string, within_ms: number): Promise<ArrayBuffer> {
  try {
    // Of the address only the path counts.
    const signal = AbortSignal.timeout(within_ms)
    const answer = await (env as unknown as Env).ASSETS.fetch(`https://assets.invalid/${path}`, { signal })
    if (answer.ok) return await answer.arrayBuffer()
    await answer.body?.cancel()
    throw new Error(`The answer has status ${answer.status}.`)
  } catch (error) {
    throw unavailable(path, error instanceof Error ? error.message : String(error))
  }
}

function unavailable(path: string, error: string): Problem {
  log('asset not read', { path, error })
  return new Problem('asset_unavailable', undefined, { cause: new Error(`${path}: ${error}`) })
}
