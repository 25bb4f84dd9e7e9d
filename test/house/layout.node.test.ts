/** The layout that docs/architecture.md describes, held: who may import what. */
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { bare, filesIn, importsOf, read } from './sources.ts'

const files = filesIn('src')
const edges = files.flatMap((file) => importsOf(file).map((name) => ({ file, name })))
/** Files that speak HTTP: `routes.ts`, also `permission-routes.ts` where a room has several, and discovery. */
const ROUTES = /\/(([a-z-]+-)?routes|discovery)\.tsx?$/
/** The rooms of src, from the ground up. */
const FLOORS = [
  ['kernel', 'presets'],
  ['assets'],
  ['i18n', 'idempotency', 'lists', 'names', 'passwords'],
  ['http'],
  ['organizations'],
  ['access', 'audit', 'docs', 'imports', 'limits', 'purge', 'settings', 'units'],
  ['audiences', 'events', 'providers', 'users'],
  ['competencies', 'sessions'],
  ['avatars', 'employees', 'mail', 'risk', 'roles', 'webhooks'],
  ['hooks'],
  ['api-keys', 'delegations', 'notifications', 'tenants'],
  ['auth'],
  ['external', 'impersonation', 'oauth', 'passkeys', 'recovery'],
  ['email-login', 'factors', 'invitations', 'personal'],
  ['step-up'],
  ['pages'],
  ['app.ts'],
  ['index.ts'],
]
/** The packages that the Worker may import: package.json has them among its tools, because what it packs is the client. */
const LIBRARIES = [
  '@hono/zod-openapi',
  '@hono/zod-validator',
  '@neon/sdk',
  '@neondatabase/serverless',
  '@noble/hashes',
  '@oslojs/encoding',
  '@simplewebauthn/server',
  'bowser',
  'drizzle-orm',
  'hono',
  'jose',
  'oauth4webapi',
  'otpauth',
  'uqr',
  'zod',
]
const roomOf = (path: string) => path.split('/')[1] ?? ''

/** A circle of imports, where files are taken together as `group` says; null when there is none. */
function circleIn(group: (file: string) => string): string | null {
  const graph = new Map<string, Set<string>>(files.map((file) => [group(file), new Set()]))
  for (const { file, name } of edges)
    if (files.includes(name) && group(name) !== group(file)) graph.get(group(file))?.add(group(name))
  const done = new Set<string>()
  const walk = (at: string, path: string[]): string | null => {
    if (path.includes(at)) return [...path.slice(path.indexOf(at)), at].join(' -> ')
    if (done.has(at)) return null
    for (const next of graph.get(at) ?? []) {
      const circle = walk(next, [...path, at])
      if (circle) return circle
    }
    done.add(at)
    return null
  }
  for (const at of graph.keys()) {
    const circle = walk(at, [])
    if (circle) return circle
  }
  return null
}

const broken = (rule: (edge: { file: string; name: string }) => boolean) =>
  edges.filter(rule).map(({ file, name }) => `${file} imports ${name}`)

it('what is looked at is there', () => {
  expect(files.length).toBeGreaterThan(30)
  expect(edges.length).toBeGreaterThan(100)
  expect(edges).toContainEqual({ file: 'src/app.ts', name: 'src/tenants/routes.ts' })
  expect(edges).toContainEqual({ file: 'src/tenants/provisioning/neon.ts', name: '@neon/sdk' })
})

describe('imports', () => {
  it('of the kernel are of no room', () => {
    expect(
      broken(({ file, name }) => file.startsWith('src/kernel/') && name.startsWith('src/') && !name.startsWith('src/kernel/')),
    ).toEqual([])
  })

  it('of routes are by app.ts alone', () => {
    expect(broken(({ file, name }) => ROUTES.test(name) && file !== 'src/app.ts')).toEqual([])
  })

  it('of Hono are by routes, app.ts, http, docs and pages alone; a room’s verbs take zod from it and nothing else', () => {
    const allowed = (file: string) => ROUTES.test(file) || file === 'src/app.ts' || /^src\/(docs|http|pages)\//.test(file)
    expect(broken(({ file, name }) => /^hono(\/|$)/.test(name) && !allowed(file))).toEqual([])
    const zod = files.filter((file) => importsOf(file).includes('@hono/zod-openapi') && !allowed(file))
    for (const file of zod) expect(read(file).match(/import (.*) from '@hono\/zod-openapi'/)?.[1], file).toBe('{ z }')
  })

  it('of Neon’s client are by tenants alone', () => {
    expect(broken(({ file, name }) => name.startsWith('@neon/') && !file.startsWith('src/tenants/'))).toEqual([])
  })

  it('of the database’s driver are by the kernel alone', () => {
    expect(broken(({ file, name }) => name.startsWith('@neondatabase/') && !file.startsWith('src/kernel/'))).toEqual([])
  })

  it('name what the Worker is made of (decision 5), or what the platform gives; no tool of development', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json'))
    expect({ ...dependencies, ...devDependencies }).toMatchObject(
      Object.fromEntries(LIBRARIES.map((name) => [name, expect.any(String)])),
    )
    const given = new Set([...LIBRARIES, 'cloudflare:workers', 'cloudflare:workflows', 'cloudflare:sockets'])
    const packageOf = (name: string) =>
      name
        .split('/')
        .slice(0, name.startsWith('@') ? 2 : 1)
        .join('/')
    expect(broken(({ name }) => !name.startsWith('src/') && !name.startsWith('drizzle/') && !given.has(packageOf(name)))).toEqual(
      [],
    )
  })

  it('of the Worker name no script and no test', () => {
    expect(broken(({ name }) => /^(scripts|test)\//.test(name))).toEqual([])
  })

  it('of a room are of rooms on lower floors; a new room finds its floor by what it imports', () => {
    const floorOf = (path: string) => FLOORS.findIndex((rooms) => rooms.includes(roomOf(path)))
    const listed = ({ file, name }: { file: string; name: string }) => floorOf(file) >= 0 && floorOf(name) >= 0
    expect(edges.filter(listed).length).toBeGreaterThan(300)
    expect(
      broken((edge) => listed(edge) && roomOf(edge.name) !== roomOf(edge.file) && floorOf(edge.name) >= floorOf(edge.file)),
    ).toEqual([])
  })

  it('of folders do not run in a circle, nor do those of files', () => {
    expect(circleIn(dirname)).toBeNull()
    expect(circleIn((file) => file)).toBeNull()
  })
})

describe('sizes', () => {
  const linesOf = (file: string) => read(file).split('\n').length - 1

  it('the kernel has at most 1,300 lines', () => {
    const kernel = files.filter((file) => roomOf(file) === 'kernel')
    expect(kernel.reduce((sum, file) => sum + linesOf(file), 0)).toBeLessThanOrEqual(1300)
  })

  it('app.ts has fewer than 150 lines, each room in one of them', () => {
    expect(linesOf('src/app.ts')).toBeLessThan(150)
  })
})

describe('the master and Neon', () => {
  it.each(['MASTER_DATABASE_URL', 'MASTER_READER_URL', 'NEON_API_KEY', 'NEON_API_URL'])(
    '%s is touched by tenants alone, beside the settings',
    (setting) => {
      const users = files.filter((file) => read(file).includes(setting) && !/^src\/(tenants|i18n\/spanish)\//.test(file))
      expect(users).toEqual(['src/kernel/config.ts'].filter((file) => read(file).includes(setting)))
    },
  )

  it('the key ring for owner logins is used in one file, which no request of a tenant reaches', () => {
    const named = files.filter((file) => read(file).includes('OWNER_KEYS'))
    // What tells the ids of the keys reads nothing else of them.
    const told = 'src/tenants/rotations/key-ids.ts'
    expect(named).toEqual(['src/kernel/config.ts', 'src/kernel/keyring.ts', 'src/tenants/provisioning/owner-url.ts', told])
    expect(
      read(told)
        .match(/OWNER_KEYS\b[^'\n]*/g)
        ?.at(-1),
    ).toBe('OWNER_KEYS.map(({ id }) => id) }')
    const users = edges.filter(({ name }) => name === 'src/tenants/provisioning/owner-url.ts').map(({ file }) => file)
    expect(users.length).toBeGreaterThan(4)
    expect(
      users.filter(
        (file) => !/^src\/tenants\/(adoption|provisioning|lifecycle|rotations|maintenance|doctor|export)\//.test(file),
      ),
    ).toEqual([])
  })

  it('no room but tenants names the schema platform', () => {
    expect(files.filter((file) => /\bplatform\.\w/.test(read(file)) && !file.startsWith('src/tenants/'))).toEqual([])
  })
})

describe('environment and clock', () => {
  it('settings are read by config.ts alone: nobody else reads process.env or env by name', () => {
    expect(files.filter((file) => /process\.env|import\.meta\.env/.test(bare(read(file))))).toEqual([])
  })

  it('Math.random is used nowhere', () => expect(files.filter((file) => /Math\.random/.test(bare(read(file))))).toEqual([]))

  it('console is used by log.ts alone', () => {
    expect(files.filter((file) => /\bconsole\./.test(bare(read(file))))).toEqual(['src/kernel/log.ts'])
  })
})

describe('scripts', () => {
  const scripts = filesIn('scripts')
  const imports = new Map(scripts.map((file) => [file, importsOf(file).filter((name) => scripts.includes(name))]))
  const reached = (file: string) => {
    const found = new Set(imports.get(file))
    // The loop also visits what is added while it runs.
    for (const name of found) for (const next of imports.get(name) ?? []) found.add(next)
    return found
  }

  it('what is looked at is there', () => {
    expect([...reached('scripts/local-neon/main.ts')]).toContain('scripts/local-neon/state/records.ts')
  })

  it('import each other in no circle, types included', () => {
    expect(scripts.filter((file) => reached(file).has(file))).toEqual([])
  })

  it.each([
    ['cluster', []],
    ['state', []],
    ['work', ['cluster', 'state']],
    ['sql', ['state', 'work']],
    ['api', ['state', 'work']],
  ])('%s of the local Neon imports nothing from its other folders but %j', (folder, below) => {
    const folderOf = (file: string) => /^scripts\/local-neon\/(\w+)\//.exec(file)?.[1]
    const allowed = [undefined, folder, ...below]
    const own = scripts.filter((file) => folderOf(file) === folder)
    expect(own).not.toEqual([])
    expect(own.flatMap((file) => imports.get(file)?.filter((name) => !allowed.includes(folderOf(name))))).toEqual([])
  })
})
