/** The lines of a stream of text. Node's readline would also break a line at U+2028, which JSON may contain. */
export async function* linesOf(stream: AsyncIterable<string>): AsyncGenerator<string, void> {
  let rest = ''
  for await (const text of stream) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  yield rest
}
