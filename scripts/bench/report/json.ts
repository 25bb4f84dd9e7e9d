import { type Finding, isBusy, verdictOf } from '../finding.ts'
import type { Circumstances } from './circumstances.ts'

/** The findings for programs, each with its verdict; where the machine was too busy to tell, without a median. */
export function json(findings: Finding[], about: Circumstances): string {
  const told = findings.map(({ value, ...finding }) => ({
    ...finding,
    value: isBusy({ goal: finding.goal, value }) ? { ...value, median: null } : value,
    verdict: verdictOf({ goal: finding.goal, value }),
  }))
  return `${JSON.stringify({ ...about, findings: told }, null, 2)}\n`
}
