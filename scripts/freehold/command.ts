import { type AddHelpTextContext, type AddHelpTextPosition, Command as Commander, Help } from 'commander'
import { wrapped } from './output.ts'

/** Below this many columns a description is under its term, not beside it. */
const NARROW = 70

/** A command of the command line: its words, options, help, and lines that show how it is called. */
export class Command extends Commander {
  /** What is typed after the names of the command. */
  readonly examples: string[] = []

  constructor(name?: string) {
    super(name)
    this.addHelpText('after', () => this.examples.length > 0 && `\n${this.exampleLines().join('\n')}`)
  }

  /** How the command is called from a shell: `freehold tenants list`. */
  get path(): string {
    return this.parent ? `${(this.parent as Command).path} ${this.name()}` : this.name()
  }

  /** Adds an example, as it is typed after the names of the command, for --help. Tests run it. */
  example(line = ''): this {
    this.examples.push(line)
    return this
  }

  exampleLines(): string[] {
    const lines = this.examples.map((line) => `  ${this.path} ${line}`.trimEnd())
    return [lines.length > 1 ? 'Examples:' : 'Example:', ...lines]
  }

  override createCommand(name?: string): Command {
    return new Command(name)
  }

  override createHelp(): Help {
    return Object.assign(new NarrowHelp(), this.configureHelp())
  }

  override addHelpText(
    position: AddHelpTextPosition,
    text: string | ((context: AddHelpTextContext) => string | false | undefined),
  ): this {
    return super.addHelpText(position, (context) => {
      const said = typeof text === 'function' ? text(context) : text
      return said ? wrapped(said, context.error ? process.stderr : process.stdout) : ''
    })
  }
}

/** Help that can be read in a terminal of 40 columns. */
class NarrowHelp extends Help {
  override minWidthToWrap = 20

  override commandUsage(command: Commander): string {
    const usage = super.commandUsage(command)
    return this.boxWrap(usage, (this.helpWidth ?? 80) - 'Usage: '.length).replaceAll('\n', '\n       ')
  }

  override formatItem(term: string, termWidth: number, description: string, helper: Help): string {
    const width = this.helpWidth ?? 80
    if (width >= NARROW || !description) return super.formatItem(term, termWidth, description, helper)
    return `  ${term}\n      ${helper.boxWrap(description, width - 6).replaceAll('\n', '\n      ')}`
  }
}
