import { sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { decrypt, encrypt } from '../../kernel/keyring.ts'
import { newToken, systemKeyOf } from '../../kernel/token.ts'
import { hash } from '../../passwords/hash.ts'
import { platformPreset } from '../../presets/platform.ts'
import { usernameFrom } from '../../users/username.ts'
import { firstSigningKey } from '../registry/keys.ts'
import { limitTime, makeReader, readerOf } from './logins.ts'
import { type Migration, migrate } from './migrations.ts'
import { MASTER_GROUPS, makeRole, requireOrdinary } from './roles.ts'
import { firstAdministrator, seed, systemKey } from './seed.ts'

/**
 * Creates or updates the master: roles, the reader's login, both schemas (operators are users of the platform's own realm), the realm
 * with its signing key, and the first operator. Repeatable; an existing operator keeps their password. The login of MASTER_DATABASE_URL
 * must own the database and be able to create roles; that of MASTER_READER_URL is created, with the password there.
 * One trace id is in the audit for all of it. Returns whether the operator is new.
 */
export async function setUp(
  config: Pick<Config, 'MASTER_DATABASE_URL' | 'MASTER_READER_URL' | 'ENCRYPTION_KEYS' | 'PASSWORD_HASH_ITERATIONS'>,
  migrations: { tenant: Migration[]; master: Migration[] },
  operator: { email: string; password: string; must_change_password: boolean } | null,
): Promise<boolean> {
  const url = config.MASTER_DATABASE_URL
  const trace_id = newTraceId()
  const database = sql.identifier(decodeURIComponent(new URL(url).pathname.slice(1)))
  await requireOrdinary(url, { ...MASTER_GROUPS, ...readerOf(config.MASTER_READER_URL) })
  await batch(url, [
    ...Object.keys(MASTER_GROUPS).map((name) => makeRole(name)),
    sql`grant freehold_owner to current_user with inherit true, set true`,
    sql`grant freehold_app to current_user with inherit false, set true`,
    sql`revoke connect, temporary on database ${database} from public`,
    sql`grant create on database ${database} to freehold_owner`,
    limitTime(),
    ...makeReader(sql`${database}`, config.MASTER_READER_URL),
  ])
  await migrate(url, [...migrations.tenant, ...migrations.master], trace_id)
  const fresh = crypto.randomUUID()
  const [, rows] = await batch(url, [
    sql`insert into platform.realm (id, refresh_key_encrypted) values (${fresh}, ${await encrypt(config.ENCRYPTION_KEYS, fresh, 'refresh_key', newToken())}) on conflict do nothing`,
    sql`select id, refresh_key_encrypted from platform.realm`,
  ])
  await batch(config.MASTER_READER_URL, [sql`select id from platform.realm`]).catch((cause) => {
    throw new Error(
      'MASTER_READER_URL: this login does not read the registry. It must name the database of MASTER_DATABASE_URL.',
      {
        cause,
      },
    )
  })
  const id = String(rows?.[0]?.id)
  const refresh_key = await decrypt(config.ENCRYPTION_KEYS, id, 'refresh_key', String(rows?.[0]?.refresh_key_encrypted)).catch(
    () => {
      throw new Error(
        'ENCRYPTION_KEYS: this key ring cannot decrypt what the master holds. Use the one that the master was set up with.',
      )
    },
  )
  const seeds = [
    ...seed({ id, subdomain: '' }, platformPreset),
    ...systemKey(await systemKeyOf(refresh_key)),
    sql`reset role`,
    await firstSigningKey(config, id),
    // Tenants had names of plans before there were plans.
    sql`insert into platform.plans (key, name) select distinct t.plan, t.plan from platform.tenants t where t.plan is not null on conflict do nothing`,
  ]
  await batch(url, seeds, trace_id)
  if (!operator) return false
  const email = operator.email.normalize('NFKC').trim().toLowerCase()
  const [known] = await batch(url, [sql`select 1 from freehold.users where email = ${email}`])
  if (known?.length) return false
  const username = usernameFrom(email)
  const { password, must_change_password } = operator
  const password_hash = await hash(password, config.PASSWORD_HASH_ITERATIONS)
  await batch(url, firstAdministrator({ email, username, password_hash, must_change_password }, platformPreset), trace_id)
  return true
}
