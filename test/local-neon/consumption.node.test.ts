/** What projects used, as Neon's API says it. */
import { createNeonClient } from '@neon/sdk'
import { expect, test } from 'vitest'
import { sqlOf, started } from './started.ts'

const { call, newProject, settled, state } = started()

const at = (ms: number) => new Date(Date.now() + ms).toISOString()
const asked = (more: Record<string, string> = {}) =>
  `/consumption_history/v2/projects?${new URLSearchParams({
    from: at(-86_400_000),
    to: at(60_000),
    granularity: 'daily',
    org_id: 'local',
    metrics: 'compute_unit_seconds,root_branch_bytes_month',
    ...more,
  })}`

test('compute is measured while it is active, and data while it is there', async () => {
  const { id, path, uri, body } = await newProject({ default_endpoint_settings: { autoscaling_limit_min_cu: 2 } })
  await sqlOf(uri)`select 1`
  await new Promise((done) => setTimeout(done, 2_100))
  const of = async () => {
    const { status, body: found } = await call('GET', asked({ project_ids: id }))
    expect([status, found.projects.map((project: { project_id: string }) => project.project_id)]).toEqual([200, [id]])
    const metrics = found.projects[0].periods[0].consumption.at(-1).metrics
    return Object.fromEntries(metrics.map((one: { metric_name: string; value: number }) => [one.metric_name, one.value]))
  }
  const { compute_unit_seconds, root_branch_bytes_month } = await of()
  expect(compute_unit_seconds).toBeGreaterThanOrEqual(2)
  expect(root_branch_bytes_month).toBeGreaterThan(0)
  await call('POST', `${path}/endpoints/${body.endpoints[0].id}/suspend`)
  await settled(id)
  const asleep = (await of()).compute_unit_seconds
  await new Promise((done) => setTimeout(done, 1_100))
  expect((await of()).compute_unit_seconds).toBe(asleep)
  // Neon's own client reads it.
  const neon = createNeonClient({ apiKey: state.apiKey, baseUrl: state.apiUrl, throwOnError: true, orgId: 'local' })
  const [mine] = await neon.consumption
    .perProjectV2({
      from: at(-86_400_000),
      to: at(0),
      granularity: 'daily',
      project_ids: [id],
      metrics: ['compute_unit_seconds', 'root_branch_bytes_month'],
    })
    .all()
  expect(mine?.periods[0]?.consumption.at(-1)?.metrics).toContainEqual({ metric_name: 'compute_unit_seconds', value: asleep })
})

test.each([
  ['a range that ends before it begins', { from: at(60_000), to: at(0) }, 406],
  ['a range of too long ago', { from: at(-90 * 86_400_000) }, 406],
  ['an organization of somebody else', { org_id: 'org-of-others' }, 404],
  ['no organization', { org_id: '' }, 400],
  ['no metrics', { metrics: '' }, 400],
  ['an unknown metric', { metrics: 'compute_time' }, 400],
  ['an unknown granularity', { granularity: 'yearly' }, 400],
  ['a moment that is none', { from: 'yesterday' }, 400],
])('%s is refused', async (_, more, status) => {
  expect((await call('GET', asked(more))).status).toBe(status)
})
