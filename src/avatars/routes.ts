import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../http/answer.ts'
import type { AppEnv } from '../http/app-env.ts'
import { FILE } from '../http/bodies.ts'
import { room, route } from '../http/route.ts'
import { IMAGE_TYPES } from '../settings/image.ts'
import { User } from '../users/users.ts'
import { type AvatarFile, AvatarQuery, deleteAvatar, getAvatar, putAvatar } from './avatars.ts'
import { AVATAR_KIB } from './picture.ts'
import { storeOf } from './store.ts'

const Id = z.object({ id: z.uuid() })
const SHOWN = { files: { 'image/webp': FILE, 'image/svg+xml': FILE }, tagged: true, returns: { 200: null } } as const
const TAKEN = { file: { types: IMAGE_TYPES, most_kib: AVATAR_KIB }, returns: { 200: User } } as const

const bytesOf = async (c: Context<AppEnv>) => new Uint8Array(await c.req.arrayBuffer())

/** A browser keeps it and asks with each use whether it may go on: who was logged out, or lost a right, sees nothing from before. */
const shown = (c: Context<AppEnv>, { content, content_type, etag }: AvatarFile) =>
  c.body(content, 200, {
    'Content-Type': content_type,
    ETag: `"${etag}"`,
    'Cache-Control': 'private, no-cache, no-transform',
    Vary: 'X-Tenant, Authorization, X-API-Key, Cookie',
  })

/** The picture of others, under /users of a tenant. */
export const userAvatarRoutes = room()

userAvatarRoutes.openapi(
  route({
    ...SHOWN,
    operationId: 'getUserAvatar',
    method: 'get',
    path: '/{id}/avatar',
    summary: 'Get the picture of a user, or their initials as an SVG',
    permission: 'user:read',
    trips: 1,
    params: Id,
    query: AvatarQuery,
    problems: ['invalid_request', 'not_found'],
  }),
  async (c) => shown(c, await getAvatar(c.var.ctx, storeOf(c.env), c.req.valid('param').id, c.req.valid('query').size)),
)

userAvatarRoutes.openapi(
  route({
    ...TAKEN,
    operationId: 'setUserAvatar',
    method: 'put',
    path: '/{id}/avatar',
    summary: 'Set the picture of a user: a PNG, JPEG or WebP of at most 2 MiB, 8192 pixels a side and 40 megapixels',
    permission: 'user:update',
    trips: 1,
    params: Id,
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const said = c.req.header('Content-Type') ?? ''
    return answer(c, await putAvatar(c.var.ctx, storeOf(c.env), c.req.valid('param').id, await bytesOf(c), said))
  },
)

userAvatarRoutes.openapi(
  route({
    operationId: 'deleteUserAvatar',
    method: 'delete',
    path: '/{id}/avatar',
    summary: 'Remove the picture of a user: their initials are shown again',
    permission: 'user:update',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    await deleteAvatar(c.var.ctx, storeOf(c.env), c.req.valid('param').id)
    return c.body(null, 204)
  },
)

/** One's own, under /auth of a tenant. */
export const ownAvatarRoutes = room()

ownAvatarRoutes.openapi(
  route({
    ...SHOWN,
    operationId: 'getMyAvatar',
    method: 'get',
    path: '/me/avatar',
    summary: 'Get the picture of the current user, or their initials as an SVG',
    permission: null,
    trips: 1,
    query: AvatarQuery,
    problems: ['invalid_request'],
  }),
  async (c) => shown(c, await getAvatar(c.var.ctx, storeOf(c.env), null, c.req.valid('query').size)),
)

ownAvatarRoutes.openapi(
  route({
    ...TAKEN,
    operationId: 'setMyAvatar',
    method: 'put',
    path: '/me/avatar',
    summary: 'Set the picture of the current user: a PNG, JPEG or WebP of at most 2 MiB, 8192 pixels a side and 40 megapixels',
    permission: null,
    by: 'session',
    trips: 1,
  }),
  async (c) => {
    const said = c.req.header('Content-Type') ?? ''
    return answer(c, await putAvatar(c.var.ctx, storeOf(c.env), null, await bytesOf(c), said))
  },
)

ownAvatarRoutes.openapi(
  route({
    operationId: 'deleteMyAvatar',
    method: 'delete',
    path: '/me/avatar',
    summary: 'Remove the picture of the current user: their initials are shown again',
    permission: null,
    by: 'session',
    trips: 1,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await deleteAvatar(c.var.ctx, storeOf(c.env), null)
    return c.body(null, 204)
  },
)
