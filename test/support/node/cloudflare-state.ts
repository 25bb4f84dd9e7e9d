/** What an account at Cloudflare holds, and what the API of its stand-in (cloudflare.ts) does to it. */
export type Binding = { name: string; type: string; text?: string; namespace_id?: string }
/** What wrangler uploaded: bindings with their secrets, and the modules by their names. */
export type Script = { bindings: Binding[]; modules: Map<string, string> }
export type Asked = { method: string; path: string; query: URLSearchParams; body: Buffer; type: string }
export type Handle = (asked: Asked, ...parts: string[]) => unknown
type Made = { id: string }
type DnsRecord = Made & { name: string; type: string; content: string; proxied: boolean }

export class Refusal extends Error {
  readonly status: number
  readonly code: number
  constructor(status: number, code: number, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

const ACCOUNT = { id: 'a0a1a2a3a4a5a6a7a8a9b0b1b2b3b4b5', name: 'Acme' }
const OFF = { enabled: false, previews_enabled: false }

/** A new account with one zone, as Cloudflare makes them. */
export const newState = (zone: string) => ({
  zone: { id: 'c0c1c2c3c4c5c6c7c8c9d0d1d2d3d4d5', name: zone, status: 'active', paused: false, account: ACCOUNT },
  settings: {
    min_tls_version: '1.0',
    tls_1_3: 'on',
    always_use_https: 'off',
    browser_check: 'on',
    security_level: 'medium',
    security_header: { strict_transport_security: { enabled: false, max_age: 0 } },
  } as Record<string, unknown>,
  bots: { fight_mode: true, enable_js: true } as Record<string, unknown>,
  packs: [{ id: 'p1', type: 'universal', status: 'active', hosts: [zone, `*.${zone}`] }],
  records: [] as DnsRecord[],
  namespaces: [] as (Made & { title: string })[],
  buckets: [] as (Made & { name: string })[],
  scripts: new Map<string, Script>(),
  routes: [] as (Made & { pattern: string; script: string })[],
  schedules: new Map<string, { cron: string }[]>(),
  workflows: new Map<string, { script_name: string }>(),
})
export type State = ReturnType<typeof newState>

const json = <T>({ body }: Asked) => JSON.parse(body.toString() || 'null') as T
const newId = (n: number) => n.toString(16).padStart(32, '7')

function add<T extends Made>(to: T[], body: Partial<T>, key: (one: T) => string, code: number, message: string): T {
  const one = { ...body, id: newId(to.length + 1) } as T
  if (to.some((other) => key(other) === key(one))) throw new Refusal(400, code, message)
  to.push(one)
  return one
}

/** The zone, KV and R2. */
export const ofTheZone = (state: State): Record<string, Handle> => ({
  'GET /zones': ({ query }) => (query.get('name') === state.zone.name ? [state.zone] : []),
  'GET /zones/:z/settings/:s': (_, _z, id = '') => ({ id, value: state.settings[id], editable: true }),
  'PATCH /zones/:z/settings/:s': (asked, _z, id = '') => {
    state.settings[id] = json<{ value: unknown }>(asked).value
    return { id, value: state.settings[id] }
  },
  'GET /zones/:z/bot_management': () => state.bots,
  'PUT /zones/:z/bot_management': (asked) => Object.assign(state.bots, json(asked)),
  'GET /zones/:z/ssl/certificate_packs': ({ query }) =>
    state.packs.filter(({ status }) => query.get('status') === 'all' || status === 'active'),
  'GET /zones/:z/dns_records': ({ query }) => state.records.filter(({ name }) => [null, name].includes(query.get('name'))),
  'POST /zones/:z/dns_records': (asked) =>
    add(state.records, json(asked), (one) => `${one.name} ${one.type}`, 81058, 'An identical record already exists.'),
  'GET /accounts/:a/storage/kv/namespaces': ({ query }) => {
    const [page, size] = [Number(query.get('page') ?? 1), Number(query.get('per_page') ?? 20)]
    return state.namespaces.slice((page - 1) * size, page * size)
  },
  'POST /accounts/:a/storage/kv/namespaces': (asked) =>
    add(state.namespaces, json(asked), ({ title }) => title, 10014, 'a namespace with this account ID and title already exists'),
  'GET /accounts/:a/r2/buckets': () => ({ buckets: state.buckets }),
  'GET /accounts/:a/r2/buckets/:b': (_, _a, wanted = '') => {
    const found = state.buckets.find(({ name }) => name === wanted)
    if (!found) throw new Refusal(404, 10006, 'The specified bucket does not exist.')
    return found
  },
  'POST /accounts/:a/r2/buckets': (asked) =>
    add(state.buckets, json(asked), ({ name }) => name, 10004, 'The bucket you tried to create already exists, and you own it.'),
})

/** Workers, as wrangler deploys them. */
export function ofWorkers(state: State): Record<string, Handle> {
  const script = (name = '') => {
    const found = state.scripts.get(name)
    if (!found) throw new Refusal(404, 10007, 'This Worker does not exist on your account.')
    return found
  }
  const isSecret = ({ type }: Binding) => type === 'secret_text'
  const versions: Script[] = []
  /** What is uploaded, with the secrets that the Worker has and the upload leaves out. */
  const upload = async (asked: Asked, name: string): Promise<Script> => {
    const { bindings, modules } = await uploaded(asked)
    const kv = bindings.find(({ type }) => type === 'kv_namespace')?.namespace_id
    if (!state.namespaces.some(({ id }) => id === kv)) throw new Refusal(400, 10041, `KV namespace '${kv}' not found.`)
    const before = state.scripts.get(name)?.bindings ?? []
    const kept = before.filter((one) => isSecret(one) && !bindings.some((other) => other.name === one.name))
    return { bindings: [...bindings, ...kept], modules }
  }
  const W = '/accounts/:a/workers/scripts/:w'
  return {
    'GET /accounts/:a/workers/scripts': () => [...state.scripts.keys()].map((id) => ({ id })),
    'GET /accounts/:a/workers/services/:w': (_, _a, id = '') => {
      script(id)
      return { id, default_environment: { environment: 'production', script: { last_deployed_from: 'wrangler' } } }
    },
    'GET /accounts/:a/workers/workers/:w': (_, _a, name = '') => {
      script(name)
      return { name, subdomain: OFF }
    },
    'GET /accounts/:a/workers/subdomain': () => ({ subdomain: 'acme' }),
    [`GET ${W}/subdomain`]: () => OFF,
    [`POST ${W}/subdomain`]: () => OFF,
    [`GET ${W}/secrets`]: (_, _a, name) =>
      script(name)
        .bindings.filter(isSecret)
        .map(({ name: id, type }) => ({ name: id, type })),
    [`GET ${W}/settings`]: (_, _a, name) => ({
      bindings: script(name).bindings.map(({ text, ...rest }) => (isSecret(rest) ? rest : { ...rest, text })),
    }),
    [`PATCH ${W}/script-settings`]: () => ({}),
    [`GET ${W}/deployments`]: (_, _a, name) => {
      script(name)
      return { deployments: [] }
    },
    [`POST ${W}/assets-upload-session`]: () => ({ jwt: 'assets', buckets: [] }),
    // The first upload is up at once; later ones are versions, which a deployment takes up.
    [`PUT ${W}`]: async (asked, _a, name = '') => {
      state.scripts.set(name, await upload(asked, name))
      return { id: name, startup_time_ms: 12, deployment_id: 'd1' }
    },
    [`POST ${W}/versions`]: async (asked, _a, name = '') => {
      versions.push(await upload(asked, name))
      return {
        id: String(versions.length),
        number: versions.length,
        startup_time_ms: 12,
        metadata: {},
        resources: { script: { etag: 'e' } },
      }
    },
    [`POST ${W}/deployments`]: (asked, _a, name = '') => {
      const [{ version_id } = { version_id: '' }] = json<{ versions: { version_id: string }[] }>(asked).versions
      const version = versions[Number(version_id) - 1]
      if (!version) throw new Refusal(400, 10021, 'No such version.')
      state.scripts.set(name, version)
      return { id: `d${version_id}` }
    },
    [`PUT ${W}/routes`]: (asked, _a, name = '') => {
      script(name)
      for (const { pattern } of json<{ pattern: string }[]>(asked)) {
        const taken = state.routes.find((route) => route.pattern === pattern)
        if (taken && taken.script !== name) throw new Refusal(409, 10020, 'A route with the same pattern already exists.')
        if (!taken) state.routes.push({ id: newId(state.routes.length + 1), pattern, script: name })
      }
      return state.routes.map(({ pattern }) => pattern)
    },
    // Wrangler asks for one after another where it may not set all of them.
    'POST /zones/:z/workers/routes': (asked) => {
      state.routes.push({ id: newId(state.routes.length + 1), ...json<{ pattern: string; script: string }>(asked) })
      return state.routes.at(-1)
    },
    'GET /zones/:z/workers/routes': () => state.routes,
    [`GET ${W}/schedules`]: (_, _a, name = '') => ({ schedules: state.schedules.get(name) ?? [] }),
    [`PUT ${W}/schedules`]: (asked, _a, name = '') => {
      state.schedules.set(name, json(asked))
      return { schedules: json(asked) }
    },
    'GET /accounts/:a/workflows/:f': (_, _a, name = '') => {
      const found = state.workflows.get(name)
      if (!found) throw new Refusal(404, 10200, 'workflow.not_found')
      return { name, ...found }
    },
    'PUT /accounts/:a/workflows/:f': (asked, _a, name = '') => {
      state.workflows.set(name, json(asked))
      return { id: name, name, ...json<object>(asked) }
    },
  }
}

async function uploaded({ body, type }: Asked): Promise<Script> {
  const form = await new Response(new Uint8Array(body), { headers: { 'Content-Type': type } }).formData()
  const { bindings } = JSON.parse(String(form.get('metadata'))) as Script
  const modules = new Map<string, string>()
  for (const [part, value] of form) if (typeof value !== 'string') modules.set(part, await value.text())
  return { bindings, modules }
}
