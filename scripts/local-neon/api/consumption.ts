import type { Endpoint, Project } from '../state/records.ts'
import { ApiError } from './error.ts'
import { page } from './page.ts'
import type { Call, Routes } from './router.ts'
import { OWNER } from './views.ts'

/** Each granularity: how long a timeframe is, except that of a month, and how long ago the first may begin. */
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const GRANULARITIES: Record<string, { history: number }> = {
  hourly: { history: 168 * HOUR_MS },
  daily: { history: 60 * DAY_MS },
  monthly: { history: 366 * DAY_MS },
}
const METRICS = [
  'compute_unit_seconds',
  'root_branch_bytes_month',
  'child_branch_bytes_month',
  'instant_restore_bytes_month',
  'public_network_transfer_bytes',
  'private_network_transfer_bytes',
  'extra_branches_month',
  'snapshot_storage_bytes_month',
]
const MOST_PROJECTS = 100
/** All is one billing period here. */
const PERIOD = '00000000-0000-4000-8000-000000000001'

/** What projects used. Compute and the data of branches are measured; what is not is zero. */
export const consumptionRoutes: Routes = { 'GET /consumption_history/v2/projects': projectConsumption }

async function projectConsumption(call: Call): Promise<[number, unknown]> {
  const { store, query } = call
  const [from, to] = [moment(query, 'from'), moment(query, 'to')]
  const granularity = required(query, 'granularity')
  const { history } = (Object.hasOwn(GRANULARITIES, granularity) && GRANULARITIES[granularity]) || refuse('granularity')
  const org_id = required(query, 'org_id')
  const metrics = listed(query, 'metrics')
  if (!metrics.length) throw new ApiError(400, 'metrics is required')
  for (const metric of metrics) if (!METRICS.includes(metric)) refuse('metrics')
  const ids = listed(query, 'project_ids')
  if (ids.length > MOST_PROJECTS) refuse('project_ids')
  if (to <= from || floor(from, granularity) < Date.now() - history - DAY_MS)
    throw new ApiError(406, `the from and to range is not valid for the granularity ${granularity}`)
  const mine = store.all('project').filter((project) => (project.org_id ?? OWNER) === org_id)
  if (org_id !== OWNER && !mine.length) throw new ApiError(404, 'organization not found')
  const found = mine.reverse().filter(({ id }) => !ids.length || ids.includes(id))
  const { items, cursor } = page(found, query, { standard: 10, max: 100 })
  const frames = framesOf(floor(from, granularity), Math.min(to, Date.now()), granularity)
  const projects = await Promise.all(items.map((project) => consumptionOf(call, project, frames, metrics)))
  return [200, { projects, ...(cursor === undefined ? {} : { pagination: { cursor } }) }]
}

type Frame = { start: number; end: number }

async function consumptionOf(call: Call, project: Project, frames: Frame[], metrics: string[]) {
  const endpoints = call.store.all('endpoint').filter(({ project_id }) => project_id === project.id)
  const [root, child] = metrics.some((metric) => metric.endsWith('_branch_bytes_month')) ? await bytesOf(call, project) : [0, 0]
  const began = Date.parse(project.created_at)
  const measured = (metric: string, { start, end }: Frame) => {
    // The part of a month that data was there, with its size of now.
    const share = Math.max(0, Math.min(end, Date.now()) - Math.max(start, began)) / (30 * DAY_MS)
    if (metric === 'compute_unit_seconds') return Math.round(endpoints.reduce((sum, one) => sum + used(one, start, end), 0))
    if (metric === 'root_branch_bytes_month') return Math.round(root * share)
    return metric === 'child_branch_bytes_month' ? Math.round(child * share) : 0
  }
  const consumption = frames
    .filter(({ end }) => end > began)
    .map((frame) => ({
      timeframe_start: written(frame.start),
      timeframe_end: written(frame.end),
      metrics: metrics.map((metric_name) => ({ metric_name, value: measured(metric_name, frame) })),
    }))
  const period = { period_id: PERIOD, period_plan: 'launch', period_start: project.created_at, consumption }
  return { project_id: project.id, periods: [period] }
}

/** The compute that an endpoint used within a timeframe, in compute-unit seconds, at the smallest size that it has. */
function used({ active = [], active_since, autoscaling_limit_min_cu }: Endpoint, start: number, end: number): number {
  const spans = [...active, ...(active_since ? [[active_since, written(Date.now())] as const] : [])]
  const ms = spans.reduce((sum, [a, b]) => sum + Math.max(0, Math.min(end, Date.parse(b)) - Math.max(start, Date.parse(a))), 0)
  return (ms / 1000) * autoscaling_limit_min_cu
}

/** The size of the databases of a project: in its root branches, and in the others. */
async function bytesOf({ store, admin }: Call, project: Project): Promise<[number, number]> {
  const sizes: [number, number] = [0, 0]
  for (const branch of store.all('branch').filter(({ project_id }) => project_id === project.id)) {
    const names = store.all('database').filter(({ branch_id }) => branch_id === branch.id)
    const { rows } = await admin.pool.query<{ bytes: number }>(
      'select coalesce(sum(pg_database_size(oid)), 0)::float8 as bytes from pg_database where datname = any ($1)',
      [names.map(({ real_name }) => real_name)],
    )
    sizes[branch.parent_id === undefined ? 0 : 1] += rows[0]?.bytes ?? 0
  }
  return sizes
}

function framesOf(from: number, to: number, granularity: string): Frame[] {
  const frames: Frame[] = []
  for (let start = from; start < to; start = frames.at(-1)?.end ?? to) frames.push({ start, end: next(start, granularity) })
  return frames
}

function next(start: number, granularity: string): number {
  if (granularity !== 'monthly') return start + (granularity === 'hourly' ? HOUR_MS : DAY_MS)
  const date = new Date(start)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1)
}

function floor(at: number, granularity: string): number {
  if (granularity !== 'monthly') return at - (at % (granularity === 'hourly' ? HOUR_MS : DAY_MS))
  const date = new Date(at)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth())
}

const written = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`

function refuse(name: string): never {
  throw new ApiError(400, `${name} is not valid`)
}

function required(query: URLSearchParams, name: string): string {
  const value = query.get(name)
  if (!value) throw new ApiError(400, `${name} is required`)
  return value
}

function moment(query: URLSearchParams, name: string): number {
  const at = Date.parse(required(query, name))
  return Number.isNaN(at) ? refuse(name) : at
}

/** Repeated, or with commas between them. */
const listed = (query: URLSearchParams, name: string) => query.getAll(name).flatMap((values) => values.split(',').filter(Boolean))
