/**
 * Who holds a heap. An object is held by whatever all ways to it lead through (its dominators): the heap is divided among the
 * variables of the bundle's modules and what the roots hold besides. Each part counts once, and all together are the heap.
 */
export type Holder = { where: string; mb: number }

type Snapshot = {
  snapshot: { meta: { node_fields: string[]; node_types: [string[]]; edge_fields: string[]; edge_types: [string[]] } }
  nodes: number[]
  edges: number[]
  strings: string[]
}

/** The graph of a snapshot: objects by number, references by number. */
type Graph = {
  count: number
  type(node: number): string
  name(node: number): string
  size(node: number): number
  /** The references of an object, without weak ones. */
  edges(node: number): number[]
  target(edge: number): number
  /** The variable of a reference from a scope; null of others. */
  variable(edge: number): string | null
}

/** The largest holders; `modules` names the module of each variable of the bundle. */
export function holders(snapshot: string, most: number, modules: Map<string, string>): Holder[] {
  const graph = graphOf(JSON.parse(snapshot) as Snapshot)
  const { order, dominator } = dominators(graph)
  const held = new Float64Array(graph.count)
  for (const node of order) {
    held[node] = at(held, node) + graph.size(node)
    if (node) held[at(dominator, node)] = at(held, at(dominator, node)) + at(held, node)
  }
  const children = (parent: number) => order.filter((node) => node && dominator[node] === parent)
  const [roots = 0] = children(0).sort((a, b) => at(held, b) - at(held, a))
  const besides = children(roots)
  // esbuild puts all modules into one scope.
  const [scope = 0] = besides
    .filter((node) => graph.name(node).startsWith('system / Context'))
    .sort((a, b) => at(held, b) - at(held, a))
  const variables = new Map<number, string>()
  for (const edge of graph.edges(scope)) {
    const variable = graph.variable(edge)
    if (variable) variables.set(graph.target(edge), variable)
  }
  const sums = new Map<string, number>()
  const add = (where: string, node: number) => sums.set(where, (sums.get(where) ?? 0) + at(held, node))
  for (const node of besides) if (node !== scope) add(kindOf(graph, node), node)
  for (const node of children(scope)) {
    const variable = variables.get(node)
    add(variable ? `${modules.get(variable) ?? 'the bundle'}: ${variable}` : 'what several modules share', node)
  }
  return [...sums]
    .map(([where, bytes]) => ({ where, mb: bytes / 2 ** 20 }))
    .sort((a, b) => b.mb - a.mb)
    .slice(0, most)
}

/** A name for what no module's variable holds. */
function kindOf({ type, name }: Graph, node: number): string {
  const [kind, called] = [type(node), name(node)]
  if (called === 'system / Script / entry.js') return 'the source of the bundle'
  if (called.startsWith('system / Script')) return "the sources of workerd's own modules"
  if (kind === 'string') return 'files of text beside the bundle'
  if (kind === 'code' || kind === 'object shape') return 'compiled code'
  return 'V8 and workerd'
}

function graphOf({ snapshot: { meta }, nodes, edges, strings }: Snapshot): Graph {
  const [nodeTypes, edgeTypes] = [meta.node_types[0], meta.edge_types[0]]
  const [width, reach] = [meta.node_fields.length, meta.edge_fields.length]
  const place = (fields: string[], field: string) => fields.indexOf(field)
  const ofNode = (field: string) => {
    const offset = place(meta.node_fields, field)
    return (node: number) => nodes[node * width + offset] ?? 0
  }
  const ofEdge = (field: string) => {
    const offset = place(meta.edge_fields, field)
    return (edge: number) => edges[edge * reach + offset] ?? 0
  }
  const [type, name, size, edgeCount] = [ofNode('type'), ofNode('name'), ofNode('self_size'), ofNode('edge_count')]
  const [edgeType, edgeName, target] = [ofEdge('type'), ofEdge('name_or_index'), ofEdge('to_node')]
  const count = nodes.length / width
  const [weak, ofScope] = [edgeTypes.indexOf('weak'), edgeTypes.indexOf('context')]
  const lists: number[][] = []
  let next = 0
  for (let node = 0; node < count; node++) {
    const list: number[] = []
    for (let left = edgeCount(node); left > 0; left--, next++) if (edgeType(next) !== weak) list.push(next)
    lists.push(list)
  }
  return {
    count,
    type: (node) => nodeTypes[type(node)] ?? '',
    name: (node) => strings[name(node)] ?? '',
    size,
    edges: (node) => lists[node] ?? [],
    target: (edge) => target(edge) / width,
    variable: (edge) => (edgeType(edge) === ofScope ? (strings[edgeName(edge)] ?? null) : null),
  }
}

/**
 * The nearest dominator of each object, and the objects that can be reached, each after what it leads to. The algorithm of
 * Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm".
 */
function dominators(graph: Graph): { order: number[]; dominator: Int32Array } {
  const order: number[] = []
  const position = new Int32Array(graph.count).fill(-1)
  const seen = new Uint8Array(graph.count)
  const path = [{ node: 0, next: 0 }]
  seen[0] = 1
  for (let here = path.at(-1); here; here = path.at(-1)) {
    const edge = graph.edges(here.node)[here.next++]
    if (edge === undefined) {
      position[here.node] = order.push(here.node) - 1
      path.pop()
      continue
    }
    const node = graph.target(edge)
    if (seen[node]) continue
    seen[node] = 1
    path.push({ node, next: 0 })
  }
  const before: number[][] = Array.from({ length: graph.count }, () => [])
  for (const node of order) for (const edge of graph.edges(node)) before[graph.target(edge)]?.push(node)

  const dominator = new Int32Array(graph.count).fill(-1)
  dominator[0] = 0
  const common = (one: number, other: number) => {
    while (one !== other) {
      while (at(position, one) < at(position, other)) one = at(dominator, one)
      while (at(position, other) < at(position, one)) other = at(dominator, other)
    }
    return one
  }
  for (let changed = true; changed; ) {
    changed = false
    for (const node of order.slice(0, -1).reverse()) {
      const known = (before[node] ?? []).filter((other) => at(dominator, other) >= 0)
      const nearest = known.reduce(common)
      if (dominator[node] === nearest) continue
      dominator[node] = nearest
      changed = true
    }
  }
  return { order, dominator }
}

const at = (array: Int32Array | Float64Array, place: number) => array[place] ?? 0
