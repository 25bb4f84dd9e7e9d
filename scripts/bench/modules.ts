/** Which module a place in an unminified bundle comes from. */

/** The module of each line of a bundle, from the comments that esbuild puts before each: a package's name, or a file of ours. */
export function modulesOf(source: string): string[] {
  let module = 'the bundle itself'
  return source.split('\n').map((line) => {
    const [, path] = /^\/\/ (\S+\.(?:[cm]?[jt]s|sql))$/.exec(line) ?? []
    if (path) module = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? path.replace(/^(\.\.\/)*/, '')
    return module
  })
}

/** The module that declares each variable of a bundle, by the name of the variable. */
export function declarationsOf(source: string): Map<string, string> {
  const modules = modulesOf(source)
  const found = source.split('\n').flatMap((line, i): [string, string][] => {
    const [, name] = /^(?:var|let|const|(?:async )?function\*?|class) ([\w$]+)/.exec(line) ?? []
    return name ? [[name, modules[i] ?? '']] : []
  })
  return new Map(found)
}
