/**
 * Hooks of who comes in from a provider for the first time, which is two acts in one request: a user is made, and logs in. Threat: both
 * have a hook, and nobody new gets in, or one of the two is not asked.
 */
import { decodeJwt } from 'jose'
import { beforeAll, expect, it } from 'vitest'
import { addProvider, makeProvider, NONCE } from '../external/cast.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addHook, ask, makeHook } from './cast.ts'

const AT = 'hook-first-login'
let admin: string

beforeAll(async () => {
  await copyTenant(AT)
  admin = await tokenOf(AT)
})

it('from a provider comes in where both hooks allow it, each of which is asked once', async () => {
  const provider = await makeProvider()
  const { name } = await addProvider(AT, admin, provider.issuer, { creates_users: true })
  const [making, entering] = [await makeHook(), await makeHook({ says: { decision: 'allow', claims: { plan: 'gold' } } })]
  await addHook(AT, admin, 'user.create', making.url)
  await addHook(AT, admin, 'login', entering.url)
  const id_token = await provider.token({ sub: 'new', email: 'new@people.test', email_verified: true })
  const answer = await ask(AT, `/api/v1/auth/external/${name}`, { id_token, nonce: NONCE })
  expect(answer.status, answer.text).toBe(200)
  expect([(await making.asked()).length, (await entering.asked()).length]).toEqual([1, 1])
  // Its answer is for whom it was told of.
  const { sub, ext } = decodeJwt(answer.body.access_token)
  expect([(await entering.asked())[0]?.event.user_id, { plan: 'gold' }]).toEqual([sub, ext])
})
