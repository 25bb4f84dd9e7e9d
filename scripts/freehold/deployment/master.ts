/** The secrets that are generated, and the steps in the master database. */
import { randomBytes } from 'node:crypto'
import { Failure } from '../failure.ts'
import { setUpMaster } from '../set-up-master.ts'
import { settings } from '../settings.ts'
import type { Context } from './context.ts'
import { keepSecrets, newRing, readSecrets } from './secrets-file.ts'
import type { Found, Step } from './steps.ts'

/** Loaded when it is needed: a run that asks no database needs no driver. */
const driver = () => import('../../../src/kernel/db.ts')

/** The generated secrets, in the file that --secrets-file names. */
export function secretsStep(context: Context): Step {
  const { known, wanted } = context
  const wantedSecrets = async () => {
    const kept = await readSecrets(wanted.secrets)
    const url = known.master_url ?? ''
    const { NEON_API_KEY = '', NEON_ORG_ID } = process.env
    // The owner's password may have been reset at Neon; the reader's is ours, and stays.
    const given = {
      ...(url && { MASTER_DATABASE_URL: url }),
      ...(NEON_API_KEY && { NEON_API_KEY }),
      ...(NEON_ORG_ID && { NEON_ORG_ID }),
    }
    return { kept, given }
  }
  return {
    name: 'secrets',
    does: `Generates the two key rings and the password of the login that reads the registry, and keeps them in ${wanted.secrets}, which only you can read. Put them into a password manager and delete the file when you are through: without the key rings nothing that the master holds can be decrypted.`,
    look: async () => {
      const { kept, given } = await wantedSecrets()
      const is_whole = kept.ENCRYPTION_KEYS && kept.OWNER_KEYS && kept.MASTER_READER_URL
      const is_current = Object.entries(given).every(([name, value]) => kept[name as keyof typeof kept] === value)
      if (is_whole && is_current) return { is: 'done', says: `${wanted.secrets} has them` }
      return { is: 'open', says: is_whole ? `${wanted.secrets} has older ones` : `${wanted.secrets} lacks them` }
    },
    plan: () => [
      `write ${wanted.secrets} (mode 600): MASTER_DATABASE_URL=*** MASTER_READER_URL=*** ENCRYPTION_KEYS=k1:*** OWNER_KEYS=k1:*** NEON_API_KEY=***`,
    ],
    run: async () => {
      const { kept, given } = await wantedSecrets()
      const { readerUrlOf } = await import('../../../src/tenants/provisioning/logins.ts')
      const reader = readerUrlOf(
        known.master_url ?? '',
        kept.MASTER_READER_URL ? new URL(kept.MASTER_READER_URL).password : randomBytes(32).toString('base64url'),
      )
      await keepSecrets(wanted.secrets, {
        ...given,
        MASTER_READER_URL: reader,
        ENCRYPTION_KEYS: kept.ENCRYPTION_KEYS ?? newRing(),
        OWNER_KEYS: kept.OWNER_KEYS ?? newRing(),
      })
      known.are_secrets_new = true
      return `kept in ${wanted.secrets}`
    },
  }
}

/** The settings of the master, from the file. */
async function masterConfig({ wanted, options }: Context) {
  const kept = await readSecrets(wanted.secrets)
  const { NEON_SQL_URL, PASSWORD_HASH_ITERATIONS } = process.env
  const { useSqlUrl } = await driver()
  const config = settings(options, ['MASTER_READER_URL', 'OWNER_KEYS'], { ...kept, NEON_SQL_URL, PASSWORD_HASH_ITERATIONS })
  useSqlUrl(config.NEON_SQL_URL)
  return config
}

/** The schema of the master. */
export function masterStep(context: Context): Step {
  const look = async (): Promise<Found> => {
    const nothing: Found = { is: 'open', says: 'it has not the schema of this release' }
    if (!context.known.master_url) return { is: 'open', says: 'there is none' }
    if (!(await readSecrets(context.wanted.secrets)).MASTER_READER_URL) return nothing
    const config = await masterConfig(context)
    const [{ batch }, { sql }, { migrationsIn }, { decrypt }] = await Promise.all([
      driver(),
      import('drizzle-orm'),
      import('../../dev/stack.ts'),
      import('../../../src/kernel/keyring.ts'),
    ])
    const names = [...(await migrationsIn('tenant')), ...(await migrationsIn('master'))].map(({ name }) => name)
    const ledger = [sql`set local role freehold_owner`, sql`select name from freehold.migrations`]
    const registry = [sql`select id, refresh_key_encrypted from platform.realm`]
    // Whatever keeps it from being read, `run` meets it too and says what it is.
    const read = await Promise.all([batch(config.MASTER_DATABASE_URL, ledger), batch(config.MASTER_READER_URL, registry)]).catch(
      () => null,
    )
    const [realm] = read?.[1][0] ?? []
    if (!read || !realm || !names.every((name) => read[0][1]?.some((row) => row.name === name))) return nothing
    await decrypt(config.ENCRYPTION_KEYS, String(realm.id), 'refresh_key', String(realm.refresh_key_encrypted)).catch(() => {
      throw new Failure(
        `${context.wanted.secrets}: ENCRYPTION_KEYS cannot decrypt what the master holds. Put the file back that the set-up of this master wrote.`,
      )
    })
    return { is: 'done', says: `it has the schema of this release (${names.at(-1)})` }
  }
  return {
    name: 'master database',
    does: 'Creates or updates the schema of the master, and the login that reads the registry.',
    look,
    plan: () => ['freehold setup, without an operator'],
    run: async () => {
      await setUpMaster(await masterConfig(context), null)
      return 'it has the schema of this release'
    },
  }
}

/** The first operator. */
export function operatorStep(context: Context): Step {
  const { known, wanted } = context
  const email = wanted.email.normalize('NFKC').trim().toLowerCase()
  return {
    name: 'first operator',
    does: 'Creates the operator with a generated password, which is shown only once, works for 72 hours and must be changed at the first login.',
    look: async () => {
      const nobody: Found = { is: 'open', says: `there is no operator ${email}` }
      if (!(await readSecrets(wanted.secrets)).MASTER_READER_URL) return nobody
      const config = await masterConfig(context)
      const [{ batch }, { sql }] = await Promise.all([driver(), import('drizzle-orm')])
      const asked = [sql`set local role freehold_owner`, sql`select 1 from freehold.users where email = ${email}`]
      const rows = await batch(config.MASTER_DATABASE_URL, asked).catch(() => [])
      if (!rows[1]?.length) return nobody
      known.operator = { email, is_new: false }
      return { is: 'done', says: `${email} exists; the password stays as it is` }
    },
    plan: () => [`freehold setup --email ${email}`],
    run: async () => {
      const { generatePassword } = await import('../../../src/passwords/hash.ts')
      const password = generatePassword()
      // Shown before it is used: an interruption between the two must not leave a password that nobody knows.
      process.stderr.write(`          the password of ${email}: ${password}\n`)
      const is_new = await setUpMaster(await masterConfig(context), { email, password, must_change_password: true })
      known.operator = { email, is_new, ...(is_new && { password }) }
      return is_new ? `${email}, with the password above` : `${email} exists; the password stays as it is`
    },
  }
}
