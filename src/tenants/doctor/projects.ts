/**
 * Projects at Neon that Freehold made and that no host row has: they cost money, and nobody knows of them. Threat: such a project is
 * the host of another deployment with this API key, or of tenants that a restored master has forgotten; or a host of its name is being
 * opened and adopts it. So one that holds a tenant's data is refused, and before it is deleted it gets a name by which nobody adopts
 * it; only then is the master asked whether somebody did.
 */
import { isNeonError, raw } from '@neon/sdk'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch, dbError } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { accountsOf, type Located } from '../provisioning/accounts.ts'
import { DEPLOYMENT, isForTenant } from '../provisioning/host-names.ts'
import { isMade, type NeonApi, neonApi, reason, underWay } from '../provisioning/neon.ts'
import { deleteProject } from '../provisioning/projects.ts'
import { isAnyTemplate } from '../provisioning/template.ts'
import { mustBeErased } from './erased.ts'
import { type Finding, finding } from './findings.ts'
import { projectName, REMOVED } from './names.ts'
import type { Chosen, Part } from './part.ts'

type Project = { id: string; name: string }

/** Asks Neon as long as a request to the doctor may take. */
const hurried = (config: Config, at: Located) => neonApi(config, { requestTimeoutMs: 8_000, retries: 1, at })

/** The projects with names of Freehold's, one account after another. A request to Neon lists a hundred of them, another looks again; one round trip. */
export const projects: Part = {
  check: 'neon',
  codes: ['neon_unreadable', 'project_of_nobody'],
  async look({ config }, chosen) {
    try {
      const { neon, listed, next } = await list(config, chosen)
      const ours = await known(config, listed)
      const strange = ours.filter(({ is_free }) => is_free)
      // A tenant may have been erased between the list and the question: then its project is gone by now.
      const still = await Promise.all(strange.map(async (project) => ((await read(neon, project.id)) ? [found(project)] : [])))
      return { findings: still.flat(), checked: ours.length, next }
    } catch (error) {
      const subject = 'subject' in chosen ? chosen.subject : 'projects'
      const detail = `The projects of Neon were not compared. ${reason(error)}`
      return { findings: [finding('neon_unreadable', subject, detail)], checked: 0, next: null }
    }
  },
}

const found = ({ id, name }: Project): Finding =>
  finding('project_of_nobody', `${name}/${id}`, 'No host of the master has this project; Neon counts what it uses.')

/** A page of the projects of one account; `after` is the account's number, and Neon's cursor in it. */
async function list(config: Config, chosen: Chosen): Promise<{ neon: NeonApi; listed: Project[]; next: string | null }> {
  if ('subject' in chosen) {
    const found = await find(config, chosen.subject)
    return { neon: found?.neon ?? neonApi(config), listed: found ? [found.project] : [], next: null }
  }
  const accounts = accountsOf(config)
  const [, number = '0', cursor] = /^(\d+):(.*)$/.exec(chosen.after) ?? []
  const { name: account, org_id } = accounts[Number(number)] ?? {}
  const neon = hurried(config, { account, organization: org_id })
  const query = { search: 'freehold-', limit: chosen.limit, ...(cursor && { cursor }), ...(org_id && { org_id }) }
  const page = await raw.listProjects({ client: neon.client, query, throwOnError: true })
  if (!Array.isArray(page.projects)) throw new Error('Neon answered no list of projects.')
  // Neon gives a cursor with the last page, too.
  const rest = page.projects.length < chosen.limit ? null : (page.pagination?.cursor ?? null)
  const following = Number(number) + 1 < accounts.length ? `${Number(number) + 1}:` : null
  return { neon, listed: page.projects, next: rest === null ? following : `${number}:${rest}` }
}

/** The project that a subject names, and whom to ask about it; null: no account has it. */
async function find(config: Config, subject: string): Promise<{ neon: NeonApi; project: Project } | null> {
  const [name, id = ''] = subject.split('/')
  if (!/^[a-z0-9-]{1,60}$/.test(id)) return null
  for (const { name: account, org_id } of accountsOf(config)) {
    const neon = hurried(config, { account, organization: org_id })
    const project = await read(neon, id)
    if (project) return project.name === name ? { neon, project } : null
  }
  return null
}

/** A project as Neon has it; null: it has not. */
async function read(neon: NeonApi, project_id: string): Promise<Project | null> {
  try {
    return (await raw.getProject({ client: neon.client, path: { project_id }, throwOnError: true })).project
  } catch (error) {
    if (isNeonError(error) && error.kind === 'not_found') return null
    throw error
  }
}

/**
 * Those of these projects that are this deployment's, by their name, their host, or a tenant that the master has or had: another deployment
 * with this key has names like ours. `is_free`: no host has it, none that is being opened, and of those for one tenant alone none whose
 * tenant is there. A host's row is written before its project is made, so the master must be asked after Neon. One round trip.
 */
async function known(config: Config, listed: Project[]): Promise<(Project & { is_free: boolean })[]> {
  const named = listed.flatMap(({ id, name }) => {
    const parts = projectName(name)
    return parts ? [{ id, name, ...parts }] : []
  })
  if (!named.length) return []
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select x.id, x.name, not exists (
            select from platform.hosts h
            where (h.project_id = x.id or h.state = 'opening' and h.name = x.name)
              and (h.kind <> 'project' or h.state = 'opening' and h.lease_until > now() or exists (select from platform.tenants t where ${isOf('t')}))) as is_free
        from jsonb_to_recordset(${JSON.stringify(named)}::jsonb) as x (id text, name text, deployment text, tenant_id text)
        where x.deployment = ${DEPLOYMENT} or exists (select from platform.hosts h where h.project_id = x.id)
          or x.deployment is null and exists (select from freehold.audit_log l where l.resource_type = 'tenant' and l.resource_id = x.tenant_id)`,
  ])
  return rows as (Project & { is_free: boolean })[]
}

/** Whether the host `h` is for the tenant of an alias alone, by its name. */
const isOf = (tenant: string) => isForTenant(sql.raw(`${tenant}.id::text`))

/**
 * Deletes a project that no host has. Fails with illegal_state when it is somebody's or holds data, and with what Neon or its database
 * answers when that cannot be told.
 */
export async function removeProject(config: Config, { subject }: Finding): Promise<void> {
  const [name = '', id = ''] = subject.split('/')
  const found = await find(config, subject)
  // Another operator was faster.
  if (!found) return
  const { neon } = found
  await removeNamed(config, neon, { id, name }).catch(async (error) => {
    // Another operator was faster.
    if (!isNeonError(error) || (await read(neon, id))) throw error
  })
}

async function removeNamed(config: Config, neon: NeonApi, { id, name }: Project): Promise<void> {
  await mustHoldNothing(config, neon, id)
  const rename = (to: string) =>
    raw.updateProject({ client: neon.client, path: { project_id: id }, body: { project: { name: to } }, throwOnError: true })
  const base = name.endsWith(REMOVED) ? name.slice(0, -REMOVED.length) : name
  await rename(`${base}${REMOVED}`)
  // Whoever opened a host of this name before has written its row by now; whoever comes later does not find the project by its name.
  const [ours] = await known(config, [{ id, name: base }])
  if (!ours?.is_free) {
    await rename(base)
    throw new Problem('illegal_state', 'A host has this project now.')
  }
  await deleteProject(neon, id)
  await batch(config.MASTER_DATABASE_URL, [
    sql`delete from platform.hosts h where h.name = ${base} and h.kind = 'project'
        and not exists (select from platform.tenants t where ${isOf('t')} or t.host_id = h.id)`,
  ])
}

/** Fails with illegal_state when a project holds what somebody may need, and otherwise when that cannot be read. */
async function mustHoldNothing(config: Config, neon: NeonApi, projectId: string): Promise<void> {
  if ((await underWay(neon, projectId)).length) throw new Problem('illegal_state', 'The project has operations under way.')
  const [branch, ...others] = await neon.branches.list({ projectId }).all()
  if (others.length)
    throw new Problem(
      'illegal_state',
      `The project has ${others.length + 1} branches, which tenants may have. Delete it at Neon, if it is yours.`,
    )
  if (!branch) throw new Error('The list of branches lacks the one that every project has.')
  if (!(await isMade(neon, branch))) return
  const databases = await neon.postgres.databases.list({ projectId, branchId: branch.id })
  if (!databases.length) throw new Error('The list of databases is empty.')
  for (const { name: databaseName, owner_name: roleName } of databases) {
    // No login can connect to it, and it was sealed empty.
    if (isAnyTemplate(databaseName)) continue
    const at = { projectId, branchId: branch.id, databaseName, roleName, pooled: false }
    await mustBeEmpty(config, databaseName, await neon.postgres.connectionString(at))
  }
}

/** Fails when a database is a master, or has a tenant that was not erased. The template of a host has the schema of one, and no tenant. */
async function mustBeEmpty(config: Config, name: string, url: string): Promise<void> {
  const missing = (error: unknown) => {
    // Neon lists it and never made it.
    if (dbError(error)?.code !== '3D000') throw error
    return []
  }
  const [[at] = []] = await batch(url, [
    sql`select to_regclass('platform.tenants') is not null as is_master, to_regclass('freehold.tenant') is not null as is_tenant`,
  ]).catch(missing)
  if (at?.is_master)
    throw new Problem('illegal_state', `The database ${name} is a master. Delete the project at Neon, if it is yours.`)
  if (!at?.is_tenant) return
  const [, tenants = []] = await batch(url, [sql`set local role freehold_owner`, sql`select t.id from freehold.tenant t`])
  await mustBeErased(
    config,
    tenants.map(({ id }) => String(id)),
  )
}
