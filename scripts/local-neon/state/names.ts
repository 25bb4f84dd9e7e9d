import { randomInt } from 'node:crypto'

const ADJECTIVES =
  'aged ancient autumn billowing bitter black blue bold broad calm cold cool crimson curly damp dark dawn delicate divine dry empty falling fancy flat floral fragrant frosty gentle green hidden holy icy jolly late lingering little lively long lucky misty morning muddy mute nameless noisy odd old orange patient plain polished proud purple quiet rapid red restless rough round royal shiny shrill shy silent small snowy soft solitary sparkling spring square steep still summer super sweet throbbing tight tiny twilight wandering weathered white wild winter wispy withered yellow young'.split(
    ' ',
  )
const NOUNS =
  'art band bar base bird block boat bonus bread breeze brook bush butterfly cake cell cherry cloud credit darkness dawn dew disk dream dust feather field fire firefly flower fog forest frog frost glade glitter grass hall hat haze heart hill king lab lake leaf limit math meadow mode moon morning mountain mouse mud night paper pine poetry pond queen rain recipe resonance rice river salad scene sea shadow shape silence sky smoke snow snowflake sound star sun sunset surf term thunder tooth tree truth union unit violet voice water waterfall wave wildflower wind wood'.split(
    ' ',
  )
const LOWER = 'abcdefghijklmnopqrstuvwxyz0123456789'
const ALL = `${LOWER}ABCDEFGHIJKLMNOPQRSTUVWXYZ`

const pick = (words: string[]) => words[randomInt(words.length)] ?? ''
const letters = (count: number, alphabet: string) =>
  Array.from({ length: count }, () => alphabet[randomInt(alphabet.length)]).join('')
const pair = () => `${pick(ADJECTIVES)}-${pick(NOUNS)}`

/** `adjective-noun-NNNNNNNN` */
export const newProjectId = () => `${pair()}-${letters(8, '0123456789')}`
/** `br-adjective-noun-xxxxxxxx` */
export const newBranchId = () => `br-${pair()}-${letters(8, LOWER)}`
/** `ep-adjective-noun-xxxxxxxx` */
export const newEndpointId = () => `ep-${pair()}-${letters(8, LOWER)}`
/** `npg_` and 12 letters or digits. */
export const newPassword = () => `npg_${letters(12, ALL)}`
/** An API key, `napi_` and 64 letters or digits. */
export const newApiKey = () => `napi_${letters(64, LOWER)}`
export const newDatabaseId = () => randomInt(1_000_000, 2_000_000_000)

const MAX_BYTES = 63

/** The name in the cluster: the plain one while it is free, else with the branch's id, at most 63 bytes. */
export function realName(name: string, branchId: string, taken: Set<string>): string {
  if (!taken.has(name)) return name
  const suffix = `@${branchId}`
  const room = MAX_BYTES - Buffer.byteLength(suffix)
  let start = name
  while (Buffer.byteLength(start) > room) start = [...start].slice(0, -1).join('')
  const candidate = `${start}${suffix}`
  return taken.has(candidate) ? realName(letters(8, LOWER), branchId, taken) : candidate
}
