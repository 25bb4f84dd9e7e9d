import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { bundleParts } from '../../bundle/parts.ts'
import type { Measure } from '../finding.ts'
import { spread } from '../samples.ts'

const SHOWN = 20

/** How large the Worker is that is deployed to production, and what it is made of. */
export const bundle: Measure = {
  name: 'bundle',
  async run({ outdir }) {
    const folder = join(outdir, '../production')
    await mkdir(folder, { recursive: true })
    const { kib, parts } = await bundleParts(folder)
    const rest = parts.slice(SHOWN).reduce((sum, part) => sum + part.kib, 0)
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
        note: 'What wrangler prints. Text is gzipped by itself; a package or a folder counts by its share of the minified script.',
      },
    ]
  },
}
