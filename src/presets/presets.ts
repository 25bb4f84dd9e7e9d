import { coveris } from './coveris.ts'
import { groups } from './groups.ts'
import { lims } from './lims.ts'
import { minimal } from './minimal.ts'
import type { Preset } from './preset.ts'
import { vigia } from './vigia.ts'

/** The presets that a tenant can be created with. */
export const presets: Record<string, Preset> = { minimal, lims, coveris, groups, vigia }
