import { Option } from 'commander'
import { z } from 'zod'
import type { Api } from './api.ts'
import type { Command } from './command.ts'
import { TENANT_CREDENTIAL_SETTINGS } from './credentials.ts'
import { importFile } from './importing.ts'
import { addPaging, listed, type Paging, printList } from './lists.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { addTenant, inTenant, type OnPlane } from './planes.ts'
import { confirm } from './prompt.ts'
import { minute, pairs } from './table.ts'

const Employee = z.looseObject({
  id: z.string(),
  user_id: z.string().nullable(),
  document_type: z.string(),
  document_number: z.string(),
  given_names: z.string(),
  family_name: z.string(),
  status: z.string(),
  position: z.string().nullable(),
  unit_id: z.string().nullable(),
  terminated_at: z.string().nullable(),
  is_masked: z.boolean(),
})
type Employee = z.infer<typeof Employee>

/** The commands on the employees of a tenant. */
export function addEmployees(program: Command): void {
  const employees = program
    .command('employees')
    .description('list, show and import the employees of a tenant, and end employments')
    .addHelpText('afterAll', TENANT_CREDENTIAL_SETTINGS)
  const made = (name: string, does: string) => addTenant(employees.command(name).description(does))

  addPaging(made('list', 'list employees, by name'))
    .example('--search quispe --status active --tenant acme')
    .option('--search <text>', 'those whose family name and given names begin with this')
    .addOption(new Option('--status <status>', 'only those').choices(['active', 'inactive', 'terminated']))
    .action((_, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & Paging & { search?: string; status?: string }>()
      return inTenant(options, async (api) => {
        const { search, status } = options
        const found = await listed(api, Employee, '/employees', { search, status }, options)
        const heads = ['NAME', 'DOCUMENT', 'STATUS', 'POSITION', 'ACCOUNT', 'ID']
        printList(found, options, 'There is no such employee.', heads, (e) => [
          nameOf(e),
          documentOf(e),
          e.status,
          e.position ?? '-',
          e.user_id === null ? 'no' : 'yes',
          e.id,
        ])
      })
    })

  made('show', 'show an employee')
    .example('0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11 --tenant acme')
    .argument('<employee>', 'their id')
    .action((id: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => show(await employee(api, id), options))
    })

  employees
    .command('import')
    .description('import employees from a file; exits with 1 when a row failed or was not processed')
    .example('acme people.csv --dry-run')
    .argument('<tenant>', 'its subdomain')
    .argument('<file>', 'a CSV whose first row names the columns, or one JSON object in each line')
    .option('--dry-run', 'report the result of each row without creating employees')
    .addHelpText(
      'after',
      `
A file whose name ends in .csv is read as CSV, in UTF-8. Columns: document_type, document_number, given_names, family_name; and unit (its name), user
(e-mail address or username of the account), position, employed_since and so on. The same file can be sent again: who is there is reported as a duplicate.`,
    )
    .action((tenant: string, file: string, { dryRun = false }: { dryRun?: boolean }, command: Command) => {
      const type = /\.csv$/i.test(file) ? 'text/csv' : 'application/x-ndjson'
      const how = { path: '/employees/import', noun: 'employees', type, dryRun }
      return importFile(command.optsWithGlobals<Globals>(), tenant, file, how)
    })

  made('terminate', 'end an employment, now or at a date; the account ends with it')
    .option('--yes', 'do not ask')
    .example('0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11 --reason "End of contract" --yes --tenant acme')
    .argument('<employee>', 'their id')
    .requiredOption('--reason <text>', 'why')
    .option('--at <time>', 'when it ends (RFC 3339); default: now')
    .action((id: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane & { reason: string; at?: string; yes?: boolean }>()
      return inTenant(options, async (api) => {
        const name = plain(nameOf(await employee(api, id)))
        await confirm(`End the employment of ${name}, and their account with it?`, options)
        const { reason, at } = options
        const ended = await api.call(Employee, 'POST', `/employees/${id}/terminate`, { body: { reason, at } })
        if (options.json) printJson(ended)
        else tell(`The employment of ${name} ends at ${minute(ended.terminated_at ?? '')} (UTC).`)
      })
    })

  made('reinstate', 'undo the end of an employment; the account that it deactivated is active again')
    .example('0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11 --tenant acme')
    .argument('<employee>', 'their id')
    .action((id: string, _, command: Command) => {
      const options = command.optsWithGlobals<OnPlane>()
      return inTenant(options, async (api) => {
        const back = await api.call(Employee, 'POST', `/employees/${encodeURIComponent(id)}/reinstate`)
        if (options.json) printJson(back)
        else tell(`${plain(nameOf(back))} is an employee again.`)
      })
    })
}

const employee = (api: Api, id: string) => api.call(Employee, 'GET', `/employees/${encodeURIComponent(id)}`)
const nameOf = ({ given_names, family_name }: Employee) => `${family_name}, ${given_names}`
const documentOf = ({ document_type, document_number }: Employee) => `${document_type} ${document_number}`

function show(found: Employee, { json }: OnPlane): void {
  if (json) {
    printJson(found)
    return
  }
  print(
    pairs([
      ['name', nameOf(found)],
      ['document', documentOf(found)],
      ['status', found.status],
      ['id', found.id],
      ['account', found.user_id ?? '-'],
      ['unit', found.unit_id ?? '-'],
      ['position', found.position ?? '-'],
      ['ends (UTC)', found.terminated_at === null ? '-' : minute(found.terminated_at)],
    ]),
  )
}
