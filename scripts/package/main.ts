/**
 * Builds what `npm pack` puts into the package, into dist: client, verifier and command line as JavaScript, and their types. Runs before
 * each `npm pack` (prepack). The client's types are generated from the OpenAPI document, which the Worker's own code makes.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { BASE } from '../../src/docs/assets.ts'
import { problemCatalogue } from '../../src/kernel/problem.ts'
import { documents } from '../bundle/document.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const DIST = join(ROOT, 'dist')
const HERE = join(ROOT, 'scripts/package')

/** Commands of the repository alone: they start wrangler and a database, or read what is to be deployed. */
const REPOSITORY = /(deployment\/guided|\/set-up-master|dev\/(stack|child))\.ts$/

const onlyInRepository: Plugin = {
  name: 'only in the repository',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: REPOSITORY }, ({ path }) => ({ path, namespace: 'repository' }))
    onLoad({ filter: /./, namespace: 'repository' }, () => ({
      contents: `import { Failure } from './scripts/freehold/failure.ts'
        const refuse = () => { throw new Failure('This command needs the repository of Freehold: clone it, and run npm run freehold -- there.') }
        export const setUpDeployment = refuse, setUpMaster = refuse, migrationsIn = refuse, madeByMigrations = refuse, startLocally = refuse`,
      resolveDir: ROOT,
    }))
  },
}

/** The OpenAPI document, as the Worker answers with it at an address. */
export async function documentOf(url: string): Promise<object> {
  const { all } = await documents()
  return JSON.parse(JSON.stringify({ ...all, servers: [{ url }] }).replaceAll(BASE, url))
}

/** The types of the document's paths. openapi-typescript needs the TypeScript that has a JavaScript API. */
async function pathTypes(): Promise<string> {
  registerHooks({ resolve: (name, context, next) => next(name === 'typescript' ? 'typescript-5' : name, context) })
  const { default: generate, astToString } = await import('openapi-typescript')
  // What has a default may be left out of a body.
  const options = { defaultNonNullable: false }
  const document = await documentOf('https://ids.example.com')
  return astToString(await generate(document as Parameters<typeof generate>[0], options))
}

async function types(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'freehold-types-'))
  try {
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    execFileSync(process.execPath, [tsc, '-p', join(HERE, 'tsconfig.json'), '--outDir', folder], { cwd: ROOT, stdio: 'inherit' })
    // Shared with the Worker.
    cpSync(join(folder, 'src', 'avatars', 'initials.d.ts'), join(folder, 'scripts', 'package', 'client', 'initials.d.ts'))
    for (const part of ['client', 'verify']) {
      const from = join(folder, 'scripts/package', part)
      for (const file of readdirSync(from)) {
        const text = readFileSync(join(from, file), 'utf8')
          .replace(/(from '\.\/[\w-]+)\.ts'/g, "$1.js'")
          .replace(/'(\.\.\/)+src\/avatars\/initials\.ts'/g, "'./initials.js'")
          .replace(/(from "\.\/[\w-]+)\.ts"/g, '$1.js"')
        writeFileSync(join(from, file), text)
      }
      cpSync(from, join(DIST, part), { recursive: true })
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  writeFileSync(join(DIST, 'client/paths.d.ts'), await pathTypes())
  const codes = Object.keys(problemCatalogue).map((code) => `'${code}'`)
  writeFileSync(join(DIST, 'client/codes.d.ts'), `export type Code = ${codes.join(' | ')}\n`)
}

async function scripts(): Promise<void> {
  const common = { bundle: true, format: 'esm', minify: true, logLevel: 'warning' } as const
  const external = ['jose', 'openapi-fetch']
  const parts = ['client', 'verify'].map((part) => ({ in: join(HERE, part, `${part}.ts`), out: `${part}/${part}` }))
  await build({ ...common, external, entryPoints: parts, outdir: DIST, target: 'es2022', platform: 'neutral' })
  const { metafile } = await build({
    ...common,
    external,
    metafile: true,
    entryPoints: [{ in: join(ROOT, 'scripts/freehold/main.ts'), out: 'freehold' }],
    outdir: join(DIST, 'cli'),
    platform: 'node',
    target: 'node20',
    splitting: true,
    plugins: [onlyInRepository],
    banner: { js: `import { createRequire as requireFor } from 'node:module'; const require = requireFor(import.meta.url);` },
  })
  const packages = Object.keys(metafile.inputs).flatMap(
    (file) => /^(?:repository:)?(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? [],
  )
  const licenses = [...new Set(packages)].sort().map((folder) => {
    const file = readdirSync(join(ROOT, folder)).find((name) => /^licen[cs]e/i.test(name))
    const { name, version, license } = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'))
    return `${name} ${version}\n\n${file ? readFileSync(join(ROOT, folder, file), 'utf8') : `License: ${license}`}`
  })
  writeFileSync(join(DIST, 'cli/LICENSES.txt'), licenses.join('\n\n----\n\n'))
}

if (import.meta.main) {
  rmSync(DIST, { recursive: true, force: true })
  mkdirSync(DIST)
  await scripts()
  await types()
  process.stderr.write(`The package is built in ${relative(process.cwd(), DIST)}.\n`)
}
