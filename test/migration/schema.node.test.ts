/** Threat: a change of a table or a definition that no migration carries to the tenants that exist, or a migration that says something else. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { differences, readFingerprint } from '../../scripts/migration/catalogue.ts'
import { readDefinitions } from '../../scripts/migration/definitions.ts'
import { BUNDLE, bundleOf, FINGERPRINT_FILE, fingerprintText, readRetired } from '../../scripts/migration/ledger.ts'
import { isRetired } from '../../scripts/migration/retired.ts'
import { applyMigrations, compare, scratch } from '../../scripts/migration/scratch.ts'
import { tableFiles } from '../../scripts/migration/tables.ts'
import { pack, unpack } from '../../src/tenants/migration/fingerprint.ts'
import { filesIn, ROOT, read } from '../house/sources.ts'
import { startServer } from './server.ts'

let server: Awaited<ReturnType<typeof startServer>>
let both: Awaited<ReturnType<typeof compare>>
beforeAll(async () => {
  server = await startServer()
  both = await compare(server.url, ROOT)
})
afterAll(() => server.stop())

describe('all migrations, applied,', () => {
  it('make what tables and definitions say; what differs is named', () => {
    const retired = [...readRetired(ROOT, 'tenant').objects, ...readRetired(ROOT, 'master').objects]
    expect(differences(both.migrated, both.defined).filter((key) => !isRetired(key, retired))).toEqual([])
  })

  it('make every kind of object: the comparison looks at something', () => {
    const kinds = (kind: string) => [...both.migrated.entries.values()].filter((entry) => entry.kind === kind).length
    expect(kinds('function')).toBeGreaterThan(150)
    expect(kinds('trigger')).toBeGreaterThan(40)
    expect(kinds('policy')).toBeGreaterThan(30)
    expect(kinds('column')).toBeGreaterThan(250)
    expect(both.migrated.grants.size).toBeGreaterThan(200)
  })

  it('are listed in the Worker, each with the checksum of its file', () => expect(read(BUNDLE)).toBe(bundleOf(ROOT)))

  it('make what the Worker compares tenants with, which is what tables and definitions make', () => {
    const { migrated, defined } = both
    expect(read(FINGERPRINT_FILE)).toBe(fingerprintText(migrated.fingerprint))
    const retired = readRetired(ROOT, 'tenant').objects
    const differ = [...migrated.fingerprint.keys(), ...defined.fingerprint.keys()].filter(
      (object) => migrated.fingerprint.get(object) !== defined.fingerprint.get(object) && !isRetired(object, retired),
    )
    expect(differ).toEqual([])
    expect(migrated.fingerprint.size).toBeGreaterThan(700)
    expect([...migrated.fingerprint.keys()].filter((object) => object.includes('platform.'))).toEqual([])
    expect(unpack(pack(migrated.fingerprint))).toEqual(migrated.fingerprint)
  })

  it('make the same of it whatever the settings of a database or login are', async () => {
    const { client, remove } = await scratch(server.url)
    try {
      await applyMigrations(client, ROOT)
      const odd = { IntervalStyle: 'sql_standard', DateStyle: 'SQL, DMY', TimeZone: 'America/Lima', quote_all_identifiers: 'on' }
      for (const [name, value] of Object.entries({ ...odd, bytea_output: 'escape', search_path: 'freehold, access' }))
        await client.query('select set_config($1, $2, false)', [name, value])
      expect(await readFingerprint(client)).toEqual(both.migrated.fingerprint)
    } finally {
      await remove()
    }
  })
})

describe('tables', () => {
  it('are declared in files that are called table.ts, which are found by their name', () => {
    const declaring = filesIn('src').filter((file) => /\b(?:freehold|access|platform)\.table\(/.test(read(file)))
    expect(declaring.length).toBeGreaterThan(8)
    expect(declaring.map((file) => `${ROOT}${file}`)).toEqual(tableFiles(ROOT))
  })

  it('are all under row level security', () => {
    const tables = [...both.defined.entries.values()].filter(({ key }) => key.startsWith('table '))
    expect(tables.filter(({ form }) => !form.includes('row level security true')).map(({ key }) => key)).toEqual([])
  })
})

describe('a definition', () => {
  const definitions = readDefinitions(ROOT)
  const functions = definitions.filter(({ kind }) => kind === 'function')

  it('of a function has a body that is bound when it is made, or a search_path that ends in pg_temp', () => {
    const isBound = (text: string) => /\breturn\b(?!s)/i.test(text.split(/\bas \$/)[0] ?? '')
    const isPinned = (text: string) => /set search_path = [\w, ]*pg_temp as \$\$/.test(text)
    expect(functions.filter(({ text }) => !isBound(text) && !isPinned(text)).map(({ place }) => place)).toEqual([])
  })

  it('stands in a file that opens with its subject, in lines that can be read', () => {
    const texts = filesIn('src', '.sql').map((file) => ({ file, text: read(file) }))
    expect(texts.length).toBeGreaterThan(20)
    expect(texts.filter(({ text }) => !text.startsWith('-- ')).map(({ file }) => file)).toEqual([])
    const long = texts.flatMap(({ file, text }) =>
      text.split('\n').flatMap((line, i) => (line.length > 130 ? [`${file}:${i + 1}`] : [])),
    )
    expect(long).toEqual([])
  })

  it('can be called by nobody but its owner, unless a grant says so', () => {
    const everybody = [...both.defined.grants.keys()].filter((key) => key.endsWith(' to public'))
    expect(everybody.filter((key) => !key.includes(' on type '))).toEqual([])
  })

  it('names schemas, never `public`', () => {
    expect(definitions.filter(({ text }) => /\bpublic\.\w/.test(text)).map(({ place }) => place)).toEqual([])
  })
})
