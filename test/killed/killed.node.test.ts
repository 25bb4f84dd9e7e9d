/**
 * Threat: what making a tenant needs, or erasing one, is killed or away in the middle of it, and the tenant is never made, made twice, or
 * something of it stays that nobody knows of.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { freePort } from '../dev/running.ts'
import { compared, HOMES, ROLES, TENANTS } from '../faults/both-sides.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { openDoor } from '../support/node/route.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const OPERATION_MS = 60
type Isolation = 'database' | 'branch' | 'project' | 'external'
/** Those whose tenants share a project. */
const SHARED: Isolation[] = ['database', 'branch']
const ALL: Isolation[] = [...SHARED, 'project', 'external']
/** Those that follow the reservation. */
const STEPS = [
  'place',
  'database',
  'operations',
  'logins',
  'migrate',
  'seed',
  'administrator',
  'signing_key',
  'prove',
  'publish',
  'activate',
]
/** What an erasure has done when it is held, and what it is about to do, in its order. */
const ERASING = ['begun', 'switched-off', 'emptied', 'forgotten']

let folder: { path: string; remove: () => Promise<void> }
let stack: Stack
let door: Awaited<ReturnType<typeof openDoor>>
let worker: { stop: () => Promise<void> } | undefined
let port: number
let token: string

// All of its tenants are made within the hour, and so count as awake.
const given = () => ({ ...LOW_COST, HOST_AWAKE: '240', BASE_URL: `http://localhost:${port}`, ...KEYS })
const options = () => ({
  dataDir: folder.path,
  given: given(),
  operator: OPERATOR,
  durable: true,
  operationMs: OPERATION_MS,
  log: () => {},
})
/** The Worker reaches Neon through a door that can be shut. */
const wake = async () => {
  const throughDoor = (url = '') => Object.assign(new URL(url), { port: door.port }).href
  const { NEON_API_URL, NEON_SQL_URL } = stack.env
  const env = { ...stack.env, NEON_API_URL: throughDoor(NEON_API_URL), NEON_SQL_URL: throughDoor(NEON_SQL_URL) }
  worker = await startWorker({ dataDir: folder.path, port, env, log: () => {} })
}

/** Kills the Worker as a machine that goes down would: wrangler and workerd at once, with no word. */
async function killWorker() {
  const group = Number((await readFile(join(folder.path, 'worker.pid'), 'utf8')).split(' ')[1])
  process.kill(-group, 'SIGKILL')
  await worker?.stop()
  worker = undefined
}

/** Runs SQL as Postgres' superuser. */
async function inDatabase(name: string, text: string, values: unknown[] = []): Promise<any[]> {
  const url = Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${name}` })
  const client = new Client({ connectionString: url.href })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
const master = (text: string, values?: unknown[]) => inDatabase('freehold_master', text, values)

async function ask(
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  method = body === undefined ? 'GET' : 'POST',
): Promise<{ status: number; body: any }> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: await answer.json() }
}

/** The connection string of a project of somebody else's, in which each tenant of isolation `external` has a database. */
let stranger: string | undefined
async function strangersDatabase(name: string): Promise<string> {
  const asStranger = async (url: string, query: string) => {
    const answer = await fetch(stack.neon.sqlUrl, {
      method: 'POST',
      headers: { 'Neon-Connection-String': url },
      body: JSON.stringify({ query, params: [] }),
    })
    expect(answer.status, await answer.text()).toBe(200)
  }
  if (!stranger) {
    const made = await neon('/projects', { project: { name: 'stranger-killed' } })
    stranger = String(made.connection_uris[0].connection_uri)
    await until('the project', 10_000, async () => asStranger(stranger ?? '', 'select 1').then(() => true))
  }
  await asStranger(stranger, `create database "${name}"`)
  return Object.assign(new URL(stranger), { pathname: `/${name}` }).href
}

const create = async (subdomain: string, isolation: Isolation) => {
  const adopted = isolation === 'external' ? { connection_string: await strangersDatabase(subdomain) } : null
  const answer = await ask(`/platform/v1/tenants${adopted ? '/adopt' : ''}`, {
    subdomain,
    legal_name: `${subdomain} S.A.C.`,
    tax_id: rucFor(subdomain),
    admin_email: ADMIN.email,
    admin_password: ADMIN.password,
    ...(adopted ?? { isolation }),
  })
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  return answer.body.id as string
}

async function until(what: string, ms: number, check: () => Promise<boolean>) {
  for (const from = Date.now(); Date.now() < from + ms; await pause(20)) if (await check().catch(() => false)) return
  throw new Error(`Not in ${ms} ms: ${what}`)
}

const statusOf = async (id: string) => (await master('select status from platform.tenants where id = $1', [id]))[0]?.status
const settled = (id: string, ms = 60_000) => until(`${id} to be settled`, ms, async () => (await statusOf(id)) !== 'provisioning')

/** Three minutes later: whoever held a lease is taken for dead, and the schedule comes round. */
async function minutesLater() {
  await master("update platform.provisioning_runs set lease_until = now() - interval '1 second' where state = 'running'")
  await master("update platform.hosts set lease_until = now() where state = 'opening'")
  const answer = await fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  expect(answer.status, await answer.text()).toBe(200)
}

async function neon(path: string, body?: object): Promise<any> {
  const headers = { Authorization: `Bearer ${stack.neon.apiKey}`, 'Content-Type': 'application/json' }
  const sent = body ? { method: 'POST', body: JSON.stringify(body) } : {}
  const answer = await fetch(`${stack.neon.apiUrl}${path}`, { headers, ...sent })
  return answer.json()
}

/** Tenants that are to stop at a step: its work is done, and that it is done is not recorded until they are let go. */
const HOLD = `
  create table public.held (subdomain text, step text);
  create function public.hold() returns trigger language plpgsql security definer as $$
  begin
    if exists (select from public.held h join platform.tenants t using (subdomain) where t.id = new.tenant_id and h.step = new.name) then
      perform pg_sleep(60);
    end if;
    return new;
  end $$;
  create trigger hold before update on platform.provisioning_steps for each row
    when (new.state = 'done' and old.state <> 'done') execute function public.hold();
  create function public.hold_erasure() returns trigger language plpgsql security definer as $$
  begin
    if exists (select from public.held h where h.subdomain = old.subdomain and h.step = tg_argv[0]) then
      perform pg_sleep(60);
    end if;
    return case tg_op when 'DELETE' then old else new end;
  end $$;
  create trigger hold_begun before update on platform.tenants for each row
    when (new.erasing_until > now() + interval '1 minute' and new.erasing_until is distinct from old.erasing_until) execute function public.hold_erasure('begun');
  create trigger hold_switched_off before update on platform.tenants for each row
    when (new.status = 'erasing' and new.published_v is distinct from old.published_v) execute function public.hold_erasure('switched-off');
  create trigger hold_forgotten before delete on platform.tenants for each row execute function public.hold_erasure('forgotten')`
const hold = (subdomain: string, step: string) => master('insert into public.held values ($1, $2)', [subdomain, step])
const letGo = () => master('delete from public.held')
const heldNow = async () =>
  (await master(`select count(*)::int as n from pg_stat_activity where wait_event = 'PgSleep'`))[0].n as number
const waitingNow = async () =>
  (await master(`select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock'`))[0].n as number

/** Keeps the logins of a tenant from being dropped, which comes after its database is gone. */
async function holdLogins(id: string): Promise<() => Promise<void>> {
  const client = new Client({ connectionString: stack.neon.postgresUrl })
  client.on('error', () => undefined)
  await client.connect()
  await client.query('begin')
  await client.query(`select from pg_authid where rolname ~ $1 for update`, [`^freehold_(app|owner)_${shortOf(id)}`])
  return () => client.end().catch(() => undefined)
}
const shortOf = (id: string) => id.replaceAll('-', '').slice(0, 12)

async function eraseNow(id: string, subdomain: string) {
  const answer = await ask(`/platform/v1/tenants/${id}?hard=true&confirm=${subdomain}`, undefined, {}, 'DELETE')
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
}

/** Whatever was lost, the erasures come to their end: by themselves, or by the job of every minute, three minutes later. */
async function finishErasures(ids: string[]) {
  const over = async () => (await master('select from platform.tenants where id = any ($1)', [ids])).length === 0
  const later = async () => {
    await master('update platform.tenants set erasing_until = now() where id = any ($1)', [ids])
    await minutesLater()
    return over()
  }
  await until('the erasures to end', 5_000, over).catch(() => undefined)
  await until('the next attempts to end', 60_000, later)
}

/** Nothing of a tenant is left in the master, in the cluster and at Neon, and nobody finds it. */
async function expectNothing(id: string, subdomain: string) {
  const rows = await master(
    `select 'tenant' as what from platform.tenants where id = $1::uuid
     union all select 'host' from platform.hosts where name like '%' || $1
     union all select 'step' from platform.provisioning_steps where tenant_id = $1::uuid
     union all select 'key' from platform.signing_keys where realm_id = $1::uuid
     union all select 'role ' || rolname from pg_roles where rolname like 'freehold%' || $2 || '%'
     union all select 'database ' || datname from pg_database where datname like '%freehold_' || $3`,
    [id, shortOf(id), subdomain.replaceAll('-', '_')],
  )
  expect(rows).toEqual([])
  expect((await neon(`/projects?limit=400&search=${id}`)).projects).toEqual([])
  const asked = await ask('/.well-known/jwks.json', undefined, { 'X-Tenant': subdomain, Authorization: '' })
  expect([asked.status, asked.body.code]).toEqual([404, 'tenant_not_found'])
}

/** Whatever was lost, the tenants are made: by the run itself, by the next one, or by an operator's retry. */
async function finishAll(ids: string[]) {
  const open = async (status: string) =>
    (await master('select id from platform.tenants where id = any ($1) and status = $2', [ids, status])).map(({ id }) =>
      String(id),
    )
  const nobodyWorks = async () => (await open('provisioning')).length === 0
  await until('the runs to end', 20_000, nobodyWorks).catch(minutesLater)
  await until('the next runs to end', 60_000, nobodyWorks)
  for (const id of await open('failed')) expect((await ask(`/platform/v1/tenants/${id}/retry`, {})).status).toBe(202)
  await until('the retries to end', 60_000, nobodyWorks)
}

async function expectLogin(subdomain: string) {
  const login = await ask('/api/v1/auth/login', ADMIN, { 'X-Tenant': subdomain, Authorization: '' })
  expect(login.status, JSON.stringify(login.body)).toBe(200)
}

/** A tenant whose parts are there once, in the master and in Neon. */
async function expectOnce(id: string) {
  const steps = await master('select name, state, error from platform.provisioning_steps where tenant_id = $1 and state <> $2', [
    id,
    'done',
  ])
  expect([await statusOf(id), steps]).toEqual(['active', []])
  const [row] = await master(
    `select t.database_name, t.branch_id, t.isolation, h.project_id, h.taken = (select count(*) from platform.tenants x where x.host_id = h.id) as counted,
       (select count(*)::integer from platform.signing_keys k where k.realm_id = t.id) as keys,
       (select count(*)::integer from pg_roles where rolname like 'freehold%' || left(replace(t.id::text, '-', ''), 12) || '%') as roles
     from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = $1`,
    [id],
  )
  expect(row).toMatchObject({ counted: true, keys: 1, roles: 2 })
  if (row.isolation === 'external') return
  const found: string[] = []
  for (const branch of (await neon(`/projects/${row.project_id}/branches`)).branches)
    for (const database of (await neon(`/projects/${row.project_id}/branches/${branch.id}/databases`)).databases)
      if (branch.name === `tenant-${id}` || database.name === row.database_name) found.push(`${branch.id} ${database.name}`)
  expect(found).toHaveLength(1)
  if (row.isolation === 'branch') expect(found).toEqual([`${row.branch_id} ${row.database_name}`])
}

beforeAll(async () => {
  folder = await folderWithMaster('freehold-killed')
  port = await freePort()
  stack = await startStack(options())
  door = await openDoor(Number(new URL(stack.neon.sqlUrl).port))
  await wake()
  token = ''
  token = (await ask('/platform/v1/auth/login', { email: OPERATOR.email, password: OPERATOR.password })).body.access_token
  await master(HOLD)
})
afterAll(async () => {
  await worker?.stop()
  await door?.shut()
  await stack?.stop()
  await folder?.remove()
})

const KILLS: Record<string, () => Promise<void>> = {
  'the Worker is killed': async () => {
    await killWorker()
    await wake()
    await minutesLater()
  },
  'Postgres is killed': async () => {
    // A server process that is killed takes all others with it: Postgres ends every connection and recovers from its log.
    const [backend] = await master(`select pid from pg_stat_activity where backend_type = 'checkpointer'`)
    process.kill(Number(backend.pid), 'SIGKILL')
    // It takes a moment until it notices, and until then it answers.
    await until(
      'Postgres',
      60_000,
      async () => (await master(`select from pg_stat_activity where pid = ${backend.pid}`)).length === 0,
    )
  },
  'the master is killed, and away for two seconds': async () => {
    const admit = (allowed: boolean) => inDatabase('postgres', `alter database freehold_master allow_connections ${allowed}`)
    await admit(false)
    await inDatabase('postgres', `select pg_terminate_backend(pid) from pg_stat_activity where datname = 'freehold_master'`)
    await pause(2_000)
    await admit(true)
  },
  'Neon refuses connections for two seconds': async () => {
    await door.shut()
    await pause(2_000)
    await door.open()
  },
}

describe.each(Object.keys(KILLS))('%s', (what) => {
  describe.each(ALL)('while a tenant of isolation %s has done the work of', (isolation) => {
    const nameOf = (step: string) =>
      `${what.split(' ').slice(0, 2).join('-').toLowerCase()}-${isolation}-${step.replaceAll('_', '-')}`
    const doomedOf = (stage: string) => nameOf(`old_${stage}`)
    const made = new Map<string, string>()
    const doomed = new Map<string, string>()
    // The logins of a project are gone with it.
    const stages = ERASING.filter((stage) => stage !== 'emptied' || isolation !== 'project')

    // All at once: a kill costs more time than a tenant. Others of the isolation are erased meanwhile.
    beforeAll(async () => {
      await Promise.all(stages.map(async (stage) => doomed.set(stage, await create(doomedOf(stage), isolation))))
      await Promise.all([...doomed.values()].map((id) => settled(id)))
      for (const step of STEPS) await hold(nameOf(step), step)
      await Promise.all(STEPS.map(async (step) => made.set(step, await create(nameOf(step), isolation))))
      await until('every tenant to be held at its step', 60_000, async () => (await heldNow()) === STEPS.length)
      for (const stage of stages) await hold(doomedOf(stage), stage)
      const erased = (stage: string) => eraseNow(doomed.get(stage) ?? '', doomedOf(stage))
      const others = ERASING.filter((stage) => stage !== 'emptied')
      await Promise.all(others.map(erased))
      await until('erasures to be held', 10_000, async () => (await heldNow()) === STEPS.length + others.length)
      // Last: while Neon deletes a branch, it deletes no other.
      const last = doomed.get('emptied')
      const letDrop = last ? await holdLogins(last) : async () => {}
      if (last) {
        await erased('emptied')
        await until('an erasure to wait for its logins', 10_000, async () => (await waitingNow()) > 0)
      }
      await letGo()
      await Promise.all([KILLS[what]?.(), pause(1_000).then(letDrop)])
      await finishAll([...made.values()])
      await finishErasures([...doomed.values()])
    }, 240_000)

    it.each(STEPS)('%s: it is made once', async (step) => {
      await expectOnce(made.get(step) ?? '')
    })

    it.each(['logins', 'administrator', 'activate'])('%s: its administrator logs in', async (step) => {
      await expectLogin(nameOf(step))
    })

    it.each(stages)('%s, of an erasure: nothing of it is left', async (stage) => {
      await expectNothing(doomed.get(stage) ?? '', doomedOf(stage))
    })
  })
})

describe('operations that take their time', () => {
  it.each(SHARED)(
    '%s: twenty at once in one project are all active, whoever meets 423',
    async (isolation) => {
      const names = Array.from({ length: 20 }, (_, i) => `slow-${isolation}-${i}`)
      await master(
        `update platform.hosts set capacity = case when taken < capacity then taken + 22 else capacity end where kind = $1`,
        [isolation],
      )
      const ids = await Promise.all(names.map((name) => create(name, isolation)))
      await Promise.all(ids.map((id) => settled(id, 150_000)))
      const ends = await master(
        `select t.status, s.name, s.error from platform.tenants t left join platform.provisioning_steps s on s.tenant_id = t.id and s.state = 'failed' where t.id = any ($1)`,
        [ids],
      )
      expect(ends.filter((end) => end.status !== 'active')).toEqual([])
      expect(await master('select count(distinct host_id)::int as n from platform.tenants where id = any ($1)', [ids])).toEqual([
        { n: 1 },
      ])
      for (const id of ids) await expectOnce(id)
      await expectLogin(names[0] ?? '')
    },
    200_000,
  )
})

it('nothing is there twice and nothing is left over: Neon and the master hold the same', async () => {
  const [hosts, tenants, roles] = [await master(HOMES), await master(TENANTS), await master(ROLES)]
  const sides = await compared(neon, { hosts, tenants, roles })
  expect(sides.neon).toEqual(sides.known)
})

it('the doctor finds nothing', async () => {
  for (const check of ['registry', 'kv', 'neon', 'work']) {
    let cursor = ''
    do {
      const { status, body } = await ask(`/platform/v1/doctor?check=${check}&limit=100${cursor && `&cursor=${cursor}`}`)
      expect([status, body.data], check).toEqual([200, []])
      cursor = body.next_cursor ?? ''
    } while (cursor)
  }
})

it('KV holds every tenant: after a start, people are answered without the master', async () => {
  await killWorker()
  await wake()
  for (const { subdomain } of await master(`select subdomain from platform.tenants order by subdomain`)) {
    const answer = await fetch(`http://127.0.0.1:${port}/.well-known/jwks.json`, { headers: { 'X-Tenant': subdomain } })
    expect([answer.status, answer.headers.get('Server-Timing')], subdomain).toEqual([
      200,
      expect.stringContaining('master;desc="0"'),
    ])
  }
})
