/** Threat: an example in a guide that does not work as pasted, or an answer in it that nobody gets. All run against `npm start`. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ask, freePort, ROOT, type Running, ready, start } from '../dev/running.ts'
import { hasChromium, openPage, startChromium } from '../support/node/chromium.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-guides-'))
const dataDir = join(folder, '.freehold')
let port: number
let running: Running
let facts: any

beforeAll(async () => {
  port = await freePort()
  running = start(['--json', '--data', dataDir, '--port', String(port)])
  facts = await ready(running)
})
afterAll(async () => {
  running.child.kill('SIGINT')
  await running.ended
  rmSync(folder, { recursive: true, force: true })
})

const guide = (name: string) => readFileSync(join(ROOT, 'docs/guides', `${name}.md`), 'utf8')
/** The blocks of a guide in one language, for the port of this run. */
const blocks = (name: string, language: string) =>
  [...guide(name).matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, block = '']) =>
    block.replaceAll('8787', String(port)).replaceAll('.freehold/', `${dataDir}/`),
  )
/** The json blocks of a guide. */
const shown = (name: string) => blocks(name, 'json').map((block) => JSON.parse(block))

/** Runs the shell blocks of a guide as they are pasted, after those that every guide begins with. */
async function pasted(name: string): Promise<string> {
  const script = join(folder, `${name}.sh`)
  writeFileSync(script, ['set -e', ...blocks('README', 'sh'), ...blocks(name, 'sh')].join('\n'))
  const { stdout } = await promisify(execFile)('sh', [script], { cwd: ROOT })
  return stdout
}

const logIn = async () => {
  const { email, password } = facts.tenant
  const { body } = await ask(`${facts.tenant.url}/api/v1/auth/login`, { body: JSON.stringify({ email, password }) })
  return body as { access_token: string; refresh_token: string; device_token: string }
}

describe('the shell examples', () => {
  it('of errors.md are answered as it says', async () => {
    const answer = JSON.parse(await pasted('errors'))
    const [problem] = shown('errors')
    expect(answer).toEqual({ ...problem, trace_id: expect.stringMatching(/^[0-9a-f]{32}$/) })
  })

  it('of pagination-and-filters.md are a page, and the program reads all of them', async () => {
    const page = JSON.parse(await pasted('pagination-and-filters'))
    expect(Object.keys(page)).toEqual(Object.keys(shown('pagination-and-filters')[0]))
    expect(page.data[0].email).toBe(facts.tenant.email)
    const [program = ''] = blocks('pagination-and-filters', 'js')
    const file = join(folder, 'pages.mjs')
    const { access_token } = await logIn()
    const given = { api: `http://localhost:${port}/api/v1`, token: access_token }
    writeFileSync(file, `const { api, token } = ${JSON.stringify(given)}\n${program}`)
    const { stdout } = await promisify(execFile)(process.execPath, [file])
    expect(stdout).toBe(`${page.data[0].username}\n`)
  })

  it('of concurrency.md refuse the second update, and create once', async () => {
    const said = await pasted('concurrency')
    expect(said).toContain('"designation":"Chemist"')
    expect(said).toContain('"code":"etag_mismatch"')
    expect(said.match(/HTTP\/1.1 201/g)).toHaveLength(2)
    expect(said.match(/^idempotency-replayed: true/gim)).toHaveLength(1)
    const ids = [...said.matchAll(/"id":"([^"]+)","kind"/g)].map(([, id]) => id)
    expect(ids).toHaveLength(2)
    expect(ids[0]).toBe(ids[1])
  })

  it('of limits.md show a policy and what is used', async () => {
    const said = await pasted('limits')
    expect(said).toMatch(/^ratelimit-policy: "requests";q=\d+;w=60/im)
    expect(said).toContain('"max_users":null')
  })

  it('of tokens-and-keys.md make tokens, keys and a rotated key', async () => {
    const said = await pasted('tokens-and-keys')
    expect(said).toContain('"is_current":true')
    expect(said).toContain('"access_token":"')
    expect(said).toContain(`"email":"${facts.tenant.email}"`)
    expect(said).toContain('"rotated_from":"')
    expect(said).toContain('"kty":"EC"')
    expect(said).not.toContain('"code":')
  })
})

describe('tokens-and-keys.md', () => {
  it('has a row for each claim of an access token, and for no other', async () => {
    const { access_token } = await logIn()
    const rows = [...guide('tokens-and-keys').matchAll(/^\| `([a-z_]+)` +\|/gm)].map(([, claim]) => claim)
    // Only where not all permissions fit.
    const claims = new Set([...Object.keys(decodeJwt(access_token)), 'permissions_truncated'])
    expect(rows.sort()).toEqual([...claims].sort())
  })
})

describe('the programs of use-it-in-your-app.md', () => {
  const programs = () => blocks('use-it-in-your-app', 'js').filter((block) => /^import /m.test(block))
  /** A program as a module, at the tenant of this run: its host is one that Node does not resolve, so that fetch names it in a header. */
  async function moduleWith(sign: string) {
    const text = programs().find((block) => block.includes(sign)) ?? ''
    const outfile = join(folder, `${sign.replace(/\W/g, '')}.mjs`)
    const local = text
      .replaceAll('https://acme.ids.example.com', facts.tenant.url)
      .replaceAll('https://ids.example.com', facts.url)
    await build({
      stdin: { contents: local.replaceAll("'acme'", "'demo'"), resolveDir: ROOT },
      bundle: true,
      format: 'esm',
      platform: 'node',
      outfile,
      alias: {
        'freehold/client': join(ROOT, 'scripts/package/client/client.ts'),
        'freehold/verify': join(ROOT, 'scripts/package/verify/verify.ts'),
      },
      logLevel: 'error',
    })
    return import(pathToFileURL(outfile).href)
  }
  const { fetch: original } = globalThis
  beforeAll(() => {
    globalThis.fetch = async (asked, init) => {
      const request = new Request(asked, init)
      const url = new URL(request.url)
      if (url.hostname !== 'demo.localhost') return original(request)
      url.hostname = 'localhost'
      const body = ['GET', 'HEAD'].includes(request.method) ? null : await request.arrayBuffer()
      const headers = new Headers(request.headers)
      headers.set('X-Tenant', 'demo')
      return original(url, { method: request.method, headers, body })
    }
  })
  afterAll(() => {
    globalThis.fetch = original
  })

  it('are four', () => expect(programs()).toHaveLength(4))

  it('verify a token with freehold/verify, and need a permission', async () => {
    const { app } = await moduleWith('createVerifier')
    const { access_token } = await logIn()
    const headers = { Authorization: `Bearer ${access_token}` }
    expect(await (await app.request('/hello', { headers })).text()).toBe(`Hello ${decodeJwt(access_token).username}`)
    expect((await app.request('/documents', { headers })).status).toBe(200)
    expect((await app.request('/hello')).status).toBe(401)
  })

  it('verify a token with jose, and no other', async () => {
    const { callerOf } = await moduleWith('jwtVerify')
    const { access_token } = await logIn()
    expect(await callerOf(access_token)).toEqual({ id: decodeJwt(access_token).sub, permissions: expect.any(Array) })
    await expect(callerOf(`${access_token.slice(0, -8)}AAAAAAAA`)).rejects.toThrow()
  })

  it('log in on a server, know the user, and notice the end of the session', async () => {
    const { logIn: enter, userOf } = await moduleWith('userOf')
    const { email, password } = facts.tenant
    const session: any = {}
    expect(await userOf(session)).toBeNull()
    const device_token = await enter(session, { email, password })
    expect(device_token).toEqual(expect.any(String))
    expect(await userOf(session)).toMatchObject({ email })
    await enter(session, { email, password, device_token })
    const headers = { Authorization: `Bearer ${session.tokens.access_token}` }
    expect((await ask(`${facts.tenant.url}/api/v1/auth/logout`, { method: 'POST', headers })).status).toBe(204)
    expect(await userOf(session)).toBeNull()
  })

  it('open the session that an app has kept', async () => {
    const { openSession } = await moduleWith('openSession')
    const { access_token, refresh_token } = await logIn()
    const kept: unknown[] = []
    const client = openSession({ access_token, refresh_token }, (tokens: unknown) => kept.push(tokens))
    expect((await client.GET('/api/v1/auth/me')).data).toMatchObject({ email: facts.tenant.email })
    await client.logOut()
    expect(kept).toEqual([null])
  })
})

describe('the script of use-it-in-your-app.md', () => {
  it.skipIf(!hasChromium)('logs in with cookies that it cannot read, refreshes and logs out', async () => {
    const [login = '', later = ''] = blocks('use-it-in-your-app', 'js').filter((block) => !/^import /m.test(block))
    const { email, password } = facts.tenant
    const mine = login.replace("'ada'", JSON.stringify(email)).replace("'Correct-horse-7'", JSON.stringify(password))
    expect(mine).not.toBe(login)
    const browser = await startChromium()
    try {
      const page = await openPage(browser.defaultBrowserContext(), `${facts.tenant.url}/docs`, true)
      const said = await page.evaluate(`(async () => {
        const seen = []
        const fetch = async (...asked) => {
          const answer = await window.fetch(...asked)
          seen.push([asked[0], answer.status])
          return answer
        }
        ${mine}
        const cookie = document.cookie
        ${later}
        return { account, cookie, seen }
      })()`)
      expect(said).toEqual({
        account: expect.stringMatching(/^[0-9a-f-]{36}$/),
        cookie: '',
        seen: [
          ['/api/v1/auth/login', 200],
          ['/api/v1/auth/me', 200],
          ['/api/v1/auth/refresh-token', 200],
          ['/api/v1/auth/logout', 204],
        ],
      })
    } finally {
      await browser.close()
    }
  })
})
