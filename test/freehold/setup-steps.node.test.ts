/** Threat: a set-up does something that nobody agreed to. */
import { describe, expect, test } from 'vitest'
import { goThrough, NotSet, type Step } from '../../scripts/freehold/deployment/steps.ts'

describe('a question', () => {
  const done: string[] = []
  const step = (name: string, more: Partial<Step> = {}): Step => ({
    name,
    does: 'Does it.',
    look: async () => ({ is: 'open', says: 'to do' }),
    plan: () => [],
    run: async () => {
      done.push(name)
      return 'done'
    },
    ...more,
  })
  const refusing = (...names: string[]) => ({ dry_run: false, ask: async ({ name }: Step) => !names.includes(name) })

  test('is asked before each step that has something to do; a no skips what is optional, and stops before what is not', async () => {
    const steps = [
      step('a'),
      step('b', { optional: true }),
      step('c', { look: async () => ({ is: 'done', says: 'there' }) }),
      step('d'),
      step('e'),
    ]
    await expect(goThrough(steps, refusing('b', 'c', 'd'))).rejects.toThrow('Stopped before "d". Run the same command again')
    expect(done.splice(0)).toEqual(['a'])
    const outcomes = await goThrough(steps, refusing('b'))
    expect(outcomes.map(({ state }) => state)).toEqual(['changed', 'skipped', 'done', 'changed', 'changed'])
    expect(done).toEqual(['a', 'd', 'e'])
  })

  test('is asked by no dry run, which runs nothing and goes on where a key is not set', async () => {
    const blind = step('f', {
      look: async () => {
        throw new NotSet('NEON_API_KEY', 'make one.')
      },
    })
    const asking = { dry_run: true, ask: () => Promise.reject(new Error('asked')) }
    done.length = 0
    const outcomes = await goThrough([blind, step('g')], asking)
    expect(outcomes.map(({ state, says }) => [state, says])).toEqual([
      ['planned', 'not looked at, because NEON_API_KEY is not set'],
      ['planned', 'to do'],
    ])
    await expect(goThrough([blind], { ...asking, dry_run: false })).rejects.toThrow('NEON_API_KEY is not set: make one.')
    expect(done).toEqual([])
  })
})
