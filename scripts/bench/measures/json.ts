import { jsonOf } from '../../../src/http/json.ts'
import type { Finding, Measure } from '../finding.ts'
import { inTurns, ratios, spread } from '../samples.ts'

/** What a body is parsed for: an ordinary one, and the largest under /auth, of short and of long values. */
const BODIES: [string, object][] = [
  ['a login', { username: 'cy@acme.test', password: 'Copper-Window-17' }],
  ['a user', { email: 'cy@acme.test', username: 'cy', given_name: 'Cyan', preferences: { theme: 'dark', sizes: [1, 2.5, 3] } }],
  ['16 KiB of short fields', Object.fromEntries(Array.from({ length: 1_200 }, (_, n) => [`k${n}`, n]))],
  ['16 KiB of long texts', Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`k${n}`, 'text '.repeat(52)]))],
]

/** Reading JSON strictly, as a body is read: checked, then parsed. In this process, whose engine is that of workerd. */
export const json: Measure = {
  name: 'json',
  async run({ quick }) {
    const rounds = quick ? 9 : 25
    const found = []
    for (const [label, body] of BODIES) {
      const text = JSON.stringify(body)
      const times = Math.ceil(2_000_000 / text.length)
      const each = (read: (text: string) => unknown) => async () => {
        const from = process.hrtime.bigint()
        for (let i = 0; i < times; i++) read(text)
        return Number(process.hrtime.bigint() - from) / times / 1000
      }
      const things = { plain: each(JSON.parse), strict: each(jsonOf) }
      await inTurns(3, things)
      found.push({ label, ...(await inTurns(rounds, things)) })
    }
    const worst = found.map(({ strict, plain }) => ratios(strict, plain)).sort((a, b) => b.median - a.median)[0]
    return [
      {
        title: 'Reading JSON strictly / JSON.parse, the worst body of up to 16 KiB',
        value: worst ?? spread([]),
        unit: 'x',
        goal: 4,
        parts: found.flatMap(({ label, strict, plain }) => [
          { label: `${label}, strictly`, value: spread(strict), unit: 'µs' as const },
          { label: `${label}, JSON.parse`, value: spread(plain), unit: 'µs' as const },
        ]),
        note: 'UTF-8, names that are there twice, surrogates, exact numbers: src/http/json.ts.',
      },
    ] satisfies Finding[]
  },
}
