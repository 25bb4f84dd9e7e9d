// Values as JSON, for clients that do not ask for raw text.

const BOOL = 16
const NUMBERS = new Set([21, 23, 700, 701])
const JSONS = new Set([114, 3802])

/** The element type of each built-in array type. */
const ELEMENTS = new Map(
  Object.entries({
    1000: 16,
    1001: 17,
    1002: 18,
    1003: 19,
    1005: 21,
    1007: 23,
    1009: 25,
    1010: 27,
    1011: 28,
    1012: 29,
    1014: 1042,
    1015: 1043,
    1016: 20,
    1028: 26,
    1017: 600,
    1018: 601,
    1019: 602,
    1027: 604,
    719: 718,
    1021: 700,
    1022: 701,
    1034: 1033,
    1040: 829,
    1041: 869,
    651: 650,
    199: 114,
    3807: 3802,
    1115: 1114,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: 1700,
    1270: 1266,
    1561: 1560,
    1563: 1562,
    2951: 2950,
    3643: 3614,
    3645: 3615,
    3905: 3904,
    3907: 3906,
    3909: 3908,
    3911: 3910,
    3913: 3912,
    3927: 3926,
  }).map(([array, element]) => [Number(array), element]),
)

/** User-defined types, which only the catalogue describes. */
export const isUnknown = (type: number) => type >= 16_384

/** One value of a row as JSON. Values that JSON cannot represent exactly stay text. */
export function cook(value: string | null, type: number, elements: Map<number, number>): unknown {
  if (value === null) return null
  if (type === BOOL) return value === 't'
  if (JSONS.has(type)) return JSON.parse(value)
  if (NUMBERS.has(type)) return Number.isFinite(Number(value)) ? Number(value) : value
  const element = ELEMENTS.get(type) ?? elements.get(type)
  return element === undefined ? value : readArray(value, (item) => cook(item, element, elements))
}

/** Reads `{a,"b c",NULL,{d}}`, with an optional `[2:3]=` before it. */
function readArray(text: string, item: (value: string | null) => unknown): unknown[] {
  const lists: unknown[][] = [[]]
  for (const [token, quoted, plain] of text.slice(text.indexOf('{')).matchAll(TOKEN)) {
    if (token === '{') lists.push([])
    else if (token === '}') {
      const list = lists.pop()
      lists.at(-1)?.push(list)
    } else if (quoted !== undefined) lists.at(-1)?.push(item(quoted.replaceAll(/\\(.)/gs, '$1')))
    else if (plain !== undefined) lists.at(-1)?.push(item(plain === 'NULL' ? null : plain))
  }
  return lists[0]?.[0] as unknown[]
}

const TOKEN = /[{}]|"((?:[^"\\]|\\.)*)"|([^{},"]+)/gs
