/**
 * What is in a database that an operator wants to be adopted. Threat: Freehold takes a database that is
 * another tenant's, another deployment's or half somebody's, and finds out when it has changed it; or it fails half-way for want of a
 * privilege. So everything is read first, and what cannot be adopted is refused with what was found, or with the statements to run.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { dbError } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { tenantMigrations } from '../provisioning/bundled.ts'
import type { Found } from '../provisioning/job.ts'
import { ledgerFault } from '../provisioning/migrations.ts'
import { ask } from './asking.ts'
import type { Connection } from './connection-string.ts'
import { FACTS, Facts, Name, shaped } from './facts.ts'
import { mustBePermitted, toRun } from './login.ts'

const OLDEST = 16
const NEWEST = 18
const OURS = ['freehold', 'access']

/** A tenant that the database holds already. */
export type Inhabitant = z.infer<typeof Inhabitants>[number]

const Ledger = z.array(z.object({ name: z.string(), checksum: z.string() }))
const Inhabitants = z.array(z.object({ id: z.uuid(), subdomain: Name, users: z.int(), has_admin: z.boolean() }))

/**
 * Reads what an adoption depends on: at most three round trips to the database, none of which changes it. `admin_email` is looked for among
 * the users. Returns what an erasure gives back, and the tenant that is in it already. Fails with illegal_state (with what was found, or
 * the statements that an administrator must run), invalid_request, database_unavailable.
 */
export async function inspect(at: Connection, admin_email: string): Promise<{ found: Found; inhabitant: Inhabitant | null }> {
  const [[row] = []] = await ask(at, [FACTS])
  const facts = shaped(Facts, row)
  mustBeFit(facts)
  mustBePermitted(facts)
  const inhabitant = (await isFreeholds(at, facts)) ? await inhabitantOf(at, admin_email) : null
  return { found: { open: facts.open, named: facts.named, has_tenant: inhabitant !== null }, inhabitant }
}

function mustBeFit({ version, is_replica }: Facts): void {
  if (version < OLDEST || version > NEWEST)
    throw new Problem('illegal_state', `The database is of Postgres ${version}: it must be of ${OLDEST} to ${NEWEST}.`)
  if (is_replica)
    throw new Problem('illegal_state', 'The endpoint only reads: give the connection string of the one that writes.')
}

/** Whether it holds Freehold's schema, in a state that this release takes further. */
async function isFreeholds(at: Connection, facts: Facts): Promise<boolean> {
  const { schemas } = facts
  const named = schemas.filter(({ name }) => OURS.includes(name))
  const [first] = named
  if (!first) return false
  const ours = named.every(({ owner }) => owner === 'freehold_owner')
  const has_ledger = named.some(({ name, relations }) => name === 'freehold' && relations.includes('migrations'))
  if (!ours || !has_ledger) {
    const { name, owner, relations } = named.find((one) => one.owner !== 'freehold_owner') ?? first
    const holds = relations.slice(0, 5).join(', ') || 'no tables'
    throw new Problem(
      'illegal_state',
      `The database has a schema ${name} that is not Freehold’s: it belongs to ${owner} and holds ${holds}.`,
    )
  }
  if (schemas.some(({ name, owner }) => name === 'platform' && owner === 'freehold_owner'))
    throw new Problem('illegal_state', 'The database is the master of a deployment of Freehold.')
  // Row security would show anybody else an empty ledger.
  if (!facts.reads_all && !facts.groups.some((group) => group.name === 'freehold_owner' && group.is_held))
    throw new Problem(
      'illegal_state',
      'The login cannot read Freehold’s schema. An administrator must run the statements in `errors`.',
      toRun([`grant freehold_owner to ${facts.login} with admin option, inherit true, set true;`]),
    )
  const [rows = []] = await ask(at, [sql`select name, checksum from freehold.migrations`]).catch((error) => {
    if (dbError(error)?.code === '42703') throw new Problem('illegal_state', BEFORE)
    throw error
  })
  const fault = await ledgerFault(shaped(Ledger, rows), tenantMigrations)
  if (fault?.kind === 'before') throw new Problem('illegal_state', BEFORE)
  if (fault?.kind === 'later')
    throw new Problem('illegal_state', `The schema of the database is of a later release: it has the migration ${fault.name}.`)
  if (fault)
    throw new Problem(
      'illegal_state',
      `The schema of the database is another than that of this release: the migration ${fault.name} differs.`,
    )
  return rows.length > 0
}

const BEFORE = 'The schema of the database was made by a version of Freehold that was never released: it cannot be migrated.'

async function inhabitantOf(at: Connection, admin_email: string): Promise<Inhabitant | null> {
  const [rows = []] = await ask(at, [
    sql`select t.id, t.subdomain, (select count(*)::integer from freehold.users) as users,
          exists (select from freehold.users u where u.email = ${admin_email}) as has_admin from freehold.tenant t`,
  ])
  return shaped(Inhabitants, rows)[0] ?? null
}
