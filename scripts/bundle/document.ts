/** Makes the OpenAPI documents from the Worker's own code, when the Worker is built: the Worker has neither the generator nor the texts. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** What the Workers runtime gives, and what verifies passkeys: only the document is made here. */
const noRuntime: Plugin = {
  name: 'no runtime',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(cloudflare:|@simplewebauthn\/)/ }, ({ path }) => ({ path, namespace: 'runtime' }))
    onLoad({ filter: /./, namespace: 'runtime' }, () => ({
      contents: 'module.exports = new Proxy({}, { get: () => class {} })',
    }))
  },
}

/** The document of the base domain and that of the host of a tenant, each as the Worker reads it (src/docs/served.ts). */
export async function documents(): Promise<{ all: object; tenant: object }> {
  const folder = mkdtempSync(join(tmpdir(), 'freehold-document-'))
  try {
    const outfile = join(folder, 'app.mjs')
    await build({
      stdin: {
        contents: `export { app } from './src/app.ts'; export { openApi } from './src/docs/openapi.ts'`,
        resolveDir: ROOT,
        loader: 'ts',
      },
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node22',
      outfile,
      plugins: [noRuntime],
      logLevel: 'error',
    })
    const { app, openApi } = await import(pathToFileURL(outfile).href)
    return { all: openApi(app, false), tenant: openApi(app, true) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
