/** The little of Node's crypto that the tests use in workerd, whose other types are not Node's. */
declare module 'node:crypto' {
  type Hash = { update(data: Uint8Array): Hash; digest(): Uint8Array }
  export function createHash(algorithm: 'sha256'): Hash
}
