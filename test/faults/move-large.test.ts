/**
 * A move of a tenant whose tables take many pages. Threat: a row at the edge of a page, or of what one look covers, is left out or is there
 * twice; and an answer is larger than Neon gives.
 */
import { sql } from 'drizzle-orm'
import { afterAll, expect, it } from 'vitest'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { differing, shapeOf, sumsOf } from '../../src/tenants/move/rows.ts'
import { databaseOf, settings } from '../support/databases.ts'
import { moved, removeRest, WRITTEN_BY_MOVES } from '../support/move.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll } from '../support/undo.ts'

afterAll(() => eraseAll('mlarge-'), 240_000)

it('of ten thousand people, and of rows that are larger than a page has room for beside others, copies each row once', {
  timeout: 240_000,
}, async () => {
  const subdomain = 'mlarge-many'
  const { id } = await copyTenant(subdomain)
  const { asOwner, owner_url } = await databaseOf(subdomain)
  // The statement that writes so many entries takes longer than one of a request may.
  for (let from = 0; from < 10_000; from += 1_000)
    await asOwner(
      sql`insert into freehold.users (id, username, email, role) select gen_random_uuid(), 'p' || n, 'p' || n || '@people.test', 'user' from generate_series(${from}::integer + 1, ${from}::integer + 1000) n`,
      sql`insert into freehold.passwords (id, user_id, password_hash) select gen_random_uuid(), u.id, 'x' || repeat('y', 80) from freehold.users u where not exists (select from freehold.passwords p where p.user_id = u.id)`,
    )
  // Rows with gaps between them, and rows of which each is most of a page: repeated text is stored compressed, so a block has many of them.
  await asOwner(
    sql`insert into access.kept_answers (id, user_id, request_hash, resource) select sha256(n::text::bytea), gen_random_uuid(), '\\x00', to_json(repeat('ñ"\\ ' || n, 50000)) from generate_series(1, 60) n`,
    sql`delete from access.kept_answers k where get_byte(k.id, 0) % 3 = 0`,
  )
  await checkpointAudit(settings(), subdomain)
  const was = await sumsOf(owner_url, await shapeOf(owner_url))
  expect(was['freehold.users']?.rows).toBe(10_001)
  const newest = await moved(id, 'project')
  expect(newest, JSON.stringify(newest)).toMatchObject({ state: 'done' })
  const after = await databaseOf(subdomain)
  expect(
    differing(was, await sumsOf(after.owner_url, await shapeOf(after.owner_url))).filter(
      (table) => !WRITTEN_BY_MOVES.includes(table),
    ),
  ).toEqual([])
  await checkpointAudit(settings(), subdomain)
  expect((await verifyAudit(settings(), subdomain)).faults).toEqual([])
  await removeRest(id)
  expect(newest.rows_copied).toBeGreaterThan(100_000)
})
