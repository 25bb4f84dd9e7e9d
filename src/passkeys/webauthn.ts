/**
 * What a passkey answers, verified (W3C Web Authentication Level 3, sections 7.1 and 7.2). Threat: an answer that was made for another
 * page, host, challenge or user; without anybody present; or with a key that an attacker chose. Which model an authenticator is does
 * not matter here, so that no certificate is trusted and none of a manufacturer is read: `none`, self-attested `packed` and `fido-u2f`
 * are verified, and every other attestation is refused (decision 72). Nothing here knows a database.
 */
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import { verifyAuthenticationResponse, verifyRegistrationResponse } from '@simplewebauthn/server'
import {
  convertCOSEtoPKCS,
  decodeAttestationObject,
  isoBase64URL,
  isoCBOR,
  isoUint8Array,
  parseAuthenticatorData,
  toHash,
  verifySignature,
} from '@simplewebauthn/server/helpers'

/** Why an answer is refused: the member that is wrong, from `credential` on, and what is wrong with it. */
export class NotVerified extends Error {
  readonly member: string
  constructor(member: string, said: string, cause?: unknown) {
    super(said, { cause })
    this.member = member
  }
}

/** ES256, EdDSA and RS256: what authenticators have (COSE, RFC 9053). */
export const ALGORITHMS = [-7, -8, -257]

/** What must hold of each answer. Tests of the W3C's vectors, some of which are framed or unverified, loosen the last two. */
export type Expected = {
  /** The origin of the page. */
  origin: string
  /** The hosts for which the passkey may be. */
  rp_ids: string[]
  /** The challenge, in base64url. */
  challenge: string
  is_user_verified?: boolean
  is_framed?: boolean
}

export type Registered = {
  credential_id: string
  /** The public key (COSE_Key), in base64url. */
  public_key: string
  counter: number
  rp_id: string
  aaguid: string
  /** Whether it can be on several devices, as synchronised passkeys are. */
  is_synced: boolean
}

/** Verifies a new passkey. Fails with NotVerified. */
export async function verifyNew(response: RegistrationResponseJSON, expected: Expected): Promise<Registered> {
  const { clientDataJSON, attestationObject } = response.response
  checkClientData(clientDataJSON, 'webauthn.create', expected)
  const attestation = parsed('response/attestationObject', () =>
    decodeAttestationObject(isoBase64URL.toBuffer(attestationObject)),
  )
  if (!(attestation instanceof Map)) throw new NotVerified('response/attestationObject', 'is not CBOR')
  const format = attestation.get('fmt')
  const statement: unknown = attestation.get('attStmt')
  const has_chain = statement instanceof Map && statement.has('x5c')
  if (!(format === 'none' || format === 'fido-u2f' || (format === 'packed' && !has_chain)))
    throw new NotVerified('response/attestationObject', 'has an attestation that is not taken: ask for none')
  const authData = attestation.get('authData')
  await checkAuthenticator('response/attestationObject', authData, expected)
  const is_u2f = format === 'fido-u2f'
  if (is_u2f) await checkU2f(statement, authData, clientDataJSON)
  const verified = await verifyRegistrationResponse({
    response: is_u2f
      ? { ...response, response: { ...response.response, attestationObject: withoutStatement(authData) } }
      : response,
    expectedChallenge: expected.challenge,
    expectedOrigin: expected.origin,
    expectedRPID: expected.rp_ids,
    requireUserVerification: expected.is_user_verified ?? true,
    supportedAlgorithmIDs: ALGORITHMS,
  }).catch((cause) => {
    throw new NotVerified('response/attestationObject', 'cannot be verified', cause)
  })
  if (!verified.verified) throw new NotVerified('response/attestationObject', 'has a signature that is not right')
  const { credential, aaguid, credentialDeviceType, rpID = '' } = verified.registrationInfo
  if (credential.id !== response.id) throw new NotVerified('id', 'is not the id of the passkey')
  return {
    credential_id: credential.id,
    public_key: isoBase64URL.fromBuffer(credential.publicKey),
    counter: credential.counter,
    rp_id: rpID,
    aaguid,
    is_synced: credentialDeviceType === 'multiDevice',
  }
}

/**
 * Verifies that a passkey answered, and returns its counter, which the database compares: only of who holds the key is a counter that
 * goes back worth a report. Fails with NotVerified.
 */
export async function verifyAnswer(
  response: AuthenticationResponseJSON,
  public_key: string,
  expected: Expected,
): Promise<number> {
  const { clientDataJSON, authenticatorData } = response.response
  const data = checkClientData(clientDataJSON, 'webauthn.get', expected)
  await checkAuthenticator('response/authenticatorData', isoBase64URL.toBuffer(authenticatorData), expected)
  const { verified, authenticationInfo } = await verifyAuthenticationResponse({
    response,
    expectedChallenge: expected.challenge,
    expectedOrigin: expected.origin,
    expectedRPID: expected.rp_ids,
    requireUserVerification: expected.is_user_verified ?? true,
    ...(typeof data.topOrigin === 'string' && { expectedTopOrigin: data.topOrigin }),
    credential: { id: response.id, publicKey: isoBase64URL.toBuffer(public_key), counter: 0 },
  }).catch((cause) => {
    throw new NotVerified('response/signature', 'cannot be verified', cause)
  })
  if (!verified) throw new NotVerified('response/signature', 'is not right')
  return authenticationInfo.newCounter
}

/** The challenge that an answer names, in base64url; null: none can be read. */
export function challengeIn(clientDataJSON: string): string | null {
  try {
    const { challenge } = JSON.parse(isoBase64URL.toUTF8String(clientDataJSON))
    return typeof challenge === 'string' ? challenge : null
  } catch {
    return null
  }
}

/** The user for whom a passkey was made, as authenticators keep it (user handle). */
export const userHandleOf = (user_id: string) => isoBase64URL.fromUTF8String(user_id)

function checkClientData(clientDataJSON: string, type: string, { origin, challenge, is_framed = false }: Expected) {
  const member = 'response/clientDataJSON'
  const data: unknown = parsed(member, () => JSON.parse(isoBase64URL.toUTF8String(clientDataJSON)))
  if (typeof data !== 'object' || data === null) throw new NotVerified(member, 'is not a JSON object')
  const said = data as Record<string, unknown>
  if (said.type !== type) throw new NotVerified(member, `has a type that is not ${type}`)
  if (said.challenge !== challenge) throw new NotVerified(member, 'has another challenge')
  if (said.origin !== origin) throw new NotVerified(member, `is of a page of another origin than ${origin}`)
  if (!is_framed && (said.crossOrigin === true || said.topOrigin !== undefined))
    throw new NotVerified(member, 'is of a page in a frame of another origin')
  return said
}

/**
 * Verifies an attestation of FIDO U2F (section 8.6). The library would also have the AAGUID be zero, which the procedure does not ask
 * for and the W3C's own vector is not. Fails with NotVerified.
 */
async function checkU2f(statement: unknown, authData: Uint8Array<ArrayBuffer>, clientDataJSON: string): Promise<void> {
  const member = 'response/attestationObject'
  const { rpIdHash, credentialID, credentialPublicKey } = parsed(member, () => parseAuthenticatorData(authData))
  const [sig, x5c] = statement instanceof Map ? [statement.get('sig'), statement.get('x5c')] : []
  const [x509Certificate, ...more]: unknown[] = Array.isArray(x5c) ? x5c : []
  if (
    !(sig instanceof Uint8Array && x509Certificate instanceof Uint8Array) ||
    more.length ||
    !credentialID ||
    !credentialPublicKey
  )
    throw new NotVerified(member, 'has no signature and certificate of FIDO U2F')
  const clientDataHash = await toHash(isoBase64URL.toBuffer(clientDataJSON))
  const publicKey = parsed(member, () => convertCOSEtoPKCS(credentialPublicKey))
  const data = isoUint8Array.concat([new Uint8Array(1), rpIdHash, clientDataHash, credentialID, publicKey])
  const signed = { signature: sig as Uint8Array<ArrayBuffer>, x509Certificate: x509Certificate as Uint8Array<ArrayBuffer> }
  if (!(await parsed(member, () => verifySignature({ ...signed, data, hashAlgorithm: -7 }))))
    throw new NotVerified(member, 'has a signature that is not right')
}

/** An attestation object without a statement, in base64url: for the library, once the statement is verified. */
const withoutStatement = (authData: Uint8Array<ArrayBuffer>) =>
  isoBase64URL.fromBuffer(
    isoCBOR.encode(
      new Map<string, unknown>([
        ['fmt', 'none'],
        ['attStmt', new Map()],
        ['authData', authData],
      ]) as never,
    ),
  )

const USER_PRESENT = 0x01
const USER_VERIFIED = 0x04

/** The host and the flags, with a reason for each. The library checks them again, together with the signature. */
async function checkAuthenticator(member: string, data: unknown, { rp_ids, is_user_verified = true }: Expected): Promise<void> {
  if (!(data instanceof Uint8Array)) throw new NotVerified(member, 'has no authenticator data')
  const { rpIdHash, flags } = parsed(member, () => parseAuthenticatorData(new Uint8Array(data)))
  const hashes = await Promise.all(rp_ids.map((id) => crypto.subtle.digest('SHA-256', new TextEncoder().encode(id))))
  const is_ours = hashes.some((hash) => new Uint8Array(hash).every((byte, i) => byte === rpIdHash[i]))
  if (!is_ours) throw new NotVerified(member, `is for another rpId than ${rp_ids.join(', ')}`)
  if (!(flags.flagsInt & USER_PRESENT)) throw new NotVerified(member, 'says that nobody was present')
  if (is_user_verified && !(flags.flagsInt & USER_VERIFIED))
    throw new NotVerified(member, 'says that the user was not verified: a PIN, a fingerprint or a face is required')
}

function parsed<T>(member: string, parse: () => T): T {
  try {
    return parse()
  } catch (cause) {
    throw new NotVerified(member, 'cannot be read', cause)
  }
}
