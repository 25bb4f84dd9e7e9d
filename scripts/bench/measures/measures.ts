import type { Measure } from '../finding.ts'
import { admission } from './admission.ts'
import { login } from './login.ts'
import { me } from './me.ts'
import { memory } from './memory.ts'
import { provisioning } from './provisioning.ts'
import { resolution } from './resolution.ts'
import { verify } from './verify.ts'

/** All measures, in the order of the report. */
export const measures: Measure[] = [me, verify, admission, login, provisioning, resolution, memory]
