/**
 * `freehold events verify`, over what a receiver of `npm start` kept. Threat: an event that is lost, left out, changed or of another history
 * passes for a whole feed; or a whole feed is called broken, so that nobody looks any more.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ended, freehold, started } from '../freehold/run.ts'
import { ask, freePort, type Running, ready, start } from './running.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-events-'))
/** What the receiver kept, as it came. */
const kept: string[] = []
let running: Running
let receiver: Server
let facts: any
let token: string
let database: pg.Client

beforeAll(async () => {
  running = start(['--json', '--data', join(folder, '.freehold'), '--port', String(await freePort())])
  receiver = createServer((asked, answer) => {
    let body = ''
    asked.on('data', (part) => {
      body += part
    })
    asked.on('end', () => {
      kept.push(body)
      answer.end()
    })
  }).listen(0, '127.0.0.1')
  facts = await ready(running)
  const { email, password } = facts.tenant
  token = (await ask(`${facts.tenant.url}/api/v1/auth/login`, { body: JSON.stringify({ email, password }) })).body.access_token
  database = new pg.Client({ connectionString: facts.postgres_url.replace(/\/[^/]*$/, '/freehold_demo') })
  await database.connect()
  await seal()
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`
  const { id } = await post('/webhooks', { url, includes_details: true })
  await post(`/webhooks/${id}/test`)
  for (const n of [1, 2, 3, 4]) {
    await database.query(`select access.record('HARD', 'do', 'thing', $1, null, $2) from generate_series(1, 3)`, [
      `${n} "é`,
      HARD,
    ])
    await seal()
  }
  await post(`/webhooks/${id}/replay`, { after: 0 })
  const { newest } = (await database.query('select max(last_seq)::integer as newest from access.event_spans')).rows[0]
  await until(() => seqs().includes(newest))
  await post(`/webhooks/${id}/test`)
  lines = kept.filter((line, i) => kept.indexOf(line) === i)
}, 240_000)
afterAll(async () => {
  await database?.end()
  receiver.close()
  running.child.kill('SIGINT')
  await running.ended
  rmSync(folder, { recursive: true, force: true })
})

/** Something whose text JavaScript would write otherwise. */
const HARD = `{"aa": 12345678901234567890.10, "b": "\\u2028 \\" ñ 😀", "ab": 1e-7}`
/** What came, each once, in the order in which it came. */
let lines: string[] = []
const bodies = () => kept.map((line) => JSON.parse(line))
const seqs = () => bodies().flatMap(({ data }) => (data.seq ? [data.seq as number] : []))
async function until(look: () => boolean) {
  for (const end = Date.now() + 60_000; !look(); await new Promise((done) => setTimeout(done, 100)))
    if (Date.now() > end) throw new Error(`It does not come: ${seqs()}`)
}
async function post(path: string, body: object = {}) {
  const { hostname, port } = new URL(facts.tenant.url)
  const answer = await fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${token}`,
      'X-Tenant': hostname.split('.')[0] ?? '',
      'Content-Type': 'application/json',
    },
    body: JSON.stringify(body),
  })
  const said = await answer.text()
  if (!answer.ok) throw new Error(said)
  return said ? JSON.parse(said) : null
}
async function seal() {
  for (let i = 0; i < 100; i++) {
    await database.query('select access.checkpoint_audit(5000)')
    if (!(await database.query('select from freehold.audit_log where checkpoint is null')).rowCount) return
    await new Promise((done) => setTimeout(done, 50))
  }
}
let files = 0
const file = (content: string[]) => {
  const name = join(folder, `kept-${files++}.ndjson`)
  writeFileSync(name, content.join('\n'))
  return name
}
const env = () => ({ FREEHOLD_URL: facts.url, FREEHOLD_TENANT_TOKEN: token })
const verify = (args: string[]) => freehold(['events', 'verify', ...args], env())
async function verdict(content: string[], ...args: string[]) {
  const { code, stdout } = await verify(['--from', file(content), '--any-order', '--json', ...args])
  const { faults = [], ...document } = JSON.parse(stdout)
  return { code, ...document, kinds: faults.map(({ kind }: any) => kind), seqs: faults.map(({ seq }: any) => seq) }
}
const seqOf = (line: string) => JSON.parse(line).data.seq as number
/** All events in order, without the messages of tests. */
const ordered = () => lines.filter((line) => seqOf(line)).sort((a, b) => seqOf(a) - seqOf(b))
const without = (...gone: number[]) => ordered().filter((line) => !gone.includes(seqOf(line)))
/** The number of the second of three events under one checkpoint. */
const middle = () => {
  const group = ordered().filter((line) => JSON.parse(line).data.resource_id === '2 "é')
  return seqOf(group[1] ?? '')
}
const withChange = (seq: number, from: string | RegExp, to: string) =>
  ordered().map((line) => (seqOf(line) === seq ? line.replace(from, to) : line))

describe('what a receiver kept', () => {
  it('is intact as it came, from a file or stdin, with repetitions, tests, and details that JavaScript would round', async () => {
    const all = await verdict(kept, '--after', '0')
    expect(all).toMatchObject({ code: 0, intact: true, first_seq: 1, pending: 0, kinds: [], missing_from: null })
    expect([all.proven, all.events, all.last_seq]).toEqual([ordered().length, ordered().length, ordered().length])
    const child = started(['events', 'verify', '--from', '-'], env())
    child.stdin.end(ordered().join('\n'))
    const piped = await ended(child)
    expect({ code: piped.code, stderr: piped.stderr }).toEqual({ code: 0, stderr: '' })
    expect(piped.stdout).toMatch(/^Intact: (\d+) events from 1 to \1; \1 under \d+ checkpoints are proven/)
  })

  it('is intact beside the checkpoints of the tenant, as events, as pages of the feed, and in the form that Windows gives files', async () => {
    const events = ordered().map((line) => line.slice(line.indexOf('"data":') + 7, -1))
    const marked = ordered().map((line, i) => `${i ? '' : '\u{feff}'}${line}\r`)
    for (const content of [ordered(), events, [`{"data": [${events}], "next_after": 9}`], marked])
      expect(await verdict(content, 'demo', '--after', '0')).toMatchObject({ code: 0, events: events.length, kinds: [] })
  })

  it('without one of its events is broken, and the first that is missing is named', async () => {
    const gone = middle()
    for (const args of [[], ['demo']]) {
      const found = await verdict(without(gone), ...args)
      expect(found).toMatchObject({ code: 1, intact: false, kinds: ['missing'], seqs: [gone], missing_from: gone })
    }
    const { code, stdout, stderr } = await verify(['--from', file(without(gone))])
    expect([code, stdout, stderr]).toEqual([
      1,
      expect.stringMatching(new RegExp(`^Broken: event ${gone} is missing\\. 1 fault; `)),
      `  event ${gone} is missing\n`,
    ])
  })

  it('without a whole checkpoint is broken, also where the numbers after it were moved up', async () => {
    const gone = [middle() - 1, middle(), middle() + 1]
    expect(await verdict(without(...gone))).toMatchObject({ code: 1, kinds: ['missing'], missing_from: gone[0] })
    const moved = without(...gone).map((line) => {
      const seq = seqOf(line)
      return seq > middle() ? line.replace(`"seq": ${seq},`, `"seq": ${seq - 3},`) : line
    })
    expect(moved).not.toEqual(without(...gone))
    expect(await verdict(moved)).toMatchObject({ code: 1, kinds: ['unlinked'], missing_from: gone[0] })
    expect((await verdict(moved, 'demo')).kinds).toContain('missing')
  })

  it.each([
    ['an action', /"action": "do"/, '"action": "be"', ['changed']],
    ['a date', /"at": "20/, '"at": "19', ['changed']],
    ['a detail', '567890.10', '567890.1', ['changed_detail']],
    ['a hash of details', /"detail_hash": "[0-9a-f]{4}/, '"detail_hash": "0000', ['changed', 'changed_detail']],
    ['details taken out', /"details": \{.*?\}, "user_id"/s, '"details": null, "user_id"', ['removed_detail']],
    ['its epoch', /"epoch": 1/, '"epoch": 2', ['foreign']],
    ['the hash of its checkpoint', /"hash": "[0-9a-f]{4}/, '"hash": "0000', ['changed']],
  ])('with %s changed is broken', async (_, from, to, kinds) => {
    const seq = middle()
    const content = withChange(seq, from, to)
    expect(content).not.toEqual(ordered())
    const found = await verdict(content)
    expect(found.code).toBe(1)
    expect(found.kinds).toEqual(expect.arrayContaining(kinds))
    expect(found.missing_from).toBeGreaterThan(0)
    expect(found.missing_from).toBeLessThanOrEqual(seq)
  })

  it('in another order is broken, unless it may be, and with two numbers swapped it is broken always', async () => {
    const seq = middle()
    const [one, two] = [seq, seq + 1].map((n) => ordered().find((line) => seqOf(line) === n) ?? '')
    const turned = ordered().map((line) => (line === one ? two : line === two ? one : line)) as string[]
    const strict = await verify(['--from', file(turned), '--json'])
    expect(strict.code).toBe(1)
    expect(JSON.parse(strict.stdout).faults).toMatchObject([{ kind: 'out_of_order', seq }])
    expect(await verdict(turned)).toMatchObject({ code: 0 })
    const swapped = ordered().map((line) =>
      line === one
        ? line.replace(`"seq": ${seq},`, `"seq": ${seq + 1},`)
        : line === two
          ? line.replace(`"seq": ${seq + 1},`, `"seq": ${seq},`)
          : line,
    )
    expect(await verdict(swapped)).toMatchObject({ code: 1, kinds: ['changed'] })
  })

  it('with its tail cut off is broken: within a checkpoint by itself, and behind one by what the tenant has', async () => {
    const last = ordered().length
    const within = await verdict(without(middle() + 1).slice(0, middle()), '--lag', '0')
    expect(within).toMatchObject({ code: 1, kinds: ['missing'], missing_from: middle() + 1 })
    const behind = ordered().filter((line) => seqOf(line) <= middle() + 1)
    expect(await verdict(behind, '--lag', '0')).toMatchObject({ code: 0, last_seq: middle() + 1 })
    expect(await verdict(behind, 'demo', '--lag', '0')).toMatchObject({ code: 1, missing_from: middle() + 2 })
    // What is young may be on its way.
    const late = await verdict(behind, 'demo', '--lag', '86400')
    expect(late).toMatchObject({ code: 0 })
    expect(late.pending).toBeGreaterThanOrEqual(last - behind.length)
  })

  it('without its beginning is broken where that had to be there', async () => {
    const rest = ordered().filter((line) => seqOf(line) >= middle() - 1)
    for (const args of [[], ['demo']]) {
      expect(await verdict(rest, ...args)).toMatchObject({ code: 0, first_seq: middle() - 1 })
      expect(await verdict(rest, ...args, '--after', '0')).toMatchObject({ code: 1, missing_from: 1 })
      expect(await verdict(rest.slice(1), ...args)).toMatchObject({ code: 1, missing_from: middle() - 1 })
      expect(await verdict(rest.slice(1), ...args, '--after', String(middle() - 1))).toMatchObject({ code: 0 })
    }
  })

  it('with events of another history beside it is broken', async () => {
    const other = ordered().map((line) =>
      line.replaceAll(/"(hash|previous_hash)": "(....)/g, (_, name) => `"${name}": "abcd`).replace(/"epoch": 1/, '"epoch": 3'),
    )
    const found = await verdict([...ordered(), ...other.slice(-3)])
    expect(found.code).toBe(1)
    expect(found.kinds).toEqual(expect.arrayContaining(['changed', 'foreign']))
    // A history of its own is whole; beside the tenant's checkpoints it is another one.
    expect((await verdict(other.slice(-3), 'demo')).kinds).toContain('rewritten')
  })

  it('after a restore goes on in another epoch, and what the branch that was left had is undone', async () => {
    // As a restore makes it: the checkpoints between were those of the branch that was left.
    await database.query(
      `insert into freehold.audit_checkpoints (no, entries, oldest_xid, next_xid, hash, created_at)
       select c.no, 0, c.oldest_xid, c.next_xid, sha256(c.before || access.canonical_checkpoint(c.made)), (c.made).created_at
       from (select s.no + 3 as no, s.oldest_xid, s.next_xid, s.hash as before,
               jsonb_populate_record(null::freehold.audit_checkpoints, jsonb_build_object('no', s.no + 3, 'entries', 0, 'oldest_xid', s.oldest_xid, 'next_xid', s.next_xid, 'created_at', date_trunc('milliseconds', clock_timestamp()))) as made
             from freehold.audit_checkpoints s order by s.no desc limit 1) c`,
    )
    await database.query(`select access.record('AFTER', 'do', 'thing', '1', null, null)`)
    await seal()
    const { newest } = (await database.query('select max(last_seq)::integer as newest from access.event_spans')).rows[0]
    await post('/units', { kind: 'team', name: 'Wakes the sender' })
    await until(() => seqs().includes(newest))
    const both = kept.filter((line) => seqOf(line))
    expect(new Set(both.map((line) => JSON.parse(line).data.epoch))).toEqual(new Set([1, 2]))
    expect(await verdict(both, 'demo', '--after', '0')).toMatchObject({ code: 0, kinds: [] })
    // By itself nothing says that it follows.
    expect((await verdict(both)).code).toBe(1)
    const shifted = both.map((line) => line.replace(/"epoch": 2/, '"epoch": 1'))
    expect((await verdict(shifted, 'demo')).kinds).toContain('foreign')
  })
})

describe('events verify', () => {
  it('that cannot decide ends with 2: no file, no events, no credentials, no such tenant, wrong usage', async () => {
    const intact = file(ordered())
    for (const [args, said] of [
      [['--from', join(folder, 'nowhere')], /is not a file that can be read/],
      [['--from', file([])], /no event in it/],
      [['--from', file(['{"type":"x"'])], /Line 1 is no event.* in JSON/],
      [['--from', file(['{"data":{"v":2}}'])], /Line 1 is no event/],
      [['--from', file([`${ordered()[0]}`, '[]', 'null'])], /Line 3 is no event/],
      [['nobody', '--from', intact], /./],
      [['--from', intact, '--after', '-1'], /whole number/],
      [[], /--from/],
    ] as const) {
      const { code, stderr } = await verify([...args])
      expect([args, code]).toEqual([args, 2])
      expect(stderr).toMatch(said)
    }
    const stranger = await freehold(['events', 'verify', 'demo', '--from', intact], {
      FREEHOLD_URL: facts.url,
      FREEHOLD_TENANT_TOKEN: 'x',
    })
    expect(stranger.code).toBe(2)
  })

  it('says in its help how it ends', async () => {
    const { stdout } = await freehold(['events', 'verify', '--help'])
    expect(stdout).toMatch(/Exit status: 0: .* 1: .* 2: /s)
    expect(stdout).toMatch(/freehold events verify acme --from kept\.ndjson/)
  })
})
