export type Event = { id?: string; event?: string; data?: any; retry?: string; comment?: string }

/** The events of an answer, one after another, without its comments; null at its end. `all`: the rest, with them. `named`: those that have a name. */
export function eventsIn(answer: Response) {
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
  const decoder = new TextDecoder()
  let text = ''
  const piece = async (): Promise<Event | null> => {
    for (;;) {
      const end = text.indexOf('\n\n')
      if (end >= 0) {
        const event: Record<string, string> = {}
        for (const line of text.slice(0, end).split('\n')) {
          const [, name = '', value = ''] = /^(\w*):\s?(.*)$/.exec(line) ?? []
          event[name || 'comment'] = value
        }
        text = text.slice(end + 2)
        return 'data' in event ? { ...event, data: JSON.parse(event.data ?? '') } : event
      }
      const { done, value } = await reader.read()
      if (done) return text ? { comment: `left: ${text}` } : null
      text += decoder.decode(value, { stream: true })
    }
  }
  const next = async () => {
    let event = await piece()
    while (event?.comment === '') event = await piece()
    return event
  }
  const all = async () => {
    const events: Event[] = []
    for (let event = await piece(); event; event = await piece()) events.push(event)
    return events
  }
  const named = async () => (await all()).filter(({ event }) => event !== undefined)
  return { next, all, named, cancel: () => reader.cancel() }
}
