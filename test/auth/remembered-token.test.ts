import { exportJWK, generateKeyPair } from 'jose'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { lifetimeOf, type SigningKey, sign, verify } from '../../src/kernel/token.ts'

const ID = '0192f3d0-0000-7000-8000-000000000001'
const claims = {
  sub: '0192f3d0-0000-7000-8000-000000000002',
  sid: '0192f3d0-0000-7000-8000-000000000003',
  client_id: 'freehold',
}

async function newKey(kid: string): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  return { kid, public: await exportJWK(publicKey), private: await exportJWK(privateKey), use_from: '2020-01-01T00:00:00.000Z' }
}

describe('a token that was verified once', () => {
  let party: { id: string; url: string; keys: SigningKey[] }
  let token: string

  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    party = { id: ID, url: 'https://acme.test', keys: [await newKey('one')] }
    token = await sign(party, { ...claims, ...lifetimeOf(15) })
    expect(await verify(party, token)).toMatchObject({ user_id: claims.sub, session_id: claims.sid })
  })
  afterEach(() => vi.useRealTimers())

  it('is not checked again while it holds: the same answer comes without the key being asked', async () => {
    const asked = vi.spyOn(crypto.subtle, 'verify')
    expect(await verify(party, token)).toMatchObject({ user_id: claims.sub })
    expect(asked).not.toHaveBeenCalled()
    await verify(party, await sign(party, { ...claims, ...lifetimeOf(15) }))
    expect(asked).toHaveBeenCalledOnce()
  })

  it('is refused as soon as it has expired', async () => {
    vi.setSystemTime(Date.now() + 906_000)
    await expect(verify(party, token)).rejects.toMatchObject({ code: 'token_expired' })
  })

  it('is refused as soon as its key is no longer one of the tenant', async () => {
    await expect(verify({ ...party, keys: [await newKey('two')] }, token)).rejects.toMatchObject({ code: 'token_invalid' })
  })

  it('is refused as soon as its key is another one of the same name', async () => {
    await expect(verify({ ...party, keys: [await newKey('one')] }, token)).rejects.toMatchObject({ code: 'token_invalid' })
  })

  it('is refused as soon as the tenant has another URL', async () => {
    await expect(verify({ ...party, url: 'https://other.test' }, token)).rejects.toMatchObject({ code: 'token_invalid' })
  })

  it('is no token of another tenant, even one with the same keys', async () => {
    const other = { ...party, id: '0192f3d0-0000-7000-8000-000000000009' }
    await expect(verify(other, token)).rejects.toMatchObject({ code: 'token_wrong_tenant' })
  })

  it('with one letter changed is another token', async () => {
    const changed = `${token.slice(0, -4)}${token.at(-4) === 'A' ? 'B' : 'A'}${token.slice(-3)}`
    await expect(verify(party, changed)).rejects.toMatchObject({ code: 'token_invalid' })
  })
})
