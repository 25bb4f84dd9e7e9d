/** A tenant whose people may look at the audit: bo at scope all, dee within the team, eve at what is their own, cy not at all. */
import { sql } from 'drizzle-orm'
import { type Database, databaseOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { call, login, makeTenant } from '../support/people.ts'

export type Cast = {
  database: Database
  realm: Inside
  people: Record<'cy' | 'dee' | 'eve', Person>
  tokens: Record<'bo' | 'cy' | 'dee' | 'eve', string>
}

export async function castOf(subdomain: string): Promise<Cast> {
  await makeTenant(subdomain)
  const [database, realm] = [await databaseOf(subdomain), await inside(subdomain)]
  // What is asked in between logs bo in again and again.
  await realm.asOwner(sql`update freehold.tenant set max_sessions = 1000`)
  for (const scope of ['team', 'own'])
    await realm.asOwner(
      sql`insert into freehold.roles (id, name) values (gen_random_uuid(), ${`reader-${scope}`})`,
      sql`insert into freehold.role_permissions (id, role_id, permission, scope)
          select gen_random_uuid(), r.id, p, ${scope} from freehold.roles r, unnest(array['activity:read', 'activity:export']) p where r.name = ${`reader-${scope}`}`,
    )
  const people = {
    cy: await addPerson(realm, 'cy'),
    dee: await addPerson(realm, 'dee', { roles: ['reader-team'] }),
    eve: await addPerson(realm, 'eve', { roles: ['reader-own'] }),
  }
  await realm.asOwner(
    sql`insert into freehold.units (id, kind, name) values (gen_random_uuid(), 'team', 'Harbour')`,
    sql`update freehold.users set unit_id = (select id from freehold.units where name = 'Harbour') where username in ('cy', 'dee')`,
  )
  const token = async (username: string, password: string) =>
    (await login(subdomain, { body: { username, password } })).access_token as string
  const tokens = {
    bo: (await login(subdomain)).access_token as string,
    cy: await token('cy', people.cy.password),
    dee: await token('dee', people.dee.password),
    eve: await token('eve', people.eve.password),
  }
  return { database, realm, people, tokens }
}

/** All pages of a list. */
export async function every(at: string, path: string, token: string): Promise<any[]> {
  const rows: any[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const after: string = cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''
    const { status, body }: { status: number; body: any } = await call(
      at,
      `${path}${path.includes('?') ? '&' : '?'}limit=100${after}`,
      { token },
    )
    if (status !== 200) throw new Error(JSON.stringify(body))
    rows.push(...body.data)
    cursor = body.next_cursor
  }
  return rows
}
