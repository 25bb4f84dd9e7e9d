/** How well the default weights tell attacks from people: 2,000 histories, scored in one statement by what scores logins. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { copyTenant } from '../support/tenants.ts'
import { type History, histories } from './histories.ts'

const [guide = ''] = Object.values(
  import.meta.glob<string>('../../docs/guides/risk.md', { eager: true, import: 'default', query: '?raw' }),
)
const AT = 'risk-labelled'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
})

/** The score of each under the default weights. */
async function scored(all: History[]): Promise<number[]> {
  const rows = await realm.asOwner(
    sql`with histories as (
        select h.one, h.place from jsonb_array_elements(${JSON.stringify(all)}::jsonb) with ordinality h (one, place)
      )
      select access.risk_score(
        access.risk_strengths(
          jsonb_populate_record(null::freehold.risk_attempts, h.one -> 'here' || '{"created_at": "2026-06-15T15:30:00Z"}'),
          p.past,
          (h.one ->> 'failures')::integer,
          (h.one ->> 'accounts')::integer,
          (h.one ->> 'has_foreign')::boolean,
          (h.one ->> 'is_breached')::boolean
        ),
        access.risk_weights(t.risk_weights)) as score
      from histories h
        cross join freehold.tenant t
        cross join lateral (
          select array_agg(jsonb_populate_record(null::freehold.risk_attempts, h.one -> 'places' -> (l ->> 1)::integer || jsonb_build_object(
            'kind', 'login',
            'created_at', timestamptz '2026-06-15T15:30:00Z' - make_interval(secs => (l ->> 0)::integer),
            'seen_at', timestamptz '2026-06-15T15:30:00Z' - make_interval(secs => (l ->> 0)::integer)))) as past
          from jsonb_array_elements(h.one -> 'past') l
        ) p
      order by h.place`,
  )
  return rows.map(({ score }) => score)
}

const percent = (part: number, of: number) => `${((100 * part) / of).toFixed(1)} %`

it('the defaults find what they are said to find, and the guide says so', async () => {
  const all = histories(2_000, 22)
  expect(all.filter(({ is_attack }) => is_attack).length).toBe(320)
  const from = Date.now()
  const scores = await scored(all)
  expect(scores.length).toBe(2_000)
  expect(Date.now() - from).toBeLessThan(30_000)
  const rows = [50, 80].map((threshold) => {
    const flagged = all.filter((_, i) => (scores[i] ?? 0) >= threshold)
    const right = flagged.filter(({ is_attack }) => is_attack).length
    const honest = flagged.length - right
    const name = threshold === 50 ? 'suspicious (50)' : 'stop (80)'
    return `| ${name} | ${percent(right, flagged.length)} | ${percent(right, 320)} | ${honest} of 1,680 | ${320 - right} of 320 |`
  })
  const labels = [...new Set(all.map(({ label }) => label))].map((label) => {
    const mine = all.flatMap((history, i) => (history.label === label ? [scores[i] ?? 0] : []))
    const reach = (threshold: number) => mine.filter((score) => score >= threshold).length
    const kind = all.find((history) => history.label === label)?.is_attack ? 'attack' : 'honest'
    return `| ${label} | ${kind} | ${mine.length} | ${reach(50)} | ${reach(80)} |`
  })
  const flat = guide.replace(/ +/g, ' ').replace(/ ?\| ?/g, '|')
  for (const line of [...rows, ...labels]) expect(flat, [...rows, ...labels].join('\n')).toContain(line.replace(/ ?\| ?/g, '|'))
})

it('the histories are always the same', () => {
  expect(histories(100, 22)).toEqual(histories(100, 22))
  expect(histories(100, 23)).not.toEqual(histories(100, 22))
})
