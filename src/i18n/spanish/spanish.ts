/** All of the Spanish, as the asset has it (scripts/bundle/assets.ts). The Worker imports its type alone. */
import { bodies } from './bodies.ts'
import { competencies } from './competencies.ts'
import { database } from './database.ts'
import { emailLogin } from './email-login.ts'
import { employees } from './employees.ts'
import { external } from './external.ts'
import { factors } from './factors.ts'
import { impersonation } from './impersonation.ts'
import { invitations } from './invitations.ts'
import { notifications } from './notifications.ts'
import { operators } from './operators.ts'
import { organizations } from './organizations.ts'
import { personal } from './personal.ts'
import { problems } from './problems.ts'
import { risk } from './risk.ts'
import { webhooks } from './webhooks.ts'
import { worker } from './worker.ts'

export type Spanish = { problems: typeof problems; sentences: [english: string, spanish: string][] }

export const spanish: Spanish = {
  problems,
  sentences: [
    worker,
    operators,
    bodies,
    competencies,
    database,
    emailLogin,
    employees,
    external,
    factors,
    impersonation,
    invitations,
    notifications,
    risk,
    organizations,
    personal,
    webhooks,
  ].flatMap((table) => Object.entries(table)),
}
