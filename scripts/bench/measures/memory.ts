import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lifetimeOf, sign } from '../../../src/kernel/token.ts'
import { hash } from '../../../src/passwords/hash.ts'
import type { Finding, Measure } from '../finding.ts'
import { collectGarbage, heapMb, heapPagesMb, snapshotOf } from '../heap.ts'
import { type Holder, holders } from '../holders.ts'
import { permission } from '../inside/grants.ts'
import { plantPasswords, plantPeople } from '../inside/people.ts'
import { makeInside } from '../inside/tenant.ts'
import { type Inspector, inspect, inspectOthers } from '../inspector.ts'
import { ask, load, send } from '../load.ts'
import { declarationsOf } from '../modules.ts'
import { type Planted, publish } from '../registry.ts'
import { spread } from '../samples.ts'
import { HOST, type Site, type Stage, siteOf } from '../stage.ts'
import { legibleBundle, startWorkerd, type Workerd } from '../workerd.ts'
import { plantedTenants } from './planted.ts'

const MARKS = 5
const LARGEST = 5
const GOAL_MB = 64
const SUBDOMAIN = 'burst'
const PASSWORD = 'Marble-Kettle-52'
const LOGINS = 16
const LOOK_MS = 50
/** Names in an access token, which lists what its bearer may do. */
const PERMISSIONS = 40

/** What the Worker's own isolate holds, by the inspector: after very many requests for many tenants, and after a burst. */
export const memory: Measure = {
  name: 'memory',
  async run(stage) {
    const { published } = await plantedTenants(stage)
    const usernames = await plantLogins(stage)
    const outdir = await legibleBundle(stage.outdir)
    const modules = declarationsOf(await readFile(join(outdir, 'entry.js'), 'utf8'))
    const workerd = await startWorkerd(outdir, { main: stage.stack.env }, true)
    try {
      const site = siteOf(workerd, 'main', stage.stack.env)
      const inspector = await inspect(workerd.inspector)
      const heap = async () => {
        await collectGarbage(inspector, () => ask(site.at(null, '/bench/bare')))
        return heapMb(inspector)
      }
      const held = async () => holders(await snapshotOf(inspector), LARGEST, modules)
      await publish(site, published)
      const many = await afterMany(stage, { site, inspector, published, workerd, heap, held })
      const burst = await afterBurst(stage, { site, usernames, inspector, heap, held })
      await inspector.close()
      return [many, burst]
    } finally {
      await workerd.stop()
    }
  },
}

type Looking = { site: Site; inspector: Inspector; heap: () => Promise<number>; held: () => Promise<Holder[]> }

/** The heap after requests for many tenants, each of which shows a token once, so that every memory of the isolate is full. */
async function afterMany(
  { quick, say }: Stage,
  { site, inspector, published, workerd, heap, held }: Looking & { published: Planted[]; workerd: Workerd },
): Promise<Finding> {
  const each = quick ? 2_000 : 40_000
  const first = { heap: await heap(), resident: await workerd.residentMb() }
  await showTokens(site, published)
  const parts = [part('at first', first.heap)]
  const residents = [part('resident memory of the process, at first', first.resident)]
  for (let mark = 1; mark <= MARKS; mark++) {
    await load(each, 16, (i) => site.at(published[i % published.length]?.subdomain ?? null, '/.well-known/jwks.json'))
    const after = `after ${(mark * each).toLocaleString('en')} requests`
    residents.push(part(`resident memory of the process, ${after}`, await workerd.residentMb()))
    parts.push(part(after, await heap()))
    say(`memory: ${after}: ${parts.at(-1)?.value.median.toFixed(1)} MB`)
  }
  // Before a snapshot is taken, which is made in the process.
  const resident = { all: await workerd.residentMb(), program: await workerd.programMb() }
  const others = await inspectOthers(workerd.inspector, heapPagesMb)
  const heaps = others.reduce((sum, mb) => sum + mb, await heapPagesMb(inspector))
  return {
    title: `Heap of the isolate after ${(MARKS * each).toLocaleString('en')} requests over ${published.length.toLocaleString('en')} tenants`,
    value: parts.at(-1)?.value ?? spread([]),
    unit: 'MB',
    goal: GOAL_MB,
    parts: [
      ...parts,
      ...(await held()).map(largest),
      ...residents,
      part('resident memory of the process, garbage collected', resident.all),
      part('of which the program itself', resident.program),
      part('of which the heaps of all isolates, with the pages that they keep', heaps),
      part('of which the rest', resident.all - resident.program - heaps),
    ],
    note: `By the inspector, after a collection: objects, those of workerd that belong to them, and buffers. The requests are for jwks.json, and one of each tenant shows a token; an isolate of production may hold 128 MB. The largest holders are what a heap snapshot says would be free without them; the bundle is not minified, so that its variables have names, and its source is larger than a deployed one. Resident is the whole process with its program and the isolates of the local runtime (KV, rate limits, Workflows and others): what is neither program nor heap is memory that workerd's allocators keep for the next requests.`,
  }
}

/** The heap after logins at once and an import beside them, and the most that was seen meanwhile. */
async function afterBurst(
  { quick, say, tenant }: Stage,
  { site, usernames, inspector, heap, held }: Looking & { usernames: string[] },
): Promise<Finding> {
  const lines = quick ? 1_000 : 5_000
  const at = (path: string, more: object) => site.at(SUBDOMAIN, `/api/v1${path}`, more)
  const { access_token } = await ask<{ access_token: string }>(at('/auth/login', { body: tenant.credentials }))
  const headers = { Authorization: `Bearer ${access_token}`, 'Content-Type': 'application/x-ndjson' }
  const before = await heap()
  let [most, over] = [0, false]
  const watching = (async () => {
    while (!over) {
      most = Math.max(most, await heapMb(inspector))
      await new Promise((done) => setTimeout(done, LOOK_MS))
    }
  })()
  const [report] = await Promise.all([
    send(at('/users/import', { headers, body: file(lines) })),
    ...usernames.map((username) => ask(at('/auth/login', { body: { username, password: PASSWORD } }))),
  ])
  over = true
  await watching
  say(`memory: ${LOGINS} logins and an import are over.`)
  const [summary] = report.text.trimEnd().split('\n').slice(-1)
  if (JSON.parse(summary ?? '').created !== lines) throw new Error(`The import answered ${report.status}: ${summary}`)
  const after = await heap()
  return {
    title: `Heap of the isolate after ${LOGINS} logins at once and an import of ${lines.toLocaleString('en')} people`,
    value: spread([after]),
    unit: 'MB',
    goal: GOAL_MB,
    parts: [
      part('before', before),
      part('the most while they ran, with what was not collected yet', most),
      ...(await held()).map(largest),
    ],
    note: `The same isolate, after the requests over many tenants. The most is looked for every ${LOOK_MS} ms.`,
  }
}

const part = (label: string, mb: number) => ({ label, value: spread([mb]), unit: 'MB' as const })
const largest = ({ where, mb }: Holder) => part(`held by ${where}`, mb)

/** People with a password in a tenant of their own; their usernames. */
async function plantLogins(stage: Stage): Promise<string[]> {
  const inside = await makeInside(stage, SUBDOMAIN)
  const postgres = await inside.connect('superuser')
  try {
    await plantPeople(postgres, LOGINS)
    const people = Array.from({ length: LOGINS }, (_, n) => n)
    return await plantPasswords(postgres, people, await hash(PASSWORD, 600_000))
  } finally {
    await postgres.end()
  }
}

/** A request for each tenant with a token of its own, which is verified and remembered; then there is no database to ask. */
async function showTokens(site: Site, tenants: Planted[]): Promise<void> {
  const permissions = Array.from({ length: PERMISSIONS }, (_, n) => permission(n))
  for (const { id, subdomain, keys } of tenants) {
    const [sub, sid, client_id] = [crypto.randomUUID(), crypto.randomUUID(), 'freehold']
    const claims = { sub, sid, client_id, proof: '0'.repeat(64), permissions, ...lifetimeOf(15) }
    const token = await sign({ id, url: `http://${subdomain}.${HOST}`, keys }, claims)
    const { status, text } = await send(site.at(subdomain, '/api/v1/auth/me', { headers: { Authorization: `Bearer ${token}` } }))
    if (status !== 503) throw new Error(`A tenant without a database answered ${status}: ${text.slice(0, 300)}`)
  }
}

/** People as another system exports them. */
const file = (lines: number) =>
  Array.from({ length: lines }, (_, n) =>
    JSON.stringify({
      email: `moved-${n}@people.test`,
      given_name: `Given ${n}`,
      family_name: `Family ${n}`,
      roles: ['user'],
      password_hash: '$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm',
    }),
  ).join('\n')
