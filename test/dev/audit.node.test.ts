/** The audit of `npm start`, verified as an operator does, and by a tenant's administrator who has an export and no secrets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ended, freehold, started } from '../freehold/run.ts'
import { ask, freePort, type Running, ready, start } from './running.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-audited-'))
const data = join(folder, '.freehold')
let running: Running
let facts: any
let token: string
let database: pg.Client

beforeAll(async () => {
  const port = await freePort()
  running = start(['--json', '--data', data, '--port', String(port)])
  facts = await ready(running)
  const { email, password } = facts.tenant
  token = (await ask(`${facts.tenant.url}/api/v1/auth/login`, { body: JSON.stringify({ email, password }) })).body.access_token
  database = new pg.Client({ connectionString: facts.postgres_url.replace(/\/[^/]*$/, '/freehold_demo') })
  await database.connect()
})
afterAll(async () => {
  await database?.end()
  running.child.kill('SIGINT')
  await running.ended
  rmSync(folder, { recursive: true, force: true })
})

const get = async (path: string) => {
  const { hostname, port } = new URL(facts.tenant.url)
  const answer = await fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
    headers: { Authorization: `Bearer ${token}`, 'X-Tenant': hostname.split('.')[0] ?? '' },
  })
  if (!answer.ok) throw new Error(await answer.text())
  return answer.text()
}
const seal = async () => {
  for (let i = 0; i < 100; i++) {
    await database.query('select access.checkpoint_audit(10)')
    if (!(await database.query('select from freehold.audit_log where checkpoint is null')).rowCount) return
  }
}
/** Something whose text JavaScript would write otherwise: numbers, lengths of keys, signs. */
const HARD = `{"aa": 12345678901234567890.10, "b": "\\u2028 \\" ñ 😀 \\u0001", "é": [1.50, null, true], "ab": {"__proto__": 1e-7}}`
const file = (name: string, content: string) => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const verify = (...more: string[]) => freehold(['audit', 'verify', '--from', ...more])
const verdict = async (...more: string[]) => JSON.parse((await verify(...more, '--json')).stdout)

describe('audit verify', () => {
  it('works against a running npm start with --data alone', async () => {
    for (const name of ['demo', 'platform']) {
      const { code, stdout, stderr } = await freehold(['audit', 'verify', name, '--data', data, '--url', facts.url])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(/^Intact up to checkpoint \d+, \d+ entries/)
    }
    const nowhere = await freehold(['audit', 'verify', 'demo', '--data', folder])
    expect(nowhere.code).toBe(1)
    expect(nowhere.stderr).toMatch(/MASTER_DATABASE_URL, ENCRYPTION_KEYS and OWNER_KEYS, or .* --data/)
  })

  it('with --from and without --heads, or of both at once, is wrong usage', async () => {
    for (const args of [[], ['--from', 'x'], ['demo', '--from', 'x', '--heads', 'y'], ['demo', '--filtered']])
      expect((await freehold(['audit', 'verify', ...args])).code).toBe(2)
  })
})

describe('an export', () => {
  let heads: string
  const pages: string[] = []
  let lines: string[]
  let newest: number
  const row = (change: (row: any) => boolean) => lines.findIndex((line) => change(JSON.parse(line)))
  const changed = (at: number, from: RegExp | string, to: string) =>
    lines.map((line, i) => (i === at ? line.replace(from, to) : line)).join('\n')

  beforeAll(async () => {
    await seal()
    for (const n of [1, 2, 3])
      await database.query(`select access.record('HARD', 'do', 'thing', $1, null, $2)`, [`${n} "é\\ \u007f`, HARD])
    await database.query(`select access.erase_detail(array(select id from freehold.audit_log where resource_id like '2 %'))`)
    await seal()
    const ran = await ended(started(['audit', 'checkpoints', 'demo', '--url', facts.url], { FREEHOLD_TENANT_TOKEN: token }))
    expect({ code: ran.code, stderr: ran.stderr }).toEqual({ code: 0, stderr: '' })
    heads = file('heads.json', ran.stdout)
    newest = JSON.parse(ran.stdout).data[0].no
    // Before the export, which is recorded, and under a checkpoint of its own within seconds.
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: string = await get(`/audit/checkpoints?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
      pages.push(page)
      cursor = JSON.parse(page).next_cursor
    }
    lines = (await get('/activities/export?format=ndjson')).trimEnd().split('\n')
  })

  it('is intact with the checkpoints, from a file or stdin, with no account and no settings', async () => {
    const from = file('export.ndjson', lines.join('\n'))
    const { code, stdout, stderr } = await verify(from, '--heads', heads)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^Intact: (\d+) of \1 checkpoints and \d+ of \d+ entries are proven \(\d+ not under .* 0 not proven, 1 details erased\)\.\n$/,
    )
    const child = started(['audit', 'verify', '--from', '-', '--heads', heads, '--json'])
    child.stdin.end(lines.join('\n'))
    const piped = JSON.parse((await ended(child)).stdout)
    expect(piped).toMatchObject({ intact: true, is_complete: true, unproven: 0, erased: 1, faults: [], entries: lines.length })
    expect(piped.proven + piped.pending).toBe(lines.length)
    expect(piped.proven_checkpoints).toBe(newest)
  })

  it('goes with the pages that the API lists, one in each line', async () => {
    expect(pages.length).toBeGreaterThan(1)
    const from = file('paged.ndjson', lines.join('\n'))
    expect(await verdict(from, '--heads', file('pages.ndjson', pages.join('\n')))).toMatchObject({
      intact: true,
      is_complete: true,
    })
    // The first page alone: what is under older checkpoints is not proven, and it says so.
    const part = await verdict(from, '--heads', file('page.json', pages[0] ?? ''))
    expect(part).toMatchObject({ intact: true, is_complete: false, checkpoints: 2, proven_checkpoints: 1 })
    expect(part.unproven).toBeGreaterThan(0)
  })

  it.each<[string, (row: any) => boolean, RegExp | string, string, string[]]>([
    ['a changed entry', (r) => r.activity_type === 'HARD', '"action":"do"', '"action":"be"', ['changed']],
    ['another user', (r) => r.user_id, /"user_id":"[^"]*"/, `"user_id":"${crypto.randomUUID()}"`, ['changed']],
    ['a changed detail', (r) => r.salt && r.activity_type === 'HARD', '567890.10', '567890.1', ['changed_detail']],
    ['a changed address', (r) => r.address, /"address":"[^"]*"/, '"address":"192.0.2.1"', ['changed_detail']],
    ['a detail that was taken out', (r) => r.salt, /"salt":"[^"]*"/, '"salt":null', ['removed_detail']],
    [
      'an erasure that names another entry',
      (r) => r.activity_type === 'AUDIT_ERASED',
      /"ids": \["[^"]*"/,
      `"ids": ["${crypto.randomUUID()}"`,
      ['changed_detail', 'removed_detail'],
    ],
    ['a date of 2020', (r) => r.activity_type === 'HARD', /"at":"\d{4}/, '"at":"2020', ['forged', 'changed']],
    ['another checkpoint', (r) => r.checkpoint === 1, '"checkpoint":1,', '"checkpoint":2,', ['added', 'removed']],
  ])('with %s is broken, and it says how', async (_, which, from, to, kinds) => {
    const at = row((r) => r.checkpoint !== null && Boolean(which(r)))
    const text = changed(at, from, to)
    expect(text).not.toBe(lines.join('\n'))
    const found = await verdict(file('changed.ndjson', text), '--heads', heads)
    expect(found.intact).toBe(false)
    expect(found.faults.map(({ kind }: { kind: string }) => kind)).toEqual(expect.arrayContaining(kinds))
  })

  it('that lacks an entry, its end, or everything is broken, and a filtered one proves no more than it can', async () => {
    const without = (which: (r: any) => boolean) => lines.filter((line) => !which(JSON.parse(line))).join('\n')
    const at = lines[row((r) => r.checkpoint === 1)]
    const less = await verify(file('less.ndjson', lines.filter((line) => line !== at).join('\n')), '--heads', heads)
    expect(less.code).toBe(1)
    expect(less.stderr).toMatch(/1 of the \d+ entries under checkpoint 1 are missing\n.*use --filtered/)
    const kinds = async (text: string) =>
      (await verdict(file('part.ndjson', text), '--heads', heads)).faults.map((f: any) => [f.kind, f.checkpoint])
    expect(await kinds(without((r) => r.checkpoint === newest))).toEqual(expect.arrayContaining([['cut_off', newest]]))
    expect(await kinds('')).toEqual([['cut_off', 1]])
    const filtered = await get('/activities/export?format=ndjson&activity_type=HARD')
    const told = await verify(file('filtered.ndjson', filtered), '--heads', heads, '--filtered')
    expect(told.code).toBe(0)
    expect(told.stdout).toMatch(/^No fault in what the filtered export holds: .* It cannot prove that nothing is missing/)
    const broken = await verdict(
      file('filtered.ndjson', filtered.replace('567890.10', '567890.11')),
      '--heads',
      heads,
      '--filtered',
    )
    expect(broken).toMatchObject({ intact: false, is_complete: false, faults: [{ kind: 'changed_detail' }] })
  })

  it('of a chain that was made anew is broken by checkpoints that were kept', async () => {
    const anew = { ...JSON.parse(pages[0] ?? '').data[0], hash: '00'.repeat(32) }
    const found = await verdict(
      file('anew.ndjson', lines.join('\n')),
      '--heads',
      heads,
      file('anew.json', JSON.stringify([anew])),
    )
    expect(found.faults.map(({ kind }: { kind: string }) => kind)).toContain('rewritten')
  })

  it.each([
    ['export', 'no export', '{"data":[]}', /--heads: there is no checkpoint|Line 1 is not of an export/],
    ['heads', '', 'no heads', /is not what GET .* answers/],
  ])('what is no %s is refused in a sentence', async (_, text, checkpoints, words) => {
    const ran = await verify(file('none.ndjson', text), '--heads', file('none.json', checkpoints))
    expect(ran.code).toBe(1)
    expect(ran.stderr).toMatch(words)
    expect(ran.stderr.trim().split('\n')).toHaveLength(1)
  })

  it('and a forged entry that the owner of the tables sealed is found, there and in the next export', async () => {
    await database.query(`alter table freehold.audit_log disable trigger written_now`)
    await database.query(
      `insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash, at) values (gen_random_uuid(), 'LOGIN', 'create', 'session', '', '2020-03-03')`,
    )
    await database.query(`alter table freehold.audit_log enable trigger written_now`)
    await seal()
    const online = await freehold(['audit', 'verify', 'demo', '--data', data, '--url', facts.url])
    expect(online.code).toBe(1)
    expect(online.stderr).toMatch(/is dated 2020-03-03/)
    const later = file('later.json', await get('/audit/checkpoints?limit=100'))
    const from = file('later.ndjson', await get('/activities/export?format=ndjson'))
    expect((await verdict(from, '--heads', heads, later)).faults.map(({ kind }: { kind: string }) => kind)).toEqual(
      expect.arrayContaining(['forged', 'removed_detail']),
    )
  })
})
