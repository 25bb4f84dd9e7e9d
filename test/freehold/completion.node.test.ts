/** Completion, asked of the shells themselves. Those that this machine does not have are skipped. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Command } from '../../scripts/freehold/command.ts'
import { commandLine } from '../../scripts/freehold/program.ts'
import { freehold } from './run.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-completion-'))
const scriptFor = (shell: string) => join(folder, `script.${shell}`)
const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

const isHere = (shell: Shell) => {
  try {
    return execFileSync(shell, ['-c', 'echo here'], { encoding: 'utf8' }) === 'here\n'
  } catch {
    return false
  }
}

const quoted = (words: string[]) => words.map((word) => `'${word}'`).join(' ')

/** What a shell is told to offer for the last of these words. */
const ASK: Record<Shell, (words: string[]) => string> = {
  bash: (words) => `COMP_WORDS=(${quoted(words)}); COMP_CWORD=${words.length - 1}; _freehold; printf '%s\\n' "\${COMPREPLY[@]}"`,
  // Only what zsh is given: the editor would then choose among it.
  zsh: (words) => `words=(${quoted(words)}); CURRENT=${words.length}; _freehold`,
  fish: (words) => `complete -C '${words.join(' ')}' | string split -f1 \\t; true`,
}
const BEFORE: Record<Shell, string> = {
  bash: '',
  zsh: `compdef() { :; }; _files() { :; }; _describe() { print -rl -- "\${(@)\${(P@)2}%%:*}"; }; compadd() { print -rl -- "\${(P@)2}"; };`,
  fish: '',
}

/** The words that are offered for each of several lines, of one shell that is started once. */
function offered(shell: Shell, lines: string[]): string[][] {
  const source = shell === 'fish' ? `source ${scriptFor(shell)}` : `. ${scriptFor(shell)}`
  const asked = lines.map((line) => ASK[shell](line.split(' '))).join('\necho ---\n')
  const config = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder }
  const said = execFileSync(shell, ['-c', `${BEFORE[shell]}\n${source}\n${asked}`], {
    encoding: 'utf8',
    env: { ...process.env, ...config },
  })
  return said.split('---\n').map((part) => part.split('\n').filter(Boolean).sort())
}

/** The commands below each group, by its words. */
const groups = (command: Command, words: string): [string, string[]][] => {
  const below = command.commands as Command[]
  return below.length
    ? [[words, below.map((one) => one.name()).sort()], ...below.flatMap((one) => groups(one, `${words} ${one.name()}`))]
    : []
}
const expected = groups(commandLine(), 'freehold')

beforeAll(async () => {
  for (const shell of SHELLS) {
    const { code, stdout, stderr } = await freehold(['completion', shell])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    writeFileSync(scriptFor(shell), stdout)
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

describe.each(SHELLS.map((shell) => [shell, isHere(shell)] as const))('in %s', (shell, here) => {
  test.skipIf(!here)('every command of every group is offered, and nothing else', () => {
    expect(expected.length).toBeGreaterThan(8)
    const found = offered(
      shell,
      expected.map(([words]) => `${words} `),
    )
    expect(expected.map(([words], i) => [words, found[i]])).toEqual(expected)
  })

  test.skipIf(!here)('the options of a command are offered, its own and those of every command', () => {
    const [own = [], other = []] = offered(shell, ['freehold tenants list --', 'freehold presets --'])
    expect(own).toEqual(expect.arrayContaining(['--status', '--sort', '--json', '--profile', '--help']))
    expect(other).toEqual(expect.arrayContaining(['--markdown', '--json']))
    expect(other).not.toContain('--status')
  })

  test.skipIf(!here)('the values of options and arguments that are a list are offered', () => {
    const [to, keys, shells] = offered(shell, ['freehold tenants move acme --to ', 'freehold keys new ', 'freehold completion '])
    expect(to).toEqual(['database', 'project'])
    expect(keys).toEqual(['ENCRYPTION_KEYS', 'OWNER_KEYS'])
    expect(shells).toEqual(['bash', 'fish', 'zsh'])
  })

  test.skipIf(!here)('the value of an option is no command, and options before it are passed over', () => {
    const [below = [], after = []] = offered(shell, ['freehold --data tenants ', 'freehold --json --data x tenants '])
    expect(below).toContain('tenants')
    expect(after).toContain('create')
    expect(after).not.toContain('tenants')
  })
})

test('of another shell is wrong usage, which names those that there are', async () => {
  const { code, stderr } = await freehold(['completion', 'tcsh'])
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/bash, zsh, fish/) })
})
