import { describe, expect, test } from 'vitest'
import { started } from './started.ts'

const { call, newProject, state } = started({ limits: { branchesPerProject: 3, databasesPerBranch: 4 } })

describe('who may call', () => {
  test('a call without the key is refused', async () => {
    const { status, body } = await call('GET', '/projects', undefined, { apiKey: 'napi_guess' })
    expect(status).toBe(401)
    expect(body).toMatchObject({ code: '', message: expect.stringContaining('API key') })
  })

  test('a request id comes back in the error and as a header', async () => {
    const { body, headers } = await call('GET', '/projects/no-such-0', undefined, { headers: { 'x-request-id': 'mine' } })
    expect(body.request_id).toBe('mine')
    expect(headers.get('x-request-id')).toBe('mine')
  })

  test('a request without an id gets one', async () => {
    const { body, headers } = await call('GET', '/projects/no-such-0')
    expect(body.request_id).toBe(headers.get('x-request-id'))
  })

  test('the key can be checked and the regions asked for', async () => {
    expect((await call('GET', '/auth')).body.auth_method).toBe('api_key_org')
    expect((await call('GET', '/regions')).body.regions).toHaveLength(3)
  })
})

describe('projects', () => {
  test('a new project has a branch, a role, a database, an endpoint and operations to wait for', async () => {
    const { body, status } = await call('POST', '/projects', { project: { name: 'first' } })
    expect(status).toBe(201)
    expect(body.project).toMatchObject({ id: expect.stringMatching(/^[a-z]+-[a-z]+-\d{8}$/), name: 'first' })
    expect(body.branch).toMatchObject({
      id: expect.stringMatching(/^br-[a-z]+-[a-z]+-[a-z0-9]{8}$/),
      name: 'main',
      default: true,
    })
    expect(body.roles).toEqual([
      expect.objectContaining({ name: 'neondb_owner', password: expect.stringMatching(/^npg_[A-Za-z0-9]{12}$/) }),
    ])
    expect(body.databases).toEqual([expect.objectContaining({ name: 'neondb', owner_name: 'neondb_owner' })])
    expect(body.endpoints[0].host).toMatch(/^ep-[a-z]+-[a-z]+-[a-z0-9]{8}\.us-east-2\.aws\.neon\.tech$/)
    expect(body.operations).toEqual([
      expect.objectContaining({ action: 'create_timeline', status: 'running' }),
      expect.objectContaining({ action: 'start_compute', status: 'scheduling' }),
    ])
    expect(body.connection_uris[0].connection_uri).toMatch(/^postgresql:.*\?sslmode=require&channel_binding=require$/)
  })

  test('names in the body replace those of the first branch, database and role', async () => {
    const { body } = await newProject({ branch: { name: 'trunk', database_name: 'shop' } })
    expect([body.branch.name, body.databases[0].name, body.roles[0].name]).toEqual(['trunk', 'shop', 'shop_owner'])
  })

  test('two projects may have one name, and a search by part of it finds both', async () => {
    await Promise.all([newProject({ name: 'twin-of-mine' }), newProject({ name: 'twin-of-mine' })])
    expect((await call('GET', '/projects?search=WIN-OF')).body.projects).toHaveLength(2)
  })

  test('a list goes on where its cursor says', async () => {
    for (const name of ['page-1', 'page-2', 'page-3']) await newProject({ name })
    const first = (await call('GET', '/projects?search=page-&limit=2')).body
    const second = (await call('GET', `/projects?search=page-&limit=2&cursor=${first.pagination.cursor}`)).body
    expect([...first.projects, ...second.projects].map(({ name }) => name)).toEqual(['page-3', 'page-2', 'page-1'])
    expect((await call('GET', '/projects?limit=401')).status).toBe(400)
  })

  test('a project can be renamed', async () => {
    const { path } = await newProject({ name: 'before' })
    expect((await call('PATCH', path, { project: { name: 'after' } })).body).toMatchObject({
      project: { name: 'after' },
      operations: [],
    })
    expect((await call('GET', path)).body.project.name).toBe('after')
  })

  test('a deleted project is gone, with its branches and its logins', async () => {
    const { path, branch, uri } = await newProject()
    expect((await call('DELETE', path)).status).toBe(200)
    expect((await call('GET', path)).status).toBe(404)
    expect((await call('GET', branch)).status).toBe(404)
    expect((await call('DELETE', path)).status).toBe(404)
    const response = await fetch(state.sqlUrl, {
      method: 'POST',
      headers: { 'neon-connection-string': uri },
      body: '{"query":"select 1"}',
    })
    expect(await response.json()).toMatchObject({ message: "password authentication failed for user 'neondb_owner'" })
  })

  test('a body that makes no sense is refused', async () => {
    expect((await call('POST', '/projects', undefined, { text: '{"project":' })).status).toBe(400)
    expect((await call('POST', '/projects', {})).status).toBe(400)
    expect((await call('POST', '/projects', { project: { name: '' } })).status).toBe(400)
    expect((await call('POST', '/projects', { project: { name: 'x'.repeat(257) } })).status).toBe(400)
    expect((await call('POST', '/projects', { project: { history_retention_seconds: -1 } })).status).toBe(400)
  })

  test('a project that does not store passwords does not reveal them', async () => {
    const { branch } = await newProject({ store_passwords: false })
    expect((await call('GET', `${branch}/roles/neondb_owner/reveal_password`)).status).toBe(412)
  })
})

describe('operations', () => {
  test('are listed newest first and found by id', async () => {
    const { path, branch, body } = await newProject()
    const role = await call('POST', `${branch}/roles`, { role: { name: 'ada' } })
    const { operations } = (await call('GET', `${path}/operations`)).body
    expect(operations.map(({ action }: { action: string }) => action)).toEqual([
      'apply_config',
      'start_compute',
      'create_timeline',
    ])
    const [operation] = role.body.operations
    expect(operation).toMatchObject({ status: 'running' })
    expect((await call('GET', `${path}/operations/${operation.id}`)).body.operation).toMatchObject({ status: 'finished' })
    expect((await call('GET', `${path}/operations/${crypto.randomUUID()}`)).status).toBe(404)
    expect((await call('GET', `${path}/operations?limit=1`)).body.operations).toHaveLength(1)
    expect(body.operations).toHaveLength(2)
  })
})

describe('databases', () => {
  test('are created, shown, changed and deleted', async () => {
    const { branch } = await newProject()
    await call('POST', `${branch}/roles`, { role: { name: 'bo' } })
    const created = await call('POST', `${branch}/databases`, { database: { name: 'shop', owner_name: 'neondb_owner' } })
    expect(created).toMatchObject({ status: 201, body: { database: { name: 'shop', owner_name: 'neondb_owner' } } })
    expect((await call('GET', `${branch}/databases`)).body.databases).toHaveLength(2)
    const changed = await call('PATCH', `${branch}/databases/shop`, { database: { name: 'store', owner_name: 'bo' } })
    expect(changed.body.database).toMatchObject({ name: 'store', owner_name: 'bo', id: created.body.database.id })
    expect((await call('GET', `${branch}/databases/shop`)).status).toBe(404)
    expect((await call('GET', `${branch}/databases/store`)).body.database.owner_name).toBe('bo')
    expect((await call('DELETE', `${branch}/databases/store`)).body.operations).toHaveLength(1)
    expect((await call('DELETE', `${branch}/databases/store`)).status).toBe(204)
  })

  test('with a taken name, an unknown owner or a protected name are refused', async () => {
    const { branch } = await newProject()
    const create = (name: string, owner_name = 'neondb_owner') =>
      call('POST', `${branch}/databases`, { database: { name, owner_name } })
    expect(await create('neondb')).toMatchObject({
      status: 409,
      body: { message: 'database already exists; database_name:"neondb"' },
    })
    expect((await create('shop', 'nobody')).status).toBe(404)
    for (const name of ['postgres', 'template0', 'template1', 'é'.repeat(32), '']) expect((await create(name)).status).toBe(400)
    expect((await call('POST', `${branch}/databases`, { database: { name: 'shop' } })).status).toBe(400)
  })

  test('are limited in number', async () => {
    const { branch } = await newProject()
    const create = (name: string) => call('POST', `${branch}/databases`, { database: { name, owner_name: 'neondb_owner' } })
    for (const name of ['two', 'three', 'four']) expect((await create(name)).status).toBe(201)
    expect(await create('five')).toMatchObject({ status: 422, body: { code: 'DATABASES_LIMIT_EXCEEDED' } })
  })
})

describe('roles', () => {
  test('show their password when they are made, when it is reset and when it is asked for, and not otherwise', async () => {
    const { branch } = await newProject()
    const made = (await call('POST', `${branch}/roles`, { role: { name: 'ada' } })).body.role
    expect((await call('GET', `${branch}/roles/ada/reveal_password`)).body).toEqual({ password: made.password })
    const reset = (await call('POST', `${branch}/roles/ada/reset_password`)).body.role
    expect(reset.password).not.toBe(made.password)
    expect((await call('GET', `${branch}/roles/ada/reveal_password`)).body).toEqual({ password: reset.password })
    expect(JSON.stringify((await call('GET', `${branch}/roles`)).body)).not.toContain('npg_')
    expect((await call('GET', `${branch}/roles/ada`)).body.role).not.toHaveProperty('password')
  })

  test('are deleted, unless they own a database', async () => {
    const { branch } = await newProject()
    await call('POST', `${branch}/roles`, { role: { name: 'ada' } })
    expect((await call('DELETE', `${branch}/roles/ada`)).status).toBe(200)
    expect((await call('DELETE', `${branch}/roles/ada`)).status).toBe(204)
    expect((await call('GET', `${branch}/roles/ada`)).status).toBe(404)
    expect((await call('DELETE', `${branch}/roles/neondb_owner`)).status).toBe(422)
  })

  test('with a taken, protected or overlong name are refused', async () => {
    const { branch } = await newProject()
    const create = (name: string) => call('POST', `${branch}/roles`, { role: { name } })
    expect(await create('neondb_owner')).toMatchObject({
      status: 409,
      body: { message: 'role already exists; role_name:"neondb_owner"' },
    })
    for (const name of ['pg_anything', 'neon_superuser', 'cloud_admin', 'public', 'none', 'x'.repeat(64)]) {
      expect((await create(name)).status).toBe(400)
    }
  })
})

describe('endpoints', () => {
  test('there is one that writes in each branch', async () => {
    const { path, body } = await newProject()
    const create = (type: string) => call('POST', `${path}/endpoints`, { endpoint: { branch_id: body.branch.id, type } })
    expect(await create('read_write')).toMatchObject({ status: 409, body: { message: 'read_write endpoint already exists' } })
    expect((await create('read_only')).status).toBe(201)
    expect((await create('sideways')).status).toBe(400)
    expect((await call('GET', `${path}/endpoints`)).body.endpoints).toHaveLength(2)
  })

  test('are shown and deleted', async () => {
    const { path, branch, body } = await newProject()
    const endpoint = `${path}/endpoints/${body.endpoints[0].id}`
    expect((await call('GET', endpoint)).body.endpoint.current_state).toBe('active')
    expect((await call('DELETE', endpoint)).status).toBe(200)
    expect((await call('DELETE', endpoint)).status).toBe(204)
    expect((await call('GET', endpoint)).status).toBe(404)
    expect((await call('GET', `${branch}/endpoints`)).body.endpoints).toEqual([])
  })
})

describe('branches', () => {
  test('are created with their computes', async () => {
    const { path, body } = await newProject()
    const created = await call('POST', `${path}/branches`, { branch: { name: 'child' }, endpoints: [{ type: 'read_write' }] })
    expect(created.status).toBe(201)
    expect(created.body.branch).toMatchObject({ name: 'child', parent_id: body.branch.id, default: false })
    expect(created.body.operations.map(({ action }: { action: string }) => action)).toEqual(['create_branch', 'start_compute'])
    expect(created.body.connection_uris[0].connection_parameters.host).toBe(created.body.endpoints[0].host)
    const twice = { branch: { name: 'other' }, endpoints: [{ type: 'read_write' }, { type: 'read_write' }] }
    expect((await call('POST', `${path}/branches`, twice)).status).toBe(409)
  })

  test('are listed by name or by age, found by part of their name, and counted', async () => {
    const { path } = await newProject()
    for (const name of ['zoology', 'art']) await call('POST', `${path}/branches`, { branch: { name } })
    const names = async (query: string) =>
      (await call('GET', `${path}/branches?${query}`)).body.branches.map(({ name }: { name: string }) => name)
    expect(await names('sort_by=name&sort_order=asc')).toEqual(['art', 'main', 'zoology'])
    expect(await names('search=ZOOL')).toEqual(['zoology'])
    expect((await call('GET', `${path}/branches?limit=2`)).body.pagination).toMatchObject({ next: expect.any(String) })
    expect((await call('GET', `${path}/branches/count`)).body.count).toBe(3)
    expect((await call('GET', `${path}/branches?sort_by=colour`)).status).toBe(400)
  })

  test('with a taken name or over the limit are refused', async () => {
    const { path } = await newProject()
    const create = (name: string) => call('POST', `${path}/branches`, { branch: { name } })
    expect((await create('one')).status).toBe(201)
    expect(await create('one')).toMatchObject({ status: 409, body: { message: 'branch already exists; branch_name:"one"' } })
    expect((await create('two')).status).toBe(201)
    expect(await create('three')).toMatchObject({ status: 422, body: { code: 'BRANCHES_LIMIT_EXCEEDED' } })
  })

  test('are renamed and deleted, except the default, a protected one and a parent', async () => {
    const { path, branch } = await newProject()
    const child = (await call('POST', `${path}/branches`, { branch: { name: 'child' } })).body.branch
    const place = `${path}/branches/${child.id}`
    const grandchild = (await call('POST', `${path}/branches`, { branch: { name: 'grandchild', parent_id: child.id } })).body
      .branch
    expect((await call('DELETE', branch)).status).toBe(422)
    expect((await call('DELETE', place)).status).toBe(422)
    await call('DELETE', `${path}/branches/${grandchild.id}`)
    await call('PATCH', place, { branch: { name: 'kept', protected: true } })
    expect((await call('GET', place)).body.branch).toMatchObject({ name: 'kept', protected: true })
    expect((await call('DELETE', place)).status).toBe(422)
    await call('PATCH', place, { branch: { protected: false } })
    expect((await call('DELETE', place)).status).toBe(200)
    expect((await call('DELETE', place)).status).toBe(204)
  })

  test('expire within thirty days, unless they are the default', async () => {
    const { path, branch } = await newProject()
    const expiring = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
    const create = (expires_at: unknown) => call('POST', `${path}/branches`, { branch: { expires_at } })
    for (const refused of [expiring(31), expiring(-1), 'tomorrow', '2030-01-01T00:00:00', 5])
      expect((await create(refused)).status).toBe(400)
    const { body } = await create(expiring(1))
    expect((await call('POST', `${path}/branches`, { branch: { parent_id: body.branch.id } })).status).toBe(400)
    const cleared = await call('PATCH', `${path}/branches/${body.branch.id}`, { branch: { expires_at: null } })
    expect(cleared.body.branch).not.toHaveProperty('expires_at')
    expect((await call('PATCH', branch, { branch: { expires_at: expiring(1) } })).status).toBe(400)
  })

  test('are restored to an earlier moment only if they are roots, as on Neon; here none is', async () => {
    const { path, branch } = await newProject()
    const root = branch.split('/').at(-1)
    const child = (await call('POST', `${path}/branches`, { branch: { name: 'child' } })).body.branch
    const restore = async (id: string | undefined, wanted: object) => {
      const { status, body } = await call('POST', `${path}/branches/${id}/restore`, wanted)
      return `${status} ${body.message}`
    }
    const moment = { source_timestamp: new Date().toISOString(), preserve_under_name: 'before' }
    const refused = '422 only root branches can be restored to an earlier point in time'
    expect(await restore(child.id, { source_branch_id: child.id, ...moment })).toBe(refused)
    expect(await restore(child.id, { source_branch_id: child.id })).toMatch(/^400 source_lsn or source_timestamp/)
    expect(await restore(root, { source_branch_id: root, source_lsn: '0/1' })).toBe('400 preserve_under_name is required')
    expect(await restore(root, { source_branch_id: root, ...moment })).toBe('501 this local Neon restores no branches')
    expect(await restore(child.id, { source_branch_id: root })).toBe('501 this local Neon restores no branches')
    expect(await restore(child.id, {})).toMatch(/^400 /)
    expect(await restore('br-no-such-00000000', { source_branch_id: root })).toMatch(/^404 /)
    expect((await call('GET', `${path}/branches/${child.id}`)).body.branch.current_state).toBe('ready')
  })

  test('a branch without a compute has no connection string', async () => {
    const { path } = await newProject()
    const { body } = await call('POST', `${path}/branches`)
    expect(body).not.toHaveProperty('connection_uris')
    const query = `database_name=neondb&role_name=neondb_owner&branch_id=${body.branch.id}`
    expect((await call('GET', `${path}/connection_uri?${query}`)).status).toBe(404)
  })
})

describe('connection strings', () => {
  test('are made for the default branch unless another is named, direct or pooled', async () => {
    const { path, body } = await newProject()
    const query = 'database_name=neondb&role_name=neondb_owner'
    expect((await call('GET', `${path}/connection_uri?${query}`)).body.uri).toBe(body.connection_uris[0].connection_uri)
    expect((await call('GET', `${path}/connection_uri?${query}&pooled=true`)).body.uri).toContain(
      body.connection_uris[0].connection_parameters.pooler_host,
    )
    expect((await call('GET', `${path}/connection_uri?database_name=neondb`)).status).toBe(400)
    expect((await call('GET', `${path}/connection_uri?database_name=neondb&role_name=nobody`)).status).toBe(404)
  })
})

describe('the personal key', () => {
  const personal = () => ({ apiKey: `${state.apiKey}personal` })
  const words = 'org_id is required, you can find it on your organization settings page'

  test('lists and creates projects only where the organization is named', async () => {
    for (const reply of [
      await call('GET', '/projects', undefined, personal()),
      await call('POST', '/projects', { project: {} }, personal()),
    ])
      expect(reply).toMatchObject({ status: 400, body: { message: words } })
    const org_id = 'org-quiet-art-12345678'
    expect((await call('POST', '/projects', { project: { org_id } }, personal())).body.project).toMatchObject({ org_id })
    expect((await call('GET', `/projects?org_id=${org_id}`, undefined, personal())).body.projects).toHaveLength(1)
  })

  test('says what it is, as the key of an organization does', async () => {
    expect((await call('GET', '/auth', undefined, personal())).body.auth_method).toBe('api_key_user')
    expect((await call('GET', '/auth')).body.auth_method).toBe('api_key_org')
  })
})
