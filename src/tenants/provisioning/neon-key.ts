import { raw } from '@neon/sdk'
import type { Config } from '../../kernel/config.ts'
import { accountsOf, FIRST_ACCOUNT } from './accounts.ts'
import { neonApi } from './neon.ts'
import { wrongAccount, wrongSetting } from './refused-key.ts'

let accepted: Config | undefined

/**
 * Fails with no_capacity when Neon refuses the key of an account or misses its organization, without which no tenant can be created. An
 * isolate asks until all were accepted once. A Neon that does not answer is no reason: tenants that exist do not need it.
 */
export async function requireNeonSettings(config: Config): Promise<void> {
  if (accepted === config) return
  const answers = await Promise.all(
    accountsOf(config).map(async ({ name, org_id }) => {
      const { client } = neonApi(config, { requestTimeoutMs: 5_000, retries: 0, at: { account: name, organization: org_id } })
      try {
        await raw.listProjects({ client, query: { limit: 1, ...(org_id && { org_id }) }, throwOnError: true })
        return true
      } catch (error) {
        const problem = name === FIRST_ACCOUNT ? wrongSetting(error) : wrongAccount(name, error)
        if (problem) throw problem
        return false
      }
    }),
  )
  if (answers.every((answer) => answer)) accepted = config
}
