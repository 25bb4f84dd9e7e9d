/**
 * Bodies that are dear to parse, to check, or to answer, and that no route accepts. The bench measures them; test/http holds what
 * they are answered with.
 */
export type WorstBody = { name: string; type: string; text: string }

const JSON_TYPE = 'application/json'
const FORM = 'application/x-www-form-urlencoded'
const MULTIPART = 'multipart/form-data; boundary=x'

/** As often as fits into so many bytes. */
const filled = (part: string, bytes: number) => part.repeat(Math.max(1, Math.floor(bytes / Buffer.byteLength(part))))

/** One part after another, numbered, as many as fit. */
function numbered(part: (n: number) => string, bytes: number): string[] {
  const parts: string[] = []
  for (let [n, size] = [0, 0]; size + part(n).length < bytes; n++) {
    parts.push(part(n))
    size += part(n).length + 1
  }
  return parts
}

/** Bodies of at most so many bytes, for a route with these fields. */
export function worstBodies(bytes: number, fields: string[]): WorstBody[] {
  const room = bytes - 200
  const each = Math.floor(room / Math.max(1, fields.length)) - 40
  const inEach = (part: string) => JSON.stringify(Object.fromEntries(fields.map((field) => [field, filled(part, each)])))
  const json = (name: string, text: string) => ({ name, type: JSON_TYPE, text })
  const form = (name: string, text: string) => ({ name, type: FORM, text })
  const multipart = (name: string, text: string) => ({ name, type: MULTIPART, text: `${text}--x--\r\n` })
  return [
    json('unknown keys', `{${numbered((n) => `"k${n}":0`, room).join(',')}}`),
    json('unknown keys with escapes', `{${numbered((n) => `"\\u0000~/${n}":0`, room).join(',')}}`),
    json('one long unknown key', `{"${filled('~/', room)}":0}`),
    json('the same key again and again', `{${filled('"a":0,', room)}"a":0}`),
    json('lists in lists', `${'['.repeat(room / 2)}${']'.repeat(room / 2)}`),
    json('objects in objects', `${'{"a":'.repeat(room / 6)}0${'}'.repeat(room / 6)}`),
    json(
      'lists in lists in each field',
      `{${fields.map((name) => `"${name}":${'['.repeat(each / 2)}${']'.repeat(each / 2)}`).join(',')}}`,
    ),
    json('a list', `[${filled('0,', room)}0]`),
    json('objects in a list', `[${filled('{},', room)}{}]`),
    json('a long string', `"${filled('x', room)}"`),
    json('escapes', `"${filled('\\u0001', room)}"`),
    json('a long number', filled('9', room)),
    json('what ends too early', `{"a":"${filled('x', room)}`),
    json('long strings in each field', inEach('x')),
    json('letters that grow when normalised, in each field', inEach('ﷺ')),
    json('accents in each field', inEach('a\u0300\u0316\u0301')),
    json('dots in each field', inEach('a.')),
    json('blanks in each field', inEach(' ')),
    form('unknown keys', numbered((n) => `k${n}=`, room).join('&')),
    form('the same key again and again', filled('a&', room)),
    form('percent signs', `a=${filled('%41', room)}`),
    form('broken percent signs', `a=${filled('%', room)}`),
    multipart('many parts', filled('--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n', room)),
    multipart('files', filled('--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n', room)),
    multipart('empty parts', filled('--x\r\n', room)),
    multipart('one long part', `--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n${filled('x', room)}\r\n`),
  ]
}
