/** What a plan allows, and what Neon's proxy takes (the defaults of its code). */
export interface Limits {
  branchesPerProject: number
  databasesPerBranch: number
  rolesPerBranch: number
  requestBytes: number
  responseBytes: number
}

export const LIMITS: Limits = {
  branchesPerProject: 5_000,
  databasesPerBranch: 500,
  rolesPerBranch: 500,
  requestBytes: 10 * 1_048_576,
  responseBytes: 10 * 1_048_576,
}

/** Its words are not known; the number is documented. */
export const tooManyRoles = ({ rolesPerBranch }: Limits) => `roles limit exceeded: at most ${rolesPerBranch} roles per branch`
