/** What production refuses is refused in the tests: each guard catches a mistake that is made on purpose. */
import { env, exports } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { app } from '../../src/app.ts'
import worker from '../../src/index.ts'
import { hash } from '../../src/passwords/hash.ts'
import { REAL_ITERATIONS } from '../support/cost.ts'
import { knockElsewhere } from '../support/elsewhere.ts'
import { login } from '../support/people.ts'
import { asGlobalScope, invoke, mostConnections, takeBreaches } from '../support/production.ts'
import { copyTenant } from '../support/tenants.ts'

declare global {
  interface ImportMeta {
    /** Vite's: files by pattern. */
    glob: <T>(pattern: string, options: { eager: true; import: 'default'; query?: string }) => Record<string, T>
  }
}

const sources = import.meta.glob<string>('../../src/**/*.ts', { eager: true, import: 'default', query: '?raw' })
const kv = (env as unknown as { TENANTS: KVNamespace }).TENANTS
const times = <T>(n: number, work: () => Promise<T>) => Promise.all(Array.from({ length: n }, work))
const here = () => fetch('data:text/plain,here').then((answer) => answer.text())

async function pbkdf2(iterations: number, name: 'deriveBits' | 'deriveKey'): Promise<unknown> {
  const key = await crypto.subtle.importKey('raw', new Uint8Array(8), 'PBKDF2', false, [name])
  const recipe = { name: 'PBKDF2', hash: 'SHA-256', salt: new Uint8Array(16), iterations }
  return name === 'deriveBits'
    ? crypto.subtle.deriveBits(recipe, key, 256)
    : crypto.subtle.deriveKey(recipe, key, { name: 'AES-GCM', length: 256 }, false, ['encrypt'])
}

describe('PBKDF2', () => {
  it.each(['deriveBits', 'deriveKey'] as const)('%s above 100,000 iterations is refused, 100,000 is not', async (name) => {
    await expect(pbkdf2(100_001, name)).rejects.toThrow('iteration counts above 100000 are not supported (requested 100001)')
    expect(await pbkdf2(100_000, name)).toBeTruthy()
  })

  it('our own hash stays below it', async () =>
    expect(await hash('Violet-Anchor-38', REAL_ITERATIONS)).toMatch(/^\$pbkdf2-sha256-chain\$r=6,i=100000\$/))
})

describe('connections', () => {
  it('a seventh at once is refused, six and then six more are not', async () => {
    await expect(invoke(() => times(7, here))).rejects.toThrow('more than 6 outgoing connections')
    expect(takeBreaches()).toHaveLength(1)
    await invoke(async () => {
      await times(6, here)
      expect(await times(6, here)).toHaveLength(6)
      expect(mostConnections()).toBe(6)
    })
  })

  it('KV counts with them', async () => {
    const both = () => Promise.all([times(4, here), times(3, () => kv.get('nothing'))])
    await expect(invoke(both)).rejects.toThrow('KV get: more than 6')
    expect(takeBreaches()).toHaveLength(1)
  })

  it('each invocation has its own six, and a test as many as it likes', async () => {
    await Promise.all([invoke(() => times(6, here)), invoke(() => times(6, here)), times(20, here)])
  })

  it('the Worker is watched: a request that opens seven is refused one, also behind a catch; one that opens six is not', async () => {
    await copyTenant('watched')
    const greedy = (n: number) => ({ TENANTS: { get: () => times(n, here).then(() => null) } })
    const url = 'http://watched.freehold.test/.well-known/jwks.json'
    expect((await knockElsewhere(greedy(6), url)).status).toBe(200)
    expect(takeBreaches()).toEqual([])
    const later = 'http://nobody.freehold.test/.well-known/jwks.json'
    expect((await knockElsewhere(greedy(7), later)).status).not.toBe(200)
    expect(takeBreaches()).toContain('fetch: more than 6 outgoing connections of one invocation at once.')
  })

  it('scheduled events and requests that come through the door are invocations', async () => {
    for (const work of [worker.fetch, worker.scheduled, app.fetch]) expect(String(work)).toContain('invoke')
    const seen: number[] = []
    const real = globalThis.fetch
    globalThis.fetch = (...given: Parameters<typeof fetch>) => {
      const answer = real(...given)
      seen.push(mostConnections())
      return answer
    }
    try {
      expect((await exports.default.fetch('http://freehold.test/readyz')).status).toBe(200)
    } finally {
      globalThis.fetch = real
    }
    expect(seen).toContain(1)
  })
})

describe('global scope', () => {
  it.each<[string, () => unknown]>([
    ['fetch', () => fetch('http://freehold.test')],
    ['setTimeout', () => setTimeout(() => {}, 1)],
    ['setInterval', () => setInterval(() => {}, 1)],
    ['scheduler.wait', () => scheduler.wait(1)],
    ['AbortSignal.timeout', () => AbortSignal.timeout(1)],
    ['crypto.getRandomValues', () => crypto.getRandomValues(new Uint8Array(1))],
    ['crypto.randomUUID', () => crypto.randomUUID()],
  ])('a module that calls %s while it is loaded is refused, and one that hides the failure too', async (name, mistake) => {
    const words = `Disallowed operation called within global scope: ${name}.`
    await expect(asGlobalScope(async () => mistake())).rejects.toThrow(words)
    const hidden = async () => {
      try {
        await mistake()
      } catch {}
    }
    await expect(asGlobalScope(hidden)).rejects.toThrow(words)
    expect(await asGlobalScope(async () => 1)).toBe(1)
  })

  it('a file that does it is refused; the Worker itself is loaded under this guard by the setup of every test', async () => {
    await expect(asGlobalScope(() => import('./planted/random.ts'))).rejects.toThrow('global scope: crypto.randomUUID.')
    await expect(asGlobalScope(() => import('./planted/timer.ts'))).rejects.toThrow('global scope: setTimeout.')
    expect(crypto.randomUUID()).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('clocks', () => {
  const busy = () => {
    let sum = 0
    for (let i = 0; i < 3e7; i++) sum += i
    return sum
  }

  it('stand still during CPU work, whichever is asked, and go on with I/O and timers', async () => {
    await invoke(async () => {
      const read = () => [Date.now(), new Date().toISOString(), performance.now()]
      const before = read()
      busy()
      await pbkdf2(100_000, 'deriveBits')
      expect(read()).toEqual(before)
      await scheduler.wait(5)
      expect(Date.now()).toBeGreaterThan(Number(before[0]))
      const waited = Date.now()
      await new Promise((done) => setTimeout(done, 5))
      expect(Date.now()).toBeGreaterThan(waited)
      busy()
      await here()
      expect(Date.now()).toBeGreaterThan(waited + 5)
    })
  })

  it('of a test move as ever, and a Date is a Date', () => {
    const before = performance.now()
    busy()
    expect(performance.now()).toBeGreaterThan(before)
    expect(new Date(0)).toBeInstanceOf(Date)
    expect(new Date(2026, 0).getFullYear()).toBe(2026)
    expect(structuredClone(new Date(7))).toEqual(new Date(7))
  })

  it('that stand still are enough to log in and to ask who one is', async () => {
    await copyTenant('clocks')
    const { access_token, expires_in } = await login('clocks')
    const url = 'http://clocks.freehold.test/api/v1/auth/me'
    const me = await exports.default.fetch(url, { headers: { Authorization: `Bearer ${access_token}` } })
    expect([me.status, expires_in]).toEqual([200, 900])
    await me.text()
  })

  /** Code that measures how long something took, by clocks that would say 0. */
  const MEASURES =
    /performance\s*\.\s*(now|mark|measure)|console\s*\.\s*time|hrtime|Date\.now\(\)\s*-\s*(start|began|before|t0)\w*/i

  it('are not used to measure: no source does', () => {
    expect(Object.keys(sources).length).toBeGreaterThan(20)
    expect(Object.entries(sources).flatMap(([path, text]) => (MEASURES.test(text) ? [path] : []))).toEqual([])
    for (const mistake of [
      'const t = performance.now()',
      'log(Date.now() - started)',
      'console.time("hash")',
      'process.hrtime()',
    ])
      expect(mistake).toMatch(MEASURES)
  })
})

it('no source reaches past the guards, but for the one that speaks SMTP, over one connection', () => {
  const PAST = /from 'node:|from 'cloudflare:sockets'|Math\.random/
  expect(Object.entries(sources).flatMap(([path, text]) => (PAST.test(text) ? [path] : []))).toEqual([
    '../../src/mail/transports/smtp-session.ts',
  ])
  expect("import { pbkdf2 } from 'node:crypto'").toMatch(PAST)
})
