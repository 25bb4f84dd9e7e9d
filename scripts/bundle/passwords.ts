/** Packs src/passwords/commonest.txt for the Worker, which reads it as an asset: `npm run passwords`. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { packed, wordsOf } from '../../src/passwords/commonest.ts'

const list = readFileSync('src/passwords/commonest.txt', 'utf8')
const about = list.split('\n').filter((line) => line.startsWith('#'))
const head = ['# Written by `npm run passwords` from commonest.txt (src/passwords/commonest.ts):', ...about]
const [path, text] = ['src/passwords/commonest-packed.txt', `${head.join('\n')}\n${packed(wordsOf(list))}\n`]
writeFileSync(path, text)
const checksum = createHash('sha256').update(text).digest('hex')
writeFileSync(
  'src/passwords/commonest-sum.ts',
  `// Written by \`npm run passwords\`.
/** The asset with the commonest passwords, packed. */
export const COMMONEST = {
  path: '${path}',
  checksum: '${checksum}',
}
`,
)
