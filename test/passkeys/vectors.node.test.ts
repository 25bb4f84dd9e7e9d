/** The test vectors of the W3C (Web Authentication Level 3), on the library as it is and on what the bundle has of it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { beforeAll, describe, expect, it } from 'vitest'
import { unstable_readConfig as readConfig } from 'wrangler'
import * as whole from '../../src/passkeys/webauthn.ts'
import { ROOT } from '../dev/running.ts'

type Vector = {
  id: string
  registration: { challenge: string; credential_id: string; aaguid: string; clientDataJSON: string; attestationObject: string }
  authentication: { challenge: string; authenticatorData: string; clientDataJSON: string; signature: string }
}
const { cases, rp_id, origin } = JSON.parse(readFileSync(join(ROOT, 'test/passkeys/vectors.json'), 'utf8')) as {
  cases: Vector[]
  rp_id: string
  origin: string
}
const VERIFIED = [
  'fido-u2f-es256',
  'none-es256',
  'none-es256-crossOrigin',
  'none-es256-long-credential-id',
  'none-es256-topOrigin',
  'packed-self-es256',
]
/** The flags come after the SHA-256 of the rpId. */
function flagsAt(attestationObject: string): number {
  const hash = 'bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b5'
  const at = attestationObject.indexOf(hash) + hash.length
  return Number.parseInt(attestationObject.slice(at, at + 2), 16)
}

const base64url = (hex: string) => Buffer.from(hex, 'hex').toString('base64url')
const expectedOf = (challenge: string) => ({
  origin,
  rp_ids: [rp_id],
  challenge: base64url(challenge),
  is_user_verified: false,
  is_framed: true,
})

function newOf({ registration: { credential_id, clientDataJSON, attestationObject } }: Vector) {
  const id = base64url(credential_id)
  const response = { clientDataJSON: base64url(clientDataJSON), attestationObject: base64url(attestationObject) }
  return { id, rawId: id, type: 'public-key' as const, clientExtensionResults: {}, response }
}

function answerOf({ registration, authentication: { authenticatorData, clientDataJSON, signature } }: Vector) {
  const id = base64url(registration.credential_id)
  const [data, client, signed] = [authenticatorData, clientDataJSON, signature].map(base64url) as [string, string, string]
  const response = { authenticatorData: data, clientDataJSON: client, signature: signed }
  return { id, rawId: id, type: 'public-key' as const, clientExtensionResults: {}, response }
}

let bundled = ''
const code: Record<string, typeof whole> = { 'the library': whole }

beforeAll(async () => {
  const { alias = {} } = readConfig({ config: join(ROOT, 'wrangler.toml') })
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, 'src/passkeys/webauthn.ts')],
    absWorkingDir: ROOT,
    alias: Object.fromEntries(Object.entries(alias as Record<string, string>).map(([name, file]) => [name, join(ROOT, file)])),
    bundle: true,
    write: false,
    format: 'esm',
    minify: true,
  })
  bundled = outputFiles[0]?.text ?? ''
  code['the bundle'] = await import(`data:text/javascript;base64,${Buffer.from(bundled).toString('base64')}`)
})

describe.each(['the library', 'the bundle'])('in %s', (which) => {
  const part = () => code[which] as typeof whole

  it.each(cases.filter(({ id }) => VERIFIED.includes(id)))('$id is verified, registered and used', async (vector) => {
    const { registration, authentication } = vector
    const made = await part().verifyNew(newOf(vector), expectedOf(registration.challenge))
    expect(made.credential_id).toBe(base64url(registration.credential_id))
    expect(made.aaguid.replaceAll('-', '')).toBe(registration.aaguid)
    expect(made.rp_id).toBe(rp_id)
    const counter = await part().verifyAnswer(answerOf(vector), made.public_key, expectedOf(authentication.challenge))
    expect(counter).toBe(Number.parseInt(authentication.authenticatorData.slice(66, 74), 16))
  })

  it.each(cases.filter(({ id }) => VERIFIED.includes(id)))('$id with another signature is refused', async (vector) => {
    const { registration, authentication } = vector
    const { public_key } = await part().verifyNew(newOf(vector), expectedOf(registration.challenge))
    const signature = authentication.signature.replace(/..$/, (last) => (last === '00' ? '01' : '00'))
    const answer = answerOf({ ...vector, authentication: { ...authentication, signature } })
    await expect(part().verifyAnswer(answer, public_key, expectedOf(authentication.challenge))).rejects.toThrow(
      part().NotVerified,
    )
  })

  it.each(cases.filter(({ id }) => !VERIFIED.includes(id)))('$id is refused by its attestation', async (vector) => {
    const refused = part().verifyNew(newOf(vector), expectedOf(vector.registration.challenge))
    await expect(refused).rejects.toMatchObject({
      member: 'response/attestationObject',
      message: expect.stringContaining('attestation'),
    })
  })

  it('those that say that nobody was verified are refused where the user must be: three in their use, four when they are made', async () => {
    const strict = (challenge: string) => ({ ...expectedOf(challenge), is_user_verified: true })
    const refused: string[][] = [[], []]
    for (const vector of cases.filter(({ id }) => VERIFIED.includes(id))) {
      const { registration, authentication } = vector
      const made = part().verifyNew(newOf(vector), strict(registration.challenge))
      if (!(flagsAt(registration.attestationObject) & 0x04)) {
        await expect(made).rejects.toThrow('user was not verified')
        refused[0]?.push(vector.id)
      } else await made
      const { public_key } = await part().verifyNew(newOf(vector), expectedOf(registration.challenge))
      const used = part().verifyAnswer(answerOf(vector), public_key, strict(authentication.challenge))
      if (!(Number.parseInt(authentication.authenticatorData.slice(64, 66), 16) & 0x04)) {
        await expect(used).rejects.toThrow('user was not verified')
        refused[1]?.push(vector.id)
      } else await used
    }
    expect(refused.map((ids) => ids.length)).toEqual([4, 3])
  })

  it('those of a page in a frame are refused where no frame is allowed', async () => {
    for (const vector of cases.filter(({ id }) => /crossOrigin|topOrigin/.test(id))) {
      const expected = { ...expectedOf(vector.registration.challenge), is_framed: false }
      await expect(part().verifyNew(newOf(vector), expected)).rejects.toThrow('in a frame')
    }
  })
})

it('the library takes at most 32 KiB of the bundle', () => {
  expect(bundled.length).toBeGreaterThan(10_000)
  expect(gzipSync(bundled, { level: 9 }).length).toBeLessThanOrEqual(32 * 1024)
})
