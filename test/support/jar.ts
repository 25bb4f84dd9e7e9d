/** The cookies of a browser at one host, for what is asked from a page of that host. */
import { type Answer, call } from './people.ts'

type Ask = Omit<NonNullable<Parameters<typeof call>[2]>, 'headers'> & {
  /** Whose page asks; null: the request names none. Left out: the host's own, as browsers do, for what is no reading. */
  origin?: string | null
  /** Cookies of this account alone. */
  only?: 'a' | 'r'
  headers?: Record<string, string>
}
export type Jar = ReturnType<typeof newJar>

export const originOf = (at: string) => `http://${at ? `${at}.` : ''}freehold.test`
export const nameOf = (kind: 'a' | 'r' | 'd', account: string) => `__Host-fh_${kind}_${account}`

/** What a Set-Cookie says: name, value, and its attributes as they were written. */
export function readCookie(line: string) {
  const [pair = '', ...attributes] = line.split('; ')
  const [name = '', value = ''] = pair.split('=')
  return { name, value, attributes, maxAge: Number(/Max-Age=(\d+)/.exec(line)?.[1]) }
}

export function newJar(at: string) {
  const kept = new Map<string, string>()
  const header = (kind = '') =>
    [...kept]
      .filter(([name]) => name.includes(`fh_${kind}`))
      .map((pair) => pair.join('='))
      .join('; ')
  const ask = async (path: string, { origin, only, headers, ...rest }: Ask = {}): Promise<Answer> => {
    const method = (rest.method ?? (rest.body ?? rest.form ?? rest.raw) === undefined) ? (rest.method ?? 'GET') : 'POST'
    const from = origin === undefined ? (['GET', 'HEAD'].includes(method) ? null : originOf(at)) : origin
    const cookies = header(only)
    const sent = { ...(from !== null && { Origin: from }), ...(cookies && { Cookie: cookies }), ...headers }
    const answer = await call(at, path, { ...rest, headers: sent })
    for (const { name, value, maxAge } of answer.headers.getSetCookie().map(readCookie))
      if (maxAge > 0) kept.set(name, value)
      else kept.delete(name)
    return answer
  }
  return { at, kept, header, ask }
}
