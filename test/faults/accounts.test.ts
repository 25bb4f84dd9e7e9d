/**
 * Hosts in several accounts. Threat: an account is full and tenants are refused although another has room; or a host is in two accounts, and
 * nobody pays attention to one of them; or the key of one account is sent for a project of another.
 */
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it } from 'vitest'
import { accountOf, placesFrom } from '../../src/tenants/provisioning/accounts.ts'
import { neonApi, neonWords } from '../../src/tenants/provisioning/neon.ts'
import { openOwnHost, removeOwnHost } from '../../src/tenants/provisioning/own-host.ts'
import { master, settings } from '../support/databases.ts'
import { askNeon, on, pending, switchOn } from '../support/faults.ts'
import { plantTenant } from '../support/planted.ts'

const full = (status: number) => ({
  kind: 'status' as const,
  match: on('POST /projects$'),
  times: 1,
  status,
  body: JSON.stringify({ code: 'PROJECTS_LIMIT_EXCEEDED', message: 'projects limit exceeded' }),
})
/** A second account, with the key of the first: the local Neon has one. */
const twoAccounts = () => {
  const config = settings()
  return {
    ...config,
    NEON_ACCOUNTS: JSON.stringify([{ name: 'second', api_key: config.NEON_API_KEY, org_id: 'org-quiet-art-12345678' }]),
  }
}
const hostOf = async (id: string) =>
  (
    await master(
      sql`select name, state, account, organization, refused, project_id from platform.hosts where name like ${`%${id}`}`,
    )
  )[0]
const projectsOf = async (id: string) => (await askNeon(`/projects?search=${id}`)).projects as { id: string; org_id?: string }[]
/** The newest host is where the next one is opened first. */
const startIn = (account: string) =>
  master(
    sql`update platform.hosts set account = ${account} where id = (select id from platform.hosts where kind <> 'external' order by created_at desc, id limit 1)`,
  )

afterEach(async () => {
  await switchOn()
  await master(sql`update platform.hosts set account = 'default', organization = null where account <> 'default'`)
})

describe('a host whose account has no room for its project', () => {
  it.each([422, 403])('is opened in the next one (%i), and the one after it there at once', async (status) => {
    const config = twoAccounts()
    const [id, after] = [await plantTenant(`accounts-next-${status}`), await plantTenant(`accounts-after-${status}`)]
    await switchOn(full(status))
    await openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) })
    expect(await hostOf(id)).toMatchObject({ state: 'open', account: 'second', organization: 'org-quiet-art-12345678' })
    expect((await projectsOf(id)).map(({ org_id }) => org_id)).toEqual(['org-quiet-art-12345678'])
    await openOwnHost({ config, tenant: { id: after }, trace_id: 'a'.repeat(32) })
    expect(await hostOf(after)).toMatchObject({ state: 'open', account: 'second' })
    for (const each of [id, after]) {
      await removeOwnHost({ config, tenant: { id: each } })
      expect(await projectsOf(each)).toEqual([])
    }
  })

  it('is opened in the first one again when the last is full', async () => {
    const id = await plantTenant('accounts-ring')
    await startIn('second')
    await switchOn(full(422))
    await openOwnHost({ config: twoAccounts(), tenant: { id }, trace_id: 'a'.repeat(32) })
    expect(await hostOf(id)).toMatchObject({ state: 'open', account: 'default', organization: null })
    expect(await projectsOf(id)).toHaveLength(1)
  })

  it('is adopted there when the answer was lost, and nothing is made twice', async () => {
    const id = await plantTenant('accounts-lost')
    await switchOn(full(422), { kind: 'drop_after', match: on('POST /projects$'), times: 1 })
    const config = twoAccounts()
    await expect(openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) })).rejects.toThrow()
    expect(await hostOf(id)).toMatchObject({ state: 'opening', account: 'second' })
    await openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) })
    const [project, ...others] = await projectsOf(id)
    expect(others).toEqual([])
    expect(await hostOf(id)).toMatchObject({ state: 'open', account: 'second', project_id: project?.id })
  })

  it('waits when all are full, with Neon’s words', async () => {
    const id = await plantTenant('accounts-full')
    await switchOn(full(422), full(403))
    const opening = openOwnHost({ config: twoAccounts(), tenant: { id }, trace_id: 'a'.repeat(32) })
    await expect(opening).rejects.toThrow('projects limit exceeded')
    expect(await pending()).toEqual([])
    const host = await hostOf(id)
    expect([host?.state, String(host?.refused)]).toEqual(['opening', expect.stringContaining('projects limit exceeded')])
    expect(await projectsOf(id)).toEqual([])
  })
})

it('a host in an account that the settings do not have is asked about with no key, in words that say so', async () => {
  const neon = neonApi(settings(), { at: { account: 'gone', organization: null } })
  const words = await neon.projects
    .list({})
    .all()
    .then(() => 'answered', neonWords)
  expect(words).toContain('NEON_ACCOUNTS has no account gone, in which the host is.')
})

it('the key for an organization is that of its account, also when the settings have it no more', () => {
  const config = { ...settings(), NEON_API_KEY: 'one', NEON_ORG_ID: 'org-a' }
  const more = [
    { name: 'default', api_key: 'two', org_id: 'org-b' },
    { name: 'second', api_key: 'three' },
  ]
  const key = (account: string | null, organization: string | null) =>
    accountOf({ ...config, NEON_ACCOUNTS: JSON.stringify(more) }, { account, organization })
  expect(key(null, null)).toEqual({ name: 'default', api_key: 'one', org_id: 'org-a' })
  expect(key('default', 'org-b')).toEqual({ name: 'default', api_key: 'two', org_id: 'org-b' })
  expect(key('default', 'org-c')).toEqual({ name: 'default', api_key: 'one', org_id: 'org-c' })
  expect(key('second', null)).toEqual({ name: 'second', api_key: 'three' })
  expect(key('third', null)).toBeUndefined()
  const places = placesFrom({ ...config, NEON_ACCOUNTS: JSON.stringify(more) }, { account: 'default', organization: 'org-b' })
  expect(places.map(({ account, organization }) => `${account} ${organization}`)).toEqual([
    'default org-b',
    'second null',
    'default org-a',
  ])
})
