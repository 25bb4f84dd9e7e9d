/** What is asked and shown on a terminal, which `script` of util-linux is; skipped where it is not. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { type SQL, sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Mailbox, startMailbox } from '../../scripts/dev/mailbox.ts'
import { batch, useSqlUrl } from '../../src/kernel/db.ts'
import { OPERATOR, startPlatform } from './door.ts'
import { ended, freehold, MAIN, started } from './run.ts'

const hasScript = () => {
  try {
    return execFileSync('script', ['--version'], { encoding: 'utf8' }).includes('util-linux')
  } catch {
    return false
  }
}

let mailbox: Mailbox
let platform: Awaited<ReturnType<typeof startPlatform>>
const asAda = () => ({ FREEHOLD_URL: platform.url, FREEHOLD_EMAIL: OPERATOR.email, FREEHOLD_PASSWORD: OPERATOR.password })

beforeAll(async () => {
  mailbox = await startMailbox()
  platform = await startPlatform({ MAILBOX_URL: mailbox.url })
  const about = ['--legal-name', `The ${'very '.repeat(20)}long name`, '--admin-email', 'bo@erato.test']
  expect((await freehold(['tenants', 'create', 'erato', ...about], asAda())).code).toBe(0)
}, 240_000)
afterAll(async () => {
  await platform?.stop()
  await mailbox?.stop()
})

/** Runs the command line on a terminal, and types each answer after its question was shown. */
async function onTerminal(
  args: string[],
  env: Record<string, string>,
  answers: [question: string, answer: string | (() => Promise<string>)][] = [],
  columns = 80,
) {
  const line = `stty cols ${columns}; exec ${[process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ')}`
  const { PATH = '' } = process.env
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    env: { PATH, TERM: 'xterm-256color', SHELL: '/bin/sh', XDG_CONFIG_HOME: platform.configFolder, ...env },
  })
  let shown = ''
  let from = 0
  const left = [...answers]
  child.stdout.on('data', (chunk) => {
    shown += chunk
    const [next] = left
    const at = next ? shown.indexOf(next[0], from) : -1
    if (next && at >= 0) {
      from = at + next[0].length
      left.shift()
      const [, answer] = next
      if (typeof answer === 'string') child.stdin.write(answer)
      else void answer().then((text) => child.stdin.write(text))
    }
  })
  const code = await new Promise<number | null>((done) => child.once('close', done))
  return { code, shown, left }
}
const ENTER = '\r'

/** The newest code that was mailed to somebody, once there are so many. */
async function codeTo(email: string, count: number): Promise<string> {
  for (const until = Date.now() + 10_000; Date.now() < until; await new Promise((done) => setTimeout(done, 100))) {
    const answer = await fetch(`${mailbox.url}/mails.json?to=${encodeURIComponent(email)}`)
    const codes = ((await answer.json()) as { text: string }[]).flatMap(({ text }) => /^\d{8}$/m.exec(text)?.[0] ?? [])
    if (codes.length >= count) return codes[0] ?? ''
  }
  throw new Error(`No ${count} codes to ${email}.`)
}

describe.skipIf(!hasScript())('on a terminal', () => {
  test('login asks for the e-mail and the password, and does not show the password', async () => {
    const { code, shown, left } = await onTerminal(['login', '--url', platform.url], {}, [
      ['E-mail: ', `${OPERATOR.email}${ENTER}`],
      ['Password: ', `${OPERATOR.password}${ENTER}`],
    ])
    expect({ code, left }).toEqual({ code: 0, left: [] })
    expect(shown).toContain('is logged in at')
    expect(shown).not.toContain(OPERATOR.password)
    expect(shown).not.toContain('*'.repeat(4))
  })

  test('Ctrl-C at a question changes nothing, and ends with 130', async () => {
    const { code, shown } = await onTerminal(['login', '--profile', 'other', '--url', platform.url], {}, [['E-mail: ', '\u0003']])
    expect({ code, said: shown.includes('Interrupted') }).toEqual({ code: 130, said: true })
  })

  test('a first password is changed at the login', async () => {
    const made = await freehold(['tenants', 'reset-password', 'erato', '--yes', '--json'], asAda())
    const first = JSON.parse(made.stdout).initial_password
    const { code, shown, left } = await onTerminal(['login', '--profile', 'bo', '--url', platform.url, '--tenant', 'erato'], {}, [
      ['E-mail: ', `bo@erato.test${ENTER}`],
      ['Password: ', `${first}${ENTER}`],
      ['New password: ', `Quiet-harbour-31${ENTER}`],
      ['The same again: ', `Quiet-harbour-31${ENTER}`],
    ])
    expect({ code, left }, shown).toEqual({ code: 0, left: [] })
    expect(shown).not.toContain('Quiet-harbour-31')
    const who = started(['whoami', '--json', '--profile', 'bo'], { XDG_CONFIG_HOME: platform.configFolder })
    expect(JSON.parse((await ended(who)).stdout)).toMatchObject({ tenant: { subdomain: 'erato' } })
  })

  test('password asks for the one of now and twice for a new one, and shows neither', async () => {
    const { code, shown, left } = await onTerminal(['password', '--profile', 'bo'], {}, [
      ['Password of now: ', `Quiet-harbour-31${ENTER}`],
      ['New password: ', `Quiet-harbour-32${ENTER}`],
      ['The same again: ', `Quiet-harbour-32${ENTER}`],
    ])
    expect({ code, left }, shown).toEqual({ code: 0, left: [] })
    expect(shown).toContain('The password is changed, and your other sessions have ended.')
    expect(shown).not.toMatch(/Quiet-harbour/)
    const differ = await onTerminal(['password', '--profile', 'bo'], {}, [
      ['Password of now: ', `Quiet-harbour-32${ENTER}`],
      ['New password: ', `Quiet-harbour-33${ENTER}`],
      ['The same again: ', `Quiet-harbour-34${ENTER}`],
    ])
    expect([differ.code, differ.shown.includes('They differ: nothing was changed.')]).toEqual([1, true])
  })

  test('a login that is unusual asks for the code of the mail, which can be mailed again, and without a terminal says so', async () => {
    useSqlUrl(platform.sql_url)
    const change = (...statements: SQL[]) => batch(platform.master_url, [sql`set local role freehold_owner`, ...statements])
    const weigh = (new_device: number) =>
      sql`update freehold.tenant set risk_weights = risk_weights || jsonb_build_object('new_device', ${new_device}::integer)`
    await change(weigh(100), sql`update freehold.risk_attempts set agent = 'Another/1', device = gen_random_uuid()`)
    const args = ['login', '--profile', 'far', '--url', platform.url]
    const piped = started([...args, '--email', OPERATOR.email, '--password-stdin'], { XDG_CONFIG_HOME: platform.configFolder })
    piped.stdin.end(OPERATOR.password)
    const refused = await ended(piped)
    expect([refused.code, refused.stderr.includes('was mailed a code: log in on a terminal')], refused.stderr).toEqual([1, true])
    const { code, shown, left } = await onTerminal(args, {}, [
      ['E-mail: ', `${OPERATOR.email}${ENTER}`],
      ['Password: ', `${OPERATOR.password}${ENTER}`],
      ['Code of the mail', ENTER],
      ['Code of the mail', async () => `${await codeTo(OPERATOR.email, 2)}${ENTER}`],
    ])
    await change(weigh(20))
    expect({ code, left }, shown).toEqual({ code: 0, left: [] })
    expect(shown).toContain('A code was mailed just now')
    expect(shown).toContain('is logged in at')
  })

  test('a call that asks for a newer login asks for the password, and is sent again; without a terminal it says what to do', async () => {
    await onTerminal(['login', '--profile', 'late', '--url', platform.url], {}, [
      ['E-mail: ', `${OPERATOR.email}${ENTER}`],
      ['Password: ', `${OPERATOR.password}${ENTER}`],
    ])
    useSqlUrl(platform.sql_url)
    await batch(platform.master_url, [
      sql`set local role freehold_owner`,
      sql`update freehold.sessions set created_at = now() - interval '1 hour'`,
    ])
    const args = ['api-keys', 'create', 'nightly', '--permission', 'tenant:read', '--profile', 'late']
    const piped = await ended(started(args, { XDG_CONFIG_HOME: platform.configFolder }))
    expect([piped.code, piped.stdout]).toEqual([1, ''])
    expect(piped.stderr).toContain('freehold login --profile late --password-stdin')
    const wrong = await onTerminal(args, {}, [['Password: ', `Wrong-1${ENTER}`]])
    expect([wrong.code, wrong.shown.includes('The password is not right.'), wrong.shown.includes('fh_')]).toEqual([
      1,
      true,
      false,
    ])
    const right = await onTerminal(args, {}, [['Password: ', `${OPERATOR.password}${ENTER}`]])
    expect([right.code, right.left, right.shown.includes('fh_')], right.shown).toEqual([0, [], true])
    expect(right.shown).not.toContain(OPERATOR.password)
  })

  test('a key is revoked after y, and stays after anything else', async () => {
    const env = { XDG_CONFIG_HOME: platform.configFolder }
    const bo = (...args: string[]) => ended(started([...args, '--profile', 'bo'], env))
    await bo('api-keys', 'create', 'nightly', '--permission', 'user:read')
    const [{ prefix }] = JSON.parse((await bo('api-keys', 'list', '--json')).stdout).data
    const no = await onTerminal(['api-keys', 'revoke', prefix, '--profile', 'bo'], {}, [['[y/N] ', `n${ENTER}`]])
    expect([no.code, no.shown.includes('Nothing was changed.')]).toEqual([1, true])
    const yes = await onTerminal(['api-keys', 'revoke', prefix, '--profile', 'bo'], {}, [['[y/N] ', `y${ENTER}`]])
    expect([yes.code, yes.shown.includes(`The API key nightly (${prefix}) is revoked.`)]).toEqual([0, true])
    expect((await bo('api-keys', 'list')).stdout).toBe('')
  })

  test('a deletion is asked about: no, and nothing, leave it as it is', async () => {
    for (const answer of ['n', '']) {
      const { code, shown } = await onTerminal(['tenants', 'delete', 'erato'], asAda(), [['[y/N] ', `${answer}${ENTER}`]])
      expect({ code, said: shown.includes('Nothing was changed.') }, shown).toEqual({ code: 1, said: true })
    }
    const erased = await onTerminal(['tenants', 'delete', 'erato', '--hard'], asAda(), [
      ['Type erato to go on: ', `erat${ENTER}`],
    ])
    expect(erased.code).toBe(1)
    expect(JSON.parse((await freehold(['tenants', 'show', 'erato', '--json'], asAda())).stdout).status).toBe('active')
  })

  test('of 40 columns no line of a table or of help is longer, and what is cut has an ellipsis', async () => {
    for (const args of [['tenants', 'list'], ['tenants', 'create', '--help'], ['--help'], ['presets']]) {
      const { code, shown } = await onTerminal(args, asAda(), [], 40)
      expect(code, shown).toBe(0)
      const lines = stripVTControlCharacters(shown).split(/\r?\n/)
      // A word that is longer than a line, such as the name of a setting, stays whole.
      expect(lines.filter((line) => line.length > 40 && /\S\s+\S/.test(line.trim()))).toEqual([])
    }
    expect((await onTerminal(['tenants', 'list'], asAda(), [], 40)).shown).toContain('…')
  })

  test('there are colours, and none with NO_COLOR or into a pipe, where lines stay whole', async () => {
    const list = ['tenants', 'list']
    expect((await onTerminal(list, asAda())).shown).toContain('\u001b[')
    expect((await onTerminal(list, { ...asAda(), NO_COLOR: '1' })).shown).not.toContain('\u001b[')
    const { stdout } = await freehold(list, asAda())
    expect(stdout).not.toContain('\u001b')
    expect(stdout).toContain('very '.repeat(20))
  })
})

test('a pipe that is closed ends it quietly', async () => {
  const line = `'${process.execPath}' '${MAIN}' presets --markdown | head -1; '${process.execPath}' '${MAIN}' nothing 2>&1 | true`
  const folder = mkdtempSync(join(tmpdir(), 'freehold-pipe-'))
  try {
    const said = execFileSync('sh', ['-c', `{ ${line} ; } 2> ${join(folder, 'stderr')}`], { encoding: 'utf8' })
    expect(said.split('\n')).toHaveLength(2)
    expect(readFileSync(join(folder, 'stderr'), 'utf8')).toBe('')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
