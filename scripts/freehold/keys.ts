import { randomBytes } from 'node:crypto'
import { type Command, InvalidArgumentError } from 'commander'
import type { Globals } from './options.ts'
import { print, printJson } from './output.ts'

/** The commands on the key ring that encrypts every secret at rest. */
export function addKeys(program: Command): void {
  const keys = program.command('keys').description('the keys that encrypt secrets at rest')

  keys
    .command('new')
    .description('a fresh value for the setting ENCRYPTION_KEYS')
    .option('--id <id>', 'the name of the key, which every secret carries: 1-16 of a-z and 0-9', keyId, 'k1')
    .addHelpText(
      'after',
      `
ENCRYPTION_KEYS is a list, parted by commas: the first key encrypts, all decrypt. To rotate, put a new key with an id of its own
before the others. Whoever loses a key loses what it encrypted.`,
    )
    .action((_, command: Command) => {
      const { json, id } = command.optsWithGlobals<Globals & { id: string }>()
      const ENCRYPTION_KEYS = `${id}:${randomBytes(32).toString('base64url')}`
      if (json) printJson({ ENCRYPTION_KEYS })
      else print(ENCRYPTION_KEYS)
    })
}

function keyId(text: string): string {
  if (!/^[a-z0-9]{1,16}$/.test(text)) throw new InvalidArgumentError('It must be 1-16 of a-z and 0-9.')
  return text
}
