/** A tenant whose people may look at the audit: bo at scope all, dee within the team, eve at what is their own, cy not at all. */
import { sql } from 'drizzle-orm'
import { type Database, databaseOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

export type Cast = {
  database: Database
  realm: Inside
  people: Record<'cy' | 'dee' | 'eve', Person>
  tokens: Record<'bo' | 'cy' | 'dee' | 'eve', string>
}

export async function castOf(subdomain: string): Promise<Cast> {
  await copyTenant(subdomain)
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
  const tokens = {
    bo: await tokenOf(realm),
    cy: await tokenOf(realm, 'cy'),
    dee: await tokenOf(realm, 'dee'),
    // The last entry of the audit is that of a login at the door.
    eve: (await login(subdomain, { body: { username: 'eve', password: people.eve.password } })).access_token as string,
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
