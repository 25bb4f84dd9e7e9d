import { z } from 'zod'
import { connected, planeOf } from './api.ts'
import { Tokens } from './bearer.ts'
import type { Command } from './command.ts'
import type { Connection } from './credentials.ts'
import { Failure } from './failure.ts'
import { requireEncryption } from './options.ts'
import { printJson, tell } from './output.ts'
import { addPlane, connectionOf, type OnPlane, PLANE_SETTINGS } from './planes.ts'
import { ask, isAsked } from './prompt.ts'
import { send, shaped } from './wire.ts'

type Options = OnPlane & { revokeApiKeys?: boolean }
const Entered = Tokens.pick({ access_token: true })

/** The command that changes one's own password, also a first one, with which nothing else can be done. */
export function addPassword(program: Command): void {
  addPlane(program.command('password').description('change your own password; your other sessions end'))
    .example()
    .example('--tenant acme --revoke-api-keys')
    .option('--revoke-api-keys', 'revoke your API keys, too')
    .addHelpText(
      'after',
      `
Both passwords are asked for on a terminal, and not shown, unless the environment has them:
  FREEHOLD_CURRENT_PASSWORD  the one of now; default: that of FREEHOLD_PASSWORD, with --tenant FREEHOLD_TENANT_PASSWORD, if they say who
  FREEHOLD_NEW_PASSWORD      the new one
${PLANE_SETTINGS}`,
    )
    .action((_, command: Command) => change(command.optsWithGlobals<Options>()))
}

async function change(options: Options): Promise<void> {
  const connection = await connectionOf(options)
  requireEncryption(connection.url, connection.setting, options)
  const { credentials } = connection
  const given = 'password' in credentials ? credentials.password : process.env.FREEHOLD_CURRENT_PASSWORD
  const current_password = given || (await asked('Password of now: ', 'FREEHOLD_CURRENT_PASSWORD'))
  const new_password = process.env.FREEHOLD_NEW_PASSWORD || (await chosen())
  const body = { current_password, new_password, revoke_api_keys: options.revokeApiKeys }
  const { as, isOpened } = await entered(connection)
  await connected(options, as, async (api) => {
    try {
      await api.call(z.unknown(), 'POST', '/auth/password-change', { body })
    } finally {
      // What was refused says more than that its session could not be ended.
      if (isOpened) await api.call(z.unknown(), 'POST', '/auth/logout').catch(() => undefined)
    }
  })
  if (options.json) return printJson({ state: 'changed' })
  tell('The password is changed, and your other sessions have ended.')
  if ('from' in credentials) tell(`The former one is still in ${credentials.from}.`)
}

/** A session that is good for this alone, where e-mail and password are given: a first password lets nobody do anything else. */
async function entered(connection: Connection): Promise<{ as: Connection; isOpened: boolean }> {
  const { credentials } = connection
  if (!('password' in credentials)) return { as: connection, isOpened: false }
  const { email, password } = credentials
  const plane = planeOf(connection)
  const answer = await send(plane, 'POST', '/auth/login', { body: { email, password }, token: null })
  return { as: { ...connection, credentials: { token: shaped(plane, Entered, answer).access_token } }, isOpened: true }
}

async function chosen(): Promise<string> {
  const password = await asked('New password: ', 'FREEHOLD_NEW_PASSWORD')
  if ((await asked('The same again: ', 'FREEHOLD_NEW_PASSWORD')) !== password)
    throw new Failure('They differ: nothing was changed.', 'not_confirmed')
  return password
}

function asked(question: string, setting: string): Promise<string> {
  if (!isAsked()) throw new Failure(`There is no terminal to ask on: set ${setting}.`, 'confirmation_required')
  return ask(question, { hidden: true })
}
