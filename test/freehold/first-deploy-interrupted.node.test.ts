/**
 * Threat: a set-up is interrupted, and what it made is lost or made twice: a second master that costs, key rings that nobody has, a
 * password that nobody saw. It is killed with all that it started (SIGKILL), which leaves no chance to tidy up.
 */
import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { type Accounts, DOMAIN, EMAIL, newAccounts, STEPS } from './deployment.ts'
import { ended, killGroup } from './run.ts'

type Here = Awaited<ReturnType<Accounts['project']>>

async function withAccounts(work: (accounts: Accounts, here: Here) => Promise<void>): Promise<void> {
  const accounts = await newAccounts('freehold-interrupted')
  try {
    await work(accounts, await accounts.project())
  } finally {
    await accounts.stop()
  }
}

const keysOf = async ({ secrets }: Here) =>
  JSON.parse(await readFile(secrets, 'utf8').catch(() => '{}')) as Record<string, string>

/**
 * Runs the set-up again and again until a run comes to its end; `arm` is given each child and its words, and kills it when it likes.
 * Expects that everything is there once, with the keys of the first run that had any, and that the password which was shown last logs in.
 */
async function expectOneDeployment(
  accounts: Accounts,
  here: Here,
  arm: (child: ReturnType<Accounts['begin']>) => void,
): Promise<void> {
  const { begin, cloudflare } = accounts
  let first: Record<string, string> = {}
  let password = ''
  let runs = 0
  for (; runs < 40; runs++) {
    const child = begin(here)
    arm(child)
    const { code, stderr } = await ended(child)
    password = new RegExp(`the password of ${EMAIL}: (\\S+)\n`).exec(stderr)?.[1] ?? password
    const keys = await keysOf(here)
    for (const name of ['ENCRYPTION_KEYS', 'OWNER_KEYS', 'MASTER_READER_URL'])
      expect(keys[name], name).toBe(first[name] ?? keys[name])
    if (keys.ENCRYPTION_KEYS) first = keys
    if (code === 0) break
    expect(code, stderr).toBeNull()
  }
  cloudflare.on.change = () => {}
  await expectOnce(accounts, first, password)
}

/** Everything is there once, with these keys, and the operator logs in. */
async function expectOnce({ cloudflare, projects }: Accounts, first: Record<string, string>, password: string): Promise<void> {
  const { state } = cloudflare
  expect((await projects()).map(({ name }) => name)).toEqual(['freehold-master'])
  expect(state.namespaces.map(({ title }) => title)).toEqual(['freehold-tenants'])
  expect(state.records.map(({ name }) => name)).toEqual([DOMAIN, `*.${DOMAIN}`])
  expect(state.routes.map(({ pattern }) => pattern)).toEqual([`${DOMAIN}/*`, `*.${DOMAIN}/*`])
  expect([...state.scripts.keys(), ...state.schedules.keys()]).toEqual(['freehold', 'freehold'])
  expect(state.scripts.get('freehold')?.bindings.find(({ name }) => name === 'ENCRYPTION_KEYS')?.text).toBe(first.ENCRYPTION_KEYS)
  const answer = await fetch(`${cloudflare.at}/platform/v1/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email: EMAIL, password }),
  })
  expect([answer.status, await answer.json()]).toEqual([200, expect.objectContaining({ must_change_password: true })])
}

describe('killed', () => {
  test.for([
    ['right after', 'done', 0],
    ['in the middle of', 'next', 60],
  ] as const)('%s each step, it goes on when it is run again', { timeout: 300_000 }, ([, mark, after]) =>
    withAccounts(async (accounts, here) => {
      const killed = new Set<string>()
      await expectOneDeployment(accounts, here, (child) => {
        let told = ''
        child.stderr.on('data', (chunk: Buffer) => {
          told += chunk.toString()
          for (const step of STEPS)
            if (!killed.has(step) && told.includes(`${mark.padEnd(7)} ${step}: `)) {
              killed.add(step)
              // What it says comes before what it does: a moment later it is at work.
              setTimeout(() => killGroup(child), after)
              return
            }
        })
      })
      expect([...killed]).toEqual(expect.arrayContaining(['neon project', 'master database', 'deploy', 'first operator']))
    }),
  )

  test('when Cloudflare has made a change whose answer never comes, for every change that there is', { timeout: 300_000 }, () =>
    withAccounts(async (accounts, here) => {
      const lost = new Set<string>()
      await expectOneDeployment(accounts, here, (child) => {
        accounts.cloudflare.on.change = (change) => {
          if (lost.has(change)) return
          lost.add(change)
          killGroup(child)
        }
      })
      for (const change of [
        /kv\/namespaces$/,
        /dns_records$/,
        /min_tls_version$/,
        /bot_management$/,
        /scripts\/freehold$/,
        /routes$/,
        /schedules$/,
      ])
        expect(
          [...lost].some((each) => change.test(each)),
          String(change),
        ).toBe(true)
    }),
  )
})

test('when Neon has made the project and the answer is lost, the next run adopts it', () =>
  withAccounts(async (accounts, here) => {
    const fault = { kind: 'drop_after', match: { method: 'POST', path: '/projects$' }, times: 1 }
    await fetch(`${new URL(accounts.neon.apiUrl).origin}/faults`, { method: 'PUT', body: JSON.stringify([fault]) })
    expect(await accounts.run(here)).toMatchObject({ code: 1, stdout: '' })
    expect(await accounts.projects()).toHaveLength(1)
    // It may do too little, too: it stops there, says what is missing, and goes on later.
    accounts.cloudflare.may.edit.delete('kv')
    expect(await accounts.run(here)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('may do too little: add the permission "Account > Workers KV Storage: Edit"'),
    })
    accounts.cloudflare.may.edit.add('kv').delete('scripts')
    const { code, stderr } = await accounts.run(here)
    expect(code).toBe(1)
    expect(stderr).toMatch(/error: wrangler could not deploy: .*Authentication error.*"Account > Workers Scripts: Edit"/)
    accounts.cloudflare.may.edit.add('scripts')
    expect((await accounts.run(here)).code).toBe(0)
    expect(await accounts.projects()).toHaveLength(1)
    expect(accounts.cloudflare.state.namespaces).toHaveLength(1)
  }))

describe('a set-up that cannot go on says why, and the next run goes on:', () => {
  const passwordIn = (stderr: string) => new RegExp(`the password of ${EMAIL}: (\\S+)\n`).exec(stderr)?.[1] ?? ''
  const switchOn = ({ neon }: Accounts, ...faults: object[]) =>
    fetch(`${new URL(neon.apiUrl).origin}/faults`, { method: 'PUT', body: JSON.stringify(faults) })

  test('Neon or the master refuses, breaks, is away or loses an answer, at each request in turn', { timeout: 300_000 }, () =>
    withAccounts(async (accounts, here) => {
      const { cloudflare, run, projects } = accounts
      // No run comes further than the master.
      cloudflare.may.edit.delete('kv')
      const LAST = 'Account > Workers KV Storage: Edit'
      const post = { method: 'POST', path: '/projects$' }
      const refused = (status: number, body: string, type = 'application/json') => ({
        match: post,
        times: 100,
        kind: 'status',
        status,
        body,
        headers: { 'content-type': type },
      })
      const message = (text: string) => JSON.stringify({ code: '', message: text })
      const atNeon: [object, RegExp, number][] = [
        [refused(403, message('not allowed')), /NEON_API_KEY may do too little \(Neon answered 403: not allowed\)/, 0],
        [refused(422, message('projects limit exceeded')), /Neon answered 422: projects limit exceeded/, 0],
        [refused(429, message('too many requests')), /Neon answered 429/, 0],
        [refused(500, message('internal error')), /Neon answered 500: internal error/, 0],
        [refused(524, '<html>timeout</html>', 'text/html'), /Neon answered 524/, 0],
        [{ match: post, times: 100, kind: 'drop_before' }, /Neon does not answer/, 0],
        [{ match: post, times: 1, kind: 'fail_operation', action: 'start_compute' }, /./, 1],
      ]
      for (const [fault, words, made] of atNeon) {
        await switchOn(accounts, fault)
        const { code, stdout, stderr } = await run(here)
        expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' })
        expect(stderr).toMatch(/^error: [^\n]+\n$/m)
        expect(stderr).toMatch(words)
        expect(stderr).not.toMatch(/<html|\n\s+at |postgresql:\/\/[^*]/)
        expect(await projects()).toHaveLength(made)
      }
      await switchOn(accounts)
      // What was made of it never works, and is not taken for a master.
      const [half] = await projects()
      expect(await run(here)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/error: The project freehold-master \(\S+\) was not made to its end.* Delete it at Neon/),
      })
      expect(await keysOf(here)).toEqual({})
      const headers = { Authorization: `Bearer ${accounts.neon.apiKey}` }
      await fetch(`${accounts.neon.apiUrl}/projects/${half?.id}`, { method: 'DELETE', headers })
      let first: Record<string, string> = {}
      let stopped = 0
      for (const kind of ['drop_after', 'drop_before'])
        for (let pass = 0; pass < 6; pass++) {
          const sql = { method: 'POST', path: '^/sql$' }
          await switchOn(accounts, { match: sql, times: pass, kind: 'delay', ms: 0 }, { match: sql, times: 4, kind })
          const { code, stderr } = await run(here)
          expect(code, stderr).toBe(1)
          expect(stderr).toMatch(/^error: [^\n]+\n$/m)
          expect(stderr).not.toMatch(/\n\s+at |postgresql:\/\/[^*]/)
          if (!stderr.includes(LAST)) stopped++
          const keys = await keysOf(here)
          for (const name of ['ENCRYPTION_KEYS', 'OWNER_KEYS', 'MASTER_READER_URL'])
            expect(keys[name], name).toBe(first[name] ?? keys[name])
          first = keys
        }
      expect(stopped).toBeGreaterThan(0)
      await switchOn(accounts)
      cloudflare.may.edit.add('kv')
      const { code, stderr } = await run(here)
      expect(code, stderr).toBe(0)
      await expectOnce(accounts, first, passwordIn(stderr))
    }),
  )

  test(
    'the token for Cloudflare may look at everything, and change nothing of one kind after another',
    { timeout: 300_000 },
    () =>
      withAccounts(async (accounts, here) => {
        const { cloudflare, run } = accounts
        const { edit } = cloudflare.may
        const kinds = [
          ['kv', 'Account > Workers KV Storage: Edit'],
          ['r2', 'Account > Workers R2 Storage: Edit'],
          ['dns', 'Zone > DNS: Edit'],
          ['settings', 'Zone > Zone Settings: Edit'],
          ['bots', 'Zone > Bot Management: Edit'],
          ['scripts', 'Account > Workers Scripts: Edit'],
          ['routes', 'Zone > Workers Routes: Edit'],
        ] as const
        for (const [kind] of kinds) edit.delete(kind)
        let keys: Record<string, string> = {}
        for (const [kind, permission] of kinds) {
          const { code, stdout, stderr } = await run(here)
          expect({ code, stdout }, `${kind} ${stderr}`).toEqual({ code: 1, stdout: '' })
          expect(stderr, kind).toMatch(/^error: /m)
          expect(stderr.split('error: ')[1], kind).toContain(permission)
          edit.add(kind)
          keys = await keysOf(here)
        }
        const { code, stderr } = await run(here)
        expect(code, stderr).toBe(0)
        await expectOnce(accounts, keys, passwordIn(stderr))
      }),
  )
})
