/** Threat: a table that somebody adds is forgotten, so that a person does not get what is in it, and stays in it when they are erased. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'personal-tables'
let realm: Inside
type Table = {
  relation: string
  name: string | null
  whose: string
  also: string | null
  exported: string[]
  withheld: string[]
  fate: string
}
let registry: Table[]

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  registry = (await realm.asOwner(
    sql`select relation, name, whose, also, to_jsonb(exported) as exported, to_jsonb(withheld) as withheld, fate from access.personal_tables()`,
  )) as Table[]
})

/** Tables that say nothing of a person: what the tenant is, what it decides, what it counts. */
const NOBODYS = [
  'access.daily_counts',
  'access.dropped_mails',
  'access.event_spans',
  'access.external_tokens',
  'access.key_counters',
  'access.limits',
  'access.mail_counter',
  'access.passkey_challenges',
  'access.purges',
  'access.secrets',
  'freehold.audiences',
  'freehold.audit_checkpoints',
  'freehold.competency_types',
  'freehold.delegation_permissions',
  'freehold.hooks',
  'freehold.logo',
  'freehold.migrations',
  'freehold.organizations',
  'freehold.permissions',
  'freehold.providers',
  'freehold.role_periods',
  'freehold.role_permissions',
  'freehold.roles',
  'freehold.tenant',
  'freehold.units',
  'freehold.webhook_deliveries',
  'freehold.webhook_progress',
  'freehold.webhooks',
]
/** The audit: read in pages, and erased by access.erase_detail. */
const AUDIT = ['freehold.audit_detail', 'freehold.audit_log']

const columns = () =>
  realm.asOwner(
    sql`select c.oid::regclass::text as relation, a.attname as name
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('freehold', 'access')`,
  ) as Promise<{ relation: string; name: string }[]>

it('names every table of a tenant, or it is on the list of those without people', async () => {
  const there = [...new Set((await columns()).map(({ relation }) => relation))].sort()
  expect([...registry.map(({ relation }) => relation), ...NOBODYS, ...AUDIT].sort()).toEqual(there)
})

it('names every column of its tables once, as exported or as withheld', async () => {
  const all = await columns()
  for (const { relation, exported, withheld } of registry) {
    const named = [...exported, ...withheld].filter((column) => !column.includes(' '))
    expect(named.sort(), relation).toEqual(
      all
        .filter((column) => column.relation === relation)
        .map(({ name }) => name)
        .sort(),
    )
  }
})

it('has every table that refers to a user, and none of those without people does', async () => {
  const referring = await realm.asOwner(
    sql`select distinct conrelid::regclass::text as relation from pg_constraint where contype = 'f' and confrelid = 'freehold.users'::regclass`,
  )
  const known = new Set(registry.map(({ relation }) => relation))
  expect(referring.map(({ relation }) => relation).filter((relation) => !known.has(relation))).toEqual([])
})

it('exports no hash, no secret and nothing that is encrypted', () => {
  const said = registry.filter(({ name }) => name !== null).flatMap(({ exported }) => exported)
  expect(said.filter((column) => /hash|encrypted|secret|mac$|public_key|token/.test(column))).toEqual([])
})

it('says of each table what becomes of it, and keeps only rows that hold nothing but ids and times', () => {
  expect(
    registry
      .filter(({ fate }) => fate === 'keep')
      .map(({ relation }) => relation)
      .sort(),
  ).toEqual(['access.left_avatars', 'access.session_places', 'freehold.erasures', 'freehold.user_periods'])
})
