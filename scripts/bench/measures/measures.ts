import type { Measure } from '../finding.ts'
import { admission } from './admission.ts'
import { analytics } from './analytics.ts'
import { audit } from './audit.ts'
import { authorization } from './authorization.ts'
import { bodies } from './bodies.ts'
import { bundle } from './bundle.ts'
import { competencies } from './competencies.ts'
import { crowdedRun } from './crowded-run.ts'
import { demands } from './demands.ts'
import { document } from './document.ts'
import { employees } from './employees.ts'
import { events } from './events.ts'
import { json } from './json.ts'
import { limits } from './limits.ts'
import { lists } from './lists.ts'
import { login } from './login.ts'
import { me } from './me.ts'
import { memory } from './memory.ts'
import { migrations } from './migrations.ts'
import { postgres } from './postgres.ts'
import { provisioning } from './provisioning.ts'
import { refusals } from './refusals.ts'
import { resolution } from './resolution.ts'
import { risk } from './risk.ts'
import { turns } from './turns.ts'
import { verify } from './verify.ts'
import { wiping } from './wiping.ts'

/** All measures, in the order of the report. */
export const measures: Measure[] = [
  me,
  verify,
  admission,
  authorization,
  demands,
  risk,
  postgres,
  lists,
  employees,
  competencies,
  limits,
  audit,
  wiping,
  events,
  login,
  refusals,
  bodies,
  json,
  bundle,
  document,
  provisioning,
  resolution,
  analytics,
  memory,
  turns,
  // The last two: from here on the registry says that the other tenants are of a later release.
  migrations,
  crowdedRun,
]
