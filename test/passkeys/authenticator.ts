/** An authenticator in software, for tests: it makes and answers as WebAuthn has it, or otherwise where a test says how. */
import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding } from '@oslojs/encoding'

type Bytes = Uint8Array<ArrayBuffer>
export type Differently = {
  origin?: string
  rp_id?: string
  challenge?: string
  type?: string
  user_handle?: string | null
  /** Of the authenticator data; a registration adds that there is a credential. */
  flags?: number
  counter?: number
  client?: Record<string, unknown>
  attestation?: Bytes
  credential_id?: string
}

/** Present and verified. */
export const PRESENT = 0x01
export const VERIFIED = 0x04
const HAS_CREDENTIAL = 0x40

const utf8 = (text: string): Bytes => new Uint8Array(new TextEncoder().encode(text))
export const base64url = (bytes: Uint8Array) => encodeBase64urlNoPadding(bytes)
const sha256 = async (bytes: Bytes): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
export const joined = (...parts: Uint8Array[]): Bytes => new Uint8Array(parts.flatMap((part) => [...part]))

/** CBOR (RFC 8949): a head, and what of it is needed here. */
function head(major: number, n: number): Bytes {
  if (n < 24) return new Uint8Array([(major << 5) | n])
  if (n < 256) return new Uint8Array([(major << 5) | 24, n])
  return new Uint8Array([(major << 5) | 25, n >> 8, n & 255])
}
export const cbor = {
  int: (n: number) => (n < 0 ? head(1, -1 - n) : head(0, n)),
  bytes: (bytes: Uint8Array) => joined(head(2, bytes.length), bytes),
  text: (text: string) => joined(head(3, utf8(text).length), utf8(text)),
  map: (...pairs: [Uint8Array, Uint8Array][]) => joined(head(5, pairs.length), ...pairs.flat()),
}

/** ECDSA as DER has it (X.690), from r and s. */
function der(raw: Uint8Array): Bytes {
  const int = (bytes: Uint8Array) => {
    const from = bytes.findIndex((byte) => byte !== 0)
    const trimmed = bytes.subarray(from)
    const positive = (trimmed[0] ?? 0) & 0x80 ? joined(new Uint8Array(1), trimmed) : joined(trimmed)
    return joined(new Uint8Array([2, positive.length]), positive)
  }
  const both = joined(int(raw.subarray(0, 32)), int(raw.subarray(32)))
  return joined(new Uint8Array([0x30, both.length]), both)
}

export type Authenticator = Awaited<ReturnType<typeof newAuthenticator>>

/** An authenticator for one passkey at `origin`, which answers options of the API. */
export async function newAuthenticator(origin: string) {
  const pair = (await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair
  const { x = '', y = '' } = (await crypto.subtle.exportKey('jwk', pair.publicKey)) as JsonWebKey
  const id = crypto.getRandomValues(new Uint8Array(32))
  const cose = cbor.map(
    [cbor.int(1), cbor.int(2)],
    [cbor.int(3), cbor.int(-7)],
    [cbor.int(-1), cbor.int(1)],
    [cbor.int(-2), cbor.bytes(decodeBase64urlIgnorePadding(x))],
    [cbor.int(-3), cbor.bytes(decodeBase64urlIgnorePadding(y))],
  )
  let user_handle = ''
  let counter = 0

  const client = (type: string, challenge: string, how: Differently) =>
    utf8(
      JSON.stringify({
        type: how.type ?? type,
        challenge: how.challenge ?? challenge,
        origin: how.origin ?? origin,
        crossOrigin: false,
        ...how.client,
      }),
    )

  async function data(rp_id: string, how: Differently, more = new Uint8Array(0)): Promise<Bytes> {
    const count = new Uint8Array(4)
    new DataView(count.buffer).setUint32(0, how.counter ?? counter)
    const flags = (how.flags ?? PRESENT | VERIFIED) | (more.length ? HAS_CREDENTIAL : 0)
    return joined(await sha256(utf8(how.rp_id ?? rp_id)), new Uint8Array([flags]), count, more)
  }

  return {
    id: base64url(id),
    /** The counter that it says next; 0: it counts nothing. */
    count: (n: number) => {
      counter = n
    },
    async create(options: any, how: Differently = {}) {
      user_handle = options.user.id
      const own = how.credential_id ? decodeBase64urlIgnorePadding(how.credential_id) : id
      const credential = joined(new Uint8Array(16), new Uint8Array([own.length >> 8, own.length & 255]), own, cose)
      const attestation =
        how.attestation ??
        cbor.map(
          [cbor.text('fmt'), cbor.text('none')],
          [cbor.text('attStmt'), cbor.map()],
          [cbor.text('authData'), cbor.bytes(await data(options.rp.id, how, credential))],
        )
      const response = {
        clientDataJSON: base64url(client('webauthn.create', options.challenge, how)),
        attestationObject: base64url(attestation),
        transports: ['internal'],
      }
      return { id: base64url(own), rawId: base64url(own), type: 'public-key', response, clientExtensionResults: {} }
    },
    async get(options: any, how: Differently = {}) {
      const authenticatorData = await data(options.rpId, how)
      const clientDataJSON = client('webauthn.get', options.challenge, how)
      const signed = joined(authenticatorData, await sha256(clientDataJSON))
      const raw = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, signed)
      const response = {
        clientDataJSON: base64url(clientDataJSON),
        authenticatorData: base64url(authenticatorData),
        signature: base64url(der(new Uint8Array(raw))),
        userHandle: how.user_handle === undefined ? user_handle : how.user_handle,
      }
      const own = how.credential_id ?? base64url(id)
      return { id: own, rawId: own, type: 'public-key', response, clientExtensionResults: {} }
    },
  }
}
