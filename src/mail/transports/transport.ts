/** A transport. It is opened for one run and closed with it, because its socket belongs to one invocation. */
export type Transport = {
  /** Never fails. `unavailable`: this transport can send nothing more in this run; the mail itself is not the cause. */
  send(message: Message): Promise<Verdict>
  close(): Promise<void>
}

export type Message = {
  /** The same for each attempt, so that a duplicate is recognisable. */
  id: string
  /** The sender; used by mail only. */
  from: Address
  to: string
  subject: string
  text: string
  html: string
}

export type Address = { name: string | null; address: string }

export type Verdict = { outcome: 'accepted' } | { outcome: 'refused' | 'failed' | 'unavailable'; detail: string }

/** The message of an error. */
export const words = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** Posts JSON. 4xx is permanent, except 408, 425 and 429; 401, 403, 404 and redirects mean that the setting is wrong. */
export async function postJson(setting: string, url: string, headers: Record<string, string>, body: unknown): Promise<Verdict> {
  try {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
      redirect: 'manual',
      signal: AbortSignal.timeout(10_000),
    })
    const said = (await answer.text()).slice(0, 200)
    if (answer.ok) return { outcome: 'accepted' }
    const detail = `${setting} answered ${answer.status}: ${said}`
    if ([401, 403, 404].includes(answer.status) || answer.status < 400) return { outcome: 'unavailable', detail }
    return { outcome: answer.status < 500 && ![408, 425, 429].includes(answer.status) ? 'refused' : 'failed', detail }
  } catch (error) {
    return { outcome: 'unavailable', detail: `${setting} does not answer: ${words(error)}` }
  }
}
