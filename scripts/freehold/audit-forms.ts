/**
 * What hashes of the audit are made of: entries, their details, checkpoints. Threat: a check that asks the database for these forms
 * believes whoever changed it. So this repeats what src/audit/checkpoints.sql and src/audit/audit.sql hash;
 * test/dev/audit.node.test.ts and test/dev/events.node.test.ts hold them together.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { type Checkpoint, micros } from './audit-checkpoints.ts'
import { jsonbText, Numeral } from './jsonb.ts'

/** A whole number of a JSON text that was parsed exactly. */
export const whole = z.instanceof(Numeral).transform(({ text }) => Number(text))
export const text = z.string().nullable()
const state = z.record(z.string(), z.unknown()).nullable()

const ENTRY = {
  id: z.uuid(),
  at: z.iso.datetime(),
  user_id: text,
  activity_type: z.string(),
  action: z.string(),
  resource_type: z.string(),
  resource_id: text,
  risk_score: whole,
  trace_id: text,
  xid: whole,
  detail_hash: z.string(),
}
export const Detail = z.object({
  user_name: text,
  address: text,
  agent: text,
  method: text,
  path: text,
  before: state,
  after: state,
  api_key_id: text,
  impersonator_id: text,
  salt: text,
})
export type Detail = z.infer<typeof Detail>
export const AuditEntry = z.object(ENTRY)
export type AuditEntry = z.infer<typeof AuditEntry>

/** An entry as a checkpoint hashes it. */
export type Entry = { xid: number; id: string; form: string }

/** Entries as a checkpoint has them: ids are compared as Postgres compares them, by their bytes. */
export const inOrder = (a: Entry, b: Entry) => a.xid - b.xid || (a.id < b.id ? -1 : 1)

/** The hash of a checkpoint; nothing of itself is in it, where it is from before `next_xid` existed. Sorts the entries. */
export function hashOf(checkpoint: Checkpoint, before: { hash: string } | undefined, entries: Entry[]): string {
  const { no, entries: n, oldest_xid, next_xid, created_at } = checkpoint
  const hash = createHash('sha256').update(Buffer.from(before?.hash ?? '', 'hex'))
  if (next_xid !== null) hash.update(`[${[no, n, oldest_xid, next_xid, micros(created_at)].join(', ')}]`)
  for (const { form } of entries.sort(inOrder)) hash.update(form)
  return hash.digest('hex')
}

export function entryForm(entry: AuditEntry): string {
  const { xid, id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, at, detail_hash } = entry
  const texts = [id, user_id, activity_type, action, resource_type, resource_id].map(jsonbText)
  return `[${[xid, ...texts, risk_score, jsonbText(trace_id), micros(at), jsonbText(detail_hash)].join(', ')}]`
}

export function detailHash(detail: Detail): string {
  const { user_name, address, agent, method, path, before, after, api_key_id, impersonator_id, salt } = detail
  const named = { ...(api_key_id && { api_key_id }), ...(impersonator_id && { impersonator_id }) }
  return createHash('sha256')
    .update(Buffer.from(salt ?? '', 'hex'))
    .update(jsonbText({ user_name, address, agent, method, path, before, after, ...named }))
    .digest('hex')
}

/**
 * The entries whose details an entry says were erased: those that its own detail names, or in earlier releases the one that its
 * resource_id is. An erasure whose detail is not as it was written excuses nothing.
 */
export function erasedBy(entry: AuditEntry, detail: Detail): string[] {
  if (entry.activity_type !== 'AUDIT_ERASED' || entry.resource_type !== 'audit_detail') return []
  const ids = detail.after?.ids
  if (!Array.isArray(ids)) return [String(entry.resource_id)]
  return detailHash(detail) === entry.detail_hash ? ids.map(String) : []
}
