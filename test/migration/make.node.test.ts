/** Threat: a change that a migration leaves out, does half, or does before the release that still uses what it takes away has gone. */
import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SAME_RELEASE } from '../../scripts/migration/head.ts'
import { FINGERPRINT_FILE } from '../../scripts/migration/ledger.ts'
import { ROOT } from '../house/sources.ts'
import { startServer } from './server.ts'

let server: Awaited<ReturnType<typeof startServer>>
const folders: string[] = []
beforeAll(async () => {
  server = await startServer()
})
afterAll(async () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  await server.stop()
})

/** The number of the first migration that a copy of the project makes. */
const landed = readdirSync(join(ROOT, 'drizzle/tenant')).filter((file) => file.endsWith('.sql'))
const NEXT = String(landed.length).padStart(4, '0')

const NOTES_TABLE = `import { check, index, text, uuid } from 'drizzle-orm/pg-core'
import { sql } from 'drizzle-orm'
import { freehold, moment } from '../kernel/schema.ts'
export const notes = freehold.table('notes', {
  id: uuid().primaryKey(),
  owner_id: uuid().notNull(),
  unit_id: uuid(),
  title: text().notNull(),
  colour: text(),
  created_at: moment().notNull().defaultNow(),
}, (t) => [check('notes_title', sql\`length(\${t.title}) <= 120\`), index('notes_by_title').on(t.title)])
`
const NOTES_SQL = `-- Notes.

-- How a title is shown.
create function access.note_title(title text, length integer) returns text
language sql immutable
return left(title, length);

create function access.before_note() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.title := access.note_title(new.title, 100);
  return new;
end $$;

create trigger before_note before insert on freehold.notes for each row execute function access.before_note();

call access.protect('freehold.notes', owner => 'owner_id', unit => 'unit_id', resource => 'note');
`

/** A copy of the project with a room of notes, and how to make migrations there. */
function project() {
  mkdirSync(join(ROOT, '.wrangler'), { recursive: true })
  const root = mkdtempSync(join(ROOT, '.wrangler', 'migration-'))
  folders.push(root)
  for (const folder of ['src', 'drizzle']) cpSync(join(ROOT, folder), join(root, folder), { recursive: true })
  const path = (file: string) => join(root, file)
  const edit = (file: string, from: string | RegExp, to: string) => {
    const text = readFileSync(path(file), 'utf8')
    const changed = text.replace(from, to)
    expect(changed, `${file} holds ${from}`).not.toBe(text)
    writeFileSync(path(file), changed)
  }
  const addNotes = () => {
    mkdirSync(path('src/notes'))
    writeFileSync(path('src/notes/table.ts'), NOTES_TABLE)
    writeFileSync(path('src/notes/notes.sql'), NOTES_SQL)
  }
  const files = () =>
    readdirSync(root, { recursive: true })
      .map(String)
      .filter((file) => file.startsWith('drizzle/') && /\.\w+$/.test(file))
      .sort()
  const make = async (...args: string[]) => {
    const before = files()
    const child = spawn(process.execPath, [join(ROOT, 'scripts/migration/main.ts'), ...args, '--postgres', server.url], {
      cwd: root,
    })
    const said = { out: '', error: '' }
    child.stdout.on('data', (chunk) => (said.out += chunk))
    child.stderr.on('data', (chunk) => (said.error += chunk))
    const code = await new Promise((done) => child.once('close', done))
    const fresh = files().filter((file) => !before.includes(file) && file.endsWith('.sql'))
    return {
      code,
      error: said.error.replace(/^Applying all .*\n/, '').trim(),
      fresh,
      sql: fresh.map((file) => readFileSync(path(file), 'utf8')).join('\n'),
    }
  }
  return { path, edit, addNotes, make, files }
}

/** The statements of a migration, on one line each, without its head. */
const statements = (sql: string) =>
  sql
    .replace(/^(--.*\n)+/, '')
    .split('--> statement-breakpoint')
    .map((statement) =>
      statement
        .replace(/^\s*--.*$/gm, '')
        .replace(/\s+/g, ' ')
        .trim(),
    )

describe.concurrent('a migration', () => {
  it('of a new room makes its table, its functions, its policies and its grants, and says so at its top', async () => {
    const { addNotes, make, path } = project()
    addNotes()
    const made = await make('add_notes')
    expect(made).toMatchObject({ code: 0, fresh: [`drizzle/tenant/${NEXT}_add_notes.sql`] })
    expect(made.sql).toMatch(
      /^-- Made by `npm run migration` .*\n-- Tables:\n-- {3}creates table freehold\.notes\n-- Definitions:\n/,
    )
    expect(made.sql).toContain('--   creates function access.note_title')
    const all = statements(made.sql)
    expect(all).toContain('alter table freehold.notes enable row level security;')
    expect(all.filter((statement) => statement.startsWith('create policy')).map((statement) => statement.split(' ')[2])).toEqual(
      expect.arrayContaining(['read', 'make', 'change', 'remove']),
    )
    expect(all.at(-1)).toBe('grant delete, insert, select, update on freehold.notes to freehold_app;')
    expect(all.findIndex((s) => s.includes('function access.note_title'))).toBeLessThan(
      all.findIndex((s) => s.includes('create trigger')),
    )
    expect(await make('again')).toMatchObject({
      code: 1,
      fresh: [],
      error: 'Nothing changed: the migrations make what tables and definitions say.',
    })
    const compared = readFileSync(path(FINGERPRINT_FILE), 'utf8')
    expect(compared).toMatch(/"policy \* on freehold\.notes": "change \S{3},make \S{3},read \S{3},remove \S{3}",/)
    writeFileSync(path(FINGERPRINT_FILE), '')
    const anew = await make('again')
    expect(anew).toMatchObject({ code: 0, fresh: [], error: 'No migration: what tenants are compared with is written anew.' })
    expect(readFileSync(path(FINGERPRINT_FILE), 'utf8')).toBe(compared)
  })

  it('replaces a function whose body changed, and recreates one whose signature did, with what depends on it', async () => {
    const { addNotes, make, edit } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/notes.sql', 'access.note_title(new.title, 100)', 'access.note_title(new.title, 90)')
    const body = await make('shorter')
    expect(body.code).toBe(0)
    expect(statements(body.sql).map((statement) => statement.slice(0, 45))).toEqual([
      'set local check_function_bodies = off;',
      'create or replace function access.before_note',
    ])
    // A renamed parameter cannot be replaced, and fewer would make an overload.
    edit('src/notes/notes.sql', 'note_title(title text, length integer)', 'note_title(text_shown text, length integer)')
    edit('src/notes/notes.sql', 'return left(title, length);', 'return left(text_shown, length);')
    const renamed = await make('renamed')
    expect(renamed.error).toBe('')
    expect(statements(renamed.sql)[1]).toBe('drop function access.note_title(text,integer);')
    expect(renamed.sql).toContain('--   drops and creates function access.note_title')
    edit('src/notes/notes.sql', '(text_shown text, length integer)', '(text_shown text)')
    edit('src/notes/notes.sql', 'left(text_shown, length)', 'left(text_shown, 80)')
    edit('src/notes/notes.sql', 'note_title(new.title, 90)', 'note_title(new.title)')
    const fewer = await make('fewer')
    expect(fewer.error).toBe('')
    expect(statements(fewer.sql)).toContain('drop function access.note_title(text,integer);')
  })

  it('takes policies down that use a function whose signature changes, and puts them up again', async () => {
    const { make, edit } = project()
    edit(
      'src/access/claims.sql',
      /create function access\.permission\(\) returns text/,
      'create function access.permission(fallback text default null) returns text',
    )
    edit(
      'src/access/claims.sql',
      "return access.claims() ->> 'permission'",
      "return coalesce(access.claims() ->> 'permission', fallback)",
    )
    edit('src/access/claims.sql', 'access.permission(),', 'access.permission(text),')
    const made = await make('permission')
    expect(made.error).toBe('')
    expect(made.fresh).toEqual([`drizzle/tenant/${NEXT}_permission.sql`])
    const all = statements(made.sql)
    const dropped = all.filter((statement) => statement.startsWith('drop policy')).length
    expect(dropped).toBeGreaterThan(5)
    expect(all.filter((statement) => statement.startsWith('create policy')).length).toBe(dropped)
    expect(all.at(-1)).toMatch(/^grant execute on function access\.permission\(text\) to freehold_app;$/)
  })

  it('leaves what disappeared to the release before, and the next one drops it', async () => {
    const { addNotes, make, edit, path } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/notes.sql', /create trigger before_note[^;]*;/, '')
    edit('src/notes/notes.sql', /create function access\.before_note[\s\S]*?end \$\$;/, '')
    const first = await make('no_trigger')
    expect(first.error).toBe('')
    expect(statements(first.sql)).toEqual([
      "comment on function access.before_note() is 'Retired: the release before uses it, the next migration drops it.';",
      "comment on trigger before_note on freehold.notes is 'Retired: the release before uses it, the next migration drops it.';",
    ])
    expect(first.sql).toContain('-- Kept for the release before this one, and dropped by the next migration:')
    expect(first.sql).toContain('--   keeps function access.before_note')
    const count = 'create function access.note_count() returns integer\nlanguage sql immutable\nreturn 2;'
    edit('src/notes/notes.sql', '-- Notes.', `-- Notes.\n\n${count}`)
    const held = await make('count', '--same-release')
    expect(held.error).toBe('')
    expect(held.sql).not.toMatch(/^drop/m)
    expect([first.sql, held.sql].map((text) => text.includes(SAME_RELEASE))).toEqual([false, true])
    edit('src/notes/notes.sql', 'return 2;', 'return 3;')
    const third = await make('three')
    expect(statements(third.sql)).toEqual(
      expect.arrayContaining(['drop trigger before_note on freehold.notes;', 'drop function access.before_note();']),
    )
    expect(JSON.parse(readFileSync(path('drizzle/tenant/meta/retired.json'), 'utf8'))).toEqual({ objects: [] })
  })

  it('asks before a column goes with what it holds, keeps it for one release, and lets rows be written without it', async () => {
    const { addNotes, make, edit } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/table.ts', '  title: text().notNull(),\n', '')
    edit('src/notes/table.ts', /, \(t\) => \[check[^\]]*\]/, '')
    edit('src/notes/notes.sql', '  new.title := access.note_title(new.title, 100);\n', '')
    const asked = await make('no_title')
    expect(asked).toMatchObject({ code: 1, fresh: [] })
    expect(asked.error).toBe(
      'freehold.notes.title: it is in no table.ts any more, and what it holds would be lost.\nIf that is meant, pass --lose freehold.notes.title. If it has another name now, pass --rename freehold.notes.title=new_name.',
    )
    const kept = await make('no_title', '--lose', 'freehold.notes.title')
    expect(kept.error).toBe('')
    expect(statements(kept.sql)).toContain('alter table freehold.notes alter column "title" drop not null;')
    expect(kept.sql).not.toMatch(/drop column/i)
    edit('src/notes/table.ts', '  colour: text(),\n', '  colour: text(),\n  size: text(),\n')
    const dropped = await make('size')
    expect(dropped.error).toBe('')
    expect(dropped.sql).toMatch(/ALTER TABLE "freehold"\."notes" DROP COLUMN "title"/)
    expect(await make('again')).toMatchObject({ code: 1, error: expect.stringContaining('Nothing changed') })
  })

  it('asks before a table goes, and before a type changes', async () => {
    const { addNotes, make, edit, path } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/table.ts', 'colour: text()', 'colour: uuid()')
    expect((await make('colour')).error).toContain(
      'freehold.notes.colour: its type changes, and values that do not fit would be lost.',
    )
    rmSync(path('src/notes'), { recursive: true })
    const asked = await make('no_notes')
    expect(asked.error).toContain('freehold.notes: it is in no table.ts any more')
    expect(asked.fresh).toEqual([])
    expect((await make('no_notes', '--lose', 'freehold.nothing')).error).toContain('freehold.notes: it is')
  })

  it('keeps a table that goes, with its policies and triggers, for one release, and then drops all of it', async () => {
    const { addNotes, make, path, edit } = project()
    addNotes()
    await make('add_notes')
    rmSync(path('src/notes'), { recursive: true })
    const kept = await make('no_notes', '--lose', 'freehold.notes')
    expect(kept.error).toBe('')
    expect(statements(kept.sql).filter((statement) => !statement.startsWith('comment on '))).toEqual([])
    edit('src/users/table.ts', '    phone: text(),', '    nickname: text(),\n    phone: text(),')
    const dropped = await make('nickname')
    expect(dropped.error).toBe('')
    expect(statements(dropped.sql)).toEqual(
      expect.arrayContaining([
        'drop policy read on freehold.notes;',
        'drop function access.note_title(text,integer);',
        'DROP TABLE "freehold"."notes" CASCADE;',
      ]),
    )
    expect(await make('again')).toMatchObject({ code: 1, error: expect.stringContaining('Nothing changed') })
  })

  it('asks anew for what came back meanwhile, and keeps its grants while it is retired', async () => {
    const { addNotes, make, edit, path } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/table.ts', '  colour: text(),\n', '')
    expect((await make('no_colour', '--lose', 'freehold.notes.colour')).error).toBe('')
    edit('src/notes/table.ts', '  created_at:', '  colour: text(),\n  created_at:')
    const back = await make('colour_is_back')
    expect(back.error).toBe('')
    expect(statements(back.sql)).toEqual(['comment on column freehold.notes.colour is null;'])
    expect(JSON.parse(readFileSync(path('drizzle/tenant/meta/retired.json'), 'utf8'))).toEqual({ objects: [] })
    edit('src/notes/table.ts', '  colour: text(),\n', '')
    expect(await make('again')).toMatchObject({
      code: 1,
      fresh: [],
      error: expect.stringContaining('--lose freehold.notes.colour'),
    })
    // With grants of its own a column keeps them for as long as it is kept.
    edit('src/notes/notes.sql', "resource => 'note');", "resource => 'note', updates => '{title}');")
    edit('src/notes/table.ts', '  created_at:', '  colour: text(),\n  created_at:')
    edit('src/notes/notes.sql', "updates => '{title}'", "updates => '{title,colour}'")
    expect((await make('narrow')).error).toBe('')
    edit('src/notes/table.ts', '  colour: text(),\n', '')
    edit('src/notes/notes.sql', "updates => '{title,colour}'", "updates => '{title}'")
    const gone = await make('no_colour', '--lose', 'freehold.notes.colour')
    expect(gone.error).toBe('')
    expect(gone.sql).not.toMatch(/revoke/)
  })

  it('renames a table with its triggers, policies and keys, and asks before a column becomes not null', async () => {
    const { addNotes, make, edit, path } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/table.ts', "freehold.table('notes'", "freehold.table('memos'")
    writeFileSync(
      path('src/notes/notes.sql'),
      readFileSync(path('src/notes/notes.sql'), 'utf8').replaceAll('freehold.notes', 'freehold.memos'),
    )
    const renamed = await make('memos', '--rename', 'freehold.notes=memos')
    expect(renamed.error).toBe('')
    expect(statements(renamed.sql)).toEqual([
      'alter table freehold.notes rename to memos;',
      'alter table freehold.memos rename constraint notes_pkey to memos_pkey;',
    ])
    edit('src/notes/table.ts', 'colour: text()', 'colour: text().notNull()')
    expect(await make('colour')).toMatchObject({
      code: 1,
      error: expect.stringMatching(/colour becomes not null.*--filled freehold\.memos\.colour/),
    })
    expect((await make('colour', '--filled', 'freehold.memos.colour')).error).toBe('')
  })

  it('is not made of a function that calls one which is gone, and drops callers before what they call', async () => {
    const { addNotes, make, edit } = project()
    addNotes()
    edit(
      'src/notes/notes.sql',
      'create function access.before_note',
      'create function access.note_short(title text) returns text\nlanguage sql immutable\nreturn access.note_title(title, 10) -- short\n;\n\ncreate function access.before_note',
    )
    expect((await make('add_notes')).error).toBe('')
    edit('src/notes/notes.sql', /create function access\.note_title[\s\S]*?length\);/, '')
    expect(await make('gone')).toMatchObject({
      code: 1,
      fresh: [],
      error: expect.stringMatching(/calls access\.note_title, which no file defines\.$/),
    })
    edit('src/notes/notes.sql', /create function access\.note_short[\s\S]*?short\n;/, '')
    edit('src/notes/notes.sql', 'access.note_title(new.title, 100)', 'left(new.title, 100)')
    expect((await make('gone')).error).toBe('')
    edit('src/notes/notes.sql', 'left(new.title, 100)', 'left(new.title, 90)')
    const dropped = await make('shorter')
    expect(dropped.error).toBe('')
    expect(statements(dropped.sql).filter((statement) => statement.startsWith('drop'))).toEqual([
      'drop function access.note_short(text);',
      'drop function access.note_title(text,integer);',
    ])
  })

  it('renames a column when it is told so', async () => {
    const { addNotes, make, edit } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/table.ts', 'colour: text()', 'shade: text()')
    const made = await make('shade', '--rename', 'freehold.notes.colour=shade')
    expect(made.error).toBe('')
    expect(statements(made.sql)).toEqual(['alter table freehold.notes rename column colour to shade;'])
    expect(made.sql).toContain('renames freehold.notes.colour to shade')
  })

  it('refuses what cannot be: no default for rows that exist, a name that is none, a definition that does not parse or stands twice', async () => {
    const { addNotes, make, edit, path } = project()
    addNotes()
    await make('add_notes')
    edit('src/notes/table.ts', 'colour: text()', 'colour: text(),\n  weight: text().notNull()')
    expect(await make('weight')).toMatchObject({
      code: 1,
      fresh: [],
      error: expect.stringMatching(/^freehold\.notes\.weight must have a value and has no default/),
    })
    edit('src/notes/table.ts', 'weight: text().notNull()', 'weight: text()')
    expect(await make('Not a name')).toMatchObject({
      code: 1,
      fresh: [],
      error: expect.stringContaining('needs a name of lower-case letters'),
    })
    const good = readFileSync(path('src/notes/notes.sql'), 'utf8')
    edit('src/notes/notes.sql', 'new.title :=', 'new.title : =')
    const broken = await make('broken')
    expect(broken).toMatchObject({ code: 1, fresh: [] })
    expect(broken.error).toMatch(/^src\/notes\/notes\.sql:11: this definition is refused: syntax error at or near ":"/)
    writeFileSync(path('src/notes/notes.sql'), `${good}\n${good}`)
    expect((await make('twice')).error).toMatch(
      /^src\/notes\/notes\.sql:\d+: function access\.note_title has a definition at src\/notes\/notes\.sql:4 already/,
    )
    writeFileSync(path('src/notes/notes.sql'), 'update freehold.users set email = null;')
    expect((await make('data')).error).toMatch(/^src\/notes\/notes\.sql:1: this is no definition: update freehold\.users/)
  })

  it('is not made on top of a journal that is not what the files are', async () => {
    const { make, path, files } = project()
    writeFileSync(path('drizzle/tenant/0001_stray.sql'), 'select 1;')
    expect(await make('more')).toMatchObject({
      code: 1,
      fresh: [],
      error: expect.stringMatching(/do not name the same migrations .*: 0001_stray\. Restore both with git/),
    })
    rmSync(path('drizzle/tenant/0001_stray.sql'))
    writeFileSync(path('drizzle/master/meta/_journal.json'), '{}')
    expect((await make('more')).error).toBe(
      'drizzle/master/meta/_journal.json is not a journal. Restore it with git and run this again.',
    )
    writeFileSync(path('drizzle/master/meta/_journal.json'), '<<<<<<< HEAD\n{')
    const before = files()
    expect(await make('more')).toMatchObject({
      code: 1,
      error: 'drizzle/master/meta/_journal.json is not JSON. Restore it with git and run this again.',
    })
    expect(files()).toEqual(before)
  })
})
