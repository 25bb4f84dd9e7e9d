import { minimal } from './minimal.ts'
import type { Preset } from './preset.ts'

/** The presets that a tenant can be made with. */
export const presets: Record<string, Preset> = { minimal }
