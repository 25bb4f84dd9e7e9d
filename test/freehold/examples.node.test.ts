/** The examples of --help, held against the one definition of the commands. */
import { describe, expect, test } from 'vitest'
import type { Command } from '../../scripts/freehold/command.ts'
import { commandLine } from '../../scripts/freehold/program.ts'
import { leavesOf, wordsOf } from './commands.ts'
import { freehold } from './run.ts'

const leaves = leavesOf(commandLine())

/** What a command line calls: the command, and what it was given. Fails where it is wrong usage. */
async function called(words: string[]): Promise<string> {
  const program = commandLine()
  let path = ''
  for (const leaf of leavesOf(program))
    leaf.exitOverride().action((...given: unknown[]) => {
      path = (given.at(-1) as Command).path
    })
  await program.parseAsync(words, { from: 'user' })
  return path
}

describe('examples', () => {
  test('are there for every command', () => {
    expect(leaves.length).toBeGreaterThan(40)
    expect(leaves.filter(({ examples }) => !examples.length).map(({ path }) => path)).toEqual([])
  })

  test.for(leaves.flatMap((leaf) => leaf.examples.map((line) => [leaf.path, line] as const)))(
    'of %s: "%s" is right usage of that command',
    async ([path, line]) => {
      expect(await called([...path.split(' ').slice(1), ...wordsOf(line)])).toBe(path)
    },
  )

  test('are in the help of their command', async () => {
    expect((await freehold(['tenants', 'list', '--help'])).stdout).toMatch(
      /^Example:\n {2}freehold tenants list --status active/m,
    )
    expect((await freehold(['doctor', '--help'])).stdout).toMatch(/^Examples:\n {2}freehold doctor\n {2}freehold doctor --fix$/m)
  })
})
