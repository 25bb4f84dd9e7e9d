import { z } from 'zod'
import type { Command } from './command.ts'
import { addPaging, listed, type Paging, printList } from './lists.ts'
import { plain, printJson, tell } from './output.ts'
import { findUser, WHO } from './people.ts'
import { addPlane, type OnPlane, PLANE_SETTINGS, withPlane } from './planes.ts'
import { confirm } from './prompt.ts'
import { minute } from './table.ts'

const Session = z.looseObject({
  id: z.string(),
  device_name: z.string().nullable(),
  address: z.string().nullable(),
  country: z.string().nullable(),
  created_at: z.string(),
  last_active_at: z.string(),
  is_current: z.boolean(),
})

/** The commands on sessions. */
export function addSessions(program: Command): void {
  const sessions = program
    .command('sessions')
    .description('list and end sessions: your own, or with --user those of another')
    .addHelpText('afterAll', PLANE_SETTINGS)
  const made = (name: string, does: string) => addPlane(sessions.command(name).description(does))

  addPaging(made('list', 'list active sessions, newest first'))
    .example('--tenant acme --user ann@example.com')
    .option('--user <user>', `those of another: ${WHO}`)
    .action((_, command: Command) => list(command.optsWithGlobals()))

  made('end', 'end a session, or with --user all of another')
    .option('--yes', 'do not ask')
    .example('--tenant acme --user ann@example.com --yes')
    .argument('[session]', 'its id')
    .option('--user <user>', `all of another: ${WHO}`)
    .action((id: string | undefined, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & { user?: string; yes?: boolean }>()
      if ((id === undefined) === (options.user === undefined)) command.error('error: give a session, or --user')
      return end(id, options)
    })
}

const list = (options: OnPlane & Paging & { user?: string }) =>
  withPlane(options, async (api, users) => {
    const at = options.user === undefined ? '/sessions' : `${users}/${(await findUser(api, users, options.user)).id}/sessions`
    const found = await listed(api, Session, at, {}, options)
    const heads = ['SESSION', 'CREATED (UTC)', 'LAST ACTIVE (UTC)', 'ADDRESS', 'COUNTRY', 'CURRENT', 'DEVICE']
    printList(found, options, 'There is no active session.', heads, (s) => [
      s.id,
      minute(s.created_at),
      minute(s.last_active_at),
      s.address ?? '-',
      s.country ?? '-',
      s.is_current ? 'yes' : 'no',
      s.device_name ?? '-',
    ])
  })

const end = (id: string | undefined, options: OnPlane & { user?: string; yes?: boolean }) =>
  withPlane(options, async (api, users) => {
    if (id !== undefined) {
      await confirm(`End the session ${plain(id)}?`, options)
      await api.call(z.unknown(), 'DELETE', `/sessions/${encodeURIComponent(id)}`)
      return options.json ? printJson({ id, state: 'ended' }) : tell(`The session ${plain(id)} is ended.`)
    }
    const user = await findUser(api, users, options.user ?? '')
    await confirm(`End all sessions of ${plain(user.email)}?`, options)
    await api.call(z.unknown(), 'DELETE', `${users}/${user.id}/sessions`)
    if (options.json) printJson({ user_id: user.id, state: 'ended' })
    else tell(`All sessions of ${plain(user.email)} are ended.`)
  })
