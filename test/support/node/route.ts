import { connect, createServer, type Socket } from 'node:net'

/** A way to a port of this machine that can be shut: who comes then is refused, and who is under way is cut off. */
export async function openDoor(to: number) {
  const through = new Set<Socket>()
  const server = createServer((from) => {
    const on = connect(to, '127.0.0.1')
    for (const [one, other] of [
      [from, on],
      [on, from],
    ] as const) {
      through.add(one)
      one
        .on('error', () => undefined)
        .on('close', () => {
          through.delete(one)
          other.destroy()
        })
      one.pipe(other)
    }
  })
  const open = (port: number) => new Promise<void>((done) => server.listen(port, '127.0.0.1', done))
  await open(0)
  const { port } = server.address() as { port: number }
  const shut = () =>
    new Promise<void>((done) => {
      server.close(() => done())
      for (const socket of through) socket.destroy()
    })
  return { port, shut, open: () => open(port) }
}
