import { z } from '@hono/zod-openapi'
import { room, route } from '../http/route.ts'
import { OperatorReset, resetByOperator } from './by-operator.ts'
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
import { EmailProof, Registered, Registration, Resend, register, resendVerification, verifyEmail } from './registration.ts'

const Id = z.object({ id: z.uuid() })

/** Password reset and verification, under /auth of either plane. */
export const recoveryRoutes = room()

recoveryRoutes.openapi(
  route({
    operationId: 'requestPasswordReset',
    method: 'post',
    path: '/password-reset',
    summary: 'Request a password reset; mails a token, of which only the newest works',
    public: true,
    trips: 1,
    attempts: 'mail',
    body: ResetRequest,
    returns: { 202: Accepted },
  }),
  async (c) => {
    await requestReset(c.var.ctx, c.req.valid('json'))
    return c.json(ACCEPTED, 202)
  },
)

recoveryRoutes.openapi(
  route({
    operationId: 'confirmPasswordReset',
    method: 'post',
    path: '/password-reset/confirm',
    summary: 'Set a new password with the token from the mail; ends all sessions, and if asked, API keys',
    public: true,
    trips: 2,
    attempts: 'password-reset',
    body: ResetConfirmation,
    returns: { 204: null },
  }),
  async (c) => {
    await confirmReset(c.var.ctx, c.req.valid('json'))
    return c.body(null, 204)
  },
)

recoveryRoutes.openapi(
  route({
    operationId: 'resetPassword',
    deprecated: true,
    method: 'post',
    path: '/reset-password',
    summary: 'Set the password of a user, given or generated, revoke their API keys, and mail them a reset link',
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
    operationId: 'verifyEmail',
    method: 'post',
    path: '/verify-email',
    summary: "Verify an e-mail address with the token from the mail; a registration's needs its secret, or a new password",
    public: true,
    trips: 2,
    attempts: 'verify',
    body: EmailProof,
    returns: { 204: null },
    problems: ['already_exists', 'limit_reached', 'denied_by_hook', 'password_required'],
  }),
  async (c) => {
    await verifyEmail(c.var.ctx, c.req.valid('json'))
    return c.body(null, 204)
  },
)

recoveryRoutes.openapi(
  route({
    operationId: 'resendVerification',
    method: 'post',
    path: '/verify-email/resend',
    summary: 'Resend the verification mail',
    public: true,
    trips: 1,
    attempts: 'mail',
    body: Resend,
    returns: { 202: Accepted },
  }),
  async (c) => {
    await resendVerification(c.var.ctx, c.req.valid('json'))
    return c.json(ACCEPTED, 202)
  },
)

recoveryRoutes.openapi(
  route({
    operationId: 'requestEmailChange',
    method: 'post',
    path: '/email-change',
    summary: 'Request a change of the e-mail address; it takes effect once the new address is verified',
    permission: null,
    by: 'session',
    trips: 2,
    attempts: 'password-change',
    body: EmailChange,
    returns: { 202: Accepted },
    problems: ['invalid_credentials'],
  }),
  async (c) => {
    await changeEmail(c.var.ctx, c.req.valid('json'))
    return c.json(ACCEPTED, 202)
  },
)

recoveryRoutes.openapi(
  route({
    operationId: 'sendPhoneCode',
    method: 'post',
    path: '/phone-verification',
    summary: 'Send a verification code to the phone number of the current user',
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
    operationId: 'verifyPhone',
    method: 'post',
    path: '/verify-phone',
    summary: 'Verify the phone number of the current user with the code',
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

/** Registration, under /auth of a tenant. The platform has none. */
export const registrationRoutes = room()

registrationRoutes.openapi(
  route({
    operationId: 'register',
    method: 'post',
    path: '/register',
    summary: 'Register by e-mail, where the tenant allows it; returns the secret that verify-email takes',
    public: true,
    trips: 2,
    attempts: 'register',
    body: Registration,
    returns: { 202: Registered },
    problems: ['forbidden'],
  }),
  async (c) => {
    return c.json(await register(c.var.ctx, c.req.valid('json')), 202)
  },
)

/** Recovery by an administrator, under /users and /operators. */
export const userRecoveryRoutes = room()

userRecoveryRoutes.openapi(
  route({
    operationId: 'resetUserPassword',
    method: 'post',
    path: '/{id}/reset-password',
    summary: 'Set the password of a user, given or generated, revoke their API keys, and mail them a reset link',
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
    operationId: 'unlockUser',
    method: 'post',
    path: '/{id}/unlock',
    summary: 'Unlock a user',
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

/** A reset in a tenant, under /platform/v1/tenants. */
export const tenantRecoveryRoutes = room()

tenantRecoveryRoutes.openapi(
  route({
    operationId: 'resetTenantUserPassword',
    method: 'post',
    path: '/{id}/reset-password',
    summary:
      'Reset the password of a user of a tenant, given or generated; their sessions and API keys end, and they must change it',
    permission: 'tenant:recover',
    trips: 1,
    params: Id,
    body: OperatorReset,
    returns: { 200: ResetDone },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => c.json(await resetByOperator(c.var.ctx, c.req.valid('param').id, c.req.valid('json')), 200),
)
