type Row = Record<string, any>
type Master = { hosts: Row[]; tenants: Row[]; roles: Row[]; beside?: Row[] }

export const HOMES = 'select * from platform.hosts'
export const TENANTS = `select *, replace(id::text, '-', '') as short from platform.tenants`
/** Branches of tenants beside their own: kept of before a migration, or left by an undo. */
export const BESIDE = `select k.tenant_id, format('tenant-%s-before-%s-%s', k.tenant_id, substring(k.target from '/([0-9]+)'), k.attempt) as name, k.branch_id as id
    from platform.kept_branches k where k.branch_id is not null
  union all select u.tenant_id, format('tenant-%s-undone-%s', u.tenant_id, u.parent_id), u.parent_id from platform.migration_undos u where u.state = 'done'`
export const ROLES = `select rolname from pg_roles where rolname ~ '^freehold_(app|owner)_[0-9a-f]{12}'`

const isTemplate = (host_id: string, name: string) =>
  new RegExp(`^freehold-template-${host_id.replaceAll('-', '').slice(0, 12)}-[0-9a-f]{12}$`).test(name)

/**
 * Everything that Neon has beside what the master knows, one line each. Projects by name, branches and databases by place, login roles by
 * the tenant's id in them. Two of one name, or one without the other, show as a difference of the two lists.
 */
export async function compared(askNeon: (path: string) => Promise<any>, { hosts, tenants, roles, beside = [] }: Master) {
  const neon: string[] = []
  const known: string[] = ['project freehold-master']
  const { projects } = await askNeon('/projects?limit=400')
  // Strangers' are of other accounts, which only here is one with ours.
  for (const { name } of projects) if (!name.startsWith('stranger-')) neon.push(`project ${name}`)
  for (const host of hosts.filter(({ kind }) => kind !== 'external')) {
    known.push(`project ${host.name}`)
    if (host.state !== 'open') continue
    known.push(`project ${host.name} is ${host.project_id}`, `taken in ${host.name}: ${host.taken}`)
    const found = projects.filter((project: Row) => project.name === host.name)
    neon.push(...found.map((project: Row) => `project ${project.name} is ${project.id}`))
    const there = tenants.filter((tenant) => tenant.host_id === host.id)
    neon.push(`taken in ${host.name}: ${there.length}`)
    // Gone at Neon: that difference is told already.
    if (!found.some((project: Row) => project.id === host.project_id)) continue
    for (const branch of (await askNeon(`/projects/${host.project_id}/branches`)).branches) {
      const name = branch.default ? 'main' : `${branch.name} ${branch.id}`
      neon.push(`branch ${host.name} ${name}`)
      const listed = (await askNeon(`/projects/${host.project_id}/branches/${branch.id}/databases`)).databases as Row[]
      // A shared host may have one template, which is of no tenant.
      const template = listed.find((database) => host.kind === 'database' && isTemplate(host.id, database.name))
      for (const database of listed) if (database !== template) neon.push(`database ${host.name} ${name} ${database.name}`)
    }
    known.push(`branch ${host.name} main`, `database ${host.name} main neondb`)
    for (const tenant of there) {
      const place = host.kind === 'branch' ? `tenant-${tenant.id} ${tenant.branch_id}` : 'main'
      if (host.kind === 'branch') known.push(`branch ${host.name} ${place}`)
      known.push(`database ${host.name} ${place} ${tenant.database_name}`)
      for (const { name, id } of beside.filter(({ tenant_id }) => tenant_id === tenant.id))
        known.push(`branch ${host.name} ${name} ${id}`, `database ${host.name} ${name} ${id} ${tenant.database_name}`)
    }
  }
  neon.push(...roles.map((role) => `role ${role.rolname}`))
  // In a shared branch they are made when a tenant gets its place.
  for (const { short } of tenants.filter((one) => one.app_url_encrypted || (one.isolation === 'database' && one.host_id)))
    known.push(`role freehold_app_${short.slice(0, 12)}_a`, `role freehold_owner_${short.slice(0, 12)}`)
  return { neon: neon.sort(), known: known.sort() }
}
