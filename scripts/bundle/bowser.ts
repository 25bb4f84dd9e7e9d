/**
 * What the Worker uses of bowser: names of browsers and systems. wrangler bundles this file wherever `bowser` is imported (wrangler.toml,
 * alias): the package has also platforms, engines, hints and comparisons, of which nothing can be left out. These are its own lists.
 * test/dev/bundle.node.test.ts compares the two.
 */
import browsers, { type Known, type Parser } from 'bowser/src/parser-browsers.js'
import systems from 'bowser/src/parser-os.js'

export function parse(agent: string) {
  const parser: Parser = {
    getUA: () => agent,
    test: (pattern) => pattern.test(agent),
    hasBrand: () => false,
    getBrandVersion: () => undefined,
  }
  const found = (list: Known[]) =>
    list
      .find(({ test }) => (typeof test === 'function' ? test(parser) : test.some((pattern) => pattern.test(agent))))
      ?.describe(agent, parser) ?? {}
  return { browser: found(browsers), os: found(systems) }
}

export default { parse }
