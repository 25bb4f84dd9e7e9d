/**
 * The bell of one person: a Durable Object that their open streams wait at, and that is rung when they are told something. Threat:
 * somebody opens streams without an end; what is said to one person is heard by another; an object that waits is paid for by the hour.
 * So it holds at most a few, it says nothing but that there is something (the stream asks the database, as its session), and streams
 * wait with WebSockets, for which the object sleeps (hibernation). It keeps nothing.
 */
import { DurableObject } from 'cloudflare:workers'
import { MOST_STREAMS } from '../http/bells.ts'

export class Bells extends DurableObject {
  /** A stream begins to wait, or 429: there are too many. */
  override async fetch(_request: Request): Promise<Response> {
    if (this.ctx.getWebSockets().length >= MOST_STREAMS) return new Response(null, { status: 429 })
    const { 0: client, 1: server } = new WebSocketPair()
    this.ctx.acceptWebSocket(server)
    return new Response(null, { status: 101, webSocket: client })
  }

  async ring(): Promise<void> {
    for (const stream of this.ctx.getWebSockets()) {
      try {
        stream.send('')
      } catch {
        // It is just closing.
      }
    }
  }

  override async webSocketClose(stream: WebSocket): Promise<void> {
    stream.close()
  }
}
