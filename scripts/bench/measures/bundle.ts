import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { bundleParts } from '../../bundle/parts.ts'
import { packageSizes } from '../../package/sizes.ts'
import type { Finding, Measure } from '../finding.ts'
import { spread } from '../samples.ts'

const SHOWN = 20

/** How large the Worker is that is deployed to production, and what it is made of; and the two parts of the npm package. */
export const bundle: Measure = {
  name: 'bundle',
  async run({ outdir }) {
    const folder = join(outdir, '../production')
    await mkdir(folder, { recursive: true })
    const { kib, parts } = await bundleParts(folder)
    const rest = parts.slice(SHOWN).reduce((sum, part) => sum + part.kib, 0)
    const { client, verify } = await packageSizes()
    const part = (title: string, size: number, goal: number, note: string): Finding => {
      return { title, value: spread([size]), unit: 'KiB', goal, parts: [], note }
    }
    return [
      {
        title: 'The bundle, gzipped',
        value: spread([kib]),
        unit: 'KiB',
        goal: 300,
        parts: [...parts.slice(0, SHOWN), { name: 'all others', kib: rest }].map((part) => ({
          label: part.name,
          value: spread([part.kib]),
          unit: 'KiB',
        })),
        note: 'What wrangler prints. A package or a folder counts by its share of the minified script.',
      },
      part('freehold/client, gzipped', client, 6, 'Minified, with openapi-fetch.'),
      part('freehold/verify, gzipped', verify, 8, 'Minified, beside jose.'),
    ]
  },
}
