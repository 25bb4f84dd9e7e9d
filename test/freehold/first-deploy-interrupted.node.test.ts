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
  { run: _, begin, cloudflare, projects }: Accounts,
  here: Here,
  arm: (child: ReturnType<Accounts['begin']>) => void,
): Promise<void> {
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

  test('when Cloudflare has made a change whose answer never comes, for every change that there is', () =>
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
    }))
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
