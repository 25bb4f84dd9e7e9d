import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const HERE = fileURLToPath(new URL('.', import.meta.url))

/** How large a page or a server becomes with the client (with openapi-fetch), and with the verifier (beside jose): gzipped, in KiB. */
export async function packageSizes(): Promise<{ client: number; verify: number }> {
  const size = async (part: string, external: string[]) => {
    const entryPoints = [`${HERE}${part}/${part}.ts`]
    const made = await build({ entryPoints, bundle: true, minify: true, format: 'esm', target: 'es2022', write: false, external })
    return gzipSync(made.outputFiles[0]?.contents ?? '').length / 1024
  }
  return { client: await size('client', []), verify: await size('verify', ['jose']) }
}
