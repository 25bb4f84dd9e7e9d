import type { FileHandle } from 'node:fs/promises'
import type { Exported, Part } from '../../src/tenants/export/export.ts'

// The custom format of pg_dump, version 1.14, which pg_restore of Postgres 12 and later reads
// (src/bin/pg_dump/pg_backup_archiver.c and pg_backup_custom.c): a head, a table of contents, and the rows of each table in blocks.

const INT_BYTES = 4
const OFFSET_BYTES = 8
const CUSTOM = 1
const SECTIONS = { none: 1, before: 2, rows: 3, after: 4 }
/** Where the rows of an entry are: pg_restore looks for them; or it has none. */
const OFFSET = { unknown: 1, none: 3 }
const ROWS = 1

const bytes = (...values: number[]) => Buffer.from(values)

function int(value: number): Buffer {
  const whole = Buffer.alloc(1 + INT_BYTES)
  whole[0] = value < 0 ? 1 : 0
  whole.writeUInt32LE(Math.abs(value), 1)
  return whole
}

function text(value: string | null): Buffer {
  if (value === null) return int(-1)
  const encoded = Buffer.from(value)
  return Buffer.concat([int(encoded.length), encoded])
}

type Entry = { tag: string; desc: string; section: number; text: string; copy: string | null }

const entry = (id: number, { tag, desc, section, text: sql, copy }: Entry) =>
  Buffer.concat([
    int(id),
    int(copy === null ? 0 : 1),
    // The catalogue's ids, which nobody needs.
    text('0'),
    text('0'),
    text(tag),
    text(desc),
    int(section),
    text(sql),
    text(''),
    text(copy),
    // Namespace, tablespace, table access method, owner: the SQL says what is to be said.
    ...[null, null, null, ''].map(text),
    text('false'),
    // No dependencies: the order is the order.
    text(null),
    bytes(copy === null ? OFFSET.none : OFFSET.unknown),
    Buffer.alloc(OFFSET_BYTES),
  ])

function head({ database }: Exported, now: Date): Buffer {
  const at = [now.getSeconds(), now.getMinutes(), now.getHours(), now.getDate(), now.getMonth(), now.getFullYear() - 1900, 0]
  return Buffer.concat([
    Buffer.from('PGDMP'),
    bytes(1, 14, 0, INT_BYTES, OFFSET_BYTES, CUSTOM),
    // No compression.
    int(0),
    ...at.map(int),
    text(database),
    text('18'),
    text('freehold'),
  ])
}

const entryOf = (part: Part): Entry =>
  part.kind === 'rows'
    ? { tag: part.tag, desc: 'TABLE DATA', section: SECTIONS.rows, text: '', copy: part.copy }
    : { tag: part.tag, desc: 'SQL', section: SECTIONS[part.kind], text: part.text, copy: null }

/** Writes a tenant to a file. `told` hears the name of each table before its rows. */
export async function writeArchive(file: FileHandle, exported: Exported, told: (table: string) => void): Promise<void> {
  const setting = (desc: string, sql: string): Entry => ({ tag: desc, desc, section: SECTIONS.before, text: sql, copy: null })
  const entries = [
    setting('ENCODING', "SET client_encoding = 'UTF8';\n"),
    setting('STDSTRINGS', "SET standard_conforming_strings = 'on';\n"),
    ...exported.parts.map(entryOf),
  ]
  const write = (buffer: Buffer) => file.writeFile(buffer)
  await write(head(exported, new Date()))
  await write(Buffer.concat([int(entries.length), ...entries.map((one, i) => entry(i + 1, one))]))
  const first = entries.length - exported.parts.length + 1
  for (const [i, part] of exported.parts.entries()) {
    if (part.kind !== 'rows') continue
    told(part.tag)
    await write(Buffer.concat([bytes(ROWS), int(first + i)]))
    for await (const rows of exported.rowsOf(part)) {
      const encoded = Buffer.from(rows)
      await write(Buffer.concat([int(encoded.length), encoded]))
    }
    const end = Buffer.from('\\.\n\n\n')
    await write(Buffer.concat([int(end.length), end, int(0)]))
  }
}
