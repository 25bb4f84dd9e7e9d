/**
 * Sending one message to the receiver of a webhook. Threat: an administrator of one tenant has the Worker ask hosts inside of a network, or
 * itself; a receiver leads it on to such a host, answers without end, or not at all. So an address is looked at again before each message
 * (src/providers/urls.ts), no redirect is followed, and no more is read, or waited for, than an answer needs.
 */
import type { Config } from '../kernel/config.ts'
import { decrypt } from '../kernel/keyring.ts'
import { faultOfUrl } from '../providers/urls.ts'
import { signed } from './signing.ts'

const PATIENCE_MS = 10_000
const MOST_BYTES = 64 * 1024

/** What the secret of a webhook is encrypted for. */
export const secretOf = (id: string) => `webhook_secret:${id}`

/** Where a message goes, and its secrets as they are kept, the newest first. */
export type Target = { id: string; url: string; secrets: string[] }
export type Message = { id: string; type: string; at: string; text: string }
export type Sent = { is_delivered: boolean; status: number | null; error: string | null; duration_ms: number }

/** What became of a message that cannot be made: its secret cannot be opened, or a page is more than a database answers. */
export const UNMADE: Sent = { is_delivered: false, status: null, error: 'the message could not be made', duration_ms: 0 }

/** A receiver on the machine of a local start. Every other spelling of that machine is refused there as in production. */
const LOCAL_RECEIVER = /^http:\/\/(([a-z0-9-]+\.)*localhost|127\.0\.0\.1|\[::1\]):\d+(\/|\?|$)/

/** Why an address is none that messages are sent to, in words for the caller; null: it is one. */
export function faultOfTarget(config: Config, url: string): string | null {
  const is_local = config.ENVIRONMENT === 'local' && LOCAL_RECEIVER.test(url) && URL.canParse(url)
  if (!is_local) return faultOfUrl({ ...config, ENVIRONMENT: 'production' }, url)
  const [port, own] = [new URL(url), config.BASE_URL].map(({ port, protocol }) => port || (protocol === 'https:' ? '443' : '80'))
  return port === own ? 'is an address of this service' : faultOfUrl(config, url)
}

/** The secrets of a webhook, or of what signs in the same way, opened. */
export const openSecrets = (config: Config, realm_id: string, { id, secrets }: Target, of = secretOf): Promise<string[]> =>
  Promise.all(secrets.map((sealed) => decrypt(config.ENCRYPTION_KEYS, realm_id, of(id), sealed)))

/**
 * Posts a message, whose `text` is JSON, and has `read` take what it needs of the answer. Gives it up after `patience_ms`, answer
 * included. `error` says, in words, why it counts as none. Never fails.
 */
export async function post<T>(
  config: Config,
  url: string,
  secrets: string[],
  { id, type, at, text }: Message,
  patience_ms: number,
  read: (answer: Response) => Promise<T>,
): Promise<{ status: number | null; error: string | null; read?: T }> {
  const fault = faultOfTarget(config, url)
  const ended = (status: number | null, error: string | null, read?: T) => ({
    status,
    error,
    ...(read !== undefined && { read }),
  })
  if (fault) return ended(null, `the address ${fault}`)
  try {
    const body = `{"type":${JSON.stringify(type)},"timestamp":${JSON.stringify(at)},"data":${text}}`
    const headers = {
      'Content-Type': 'application/json',
      'User-Agent': 'freehold',
      ...(await signed(secrets, id, new Date(), body)),
    }
    const signal = AbortSignal.timeout(patience_ms)
    const answer = await fetch(url, { method: 'POST', body, headers, redirect: 'manual', signal })
    const { status } = answer
    const taken = await read(answer)
    if (status >= 300 && status < 400) return ended(status, 'redirects are not followed')
    return answer.ok ? ended(status, null, taken) : ended(status, `answered ${status}`)
  } catch (error) {
    const is_late = error instanceof Error && /Timeout|Abort/.test(error.name)
    return ended(null, is_late ? `no answer within ${patience_ms / 1000} s` : 'the connection failed')
  }
}

/** Sends a message, and says what became of it. Never fails. */
export async function send(config: Config, url: string, secrets: string[], message: Message): Promise<Sent> {
  const sent_from = Date.now()
  const { status, error } = await post(config, url, secrets, message, PATIENCE_MS, passOver)
  return { is_delivered: error === null, status, error, duration_ms: Math.max(0, Date.now() - sent_from) }
}

/** Reads a short answer, so that the connection can be used again, and ends it where an answer is longer. */
async function passOver(answer: Response): Promise<void> {
  let size = 0
  for await (const chunk of answer.body ?? []) {
    size += chunk.byteLength
    if (size > MOST_BYTES) return
  }
}
