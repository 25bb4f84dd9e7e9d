/** What a plan allows. */
export interface Limits {
  branchesPerProject: number
  databasesPerBranch: number
  requestBytes: number
  responseBytes: number
}

export const LIMITS: Limits = {
  branchesPerProject: 5_000,
  databasesPerBranch: 500,
  requestBytes: 64 * 1_048_576,
  responseBytes: 64 * 1_048_576,
}
