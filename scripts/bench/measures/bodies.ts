import { type WorstBody, worstBodies } from '../bodies.ts'
import type { Finding, Measure } from '../finding.ts'
import { ask, type Reply, send, type Target } from '../load.ts'
import { spread } from '../samples.ts'
import type { Stage } from '../stage.ts'

const KIB = 1024
/** The largest body that is read under /auth, and what is refused. */
const SIZES = [16 * KIB, 1024 * KIB]
const SHOWN = 6

type Operation = { security?: object[]; requestBody?: { content: Record<string, { schema: { $ref?: string } }> } }
type Document = {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, { properties?: object }> }
}
type Try = { about: string; target: Target; cpu: number[]; bytes: number }

/** What the worst body that a stranger can send costs, at every public route, and how much is answered. */
export const bodies: Measure = {
  name: 'bodies',
  async run(stage) {
    const tries = await triesAt(stage)
    for (const one of tries) await measure(stage, one)
    for (const one of tries) one.cpu = []
    for (let i = 0; i < (stage.quick ? 2 : 5); i++) for (const one of tries) await measure(stage, one)
    const median = ({ cpu }: Try) => spread(cpu).median
    // The first round says which are the worst; only these are measured often enough to be shown.
    const worst = [...tries].sort((a, b) => median(b) - median(a)).slice(0, SHOWN)
    for (const one of worst) one.cpu = []
    for (let i = 0; i < (stage.quick ? 10 : 40); i++) for (const one of worst) await measure(stage, one)
    worst.sort((a, b) => median(b) - median(a))
    const longest = [...tries].sort((a, b) => b.bytes - a.bytes).slice(0, SHOWN)
    const size = (bytes: number) => spread([bytes / KIB])
    const routes = new Set(tries.map(({ target }) => target.path)).size
    const note = `${tries.length} bodies at ${routes} public routes: as JSON, form and multipart, of 16 KiB and of 1 MiB, with a length and in chunks. Bodies that are accepted are not among them: a login costs a hash.`
    return [
      {
        title: 'The worst public body, CPU',
        value: spread(worst[0]?.cpu ?? []),
        unit: 'ms',
        goal: 100,
        parts: worst.map(({ about, cpu }) => ({ label: about, value: spread(cpu), unit: 'ms' })),
        note,
      },
      {
        title: 'The worst public body, its answer',
        value: size(longest[0]?.bytes ?? Number.NaN),
        unit: 'KiB',
        goal: 64,
        parts: longest.map(({ about, bytes }) => ({ label: about, value: size(bytes), unit: 'KiB' })),
        note: 'The body of the answer.',
      },
    ] satisfies Finding[]
  },
}

async function measure({ workerd }: Stage, one: Try): Promise<void> {
  const before = await workerd.cpuMs()
  const { status, text } = await sendWhole(one.target)
  one.cpu.push((await workerd.cpuMs()) - before)
  one.bytes = Math.max(one.bytes, Buffer.byteLength(text))
  if (one.target.method !== 'GET' && (status < 400 || status >= 500))
    throw new Error(`${one.about} was answered ${status}: ${text.slice(0, 300)}`)
}

/** Sends a body again where the connection was closed over it: what is too large is answered before all of it was sent. */
async function sendWhole(target: Target, tries = 5): Promise<Reply> {
  try {
    return await send(target)
  } catch (error) {
    if (tries === 1 || !['EPIPE', 'ECONNRESET'].includes(String((error as NodeJS.ErrnoException).code))) throw error
    return sendWhole(target, tries - 1)
  }
}

/** Every body at every public route of the document. */
async function triesAt({ main, tenant }: Stage): Promise<Try[]> {
  const { paths, components } = await ask<Document>(main.at(null, '/openapi.json'))
  const open = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([verb, operation]) => (operation.security?.length ? [] : [{ path, verb, operation }])),
  )
  return open.flatMap(({ path, verb, operation }) => {
    const { $ref = '' } = operation.requestBody?.content['application/json']?.schema ?? {}
    const fields = Object.keys(components.schemas[$ref.split('/').at(-1) ?? '']?.properties ?? {})
    const at = (body: WorstBody, chunked: boolean) =>
      main.at(path.startsWith('/platform/') ? null : tenant.subdomain, path, {
        method: verb.toUpperCase(),
        headers: { 'Content-Type': body.type },
        body: body.text,
        chunked,
      })
    return SIZES.flatMap((bytes) =>
      worstBodies(bytes, fields).flatMap((body) =>
        [false, true].map((chunked) => ({
          about: `${verb.toUpperCase()} ${path}, ${bytes / KIB} KiB${chunked ? ' in chunks' : ''}: ${body.name} (${body.type.split(';')[0]})`,
          target: at(body, chunked),
          cpu: [],
          bytes: 0,
        })),
      ),
    )
  })
}
