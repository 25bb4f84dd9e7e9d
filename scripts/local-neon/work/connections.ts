/** Connections to the cluster that stay open between requests. Operations close those that block a change. */
export interface Connections {
  /**
   * Runs `change` while no request gets a connection to these databases: requests wait until it ends. Idle connections are closed
   * before it starts; those in use may end by themselves for as long as `patienceMs` says.
   */
  hold<T>(databases: string[], change: () => Promise<T>, patienceMs?: number): Promise<T>
  closeEndpoint(endpoint: string): Promise<void>
  /** Ends the connections of a role whose password or existence ended. */
  closeUser(user: string): Promise<void>
}
