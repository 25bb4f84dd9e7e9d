/** The logo of a tenant. Threat: what is shown on its pages is no image (image.ts), or is changed by who may not (look.sql). */
import { z } from '@hono/zod-openapi'
import { decodeBase64, encodeBase64 } from '@oslojs/encoding'
import { sql } from 'drizzle-orm'
import { share, sharedByRealm } from '../http/shared.ts'
import type { Ctx } from '../kernel/context.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { IMAGE_TYPES, imageOf } from './image.ts'
import { forgetLook } from './look.ts'
import { logo } from './table.ts'

export const LOGO_KIB = 64
const LOGO_PIXELS = 1024

export const Logo = z
  .object({
    content_type: z.enum(IMAGE_TYPES),
    width: z.int().openapi({ description: 'In pixels.' }),
    height: z.int().openapi({ description: 'In pixels.' }),
    etag: z.string().openapi({ description: 'The `ETag` of the logo, which is its SHA-256.', example: 'a'.repeat(64) }),
  })
  .openapi('Logo')

/**
 * Sets the logo, or replaces it. One round trip; `setting:update` at scope `all`. `said` is the Content-Type. Fails with
 * unsupported_media_type (the bytes are no PNG, JPEG or WebP, or another of them than was said), invalid_request (over 1024 pixels
 * wide or high).
 */
export async function putLogo(ctx: Ctx, bytes: Uint8Array, said: string): Promise<z.infer<typeof Logo>> {
  const image = imageOf(bytes)
  if (!image)
    throw new Problem('unsupported_media_type', `The bytes are no image of these types: send ${IMAGE_TYPES.join(', ')}.`)
  const { content_type, width, height } = image
  if (content_type !== said) throw new Problem('unsupported_media_type', `The bytes are ${content_type}, and not ${said}.`)
  if (Math.max(width, height) > LOGO_PIXELS)
    throw invalid('', `must be at most ${LOGO_PIXELS} pixels wide and high: it is ${width} by ${height}`)
  const content = sql`decode(${encodeBase64(bytes)}, 'base64')`
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`insert into ${logo} as l (content_type, width, height, etag, content)
          select ${content_type}, ${width}::integer, ${height}::integer, encode(sha256(c.content), 'hex'), c.content from (select ${content} as content) c
          on conflict (one) do update set content_type = excluded.content_type, width = excluded.width, height = excluded.height,
            etag = excluded.etag, content = excluded.content, updated_at = now()
          returning content_type, width, height, etag`,
    ),
  )
  forget(ctx)
  return rowsOf<z.infer<typeof Logo>>(result)[0] ?? Promise.reject(new Problem('forbidden'))
}

/** Removes the logo. One round trip; `setting:update` at scope `all`. Fails with not_found (there is none). */
export async function deleteLogo(ctx: Ctx): Promise<void> {
  const [removed, left] = await ctx.run(
    ctx.db.execute(sql`delete from ${logo} returning one`),
    ctx.db.execute(sql`select one from ${logo}`),
  )
  forget(ctx)
  // Whoever may change settings, but not all of them, sees the logo, and it is still there.
  if (rowsOf(left).length) throw new Problem('forbidden')
  if (!rowsOf(removed).length) throw new Problem('not_found', 'This tenant has no logo.')
}

type Stored = { content_type: string; etag: string; content: Uint8Array<ArrayBuffer> }
const FRESH_MS = 2_000
/** With those of 64 KiB each, 6 MiB. */
const memory = sharedByRealm<Stored | null>(100, null)

/** Gets the logo, for anybody, at most 2 s old: one round trip, or none. Fails with not_found (there is none). */
export async function getLogo(ctx: Ctx): Promise<Stored> {
  const known = memory.of(ctx.realm.id)
  const found = await share(known, FRESH_MS, () => stored(ctx), ctx.later)
  if (known.failure !== null) throw known.failure
  if (!found) throw new Problem('not_found', 'This tenant has no logo.')
  return found
}

async function stored(ctx: Ctx): Promise<Stored | null> {
  const found = await ctx.call<(Omit<Stored, 'content'> & { content: string }) | null>(sql`access.logo(${ctx.realm.id})`)
  return found && { ...found, content: new Uint8Array(decodeBase64(found.content)) }
}

/** The logo was changed: this isolate shows it, and its address, at once. */
function forget(ctx: Ctx): void {
  memory.forget(ctx.realm.id)
  forgetLook(ctx)
}
