/** What a plan allows, and what Neon's proxy takes (the defaults of its code). */
export interface Limits {
  branchesPerProject: number
  databasesPerBranch: number
  requestBytes: number
  responseBytes: number
}

export const LIMITS: Limits = {
  branchesPerProject: 5_000,
  databasesPerBranch: 500,
  requestBytes: 10 * 1_048_576,
  responseBytes: 10 * 1_048_576,
}
