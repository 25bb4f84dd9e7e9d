/**
 * What the Worker uses of ASN.1: signatures of ECDSA, and the public key in a certificate of FIDO U2F. wrangler bundles this file wherever
 * @simplewebauthn/server imports `@peculiar/*` (wrangler.toml, alias), which are 60 KiB for formats of attestation that
 * src/passkeys/webauthn.ts refuses before the library reads them. A name that is missing here is an error of the build;
 * test/passkeys/vectors.node.test.ts runs the test vectors of the W3C on the bundle. DER: X.690 section 8 and 10.
 */
type Element = { tag: number; content: Uint8Array; whole: Uint8Array }

/** The elements that these bytes are, one after another. Fails when a length is longer than needed, or than what is there. */
function elementsIn(bytes: Uint8Array): Element[] {
  const found: Element[] = []
  let at = 0
  while (at < bytes.length) {
    const [tag = 0, first = 0] = bytes.subarray(at)
    const more = first < 0x80 ? 0 : first & 0x7f
    const digits = bytes.subarray(at + 2, at + 2 + more)
    const length = more ? digits.reduce((sum, digit) => sum * 256 + digit, 0) : first
    const from = at + 2 + more
    if (more > 3 || (more && (digits.length < more || length < 0x80 || digits[0] === 0)) || from + length > bytes.length)
      throw new Error('This is no DER.')
    found.push({ tag, content: bytes.subarray(from, from + length), whole: bytes.subarray(at, from + length) })
    at = from + length
  }
  return found
}

/** The content of one element with this tag. */
function contentOf(element: Element | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw new Error('This is not the expected element of DER.')
  return element.content
}

const [INTEGER, BIT_STRING, OID, SEQUENCE, VERSION] = [0x02, 0x03, 0x06, 0x30, 0xa0]
const oidOf = (element: Element | undefined) =>
  [...contentOf(element, OID)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
const sequence = (bytes: Uint8Array) => {
  const [only, ...more] = elementsIn(bytes)
  if (more.length) throw new Error('There is something after the DER.')
  return elementsIn(contentOf(only, SEQUENCE))
}

type Reads<T> = (bytes: Uint8Array) => T

export const AsnParser = { parse: <T>(bytes: Uint8Array, reads: Reads<T>) => reads(bytes) }

export function ECDSASigValue(bytes: Uint8Array) {
  const [r, s, ...more] = sequence(bytes)
  if (more.length) throw new Error('A signature has two numbers.')
  return { r: contentOf(r, INTEGER), s: contentOf(s, INTEGER) }
}

export const ECParameters = (bytes: Uint8Array) => ({ namedCurve: oidOf(elementsIn(bytes)[0]) })

/** Its public key (RFC 5280 section 4.1), and nothing else: no chain is validated, because no root is trusted. */
export function Certificate(bytes: Uint8Array) {
  const [tbs] = sequence(bytes)
  const fields = elementsIn(contentOf(tbs, SEQUENCE)).filter(({ tag }) => tag !== VERSION)
  // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
  const [algorithm, key] = elementsIn(contentOf(fields[5], SEQUENCE))
  const [name, parameters] = elementsIn(contentOf(algorithm, SEQUENCE))
  const subjectPublicKey = contentOf(key, BIT_STRING).subarray(1)
  return {
    tbsCertificate: {
      subjectPublicKeyInfo: { algorithm: { algorithm: oidOf(name), parameters: parameters?.whole }, subjectPublicKey },
    },
  }
}

export const id_ecPublicKey = '2a8648ce3d0201'
export const id_secp256r1 = '2a8648ce3d030107'
export const id_secp384r1 = '2b81040022'

/** What only the formats call that are refused. */
function refused(): never {
  throw new Error('This format of attestation is not read.')
}

export {
  refused as AuthorityKeyIdentifierExtension,
  refused as BasicConstraints,
  refused as CRLDistributionPointsExtension,
  refused as ExtendedKeyUsage,
  refused as id_ce_basicConstraints,
  refused as id_ce_extKeyUsage,
  refused as id_ce_keyDescription,
  refused as id_ce_subjectAltName,
  refused as id_ecdsaWithSHA256,
  refused as id_ecdsaWithSHA384,
  refused as id_ecdsaWithSHA512,
  refused as id_ml_dsa_44,
  refused as id_ml_dsa_65,
  refused as id_ml_dsa_87,
  refused as id_rsaEncryption,
  refused as id_sha1WithRSAEncryption,
  refused as id_sha256WithRSAEncryption,
  refused as id_sha384WithRSAEncryption,
  refused as id_sha512WithRSAEncryption,
  refused as KeyDescription,
  refused as OctetString,
  refused as RSAPublicKey,
  refused as SubjectAlternativeName,
  refused as SubjectKeyIdentifierExtension,
  refused as X509Certificate,
  refused as X509ChainBuilder,
  refused as X509Crl,
}
