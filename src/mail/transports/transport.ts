/** A way out. It is opened for one run and closed with it: what it holds belongs to one invocation. */
export type Transport = {
  /** Never fails. `away`: nothing more can be sent this way in this run; the mail itself is not to blame. */
  send(message: Message): Promise<Verdict>
  close(): Promise<void>
}

export type Message = {
  /** The same each time that the mail is sent, so that a mail that came twice is recognisable. */
  id: string
  /** Where it is to go out by mail, from whom; else as text alone. */
  from: Address
  to: string
  subject: string
  text: string
  html: string
}

export type Address = { name: string | null; address: string }

export type Verdict = { outcome: 'accepted' } | { outcome: 'refused' | 'failed' | 'away'; detail: string }

/** What went wrong, in words that may be kept. */
export const words = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** Posts JSON; what the server says decides: 4xx is for good, but for those that mean later. */
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
    if ([401, 403, 404].includes(answer.status) || answer.status < 400) return { outcome: 'away', detail }
    return { outcome: answer.status < 500 && ![408, 425, 429].includes(answer.status) ? 'refused' : 'failed', detail }
  } catch (error) {
    return { outcome: 'away', detail: `${setting} does not answer: ${words(error)}` }
  }
}
