/**
 * Passwords that are known from breaches, by a range API as that of Have I Been Pwned. Threat: who keeps the list, or listens on the
 * way, learns a password. So only the first 5 of the 40 hexadecimal digits of its SHA-1 leave, which hundreds of listed passwords
 * share, and the answer is padded, so that its size tells nothing. The list is a help and not a lock: while it does not answer,
 * passwords are taken, and the log says so.
 */
import { encodeHexUpperCase } from '@oslojs/encoding'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'

const PATIENCE_MS = 2_000
/** Several times a padded answer of today. */
const MOST_BYTES = 512 * 1024

/** Whether a password is in the list of breached ones (`PWNED_PASSWORDS_URL`); false also when the list does not answer. */
export const isBreached = async (ctx: Ctx, password: string): Promise<boolean> => (await askBreached(ctx, password)) ?? false

/** The same; null when the list does not answer in two seconds, which is logged. Costs no round trip to a database. */
export async function askBreached({ config, realm, request }: Ctx, password: string): Promise<boolean | null> {
  const bytes = new TextEncoder().encode(password.normalize('NFC'))
  const hash = encodeHexUpperCase(new Uint8Array(await crypto.subtle.digest('SHA-1', bytes)))
  try {
    const lines = (await range(config.PWNED_PASSWORDS_URL, hash.slice(0, 5))).split(/\r?\n/)
    const count = lines.find((line) => line.toUpperCase().startsWith(`${hash.slice(5)}:`))?.split(':')[1]
    // Lines that are padding have the count 0.
    return Number(count ?? 0) > 0
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    log('breached passwords not asked', { tenant: realm.subdomain, trace_id: request.trace_id, detail })
    return null
  }
}

/** The lines of the list whose hash begins so. Fails when the list does not answer, or with more than a list has. */
async function range(url: string, prefix: string): Promise<string> {
  const answer = await fetch(`${url.replace(/\/?$/, '/')}${prefix}`, {
    headers: { 'Add-Padding': 'true', 'User-Agent': 'freehold' },
    redirect: 'manual',
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
  if (answer.status !== 200) {
    await answer.body?.cancel()
    throw new Error(`PWNED_PASSWORDS_URL answered ${answer.status}`)
  }
  const [decoder, parts] = [new TextDecoder(), [] as string[]]
  let size = 0
  for await (const chunk of answer.body ?? []) {
    size += chunk.byteLength
    if (size > MOST_BYTES) throw new Error(`PWNED_PASSWORDS_URL answered with more than ${MOST_BYTES} bytes`)
    parts.push(decoder.decode(chunk, { stream: true }))
  }
  return parts.join('')
}
