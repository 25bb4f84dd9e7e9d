/**
 * The notifications of whoever asks. Threat: a text that somebody chose, such as the name of a key, stands in a sentence of ours and
 * says something else. So what is sent has the values beside the text, and only the text is for people: without line breaks, and bounded.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Ctx, question } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { type Language, Problem } from '../kernel/problem.ts'
import { EVENTS, TOLD_MOMENTS, toldOf, toldValues, wordOf } from '../mail/templates/told.ts'

export const KINDS = ['security', 'competency', 'invitation', 'delegation', 'license'] as const

export const Notification = z
  .object({
    id: z.uuid(),
    kind: z.enum(KINDS),
    event: z.string().openapi({ description: `What happened: ${EVENTS.join(', ')}`, example: 'delegation_received' }),
    title: z.string().openapi({ description: 'In the language of the request' }),
    text: z.string(),
    params: z.record(z.string(), z.string()).openapi({ description: 'The values in the text' }),
    resource: z.object({ type: z.string(), id: z.string() }).nullable().openapi({ description: 'What it is about' }),
    created_at: z.iso.datetime(),
    read_at: z.iso.datetime().nullable(),
  })
  .openapi('Notification')
export const NotificationList = pageOf(Notification).openapi('NotificationList')
export const NotificationQuery = Page.extend({
  unread: z.enum(['true', 'false']).optional().openapi({ description: '`true`: only those that were not read' }),
})
export const UnreadCount = z.object({ unread: z.int() }).openapi('UnreadCount')
export const ReadCount = z.object({ marked: z.int() }).openapi('ReadCount')

const Choice = z.object({ in_app: z.boolean(), mail: z.enum(['now', 'digest', 'off']) })
type Choices = Record<(typeof KINDS)[number], z.infer<typeof Choice>>
const each = <T extends z.ZodType>(of: T) =>
  ({ security: of, competency: of, invitation: of, delegation: of, license: of }) satisfies Record<keyof Choices, T>
export const NotificationPreferences = z.object(each(Choice)).openapi('NotificationPreferences')
export const NewNotificationPreferences = z
  .object(each(Choice.strict().optional()))
  .openapi('NewNotificationPreferences', { description: 'A kind that is left out is told as it is by default' })

/** One as the database has it. */
export type Told = {
  id: string
  kind: (typeof KINDS)[number]
  event: string
  params: Record<string, unknown>
  about_id: string | null
  resource_type: string | null
  resource_id: string | null
  created_at: string
  read_at: string | null
}

const LIST = question(
  sql`access.own_notifications(${sql.placeholder('is_unread')}::boolean, ${sql.placeholder('at')}::timestamptz, ${sql.placeholder('id')}::uuid, ${sql.placeholder('most')}::integer)`,
)
const NEW = question(sql`access.new_notifications(${sql.placeholder('since')}::timestamptz)`)
const UNREAD = question(sql`access.unread_notifications()`)
const READ = question(sql`access.read_notification(${sql.placeholder('id')}::uuid)`)
const READ_ALL = question(sql`access.read_notifications()`)
const PREFERENCES = question(sql`access.notification_preferences()`)
const PREFER = question(sql`access.set_notification_preferences(${sql.placeholder('wanted')}::jsonb)`)

/** Lists the caller's own, newest first. One round trip; a session. Fails with invalid_cursor. */
export async function listNotifications(ctx: Ctx, language: Language, query: z.infer<typeof NotificationQuery>) {
  const [at = null, id = null] = (await readCursor(ctx.realm, 'notifications', query.cursor)) ?? []
  const told = await ctx.ask<Told[]>(LIST, { is_unread: query.unread === 'true', at, id, most: query.limit + 1 })
  const page = await paged(ctx.realm, 'notifications', told, query.limit, (row) => [row.created_at, row.id])
  return { ...page, data: page.data.map((row) => shown(row, language)) }
}

/** How many the caller has not read. One round trip; a session. */
export const countUnread = async (ctx: Ctx) => ({ unread: await ctx.ask<number>(UNREAD) })

/** What came since a moment of the database, and how many are not read. One round trip; a session. */
export const newNotifications = (ctx: Ctx, since: string | null) =>
  ctx.ask<{ now: string; unread: number; data: Told[] }>(NEW, { since })

/** Marks one as read; one that was read stays so. One round trip; a session. Fails with not_found. */
export async function readNotification(ctx: Ctx, language: Language, id: string) {
  const told = await ctx.ask<Told | null>(READ, { id })
  if (!told) throw new Problem('not_found')
  return shown(told, language)
}

/** Marks all of the caller as read. One round trip; a session. */
export const readAll = async (ctx: Ctx) => ({ marked: await ctx.ask<number>(READ_ALL) })

/** Of which kinds the caller is told, and how. One round trip; a session. */
export const getPreferences = (ctx: Ctx) => ctx.ask<Choices>(PREFERENCES)

/** Chooses. One round trip; a session. */
export const setPreferences = (ctx: Ctx, wanted: z.infer<typeof NewNotificationPreferences>) =>
  ctx.ask<Choices>(PREFER, { wanted: JSON.stringify(wanted) })

const LONGEST = 200

/** One in a language. An event that a later release knows says its name. */
export function shown(told: Told, { tag }: Pick<Language, 'tag'>): z.infer<typeof Notification> {
  const { id, kind, event, resource_type, resource_id, created_at, read_at } = told
  const params = toldValues(told.params)
  const said = toldOf(tag === 'es' ? 'es' : 'en', event) ?? { title: event, text: event, unknown: {} as Record<string, string> }
  const text = said.text.replace(/\{(\w+)\}/g, (_, key: string) => worded(key, params[key] ?? said.unknown[key] ?? '', tag))
  const resource = resource_type && resource_id ? { type: resource_type, id: resource_id } : null
  return { id, kind, event, title: said.title, text, params, resource, created_at, read_at }
}

const MOMENTS = ['until', 'expires_at', 'read_only_from', ...TOLD_MOMENTS]

function worded(key: string, value: string, tag: string): string {
  const at = MOMENTS.includes(key) ? new Date(value) : null
  if (at && !Number.isNaN(at.getTime()))
    return new Intl.DateTimeFormat(tag, { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' }).format(at)
  return wordOf(tag === 'es' ? 'es' : 'en', key, value)
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .slice(0, LONGEST)
}
