// Neon keeps all that a branch held within the window of its project. Here a moment is kept when somebody says so: a mark is a
// copy of the databases of a branch, and a branch that is taken at a moment is a copy of the newest mark of before.

import { escapeIdentifier } from 'pg'
import type { Answer, Asked } from './answer.ts'
import { newDatabaseId } from './state/names.ts'
import type { Mark } from './state/records.ts'
import type { Context } from './work/context.ts'
import { copyOf } from './work/copy.ts'
import { databasesOf } from './work/lookup.ts'

const MAX_BYTES = 1_024

/** `PUT /marks {branch_id}` keeps what a branch holds now, and returns of which moment that is. */
export async function answerMarks(asked: Asked, context: Context): Promise<Answer> {
  const answer = (status: number, body: unknown): Answer => ({
    status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (asked.method !== 'PUT') return answer(405, { message: 'PUT a branch_id', code: '' })
  const id = branchIn(await asked.body(MAX_BYTES))
  const branch = id === null ? undefined : context.store.get('branch', id)
  if (!branch || branch.deleting) return answer(404, { message: 'branch not found', code: '' })
  return answer(200, { at: (await keep(context, branch.id)).at })
}

async function keep(context: Context, branchId: string): Promise<Mark> {
  const mark: Mark = { id: String(newDatabaseId()), branch_id: branchId, at: new Date().toISOString(), databases: {} }
  for (const { name, real_name, live } of databasesOf(context.store, branchId)) {
    if (!live) continue
    const copy = `mark_${mark.id}_${Object.keys(mark.databases).length}`
    mark.databases[name] = copy
    // Recorded first, so that whoever removes the branch removes what an interrupted copy left.
    context.store.put('mark', mark)
    await context.store.saved()
    await copyOf(context, real_name, copy)
    await context.admin.run(`revoke connect, temporary on database ${escapeIdentifier(copy)} from public`)
  }
  context.store.put('mark', mark)
  await context.store.saved()
  return mark
}

function branchIn(text: string): string | null {
  try {
    const { branch_id } = JSON.parse(text)
    return typeof branch_id === 'string' ? branch_id : null
  } catch {
    return null
  }
}
