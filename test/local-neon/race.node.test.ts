import { expect, test } from 'vitest'
import { started } from './started.ts'

// Long enough for a hundred requests to arrive while the first one's operation runs.
const { ask, newProject, state } = started({ operationMs: 400 })

test('of a hundred changes of a project at once exactly one gets through', async () => {
  const { branch, path } = await newProject()
  const statuses = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const response = await fetch(`${state.apiUrl}${branch}/roles`, {
        method: 'POST',
        headers: { authorization: `Bearer ${state.apiKey}` },
        body: JSON.stringify({ role: { name: `role_${n}` } }),
      })
      await response.text()
      return response.status
    }),
  )
  expect(statuses.filter((status) => status === 201)).toHaveLength(1)
  expect(statuses.filter((status) => status === 423)).toHaveLength(99)
  expect((await ask('GET', `${branch}/roles`)).body.roles).toHaveLength(2)
  expect((await ask('GET', `${path}/operations`)).body.operations).toHaveLength(3)
})
