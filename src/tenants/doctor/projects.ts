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
import { isMade, type NeonApi, neonApi, reason, underWay } from '../provisioning/neon.ts'
import { deleteProject } from '../provisioning/projects.ts'
import { mustBeErased } from './erased.ts'
import { type Finding, finding } from './findings.ts'
import { isProjectName, REMOVED } from './names.ts'
import type { Chosen, Part } from './part.ts'

type Project = { id: string; name: string }

/** The projects with names of Freehold's. A request to Neon lists a hundred of them, another looks again; one round trip. */
export const projects: Part = {
  check: 'neon',
  codes: ['neon_unreadable', 'project_of_nobody'],
  async look({ config }, chosen) {
    const neon = neonApi(config, { requestTimeoutMs: 8_000, retries: 1 })
    try {
      const { listed, next } = await list(config, neon, chosen)
      const named = listed.filter(({ name }) => isProjectName(name))
      const strange = await ofNobody(config, named)
      // A tenant may have been erased between the list and the question: then its project is gone by now.
      const still = await Promise.all(strange.map(async (project) => ((await read(neon, project.id)) ? [found(project)] : [])))
      return { findings: still.flat(), checked: named.length, next }
    } catch (error) {
      const subject = 'subject' in chosen ? chosen.subject : 'projects'
      const detail = `The projects of Neon were not compared. ${reason(error)}`
      return { findings: [finding('neon_unreadable', subject, detail)], checked: 0, next: null }
    }
  },
}

const found = ({ id, name }: Project): Finding =>
  finding('project_of_nobody', `${name}/${id}`, 'No host of the master has this project; Neon counts what it uses.')

async function list({ NEON_ORG_ID }: Config, neon: NeonApi, chosen: Chosen): Promise<{ listed: Project[]; next: string | null }> {
  if ('subject' in chosen) {
    const [name, id = ''] = chosen.subject.split('/')
    const project = /^[a-z0-9-]{1,60}$/.test(id) ? await read(neon, id) : null
    return { listed: project?.name === name ? [project as Project] : [], next: null }
  }
  const query = { search: 'freehold-', limit: chosen.limit, ...(chosen.after && { cursor: chosen.after }) }
  const page = await raw.listProjects({
    client: neon.client,
    query: { ...query, ...(NEON_ORG_ID && { org_id: NEON_ORG_ID }) },
    throwOnError: true,
  })
  if (!Array.isArray(page.projects)) throw new Error('Neon answered no list of projects.')
  // Neon gives a cursor with the last page, too.
  return { listed: page.projects, next: page.projects.length < chosen.limit ? null : (page.pagination?.cursor ?? null) }
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
 * Those of these projects that no host has, none that is being opened, and of those for one tenant alone none whose tenant is there. A
 * host's row is written before its project is made, so the master must be asked after Neon. One round trip.
 */
async function ofNobody(config: Config, listed: Project[]): Promise<Project[]> {
  if (!listed.length) return []
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select x.id, x.name from jsonb_to_recordset(${JSON.stringify(listed.map(({ id, name }) => ({ id, name })))}::jsonb) as x (id text, name text)
        where not exists (
          select from platform.hosts h
          where (h.project_id = x.id or h.state = 'opening' and h.name = x.name)
            and (h.kind <> 'project' or h.state = 'opening' and h.lease_until > now()
              or exists (select from platform.tenants t where h.name = 'freehold-tenant-' || t.id)))`,
  ])
  return rows as Project[]
}

/**
 * Deletes a project that no host has. Fails with illegal_state when it is somebody's or holds data, and with what Neon or its database
 * answers when that cannot be told.
 */
export async function removeProject(config: Config, { subject }: Finding): Promise<void> {
  const neon = neonApi(config)
  const [name = '', id = ''] = subject.split('/')
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
  const [free] = await ofNobody(config, [{ id, name: base }])
  if (!free) {
    await rename(base)
    throw new Problem('illegal_state', 'A host has this project now.')
  }
  await deleteProject(neon, id)
  await batch(config.MASTER_DATABASE_URL, [
    sql`delete from platform.hosts h where h.name = ${base} and h.kind = 'project'
        and not exists (select from platform.tenants t where h.name = 'freehold-tenant-' || t.id or t.host_id = h.id)`,
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
