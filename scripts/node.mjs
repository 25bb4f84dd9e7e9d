/**
 * What `npm start`, `npm run freehold` and `npm test` run first, on whichever Node there is: an old one cannot read TypeScript, and says so
 * in words that nobody who installs Freehold knows what to do about. `node scripts/node.mjs [program] [arguments]` then runs the program.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** The first Node that reads TypeScript without being asked to. */
const NEEDED = [22, 18]

const installed = (path) => existsSync(fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url)))
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const isOld = major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])
/** The dependency `node` gets its program from an install script, and the Postgres of the local stack its libraries. */
const isWhole = installed('node/bin/node') || installed('node/bin/node.exe')
const [, , program] = process.argv
const needsPostgres = program !== 'scripts/freehold/main.ts'
const needs = `Freehold needs Node ${NEEDED.join('.')} or later, and this is ${process.versions.node}`

const wrong = !installed('commander')
  ? 'The dependencies of Freehold are not installed: run npm ci.'
  : isOld && isWhole
    ? `${needs}: start it with npm, which uses the Node of its dependencies.`
    : isOld
      ? `${needs}: its dependencies bring a newer one, but their install scripts did not run (--ignore-scripts), so run npm rebuild.`
      : needsPostgres && !isWhole
        ? 'The install scripts of the dependencies did not run (--ignore-scripts), so Postgres is not complete: run npm rebuild.'
        : null

if (wrong !== null) {
  process.stderr.write(`${wrong}\n`)
  process.exitCode = 1
} else if (program !== undefined) {
  const file = resolve(program)
  process.argv.splice(1, 2, file)
  await import(pathToFileURL(file).href)
}
