/** What a plan allows, and what Neon's proxy takes (the defaults of its code). */
export interface Limits {
  branchesPerProject: number
  databasesPerBranch: number
  rolesPerBranch: number
  requestBytes: number
  responseBytes: number
  /** Computes of a project that are active at once, beside those of its default branch. */
  activeComputes: number
  /** Connections that the proxy keeps for an endpoint, over all its databases and logins. */
  idlePerEndpoint: number
  /** Connections that a compute takes; without a number as many as one of its size. */
  connectionsPerEndpoint?: number
}

export const LIMITS: Limits = {
  branchesPerProject: 5_000,
  databasesPerBranch: 500,
  rolesPerBranch: 500,
  requestBytes: 10 * 1_048_576,
  responseBytes: 10 * 1_048_576,
  activeComputes: 20,
  idlePerEndpoint: 20,
}

const PER_CU = 419
const OF_NEON = 7

/** Connections that a compute of a size takes from logins: at 0.25 CU 97, for Neon keeps 7 of 104 to itself. */
export const usableConnections = ({ connectionsPerEndpoint }: Limits, cu: number) =>
  connectionsPerEndpoint ?? Math.floor(PER_CU * cu) - OF_NEON

/** Its words are not known; the number is documented. */
export const tooManyRoles = ({ rolesPerBranch }: Limits) => `roles limit exceeded: at most ${rolesPerBranch} roles per branch`
