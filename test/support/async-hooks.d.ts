/** What is used here of it; the Worker's own types leave Node's modules out. */
declare module 'node:async_hooks' {
  export class AsyncLocalStorage<Store> {
    run<T>(store: Store, work: () => T): T
    getStore(): Store | undefined
  }
}
