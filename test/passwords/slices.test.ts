/** Threat: one login computes for seconds, and everybody else in its isolate waits; or so many compute that nothing else gets its turn. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { foreignDigest } from '../../src/passwords/foreign-hash.ts'
import { inSlices } from '../../src/passwords/slices.ts'
import { invoke } from '../support/production.ts'

afterEach(() => {
  vi.useRealTimers()
})

/** A computation that goes on until it is told to end. */
function endless() {
  const state = { is_running: false, end: () => {} }
  const ended = new Promise<void>((done) => {
    state.end = done
  })
  const result = inSlices(async (endSlice) => {
    state.is_running = true
    await endSlice()
    await ended
    return 'done'
  })
  return { state, result }
}
const turn = (ms = 120) => scheduler.wait(ms)

describe('at most two computations run at once in an isolate', () => {
  it('of twenty that are asked for together', async () => {
    let running = 0
    let most = 0
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        inSlices(async (endSlice) => {
          most = Math.max(most, ++running)
          for (let slice = 0; slice < 3; slice++) await endSlice()
          running--
          return i
        }),
      ),
    )
    expect(results).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(most).toBe(2)
  })

  it('and the third begins when one of them has ended, also by failing', async () => {
    const [a, b] = [endless(), endless()]
    const c = endless()
    await turn()
    expect([a, b, c].map(({ state }) => state.is_running)).toEqual([true, true, false])
    a.state.end()
    await turn()
    expect(c.state.is_running).toBe(true)
    b.state.end()
    c.state.end()
    expect(await Promise.all([a.result, b.result, c.result])).toEqual(['done', 'done', 'done'])
    const failing = Array.from({ length: 5 }, () => inSlices(() => Promise.reject(new Error('no'))))
    for (const each of await Promise.allSettled(failing)) expect(each.status).toBe('rejected')
    expect(await inSlices(async () => 'still')).toBe('still')
  })

  it('and who has waited eight seconds for two that go on is told so, and runs nothing', async () => {
    let is_over = false
    const busy = Array.from({ length: 2 }, () =>
      inSlices(async (endSlice) => {
        while (!is_over) await endSlice()
      }),
    )
    let ran = false
    const waiting = inSlices(async () => {
      ran = true
    })
    await turn()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
    for (let steps = 0; steps < 3; steps++) {
      vi.setSystemTime(Date.now() + 3_000)
      await turn()
    }
    expect(await waiting).toBeNull()
    expect(ran).toBe(false)
    is_over = true
    await Promise.all(busy)
  })

  it('and one whose request is gone, so that it never ends, holds nobody up for more than five seconds', async () => {
    const [a, b] = [endless(), endless()]
    await turn()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
    const waiting = inSlices(async () => 'at last')
    vi.setSystemTime(Date.now() + 5_001)
    expect(await waiting).toBe('at last')
    for (const { state } of [a, b]) state.end()
    await Promise.all([a.result, b.result])
  })
})

describe('while a hash of another system is computed, others go on', () => {
  it.each([
    ['bcrypt', '$bcrypt$r=10,next=AAECAwQFBgcICQoLDA0ODw$abcdefghijklmnopqrstuu', 8],
    ['Django’s', '$django-pbkdf2-sha256$i=24576,next=AAECAwQFBgcICQoLDA0ODw$c2Vhc2FsdA', 5],
  ])('of %s, after every slice, though its clock stands still', async (_, parameters, slices) => {
    await foreignDigest('once', parameters)
    let turns = 0
    let is_over = false
    const others = (async () => {
      for (; !is_over; turns++) await scheduler.wait(0)
    })()
    await invoke(() => foreignDigest('pw', parameters))
    is_over = true
    await others
    expect(turns).toBeGreaterThanOrEqual(slices - 1)
  })
})
