/**
 * The settings of webhooks. Threat: see sending.ts (what the Worker is made to ask) and webhooks.sql (who may have the audit sent, and
 * where). The secret of a webhook is encrypted for it, and is in the answer that makes it alone.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { encrypt } from '../kernel/keyring.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { faultOfTarget, openSecrets, secretOf, send, type Target, UNMADE } from './sending.ts'
import { newKeyPair, newSecret } from './signing.ts'

const Kind = z
  .string()
  .max(100)
  .regex(/^[a-z][a-z0-9_]*\.([a-z][a-z0-9_]*|\*)$/, 'must be a type of event, or all of a subject, as `user.*`')
const Editable = z.object({
  url: z
    .string()
    .min(1)
    .max(500)
    .openapi({ description: 'Where events are sent: https://', example: 'https://hooks.acme.example/in' }),
  kinds: z
    .array(Kind)
    .max(50)
    .openapi({ description: 'Types of events, or all of a subject. Empty: all events.', example: ['user.created', 'role.*'] }),
  includes_details: z.boolean().openapi({ description: 'Also send who, from where, and what changed: personal data' }),
  is_paused: z.boolean().openapi({ description: 'Send nothing for now. What happens meanwhile is sent afterwards.' }),
})

const public_key = z.string().nullable().openapi({
  description: 'Verifies the signatures `v1a` (Ed25519) of its messages; null: it has none until it is rotated',
  example: 'whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
})

export const Webhook = z
  .object({ id: z.uuid() })
  .extend(Editable.shape)
  .extend({
    paused_because: z.enum(['failing', 'gone']).nullable().openapi({
      description: 'Why it was paused, if not by somebody: nothing was accepted for 3 days, or the receiver answered 410',
    }),
    public_key,
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Webhook')
type Wire = z.infer<typeof Webhook>

const secret = z.string().openapi({
  description:
    'What signatures are made with, as Standard Webhooks has it. It is shown once: a repeated request gets it within 10 minutes.',
  example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
})
export const WebhookList = z.object({ data: z.array(Webhook) }).openapi('WebhookList')
export const NewWebhook = Editable.partial().required({ url: true }).openapi('NewWebhook')
export const WebhookPatch = Editable.partial().openapi('WebhookPatch')
export const CreatedWebhook = Webhook.extend({ secret: secret.optional() }).openapi('CreatedWebhook')
export const RotatedSecret = z
  .object({
    id: z.uuid(),
    secret,
    public_key: public_key.unwrap(),
    former_until: z.iso.datetime().openapi({ description: 'Until then the one before signs, too' }),
  })
  .openapi('RotatedSecret')
export const Replay = z
  .object({ after: z.int().min(0).openapi({ description: 'Events after this `seq` are sent again; 0: all', example: 0 }) })
  .openapi('Replay')

export const Delivery = z
  .object({
    id: z.uuid(),
    seq: z.int().nullable().openapi({ description: 'The `seq` of the event; null: a test' }),
    event_id: z.uuid().nullable(),
    type: z.string(),
    attempt: z.int(),
    is_delivered: z.boolean(),
    status: z.int().nullable().openapi({ description: 'The status that the receiver answered; null: none' }),
    error: z.string().nullable(),
    duration_ms: z.int(),
    at: z.iso.datetime(),
  })
  .openapi('Delivery')
type DeliveryWire = z.infer<typeof Delivery>
export const DeliveryList = pageOf(Delivery)
  .extend({
    progress: z
      .object({
        delivered_seq: z.int().openapi({ description: 'All events up to this one were accepted, or are not among its kinds' }),
        failures: z.int().openapi({ description: 'Attempts since the last one that was accepted' }),
        failing_since: z.iso.datetime().nullable(),
        next_attempt_at: z.iso.datetime(),
      })
      .openapi('WebhookProgress'),
  })
  .openapi('DeliveryList')
export const TestDelivery = Delivery.pick({ is_delivered: true, status: true, error: true, duration_ms: true }).openapi(
  'TestDelivery',
)

const columns = sql`w.id, w.url, w.kinds, w.includes_details, w.is_paused, w.paused_because, w.public_key, ${rfc3339('w.created_at')} as created_at, ${rfc3339('w.updated_at')} as updated_at`
const one = (id: string) => sql`select ${columns} from freehold.webhooks w where w.id = ${id}`

/** Refuses a webhook that the caller can only read. */
const reach = (id: string) => sql`select access.require_reach('webhook', ${id}::uuid)`

function firstOrNotFound(result: unknown): Wire {
  const [webhook] = rowsOf<Wire>(result)
  if (!webhook) throw new Problem('not_found')
  return webhook
}

function checkTarget(ctx: Ctx, url: string | undefined) {
  const fault = url === undefined ? null : faultOfTarget(ctx.config, url)
  if (fault) throw invalid('url', fault)
}

const list = (kinds: string[]) => sql`array(select jsonb_array_elements_text(${JSON.stringify([...new Set(kinds)])}::jsonb))`

/** A secret and a key pair for a webhook; both private parts as they are kept. */
async function freshKeys(ctx: Ctx, id: string) {
  const [secret, { private_key, public_key }] = [newSecret(), await newKeyPair()]
  const sealed = await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, secretOf(id), `${secret} ${private_key}`)
  return { secret, public_key, sealed }
}

/** Lists the webhooks, oldest first; there are 20 at most. One round trip; `setting:read`. */
export async function listWebhooks(ctx: Ctx): Promise<z.infer<typeof WebhookList>> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${columns} from freehold.webhooks w order by w.created_at, w.id`))
  return { data: rowsOf<Wire>(result) }
}

/** Gets a webhook. One round trip; `setting:read`. Fails with not_found. */
export const getWebhook = async (ctx: Ctx, id: string): Promise<Wire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/**
 * Adds a webhook, with a secret that is shown once. One round trip; `setting:update` and `activity:export`, both at scope `all`. Fails with
 * invalid_request (the address), limit_reached (more than 20), forbidden.
 */
export async function createWebhook(ctx: Ctx, wanted: z.infer<typeof NewWebhook>): Promise<z.infer<typeof CreatedWebhook>> {
  checkTarget(ctx, wanted.url)
  const id = crypto.randomUUID()
  const { secret: fresh, public_key, sealed } = await freshKeys(ctx, id)
  const [made] = await create<z.infer<typeof CreatedWebhook>>(ctx, {
    made: sql`made as (insert into freehold.webhooks as w (id, url, kinds, includes_details, is_paused, secret_encrypted, public_key)
      values (${id}, ${wanted.url}, ${list(wanted.kinds ?? [])}, ${wanted.includes_details ?? false}, ${wanted.is_paused ?? false}, ${sealed}, ${public_key}) returning ${columns})`,
    secrets: { secret: fresh },
  })
  if (!made) throw new Problem('not_found')
  return made
}

/** Changes the given fields. One round trip; as `createWebhook`, but to pause needs no activity:export. Fails also with not_found, etag_mismatch. */
export async function changeWebhook(ctx: Ctx, id: string, wanted: z.infer<typeof WebhookPatch>, ifMatch?: string): Promise<Wire> {
  checkTarget(ctx, wanted.url)
  const sets = Object.entries(wanted)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => sql`${sql.identifier(name)} = ${Array.isArray(value) ? list(value) : value}`)
  const update = sql`update freehold.webhooks w set ${sql.join(sets.length ? sets : [sql`url = w.url`], sql`, `)}
    where w.id = ${id} and ${matches('w.updated_at', ifMatch)} returning w.id`
  const [, changed, result] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id)))
  const webhook = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(webhook, ifMatch)
  return webhook
}

/** Removes a webhook and its deliveries. One round trip; `setting:update` at scope `all`. Fails with not_found. */
export async function removeWebhook(ctx: Ctx, id: string): Promise<void> {
  const removal = sql`delete from freehold.webhooks w where w.id = ${id} returning w.id`
  const [, removed] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(removal))
  if (rowsOf(removed).length === 0) throw new Problem('not_found')
}

/** Gives a webhook another secret and key pair; for 24 hours messages are signed with both. One round trip; as `createWebhook`. Fails with not_found. */
export async function rotateSecret(ctx: Ctx, id: string): Promise<z.infer<typeof RotatedSecret>> {
  const { secret: fresh, public_key, sealed } = await freshKeys(ctx, id)
  const update = sql`update freehold.webhooks w set secret_encrypted = ${sealed}, public_key = ${public_key} where w.id = ${id}
    returning to_char((now() + interval '24 hours') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as former_until`
  const [, changed] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(update))
  const [row] = rowsOf<{ former_until: string }>(changed)
  if (!row) throw new Problem('not_found')
  return { id, secret: fresh, public_key, former_until: row.former_until }
}

/**
 * Sends a test message now and says what became of it. Two round trips, and up to 10 s for the receiver between them; `setting:update` at
 * scope `all`. Fails with not_found.
 */
export async function testWebhook(ctx: Ctx, id: string): Promise<z.infer<typeof TestDelivery>> {
  const [, begun] = await ctx.run(
    ctx.db.execute(reach(id)),
    ctx.db.execute(sql`select access.begin_webhook_test(${id}::uuid) as target`),
  )
  const target = { id, ...rowsOf<{ target: Omit<Target, 'id'> }>(begun)[0]?.target } as Target
  const message = { id: `test_${crypto.randomUUID()}`, type: 'webhook.test', at: new Date().toISOString(), text: '{"v":1}' }
  const secrets = await openSecrets(ctx.config, ctx.realm.id, target).catch(() => null)
  const sent = secrets ? await send(ctx.config, target.url, secrets, message) : UNMADE
  const result = JSON.stringify({ ...sent, type: message.type })
  await ctx.run(ctx.db.execute(sql`select access.end_webhook_test(${id}::uuid, ${result}::jsonb)`))
  return sent
}

/** Sends events again, from the one after a number on. One round trip; as `createWebhook`. Fails with not_found. */
export async function replayWebhook(ctx: Ctx, id: string, { after }: z.infer<typeof Replay>): Promise<void> {
  await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(sql`select access.replay_webhook(${id}::uuid, ${after}::bigint)`))
}

type Progress = z.infer<typeof DeliveryList>['progress']

/** Lists the attempts of a webhook, newest first, and how far it is. One round trip; `setting:read`. Fails with not_found, invalid_cursor. */
export async function listDeliveries(ctx: Ctx, id: string, { limit, cursor }: { limit: number; cursor?: string | undefined }) {
  const [at, last] = (await readCursor(ctx.realm, 'deliveries', cursor)) ?? []
  const [found, result] = await ctx.run(
    ctx.db.execute(
      sql`select p.delivered_seq::float8 as delivered_seq, p.failures, ${rfc3339('p.failing_since')} as failing_since, ${rfc3339('p.next_at')} as next_attempt_at
          from freehold.webhook_progress p where p.webhook_id = ${id}`,
    ),
    ctx.db.execute(
      sql`select d.id, d.seq::float8 as seq, d.event_id, d.type, d.attempt, d.is_delivered, d.status, d.error, d.duration_ms, ${rfc3339('d.at')} as at
          from freehold.webhook_deliveries d
          where d.webhook_id = ${id} and (${at ?? null}::timestamptz is null or (d.at, d.id) < (${at ?? null}::timestamptz, ${last ?? null}::uuid))
          order by d.at desc, d.id desc limit ${limit + 1}`,
    ),
  )
  const [progress] = rowsOf<Progress>(found)
  if (!progress) throw new Problem('not_found')
  return { ...(await paged(ctx.realm, 'deliveries', rowsOf<DeliveryWire>(result), limit, (row) => [row.at, row.id])), progress }
}
