/**
 * Where pictures are: objects of the bucket FILES, made small by Cloudflare Images. Threat: what the camera noted (a place, a name) is
 * shown to others; one tenant's picture is read as another's; objects of a tenant or a person that is gone. So what is kept is a WebP
 * that was made anew, which holds pixels alone; a key begins with the tenant, and its version cannot be guessed; and all of a tenant
 * are found by the beginning of their keys.
 */
import type { Env } from '../kernel/env.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { imageOf } from '../settings/image.ts'
import { brokenPicture } from './picture.ts'

export const SIZES = ['256', '64'] as const
export type Size = (typeof SIZES)[number]
export type Version = { user_id: string; version: string }

/** As many keys as one deletion takes. */
const MOST_KEYS = 1_000

const prefixOf = (tenant_id: string) => `avatars/${tenant_id}/`
const keyOf = (tenant_id: string, { user_id, version }: Version, size: Size) =>
  `${prefixOf(tenant_id)}${user_id}/${version}-${size}`

export type Store = { files: R2Bucket; images: ImagesBinding }

/** The bindings. Fails with asset_unavailable: a deployment may have none yet. */
export function storeOf({ FILES, IMAGES }: Env): Store {
  if (!FILES || !IMAGES) throw new Problem('asset_unavailable', 'This deployment keeps no pictures.')
  return { files: FILES as R2Bucket, images: IMAGES as ImagesBinding }
}

/** The bucket; null: this deployment has none. */
export const filesOf = ({ FILES }: Env): R2Bucket | null => (FILES as R2Bucket | undefined) ?? null

const unavailable = (what: string) => (cause: unknown) => {
  log('pictures unavailable', { what, error: cause instanceof Error ? cause.message : String(cause) })
  throw new Problem('asset_unavailable', undefined, { cause })
}

/** Makes and keeps all sizes of a picture that was looked at (picture.ts). Fails with invalid_request, asset_unavailable. */
export async function keep(
  { files, images }: Store,
  tenant_id: string,
  version: Version,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const made = await Promise.all(SIZES.map((size) => resized(images, bytes, Number(size))))
  const puts = SIZES.map((size, i) => files.put(keyOf(tenant_id, version, size), made[i] ?? null))
  await Promise.all(puts).catch(unavailable('put'))
}

/** A PNG of one pixel. */
const PIXEL = Uint8Array.from(
  atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='),
  (character) => character.charCodeAt(0),
)

const works = (images: ImagesBinding) =>
  converted(images, PIXEL, 1).then(
    () => true,
    () => false,
  )

async function converted(images: ImagesBinding, bytes: Uint8Array<ArrayBuffer>, size: number): Promise<ArrayBuffer> {
  const source = new Response(bytes).body as ReadableStream<Uint8Array>
  const made = await images
    .input(source)
    .transform({ width: size, height: size, fit: 'cover' })
    .output({ format: 'image/webp', quality: 85, anim: false })
  return made.response().arrayBuffer()
}

async function resized(images: ImagesBinding, bytes: Uint8Array<ArrayBuffer>, size: number): Promise<ArrayBuffer> {
  const made = await converted(images, bytes, size).catch(async (error: unknown) => {
    // What cannot be decoded and a service that fails may be told with the same words: one that makes another picture does not fail.
    if (await works(images)) throw brokenPicture()
    return unavailable('resize')(error)
  })
  const image = imageOf(new Uint8Array(made))
  if (image?.content_type !== 'image/webp' || image.width !== size || image.height !== size)
    return unavailable('resize')(`Made was ${image?.content_type} of ${image?.width} by ${image?.height}.`)
  return made
}

/** The bytes of a picture; null: they are gone. Fails with asset_unavailable. */
export async function read(files: R2Bucket, tenant_id: string, version: Version, size: Size): Promise<ReadableStream | null> {
  const found = await files.get(keyOf(tenant_id, version, size)).catch(unavailable('get'))
  return found?.body ?? null
}

/** Deletes pictures; what is gone is no failure. */
export async function remove(files: R2Bucket, tenant_id: string, versions: Version[]): Promise<void> {
  const keys = versions.flatMap((version) => SIZES.map((size) => keyOf(tenant_id, version, size)))
  for (let at = 0; at < keys.length; at += MOST_KEYS) await files.delete(keys.slice(at, at + MOST_KEYS))
}

/** Deletes everything of a tenant. */
export async function removeAll(files: R2Bucket, tenant_id: string): Promise<void> {
  for (;;) {
    const { objects } = await files.list({ prefix: prefixOf(tenant_id), limit: MOST_KEYS })
    if (!objects.length) return
    await files.delete(objects.map(({ key }) => key))
  }
}

/** The versions of which a tenant has objects that are older than this, in pages. */
export async function* versionsIn(
  files: R2Bucket,
  tenant_id: string,
  older_than: Date,
  limit = MOST_KEYS,
): AsyncGenerator<Version[]> {
  let cursor: string | undefined
  do {
    const page = await files.list({ prefix: prefixOf(tenant_id), limit, ...(cursor && { cursor }) })
    const known = new Map<string, Version>()
    for (const { key, uploaded } of page.objects) {
      const [, user_id, version] = /\/([0-9a-f-]{36})\/([0-9a-f]{32})-\d+$/.exec(key) ?? []
      if (user_id && version && uploaded < older_than) known.set(`${user_id}/${version}`, { user_id, version })
    }
    if (known.size) yield [...known.values()]
    cursor = page.truncated ? page.cursor : undefined
  } while (cursor)
}
