import { z } from 'zod'

/** The fields that the CLI reads from the API's answers. Other fields are kept, for --json. */
export const Tenant = z.looseObject({
  id: z.string(),
  subdomain: z.string(),
  url: z.string(),
  legal_name: z.string(),
  tax_id: z.string().nullable(),
  country: z.string().nullable(),
  region: z.string(),
  admin_email: z.string(),
  contact_name: z.string().nullable(),
  plan: z.string().nullable(),
  environment: z.string(),
  status: z.string(),
  isolation: z.string(),
  role_preset: z.string(),
  database_name: z.string(),
  schema_version: z.string().nullable(),
  limits: z.record(z.string(), z.unknown()).optional(),
  effective_limits: z.record(z.string(), z.unknown()).optional(),
  used: z.looseObject({ as_of: z.string().nullable() }).optional(),
  limits_exceeded: z.array(z.string()).optional(),
  is_applied: z.boolean().optional(),
  database_error: z.string().nullable().optional(),
  created_at: z.string(),
})
export type Tenant = z.infer<typeof Tenant>

export const InitialAdmin = z.object({ email: z.string(), password: z.string().optional(), must_change_password: z.boolean() })
export const MadeTenant = Tenant.extend({ initial_admin: InitialAdmin })

export const Step = z.object({
  name: z.string(),
  state: z.enum(['pending', 'running', 'done', 'failed']),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  attempts: z.number(),
  error: z.string().nullable(),
  /** Absent in answers of the release before. */
  trace_id: z.string().nullish(),
})
export type Step = z.infer<typeof Step>

export const Provisioning = z.object({ data: z.array(Step), status: z.string() })

const Grant = z.object({ permission: z.string(), scope: z.string() })
export const Role = z.looseObject({
  id: z.string(),
  name: z.string(),
  parent_id: z.string().nullable(),
  permissions: z.array(Grant),
})
export type Role = z.infer<typeof Role>

/** The servers in the OpenAPI document. */
export const ApiDocument = z.looseObject({ servers: z.array(z.object({ url: z.url() })).min(1) })
