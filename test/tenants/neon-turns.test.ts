/** Turns at Neon: the budget of an account, who changes a project, and what happens when the object that gives them is away. */
import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { neonApi, neonWords, withRetry } from '../../src/tenants/provisioning/neon.ts'
import type { NeonTurns } from '../../src/tenants/provisioning/neon-turns.ts'
import { localTurn } from '../../src/tenants/provisioning/pace.ts'
import { settings } from '../support/databases.ts'

const turns = env.NEON_TURNS as DurableObjectNamespace<NeonTurns>
let count = 0
/** An account that nobody else has. */
const account = () => `turns-${count++}`
const reading = (budget: number) => ({ budget, project: null, holder: null, operation: null })
const changing = (holder: string, project = 'p') => ({ budget: 1_000, project, holder, operation: null })
/** Moves the clock, once what was asked before has begun. */
async function later(ms: number) {
  await scheduler.wait(20)
  vi.setSystemTime(Date.now() + ms)
}
const write = (name: string, asked: Parameters<NeonTurns['enter']>[0]) => turns.getByName(name).enter(asked)

afterEach(() => {
  vi.useRealTimers()
})

describe('the budget of an account', () => {
  it('is kept by all who ask at once: what is beyond it is refused, and says when to come', async () => {
    const name = account()
    const answers = await Promise.all(Array.from({ length: 20 }, () => turns.getByName(name).enter(reading(12))))
    expect(answers.filter(({ refused }) => !refused)).toHaveLength(12)
    const beyond = answers.filter(({ refused }) => refused === 'budget')
    expect(beyond).toHaveLength(8)
    for (const { after_ms } of beyond) expect(after_ms).toBeGreaterThan(40_000)
    expect((await turns.getByName(account()).enter(reading(12))).refused).toBeUndefined()
  })

  it('has room again a minute after each call, not sooner', async () => {
    const name = account()
    vi.useFakeTimers({ toFake: ['Date'] })
    for (let i = 0; i < 3; i++) expect((await turns.getByName(name).enter(reading(3))).refused).toBeUndefined()
    await later(50_000)
    expect((await turns.getByName(name).enter(reading(3))).refused).toBe('budget')
    await later(13_000)
    const answers = []
    for (let i = 0; i < 4; i++) answers.push((await turns.getByName(name).enter(reading(3))).refused ?? 'granted')
    expect(answers).toEqual(['granted', 'granted', 'granted', 'budget'])
  })

  it('does not wait for a clock that was ahead, nor does a project', async () => {
    const name = account()
    vi.useFakeTimers({ toFake: ['Date'] })
    await later(3_600_000)
    for (let i = 0; i < 3; i++) expect((await write(name, reading(3))).refused).toBeUndefined()
    expect((await write(name, changing('a'))).refused).toBeUndefined()
    vi.useRealTimers()
    expect((await write(name, reading(3))).refused).toBeUndefined()
    expect((await write(name, changing('b'))).refused).toBeUndefined()
  })

  it('is spread: of 700 a minute at most 40 fall in one second', async () => {
    const name = account()
    const answers = await Promise.all(Array.from({ length: 81 }, () => turns.getByName(name).enter(reading(700))))
    const waits = answers.map(({ after_ms }) => after_ms).sort((a, b) => a - b)
    expect(waits[39]).toBeLessThan(1_000)
    expect((waits[40] ?? 0) - (waits[0] ?? 0)).toBeGreaterThan(500)
    expect((waits[80] ?? 0) - (waits[40] ?? 0)).toBeGreaterThan(500)
  })

  it('outlasts a reset of the object', async () => {
    const name = account()
    for (let i = 0; i < 3; i++) await turns.getByName(name).enter(reading(3))
    await runInDurableObject(turns.getByName(name), (_, ctx) => ctx.abort('reset')).catch(() => undefined)
    expect((await turns.getByName(name).enter(reading(3))).refused).toBe('budget')
  })

  it('is counted for an isolate alone where there is no object', () => {
    const name = account()
    const answers = Array.from({ length: 5 }, () => localTurn(name, reading(3)).refused ?? 'granted')
    expect(answers).toEqual(['granted', 'granted', 'granted', 'budget', 'budget'])
  })
})

describe('a project', () => {
  it('is changed by one at a time: twenty who come at once overlap nowhere, and each has its turn', async () => {
    const name = account()
    let inside = 0
    let most = 0
    const done = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        while ((await write(name, changing(`h${i}`))).refused) await scheduler.wait(5)
        most = Math.max(most, ++inside)
        await scheduler.wait(5)
        inside--
        await turns.getByName(name).leave('p', `h${i}`, [])
        return i
      }),
    )
    expect([done.length, most]).toEqual([20, 1])
  })

  it('is no other project, and who only reads waits for nobody', async () => {
    const name = account()
    await write(name, changing('a'))
    expect(await write(name, changing('b', 'other'))).toEqual({ after_ms: 0 })
    expect((await write(name, { ...reading(1_000), project: 'p' })).refused).toBeUndefined()
  })

  it('of somebody who was killed is free again half a minute later', async () => {
    const name = account()
    vi.useFakeTimers({ toFake: ['Date'] })
    await write(name, changing('killed'))
    await later(31_000)
    expect((await write(name, changing('next'))).refused).toBeUndefined()
    // What the killed one says late ends nobody else's turn.
    await turns.getByName(name).leave('p', 'killed', [])
    const third = write(name, changing('third'))
    await later(5_000)
    expect((await third).refused).toBe('project')
  })

  it('is held while its operations run, until somebody sees all of them ended', async () => {
    const name = account()
    await write(name, changing('a'))
    await turns.getByName(name).leave('p', 'a', ['one', 'two'])
    await turns.getByName(name).ended('p', ['one', 'unknown'])
    const waiting = write(name, changing('b'))
    await scheduler.wait(30)
    await turns.getByName(name).ended('p', ['two'])
    expect((await waiting).refused).toBeUndefined()
  })

  it('is held for as long as somebody asks about its operation, and ten seconds when nobody does', async () => {
    const name = account()
    vi.useFakeTimers({ toFake: ['Date'] })
    await write(name, changing('a'))
    await turns.getByName(name).leave('p', 'a', ['one'])
    for (let i = 0; i < 3; i++) {
      await later(8_000)
      await write(name, { ...reading(1_000), project: 'p', operation: 'one' })
      // Of another one it says nothing.
      await write(name, { ...reading(1_000), project: 'p', operation: 'two' })
    }
    const early = write(name, changing('b'))
    await later(5_000)
    expect((await early).refused).toBe('project')
    await later(16_000)
    expect((await write(name, changing('b'))).refused).toBeUndefined()
  })

  it('is given again to who asks again: the answer was lost', async () => {
    const name = account()
    await write(name, changing('a'))
    expect((await write(name, changing('a'))).refused).toBeUndefined()
  })

  it('stays with who has it when the object is reset', async () => {
    const name = account()
    await write(name, changing('a'))
    await runInDurableObject(turns.getByName(name), (_, ctx) => ctx.abort('reset')).catch(() => undefined)
    vi.useFakeTimers({ toFake: ['Date'] })
    const other = write(name, changing('b'))
    await later(5_000)
    expect((await other).refused).toBe('project')
    await turns.getByName(name).leave('p', 'a', [])
    expect((await write(name, changing('b'))).refused).toBeUndefined()
  })
})

describe('Neon is asked', () => {
  const asked = async (binding: object | undefined) => {
    const config = { ...settings(), ...(binding && { NEON_TURNS: binding }) }
    // One page: each call waits for the object.
    return (await neonApi(config).projects.list({}).page()).items.length
  }
  const failing = (error: Error) => ({ getByName: () => ({ enter: () => Promise.reject(error) }) })

  it.each<[string, object]>([
    ['is overloaded', failing(Object.assign(new Error('overloaded'), { overloaded: true, retryable: true }))],
    ['fails each time', failing(Object.assign(new Error('reset'), { retryable: true }))],
    ['is of another release', { getByName: () => ({ enter: () => Promise.reject(new TypeError('no method')) }) }],
    ['does not answer', { getByName: () => ({ enter: () => new Promise(() => {}) }) }],
  ])('although the object %s', async (_, binding) => {
    expect(await asked(binding)).toBeGreaterThan(0)
  })

  it('once the object that was reset answers', async () => {
    let calls = 0
    const enter = async () => {
      if (++calls < 3) throw Object.assign(new Error('reset'), { retryable: true })
      return { after_ms: 0 }
    }
    expect(await asked({ getByName: () => ({ enter }) })).toBeGreaterThan(0)
    expect(calls).toBeGreaterThanOrEqual(3)
  })

  it('not when the budget is spent: who is in a hurry hears it, as Neon’s own 429', async () => {
    const NEON_TURNS = { getByName: () => ({ enter: async () => ({ refused: 'budget', after_ms: 50 }) }) }
    const neon = neonApi({ ...settings(), NEON_TURNS, NEON_CALLS_PER_MINUTE: 7 }, { requestTimeoutMs: 400, retries: 1 })
    const words = await neon.projects
      .list({})
      .all()
      .then(() => 'asked', neonWords)
    expect(words).toContain("Of the 7 calls of Neon's API in a minute (NEON_CALLS_PER_MINUTE) none is left.")
  })

  it('again and again by what waits out 423 and 429, and the wait for a turn counts', async () => {
    let calls = 0
    const answer = await withRetry(
      async () => {
        if (++calls < 3) throw Object.assign(new Error('busy'), { busy: true })
        return calls
      },
      (error) => (error as { busy?: boolean }).busy === true,
    )
    expect(answer).toBe(3)
  })
})
