import { z } from '@hono/zod-openapi'
import { rateLimit } from '../http/rate-limit.ts'
import { room, route } from '../http/route.ts'
import { changeEmail, EmailChange, PhoneProof, sendPhoneCode, verifyPhone } from './contact.ts'
import {
  ACCEPTED,
  Accepted,
  AdminReset,
  AdminResetOf,
  adminReset,
  confirmReset,
  ResetConfirmation,
  ResetDone,
  ResetRequest,
  requestReset,
  unlock,
} from './recovery.ts'
import { EmailProof, Registration, Resend, register, resendVerification, verifyEmail } from './registration.ts'

const Id = z.object({ id: z.uuid() })

/** Getting back in, under /auth of either plane. */
export const recoveryRoutes = room()

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/password-reset',
    summary: 'Forgot the password: a mail with a token for one hour',
    public: true,
    trips: 1,
    body: ResetRequest,
    returns: { 202: Accepted },
  }),
  async (c) => {
    await rateLimit(c, 'mail')
    await requestReset(c.var.ctx, c.req.valid('json'))
    return c.json(ACCEPTED, 202)
  },
)

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/password-reset/confirm',
    summary: 'Set a new password by the token of the mail; all sessions end',
    public: true,
    trips: 2,
    body: ResetConfirmation,
    returns: { 204: null },
  }),
  async (c) => {
    await rateLimit(c, 'password-reset')
    await confirmReset(c.var.ctx, c.req.valid('json'))
    return c.body(null, 204)
  },
)

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/reset-password',
    summary: "Set somebody's password, the one given or a generated one; they are mailed",
    permission: 'user:update',
    trips: 2,
    body: AdminResetOf,
    returns: { 200: ResetDone },
    problems: ['not_found'],
  }),
  async (c) => {
    const { user_id, ...wanted } = c.req.valid('json')
    return c.json(await adminReset(c.var.ctx, user_id, wanted), 200)
  },
)

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/verify-email',
    summary: 'Show that an address is yours by the token of the mail',
    public: true,
    trips: 1,
    body: EmailProof,
    returns: { 204: null },
    problems: ['already_exists', 'limit_reached'],
  }),
  async (c) => {
    await rateLimit(c, 'verify')
    await verifyEmail(c.var.ctx, c.req.valid('json'))
    return c.body(null, 204)
  },
)

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/verify-email/resend',
    summary: 'Send the verification once more',
    public: true,
    trips: 1,
    body: Resend,
    returns: { 202: Accepted },
  }),
  async (c) => {
    await rateLimit(c, 'mail')
    await resendVerification(c.var.ctx, c.req.valid('json'))
    return c.json(ACCEPTED, 202)
  },
)

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/email-change',
    summary: 'Ask for another e-mail address: it changes once it is shown to be yours',
    permission: null,
    by: 'session',
    trips: 2,
    body: EmailChange,
    returns: { 202: Accepted },
    problems: ['invalid_credentials'],
  }),
  async (c) => {
    await rateLimit(c, 'password-change')
    await changeEmail(c.var.ctx, c.req.valid('json'))
    return c.json(ACCEPTED, 202)
  },
)

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/phone-verification',
    summary: 'Send a code to your phone number',
    permission: null,
    by: 'session',
    trips: 1,
    returns: { 202: Accepted },
    problems: ['illegal_state'],
  }),
  async (c) => {
    await sendPhoneCode(c.var.ctx)
    return c.json(ACCEPTED, 202)
  },
)

recoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/verify-phone',
    summary: 'Show that your phone number is yours by the code',
    permission: null,
    by: 'session',
    trips: 1,
    body: PhoneProof,
    returns: { 204: null },
  }),
  async (c) => {
    await verifyPhone(c.var.ctx, c.req.valid('json'))
    return c.body(null, 204)
  },
)

/** Registering, under /auth of a tenant. The platform lets nobody register. */
export const registrationRoutes = room()

registrationRoutes.openapi(
  route({
    method: 'post',
    path: '/register',
    summary: 'Register by e-mail, where the tenant allows it',
    public: true,
    trips: 2,
    body: Registration,
    returns: { 202: Accepted },
    problems: ['forbidden'],
  }),
  async (c) => {
    await rateLimit(c, 'register')
    await register(c.var.ctx, c.req.valid('json'))
    return c.json(ACCEPTED, 202)
  },
)

/** What an administrator does for somebody, under /users and /operators. */
export const userRecoveryRoutes = room()

userRecoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/{id}/reset-password',
    summary: "Set a person's password, the one given or a generated one; they are mailed",
    permission: 'user:update',
    trips: 2,
    params: Id,
    body: AdminReset,
    returns: { 200: ResetDone },
    problems: ['not_found'],
  }),
  async (c) => c.json(await adminReset(c.var.ctx, c.req.valid('param').id, c.req.valid('json')), 200),
)

userRecoveryRoutes.openapi(
  route({
    method: 'post',
    path: '/{id}/unlock',
    summary: 'Let a person who is locked out try again at once',
    permission: 'user:update',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await unlock(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
