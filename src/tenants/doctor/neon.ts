/**
 * What Neon has and the master does not know, and the other way round. Threat: a Neon that answers half makes everything it leaves out
 * look missing, or a tenant that is being created look like nobody's; and somebody deletes what they are told. So a host is judged only
 * when all of it was read. Missing is what Neon, of a database Postgres, says by itself that it does not have, and the master still places
 * there; of nobody is what is listed before and after the master was asked, and no tenant has, in whatever state. Databases are read from
 * Postgres, too: copies of a template are made by SQL, and Neon's API lists those later.
 */
import { raw } from '@neon/sdk'
import { sql } from 'drizzle-orm'
import { batch, dbError } from '../../kernel/db.ts'
import { type Host, type MasterRow, openHost } from '../provisioning/job.ts'
import { type NeonApi, neonApi, reason } from '../provisioning/neon.ts'
import { isGone } from '../provisioning/projects.ts'
import { isTemplate, templateOf } from '../provisioning/template.ts'
import { type Branch, knownBranches } from './branches.ts'
import { type Finding, finding } from './findings.ts'
import { loginOf, shortOf, tenantOfBranch } from './names.ts'
import { behind, type Part, page, type Sources } from './part.ts'

/** Hosts in a page: each takes some ten requests, thirty at most, one after another, and an invocation has six connections. */
const HOSTS = 4
/** Things of a host that are asked for by name because a list lacks them. */
const MOST_ASKED = 20

/** What the master has on a host. `is_settled`: not being created or erased, and did not fail. */
type Placed = { id: string; subdomain: string; database_name: string; branch_id: string | null; is_settled: boolean }
/** `databases`: that Neon or Postgres lists; `in_postgres`: that Postgres does. */
type Listed = { branches: Branch[]; databases: string[]; in_postgres: string[]; logins: string[] }
type At = { neon: NeonApi; host: Host; name: string; kind: string }

/** The hosts that are open, and all that they hold. At most 120 requests. */
export const hosts: Part = {
  check: 'neon',
  codes: [
    'neon_unreadable',
    'host_missing',
    'database_missing',
    'branch_missing',
    'login_missing',
    'database_of_nobody',
    'template_stale',
    'branch_of_nobody',
    'login_of_nobody',
  ],
  async look(sources, chosen) {
    const few =
      'subject' in chosen ? { subject: chosen.subject.split('/')[0] ?? '' } : { ...chosen, limit: Math.min(HOSTS, chosen.limit) }
    const { where, rest } = page(few, sql`t.name`)
    const [rows = []] = await batch(sources.config.MASTER_DATABASE_URL, [
      // An adopted database is in an account that is not ours to look at.
      sql`select to_jsonb(t) as host from platform.hosts t where ${where} and t.state = 'open' and t.kind <> 'external' ${rest}`,
    ])
    const found = await Promise.all(rows.map(({ host }) => examine(sources, host as MasterRow)))
    return {
      findings: found.flat(),
      checked: rows.length,
      next: behind(
        few,
        rows.map(({ host }) => (host as MasterRow).id),
      ),
    }
  },
}

async function examine(sources: Sources, row: MasterRow): Promise<Finding[]> {
  const { config } = sources
  const name = String(row.name)
  const neon = neonApi(config, { requestTimeoutMs: 8_000, retries: 1, at: row })
  try {
    const at = { neon, host: await openHost(config, row), name, kind: String(row.kind) }
    const before = await placedOn(sources, at.host)
    const listed = await listAll(at)
    if (typeof listed === 'string') return [finding('host_missing', name, listed)]
    const missing = await missingAt(at, before, listed)
    const strange = await strangeAt(sources, at, listed)
    const after = new Set((await placedOn(sources, at.host)).filter(({ is_settled }) => is_settled).map(({ id }) => id))
    return [...strange, ...missing.filter(({ tenant_id }) => after.has(String(tenant_id)))]
  } catch (error) {
    return [finding('neon_unreadable', name, `Nothing of it was compared. ${reason(error)}`)]
  }
}

async function placedOn({ config }: Sources, host: Host): Promise<Placed[]> {
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.id, t.subdomain, t.database_name, t.branch_id, t.status in ('active', 'inactive', 'deleted') as is_settled
        from platform.tenants t where t.host_id = ${host.id}`,
  ])
  return rows as Placed[]
}

/** All that a host has; a sentence when Neon does not have the host itself. Fails when one part of it cannot be read. */
async function listAll({ neon, host, kind }: At): Promise<Listed | string> {
  const { project_id: projectId, branch_id: branchId } = host
  if (await isGone(() => raw.getProject({ client: neon.client, path: { project_id: projectId }, throwOnError: true })))
    return `Neon has no project ${projectId}.`
  const branches = await neon.branches.list({ projectId }).all()
  const path = { project_id: projectId, branch_id: branchId }
  if (!branches.some(({ id }) => id === branchId)) {
    if (await isGone(() => raw.getProjectBranch({ client: neon.client, path, throwOnError: true })))
      return `The project ${projectId} has no branch ${branchId}.`
    throw new Error('The list of branches lacks the branch of the host.')
  }
  if (kind === 'branch') return { branches, databases: [], in_postgres: [], logins: [] }
  const databases = (await neon.postgres.databases.list({ projectId, branchId })).map((database) => database.name)
  if (!databases.includes(databaseOf(host))) throw new Error('The list of databases lacks the one of the host.')
  const [roles = [], own = []] = await batch(host.owner_url, [
    sql`select r.rolname as name from pg_roles r where r.rolname like 'freehold%'`,
    sql`select d.datname as name from pg_database d where pg_get_userbyid(d.datdba) = current_user and d.datname <> current_database()`,
  ])
  const in_postgres = own.map(({ name }) => String(name))
  // Of those that Postgres alone lists, what may be a copy of a template, or a template.
  const copies = in_postgres.filter((database) => /^[a-z0-9_]+$/.test(database) || isTemplate(host, database))
  const logins = roles.map(({ name }) => String(name)).filter((role) => loginOf(role))
  return { branches, databases: [...new Set([...databases, ...copies])], in_postgres, logins }
}

/** The database of a host that belongs to no tenant. */
export const databaseOf = (host: Host) => decodeURIComponent(new URL(host.owner_url).pathname.slice(1))

/** What settled tenants should have on their host, and do not. Fails when Neon has a branch that its list lacks: the list was cut. */
async function missingAt({ neon, host, name, kind }: At, placed: Placed[], listed: Listed): Promise<Finding[]> {
  const settled = placed.filter(({ is_settled }) => is_settled)
  const at = { project_id: host.project_id, branch_id: host.branch_id }
  const found: Finding[] = []
  if (kind === 'branch') {
    const ids = new Set(listed.branches.map(({ id }) => id))
    for (const tenant of settled.filter(({ branch_id }) => branch_id && !ids.has(branch_id)).slice(0, MOST_ASKED)) {
      const path = { ...at, branch_id: String(tenant.branch_id) }
      const get = () => raw.getProjectBranch({ client: neon.client, path, throwOnError: true })
      if (!(await isGone(get))) throw new Error(`The list of Neon lacks the branch ${tenant.branch_id}, which exists.`)
      found.push(
        finding('branch_missing', `${name}/${tenant.subdomain}`, `Neon does not have the branch ${tenant.branch_id}.`, tenant.id),
      )
    }
    return found
  }
  const databases = new Set(listed.in_postgres)
  for (const tenant of settled.filter(({ database_name }) => !databases.has(database_name)).slice(0, MOST_ASKED)) {
    // Asked by its name, too: another hand may have given it another owner.
    const url = Object.assign(new URL(host.owner_url), { pathname: `/${encodeURIComponent(tenant.database_name)}` }).href
    const is_there = await batch(url, [sql`select 1`]).then(
      () => true,
      (error) => {
        if (dbError(error)?.code !== '3D000') throw error
        return false
      },
    )
    const detail = `Postgres does not have the database ${tenant.database_name}.`
    if (!is_there) found.push(finding('database_missing', `${name}/${tenant.subdomain}`, detail, tenant.id))
  }
  const logins = new Set(listed.logins.map((role) => `${loginOf(role)?.kind} ${loginOf(role)?.short}`))
  for (const tenant of settled)
    for (const kind of ['app', 'owner'])
      if (!logins.has(`${kind} ${shortOf(tenant.id)}`))
        found.push(
          finding('login_missing', `${name}/${tenant.subdomain}`, `The branch does not have its ${kind} login.`, tenant.id),
        )
  return found
}

/** What a host has of nobody. */
async function strangeAt(sources: Sources, at: At, listed: Listed): Promise<Finding[]> {
  const strange = await ofNobody(sources, at, listed)
  if (!strange.length) return []
  // A tenant may have been erased between the list and the question: then it is gone by now.
  const again = await listAll(at)
  if (typeof again === 'string') throw new Error(again)
  const still = new Set([...again.branches.map(({ name }) => name), ...again.databases, ...again.logins])
  return strange.filter(({ subject }) => still.has(subject.slice(at.name.length + 1)))
}

async function ofNobody({ config }: Sources, { host, name }: At, { branches, databases, logins }: Listed) {
  const shorts = logins.flatMap((role) => loginOf(role)?.short ?? [])
  const [[known] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select
          coalesce((select jsonb_agg(t.database_name) from platform.tenants t where t.host_id = ${host.id}
            or exists (select from platform.tenant_moves v where v.tenant_id = t.id and v.other_host_id = ${host.id})), '[]') as databases,
          coalesce((select jsonb_agg(b.id) from (${knownBranches(branches)}) b), '[]') as branches,
          coalesce((select jsonb_agg(x) from (select distinct x from jsonb_array_elements_text(${JSON.stringify(shorts)}::jsonb) x) s
            where exists (select from platform.tenants t where left(replace(t.id::text, '-', ''), 12) = s.x)), '[]') as logins`,
  ])
  const has = (what: string) => new Set(known?.[what] as string[])
  const [placed, owned, users] = [has('databases'), has('branches'), has('logins')]
  const template = await templateOf(host)
  return [
    ...databases
      .filter((database) => database !== databaseOf(host) && database !== template && !placed.has(database))
      .map((database) =>
        isTemplate(host, database)
          ? finding('template_stale', `${name}/${database}`, 'It has the schema of another release, and nobody copies it.')
          : finding('database_of_nobody', `${name}/${database}`, 'No tenant of this host has this database.'),
      ),
    ...branches
      .filter((branch) => branch.id !== host.branch_id && !owned.has(branch.id) && tenantOfBranch(branch.name) !== null)
      .map((branch) => finding('branch_of_nobody', `${name}/${branch.name}`, 'No tenant of the master has it.')),
    ...logins
      .filter((role) => !users.has(loginOf(role)?.short ?? ''))
      .map((role) => finding('login_of_nobody', `${name}/${role}`, 'No tenant has the id in its name.')),
  ]
}
