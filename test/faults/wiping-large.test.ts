/**
 * Wiping out an organization of ten thousand people. Threat: a statement that holds the database of a tenant for as long as it takes,
 * so that its people wait or the statement is cut off, and a wipe-out that never gets further.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { wipeOrganizations } from '../../src/tenants/maintenance/organizations.ts'
import { databaseOf } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'orgs-large'
const PEOPLE = 10_000
/** What a batch of the job lets go, and how long it may take: a second, or three where others use the machine. */
const BATCH = 100
const MOST_MS = 3_000
let realm: Inside
let token: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
})

const api = (path: string, ask: object = {}) => call(AT, `/api/v1${path}`, { token, ...ask })
const left = async (id: string) =>
  Number((await realm.asOwner(sql`select count(*)::int as n from freehold.users where organization_id = ${id}`))[0]?.n)

async function made(name: string) {
  const { id } = (await api('/organizations', { body: { name } })).body
  for (let from = 0; from < PEOPLE; from += 500)
    await realm.asOwner(
      sql`insert into freehold.users (id, username, email, role, organization_id)
        select gen_random_uuid(), ${name} || n, ${name} || n || '@large.test', 'user', ${id}::uuid from generate_series(${from}::integer + 1, ${from}::integer + 500) n`,
    )
  expect(await left(id)).toBe(PEOPLE)
  return id as string
}

it.each(['keep', 'deactivate', 'erase'])(
  'with %s is begun at once and done by short steps',
  { timeout: 400_000 },
  async (people) => {
    const name = `large-${people}`
    const id = await made(name)
    const since = Date.now()
    const counted = await api(`/organizations/${id}?people=${people}&dry_run=true`, { method: 'DELETE' })
    expect([counted.status, counted.body.people]).toEqual([200, PEOPLE])
    const begun = await api(`/organizations/${id}?people=${people}&confirm=${name}`, { method: 'DELETE' })
    expect([begun.status, begun.body.state], JSON.stringify(begun.body)).toEqual([202, 'ending'])
    expect(Date.now() - since).toBeLessThan(2 * MOST_MS)
    // Single steps, to see how long one holds the users that it lets go; the rest as the scheduled job does it.
    const times: number[] = []
    for (let step = 0; step < 10; step++) {
      const started = Date.now()
      await realm.asOwner(sql`select access.wipe_organizations(${BATCH})`)
      times.push(Date.now() - started)
    }
    expect(Math.max(...times), times.join(' ')).toBeLessThan(MOST_MS)
    expect(await left(id)).toBe(PEOPLE - 10 * BATCH)
    const { owner_url } = await databaseOf(AT)
    // One run has as much as it can do in its minute; the next goes on.
    expect(await wipeOrganizations(owner_url, AT, 'e'.repeat(32))).toBe(false)
    expect(await left(id)).toBe(PEOPLE - 60 * BATCH)
    expect(await wipeOrganizations(owner_url, AT, 'e'.repeat(32))).toBe(true)
    expect(await left(id)).toBe(0)
    console.info(`${people}: ${times.join(' ')} ms for a hundred`)
  },
)
