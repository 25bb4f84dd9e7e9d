import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { Failure } from './failure.ts'
import { harmless } from './output.ts'

/** Ctrl-C at a question. */
class Interrupted extends Failure {
  override readonly exit = 130

  constructor() {
    super('Interrupted: nothing was changed.', 'interrupted')
  }
}

/** Whether there is somebody to ask. */
export const isAsked = () => process.stdin.isTTY === true

/** Asks on the terminal, which is stderr: stdout is for results. A hidden answer is not shown. Fails when there is none. */
export function ask(question: string, { hidden = false } = {}): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: hidden ? nowhere : process.stderr, terminal: true })
  if (hidden) process.stderr.write(harmless(question))
  else {
    lines.setPrompt(harmless(question))
    lines.prompt()
  }
  return new Promise<string>((done, fail) => {
    lines.once('line', done)
    lines.once('SIGINT', () => fail(new Interrupted()))
    lines.once('close', () => fail(new Failure('Nothing was entered.', 'not_confirmed')))
  }).finally(() => {
    lines.close()
    if (hidden) process.stderr.write('\n')
  })
}

/** Asks before what cannot be undone, unless --yes is given. Where nobody can answer, it fails and says so. */
export async function confirm(question: string, { yes }: { yes?: boolean }): Promise<void> {
  if (yes) return
  if (!isAsked()) throw new Failure(`${question} Repeat it with --yes.`, 'confirmation_required')
  if (!/^y(es)?$/i.test((await ask(`${question} [y/N] `)).trim())) throw notConfirmed()
}

/** Asks for a name to be repeated, unless --confirm did. `what` is what cannot be undone. */
export async function confirmName(what: string, name: string, given: string | undefined): Promise<void> {
  if (given === name) return
  if (given !== undefined || !isAsked())
    throw new Failure(`${what}: repeat the subdomain with --confirm ${name}.`, 'confirmation_required')
  if ((await ask(`${what}. Type ${name} to go on: `)).trim() !== name) throw notConfirmed()
}

const notConfirmed = () => new Failure('Nothing was changed.', 'not_confirmed')
