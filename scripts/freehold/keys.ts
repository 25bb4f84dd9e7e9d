import { randomBytes } from 'node:crypto'
import { type Command, InvalidArgumentError } from 'commander'
import type { Globals } from './options.ts'
import { print, printJson } from './output.ts'

/** The commands on the key ring that encrypts every secret at rest. */
export function addKeys(program: Command): void {
  const keys = program.command('keys').description('the keys that encrypt secrets at rest')

  keys
    .command('new')
    .description('generate a value for the setting ENCRYPTION_KEYS')
    .option('--id <id>', 'the id of the key, stored with every secret: 1-16 of a-z and 0-9', keyId, 'k1')
    .addHelpText(
      'after',
      `
ENCRYPTION_KEYS is a comma-separated list: the first key encrypts, all decrypt. To rotate, put a new key with another id before the
others. Without a key, what it encrypted cannot be recovered.`,
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
