import type { Inspector } from './inspector.ts'

/** What V8 says of the heap of one isolate, in bytes: its objects, those of workerd that belong to them, and their buffers. */
type Usage = { usedSize: number; totalSize: number; embedderHeapUsedSize: number; backingStorageSize: number }

const MB = 2 ** 20
const usageOf = (inspector: Inspector) => inspector.call<Usage>('Runtime.getHeapUsage')

/** Everything that the isolate holds, garbage included. */
export async function heapMb(inspector: Inspector): Promise<number> {
  const { usedSize, embedderHeapUsedSize, backingStorageSize } = await usageOf(inspector)
  return (usedSize + embedderHeapUsedSize + backingStorageSize) / MB
}

/** Pages that the isolate's heap takes, used or not. */
export const heapPagesMb = async (inspector: Inspector) => {
  const { totalSize, backingStorageSize } = await usageOf(inspector)
  return (totalSize + backingStorageSize) / MB
}

/** Collects the garbage. workerd does so when its Worker runs the next time: `nudge` sends it a request. */
export async function collectGarbage(inspector: Inspector, nudge: () => Promise<unknown>): Promise<void> {
  let over = false
  const collected = inspector.call('HeapProfiler.collectGarbage').finally(() => {
    over = true
  })
  while (!over) await nudge()
  await collected
}

/** A snapshot of the heap, in V8's format. V8 collects the garbage first. */
export async function snapshotOf(inspector: Inspector): Promise<string> {
  const chunks: string[] = []
  inspector.on<{ chunk: string }>('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => chunks.push(chunk))
  await inspector.call('HeapProfiler.takeHeapSnapshot', { reportProgress: false })
  return chunks.join('')
}
