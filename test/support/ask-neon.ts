import { inject } from 'vitest'

/** Asks Neon's API itself. */
export async function askNeon(path: string, init: RequestInit = {}): Promise<any> {
  const { NEON_API_URL, NEON_API_KEY } = inject('settings')
  const headers = { Authorization: `Bearer ${NEON_API_KEY}`, 'Content-Type': 'application/json' }
  const answer = await fetch(`${NEON_API_URL}${path}`, { ...init, headers })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}
