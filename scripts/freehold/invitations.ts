import { Option } from 'commander'
import { z } from 'zod'
import type { Api } from './api.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { Failure } from './failure.ts'
import { addPaging, EVERYTHING, listed, type Paging, printList } from './lists.ts'
import { emailAddress } from './options.ts'
import { findOrganization } from './organizations.ts'
import { plain, printJson, tell } from './output.ts'
import { addTenant, inTenant, type OnPlane } from './planes.ts'
import { confirm } from './prompt.ts'
import { minute } from './table.ts'

const Invitation = z.looseObject({
  id: z.string(),
  email: z.string(),
  status: z.string(),
  roles: z.array(z.string()),
  sent_at: z.string(),
  expires_at: z.string(),
})
type Invitation = z.infer<typeof Invitation>
const WHICH = 'its id, or the e-mail address that is invited'

/** An open invitation. */
async function findInvitation(api: Api, name: string): Promise<Invitation> {
  const wanted = name.trim().toLowerCase()
  const { data } = await listed(api, Invitation, '/invitations', { status: 'open' }, EVERYTHING)
  const found = data.find(({ id, email }) => id === wanted || email === wanted)
  if (!found) throw new Failure(`There is no open invitation of ${plain(name)}.`, 'not_found')
  return found
}

/** The commands on invitations. */
export function addInvitations(program: Command): void {
  const invitations = program
    .command('invitations')
    .description('invite people to a tenant by mail, and list, send again and revoke invitations')
    .addHelpText('afterAll', TENANT_CREDENTIAL_SETTINGS)
  const made = (name: string, does: string) => addTenant(invitations.command(name).description(does))
  const told = (invitation: Invitation, { json }: OnPlane, done: string) => {
    if (json) printJson(invitation)
    else tell(`${plain(invitation.email)} ${done}`)
  }
  const until = ({ expires_at }: Invitation) => `is invited until ${minute(expires_at)} (UTC).`

  addPaging(made('list', 'list invitations, newest first'))
    .example('--status open --tenant acme')
    .addOption(new Option('--status <status>', 'only those').choices(['open', 'accepted', 'expired', 'revoked']))
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & Paging & { status?: string }>()
      return inTenant(options, async (api) => {
        const found = await listed(api, Invitation, '/invitations', { status: options.status }, options)
        const heads = ['E-MAIL', 'STATUS', 'ROLES', 'SENT (UTC)', 'EXPIRES (UTC)', 'ID']
        printList(found, options, 'There is no such invitation.', heads, (i) => [
          i.email,
          i.status,
          i.roles.join(' ') || '-',
          minute(i.sent_at),
          minute(i.expires_at),
          i.id,
        ])
      })
    })

  made('create', 'invite somebody by mail, for seven days')
    .example('ann@example.com --role analyst --organization Norte --tenant acme')
    .argument('<email>', 'e-mail address', emailAddress)
    .option('--role <name...>', 'roles that it gives, of those that you may give; default: that of who registers')
    .option('--organization <organization>', 'the organization that it leads to: its id or its name')
    .action((email: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & { role?: string[]; organization?: string }>()
      return inTenant(options, async (api) => {
        const { organization, role: roles } = options
        const organization_id = organization === undefined ? undefined : (await findOrganization(api, organization)).id
        const invitation = await api.call(Invitation, 'POST', '/invitations', { body: { email, roles, organization_id } })
        told(invitation, options, until(invitation))
      })
    })

  made('resend', 'send an open invitation again, for seven days from now; the link before is dead')
    .example('ann@example.com --tenant acme')
    .argument('<invitation>', WHICH)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => {
        const { id } = await findInvitation(api, name)
        const invitation = await api.call(Invitation, 'POST', `/invitations/${id}/resend`)
        told(invitation, options, until(invitation))
      })
    })

  made('revoke', 'revoke an open invitation; its link is dead')
    .option('--yes', 'do not ask')
    .example('ann@example.com --yes --tenant acme')
    .argument('<invitation>', WHICH)
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & { yes?: boolean }>()
      return inTenant(options, async (api) => {
        const { id, email } = await findInvitation(api, name)
        await confirm(`Revoke the invitation of ${plain(email)}?`, options)
        told(await api.call(Invitation, 'POST', `/invitations/${id}/revoke`), options, 'is not invited any more.')
      })
    })
}
