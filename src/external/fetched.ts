/**
 * What the Worker fetches of providers. Threat: a provider, or whoever answers in its name, sends the Worker on to a host that it does not
 * know, answers without end, or holds a request as long as it likes. So every address is looked at before it is fetched, also those that
 * a provider names itself; no redirect is followed; and no more is read, or waited for, than such an answer needs.
 */
import type { Config } from '../kernel/config.ts'
import { faultOfUrl } from '../providers/urls.ts'

const MOST_BYTES = 64 * 1024
const PATIENCE_MS = 3_000

/** A provider that does not answer, or not as one does. The message is for the log. */
export class ProviderFailure extends Error {}

/** An answer of a provider, read to its end: at most 64 KiB, within 3 s. Fails with a ProviderFailure. */
export async function fetched(config: Config, address: string, init: RequestInit = {}): Promise<Response> {
  const fault = faultOfUrl(config, address)
  if (fault) throw new ProviderFailure(`an address that ${fault}`)
  const { host } = new URL(address)
  const headers = {
    Accept: 'application/json',
    'User-Agent': 'freehold',
    ...(init.headers as Record<string, string> | undefined),
  }
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    const answer = await fetch(address, { ...init, headers, redirect: 'manual', signal })
    if (answer.status >= 300 && answer.status < 400) {
      await answer.body?.cancel()
      throw new ProviderFailure(`${host} redirects`)
    }
    const text = await read(answer, host)
    return new Response(text, { status: answer.status, headers: { 'Content-Type': answer.headers.get('Content-Type') ?? '' } })
  } catch (error) {
    if (error instanceof ProviderFailure) throw error
    throw new ProviderFailure(`${host} does not answer: ${error instanceof Error ? error.name : 'unknown'}`)
  }
}

async function read(answer: Response, host: string): Promise<string> {
  const [decoder, parts] = [new TextDecoder(), [] as string[]]
  let size = 0
  for await (const chunk of answer.body ?? []) {
    size += chunk.byteLength
    if (size > MOST_BYTES) throw new ProviderFailure(`${host} answers more than ${MOST_BYTES} bytes`)
    parts.push(decoder.decode(chunk, { stream: true }))
  }
  return parts.join('') + decoder.decode()
}

/** A document of a provider, as JSON. Fails with a ProviderFailure. */
export async function fetchedJson(config: Config, address: string): Promise<unknown> {
  const answer = await fetched(config, address)
  if (answer.status !== 200) throw new ProviderFailure(`${new URL(address).host} answers ${answer.status}`)
  return answer.json().catch(() => {
    throw new ProviderFailure(`${new URL(address).host} answers what is no JSON`)
  })
}
