/** One Worker's end of the debugger's protocol. */
export type Inspector = {
  /** Calls a method and returns its result. */
  call<T>(method: string, params?: object): Promise<T>
  /** Calls `heard` with the parameters of each event of a name. */
  on<T>(event: string, heard: (params: T) => void): void
  close(): Promise<void>
}

type Message = { id?: number; result?: unknown; error?: { message: string }; method?: string; params?: unknown }
type Waiting = { done: (result: never) => void; fail: (error: Error) => void }

/** Connects to the first Worker that was started in a workerd. */
export async function inspect(inspector: URL | null): Promise<Inspector> {
  const [first = ''] = await offered(inspector)
  return connect(first)
}

/** Connects to the other Workers of a workerd, those of the local runtime, one after another, and does something with each. */
export async function inspectOthers<T>(inspector: URL | null, work: (one: Inspector) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (const address of (await offered(inspector)).slice(1)) {
    const one = await connect(address)
    results.push(await work(one))
    await one.close()
  }
  return results
}

async function offered(inspector: URL | null): Promise<string[]> {
  const list = (await (await fetch(`http://${inspector?.host}/json`)).json()) as { webSocketDebuggerUrl: string }[]
  return list.map(({ webSocketDebuggerUrl }) => webSocketDebuggerUrl)
}

async function connect(address: string): Promise<Inspector> {
  const socket = new WebSocket(address)
  await new Promise((done, fail) => {
    socket.addEventListener('open', done, { once: true })
    socket.addEventListener('error', () => fail(new Error('workerd cannot be inspected.')), { once: true })
  })
  const waiting = new Map<number, Waiting>()
  const listening = new Map<string, (params: never) => void>()
  socket.addEventListener('message', ({ data }) => {
    const { id = 0, result, error, method = '', params } = JSON.parse(String(data)) as Message
    listening.get(method)?.(params as never)
    const asked = waiting.get(id)
    waiting.delete(id)
    if (error) asked?.fail(new Error(`The inspector of workerd: ${error.message}`))
    else asked?.done(result as never)
  })
  let last = 0
  return {
    call: (method, params = {}) =>
      new Promise((done, fail) => {
        waiting.set(++last, { done, fail })
        socket.send(JSON.stringify({ id: last, method, params }))
      }),
    on: (event, heard) => void listening.set(event, heard),
    close: () =>
      new Promise((done) => {
        socket.addEventListener('close', () => done(), { once: true })
        socket.close()
      }),
  }
}
