import { ApiError } from './error.ts'

type Json = Record<string, unknown>

// Readers of request bodies. Unknown fields are ignored, as Neon does.

/** The object under `name`; an empty one when it may be missing. */
export function object(body: Json, name: string, required = true): Json {
  const value = body[name]
  if (value === undefined || value === null) {
    if (required) throw new ApiError(400, `${name} is required`)
    return {}
  }
  if (typeof value !== 'object' || Array.isArray(value)) throw new ApiError(400, `${name} must be an object`)
  return value as Json
}

export function optionalString(body: Json, name: string, maxLength: number): string | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw new ApiError(400, `${name} must be a string`)
  if (value.length < 1 || value.length > maxLength)
    throw new ApiError(400, `${name} must be between 1 and ${maxLength} characters long`)
  return value
}

export function string(body: Json, name: string, maxLength: number): string {
  const value = optionalString(body, name, maxLength)
  if (value === undefined) throw new ApiError(400, `${name} is required`)
  return value
}

export function boolean(body: Json, name: string, absent: boolean): boolean {
  const value = body[name] ?? absent
  if (typeof value !== 'boolean') throw new ApiError(400, `${name} must be a boolean`)
  return value
}

export function number(body: Json, name: string, absent: number, min: number, max: number): number {
  const value = body[name] ?? absent
  if (typeof value !== 'number' || value < min || value > max)
    throw new ApiError(400, `${name} must be a number between ${min} and ${max}`)
  return value
}

const MAX_NAME_BYTES = 63
const PROTECTED_DATABASES = ['postgres', 'template0', 'template1']
const PROTECTED_ROLES = ['neon_superuser', 'cloud_admin', 'zenith_admin', 'public', 'none']

export function databaseName(name: string): string {
  if (PROTECTED_DATABASES.includes(name)) throw new ApiError(400, `database name "${name}" is protected`)
  return postgresName(name)
}

export function roleName(name: string): string {
  if (PROTECTED_ROLES.includes(name) || name.startsWith('pg_')) throw new ApiError(400, `role name "${name}" is protected`)
  return postgresName(name)
}

function postgresName(name: string) {
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw new ApiError(400, `name must be at most ${MAX_NAME_BYTES} bytes long`)
  if (name.includes('\0')) throw new ApiError(400, 'name must not contain a zero byte')
  return name
}
