/** Packs src/passwords/commonest.txt for the Worker: `npm run passwords`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { packed, wordsOf } from '../../src/passwords/commonest.ts'

const list = readFileSync('src/passwords/commonest.txt', 'utf8')
const about = list.split('\n').filter((line) => line.startsWith('#'))
const head = ['# Written by `npm run passwords` from commonest.txt (src/passwords/commonest.ts):', ...about]
writeFileSync('src/passwords/commonest-packed.txt', `${head.join('\n')}\n${packed(wordsOf(list))}\n`)
